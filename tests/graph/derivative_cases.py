"""One case or more for every operator with a derivative: the node and its PyTorch expression.

PyTorch is imported inside the expressions, so that the core suite can use the cases too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .derivative_kit import Case

_RNG = np.random.default_rng(20240607)


def normal(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return _RNG.uniform(0.3, 2.0, shape)


def inside(*shape: int) -> np.ndarray:
    """Numbers strictly between -0.9 and 0.9."""
    return _RNG.uniform(-0.9, 0.9, shape)


def whole(*values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = np.array(values, np.int64)
    return array if shape is None else array.reshape(shape)


class _Torch:
    """``T.nn.functional.relu`` without importing PyTorch before it is called."""

    def __getattr__(self, name: str) -> Any:
        import torch

        return getattr(torch, name)

    @property
    def f(self) -> Any:
        import torch

        return torch.nn.functional


T = _Torch()


def _unary(op: str, x: np.ndarray, torch: Any, **attributes: Any) -> Case:
    return Case(op=op, arrays=(x,), torch=torch, attributes=attributes)


def _elementwise() -> list[Case]:
    n, p, i = normal, positive, inside
    above = 1 + positive(2, 3)
    far = np.array([-4.0, -2.0, -0.4, 0.3, 1.7, 3.5, 9.0])
    names = {
        "Abs": n(2, 3), "Neg": n(2, 3), "Reciprocal": p(2, 3), "Sqrt": p(2, 3), "Exp": n(2, 3),
        "Log": p(2, 3), "Sin": n(2, 3), "Cos": n(2, 3), "Tan": i(2, 3), "Asin": i(2, 3),
        "Acos": i(2, 3), "Atan": n(2, 3), "Sinh": n(2, 3), "Cosh": n(2, 3), "Tanh": n(2, 3),
        "Asinh": n(2, 3), "Acosh": above, "Atanh": i(2, 3), "Erf": n(2, 3), "Sigmoid": n(2, 3),
        "Relu": n(3, 4), "Sign": n(2, 3), "Ceil": n(2, 3), "Floor": n(2, 3), "Round": n(2, 3),
    }  # fmt: skip
    return [
        _unary(op, x, lambda t, op=op: getattr(T, op.lower())(t)) for op, x in names.items()
    ] + [
        _unary("Identity", n(2), lambda t: t * 1),
        _unary("Hardmax", n(2, 3), lambda t: T.f.one_hot(t.argmax(-1), 3) + t * 0),
        _unary("Softplus", far, lambda t: T.f.softplus(t, threshold=100)),
        _unary("Softsign", n(2, 3), lambda t: T.f.softsign(t)),
        _unary("LeakyRelu", n(2, 3), lambda t: T.f.leaky_relu(t, 0.2), alpha=0.2),
        _unary("LeakyRelu", n(2, 3), lambda t: T.f.leaky_relu(t, 0.01)),
        _unary("Elu", n(2, 3), lambda t: T.f.elu(t, 0.7), alpha=0.7),
        Case(op="Celu", arrays=(n(2, 3),), attributes={"alpha": 0.7}, tolerance=1e-7,
             torch=lambda t: T.f.celu(t, 0.7)),  # PyTorch keeps 1 / alpha in float32
        _unary("Selu", n(2, 3), lambda t: T.selu(t), alpha=1.6732632423543772,
               gamma=1.0507009873554805),
        _unary("Gelu", n(2, 3), lambda t: T.f.gelu(t)),
        _unary("Gelu", n(2, 3), lambda t: T.f.gelu(t, approximate="tanh"), approximate="tanh"),
        Case(op="HardSigmoid", arrays=(far,), attributes={"alpha": 1 / 6, "beta": 0.5},
             tolerance=1e-7, torch=lambda t: T.f.hardsigmoid(t)),  # PyTorch keeps 1 / 6 in float32
        _unary("HardSwish", far, lambda t: T.f.hardswish(t)),
        _unary("Mish", n(2, 3), lambda t: T.f.mish(t)),
        _unary("Swish", n(2, 3), lambda t: T.f.silu(t)),
        _unary("Swish", n(2, 3), lambda t: t * T.sigmoid(1.7 * t), alpha=1.7),
        _unary("ThresholdedRelu", far, lambda t: T.f.threshold(t, 0.8, 0.0), alpha=0.8),
        _unary("Shrink", far, lambda t: T.f.softshrink(t, 0.6), lambd=0.6, bias=0.6),
        _unary("Dropout", n(2, 3), lambda t: t * 1),
        Case(op="SwiGLU", arrays=(n(2, 3), n(2, 3)), torch=lambda a, b: T.f.silu(a) * b),
        Case(op="SwiGLU", arrays=(n(2, 3), n(2, 3)), attributes={"alpha": 0.5},
             torch=lambda a, b: a * T.sigmoid(0.5 * a) * b),
        Case(op="PRelu", arrays=(n(2, 3, 4), n(3, 1)),
             torch=lambda x, s: T.where(x < 0, x * s, x)),
        Case(op="Cast", arrays=(n(3),), attributes={"to": 11}, torch=lambda x: x.double()),
        Case(op="CastLike", arrays=(n(3), n(1)), fixed=(1,), torch=lambda x, y: x * 1),
    ]  # fmt: skip


def _arithmetic() -> list[Case]:
    n, p = normal, positive
    mask = np.array([[True], [False], [True]])
    return [
        Case(op="Add", arrays=(n(2, 1, 3), n(4, 1)), torch=lambda a, b: a + b),
        Case(op="Sub", arrays=(n(3), n(2, 3)), torch=lambda a, b: a - b),
        Case(op="Mul", arrays=(n(2, 3), n(2, 1)), torch=lambda a, b: a * b),
        Case(op="Mul", arrays=(n(2, 3), n()), torch=lambda a, b: a * b),
        Case(op="Div", arrays=(n(2, 3), p(3)), torch=lambda a, b: a / b),
        Case(op="Mod", arrays=(n(2, 3), p(3)), torch=lambda a, b: T.remainder(a, b)),
        Case(op="Mod", arrays=(n(2, 3), p(3)), attributes={"fmod": 1},
             torch=lambda a, b: T.fmod(a, b)),
        Case(op="Pow", arrays=(p(2, 3), n(3)), torch=lambda a, b: a**b),
        Case(op="Pow", arrays=(np.array([0.0, 2.0, 0.0]), np.array([2.0, 0.0, 0.0])),
             torch=lambda a, b: a**b),
        Case(op="Pow", arrays=(n(2, 3), np.array(2.0)), fixed=(1,), torch=lambda a, b: a**b),
        Case(op="Pow", arrays=(n(2, 3), whole(3)), torch=lambda a, b: a**3),
        Case(op="Pow", arrays=(p(2, 3), np.array([0.5, 2, 0])), fixed=(1,),
             torch=lambda a, b: a**b),
        Case(op="Sum", arrays=(n(2, 3), n(3), n(1)), torch=lambda a, b, c: a + b + c),
        Case(op="Mean", arrays=(n(2, 3), n(3), n(1)), torch=lambda a, b, c: (a + b + c) / 3),
        Case(op="Max", arrays=(n(2, 3), n(3)), torch=lambda a, b: T.maximum(a, b)),
        Case(op="Max", arrays=(np.array([1.0, 2.0]), np.array([1.0, 1.0])),
             torch=lambda a, b: T.maximum(a, b)),
        Case(op="Min", arrays=(n(4), n(4), n(4)),
             torch=lambda a, b, c: T.minimum(T.minimum(a, b), c)),
        Case(op="Where", arrays=(mask, n(3, 4), n(4)), torch=lambda c, a, b: T.where(c, a, b)),
        Case(op="Clip", arrays=(n(8), np.array(-0.5), np.array(0.5)),
             torch=lambda x, low, high: T.clamp(x, low, high)),
        Case(op="Clip", arrays=(n(8), None, np.array([0.5])),
             torch=lambda x, low, high: T.clamp(x, max=high)),
        Case(op="Clip", arrays=(n(8), np.array(-0.2), None), fixed=(1,),
             torch=lambda x, low, high: T.clamp(x, min=-0.2)),
    ]  # fmt: skip


def _reduce() -> list[Case]:
    n, p = normal, positive
    zero = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 1.5], [1.0, -2.0, 0.5]])
    tied = np.array([[1.0, 3.0, 3.0], [0.0, 0.0, -1.0]])
    axes = whole(0, -1)

    def reduced(op: str, x: np.ndarray, torch: Any) -> list[Case]:
        return [
            Case(op=op, arrays=(x, axes), torch=lambda t, a: torch(t, (0, -1), True)),
            Case(op=op, arrays=(x, whole(1)), attributes={"keepdims": 0},
                 torch=lambda t, a: torch(t, (1,), False)),
            Case(op=op, arrays=(x,), attributes={"keepdims": 0},
                 torch=lambda t: torch(t, tuple(range(t.ndim)), False)),
        ]  # fmt: skip

    def product(t: Any, axes: Any, keep: bool) -> Any:
        for axis in sorted((a % t.ndim for a in axes), reverse=True):
            t = T.prod(t, axis, keepdim=keep)
        return t

    return [
        *reduced("ReduceSum", n(2, 3, 4), lambda t, a, k: t.sum(a, keepdim=k)),
        *reduced("ReduceMean", n(2, 3, 4), lambda t, a, k: t.mean(a, keepdim=k)),
        *reduced("ReduceMax", n(2, 3, 4), lambda t, a, k: T.amax(t, a, keepdim=k)),
        *reduced("ReduceMin", n(2, 3, 4), lambda t, a, k: T.amin(t, a, keepdim=k)),
        *reduced("ReduceProd", n(2, 3, 4), product),
        *reduced("ReduceL1", n(2, 3, 4), lambda t, a, k: t.abs().sum(a, keepdim=k)),
        *reduced("ReduceL2", n(2, 3, 4), lambda t, a, k: T.linalg.vector_norm(t, 2, a, keepdim=k)),
        *reduced("ReduceSumSquare", n(2, 3, 4), lambda t, a, k: (t * t).sum(a, keepdim=k)),
        *reduced("ReduceLogSum", p(2, 3, 4), lambda t, a, k: t.sum(a, keepdim=k).log()),
        *reduced("ReduceLogSumExp", n(2, 3, 4), lambda t, a, k: T.logsumexp(t, a, keepdim=k)),
        Case(op="ReduceProd", arrays=(zero, whole(1)),
             torch=lambda t, a: T.prod(t, 1, keepdim=True)),
        Case(op="ReduceMax", arrays=(tied, whole(1)),
             torch=lambda t, a: T.amax(t, 1, keepdim=True)),
        Case(op="ReduceSum", arrays=(n(2, 3), np.zeros(0, np.int64)),
             attributes={"noop_with_empty_axes": 1}, torch=lambda t, a: t * 1),
        Case(op="CumSum", arrays=(n(2, 4), whole(1)), torch=lambda t, a: T.cumsum(t, 1)),
        Case(op="CumSum", arrays=(n(2, 4), whole(1)), attributes={"exclusive": 1, "reverse": 1},
             torch=lambda t, a: T.flip(T.cumsum(T.flip(t, (1,)), 1), (1,)) - t),
        Case(op="TopK", arrays=(n(3, 5), whole(2)), attributes={"axis": 1}, outputs=2,
             torch=lambda t, k: T.topk(t, 2, 1).values),
        Case(op="TopK", arrays=(n(5, 2), whole(3)), attributes={"axis": 0, "largest": 0},
             torch=lambda t, k: T.topk(t, 3, 0, largest=False).values),
    ]  # fmt: skip


def _shapes() -> list[Case]:
    n = normal
    ends = 2**31
    return [
        Case(op="Reshape", arrays=(n(2, 3, 4), whole(0, -1)), torch=lambda t, s: t.reshape(2, 12)),
        Case(op="Flatten", arrays=(n(2, 3, 4),), torch=lambda t: t.flatten(1)),
        Case(op="Squeeze", arrays=(n(2, 1, 4), whole(1)), torch=lambda t, a: t.squeeze(1)),
        Case(op="Unsqueeze", arrays=(n(2, 3), whole(0, 3)), torch=lambda t, a: t[None, :, :, None]),
        Case(op="Transpose", arrays=(n(2, 3, 4),), attributes={"perm": (2, 0, 1)},
             torch=lambda t: t.permute(2, 0, 1)),
        Case(op="Transpose", arrays=(n(2, 3, 4),), torch=lambda t: t.permute(2, 1, 0)),
        Case(op="DepthToSpace", arrays=(n(1, 8, 2, 3),),
             attributes={"blocksize": 2, "mode": "CRD"}, torch=lambda t: T.f.pixel_shuffle(t, 2)),
        Case(op="DepthToSpace", arrays=(n(1, 8, 2, 3),), attributes={"blocksize": 2},
             torch=lambda t: t.reshape(1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(
                 1, 2, 4, 6)),
        Case(op="SpaceToDepth", arrays=(n(1, 2, 4, 6),), attributes={"blocksize": 2},
             torch=lambda t: t.reshape(1, 2, 2, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(
                 1, 8, 2, 3)),
        Case(op="ReverseSequence", arrays=(n(4, 2), whole(3, 1)),
             torch=lambda t, k: T.stack([t[:, 0][[2, 1, 0, 3]], t[:, 1]], 1)),
        Case(op="Trilu", arrays=(n(3, 4), whole(1, shape=())), torch=lambda t, k: T.triu(t, 1)),
        Case(op="Trilu", arrays=(n(3, 4),), attributes={"upper": 0}, torch=lambda t: T.tril(t)),
        Case(op="Concat", arrays=(n(2, 3), n(2, 1), n(2, 2)), attributes={"axis": 1},
             torch=lambda *t: T.cat(t, 1)),
        Case(op="Concat", arrays=(n(2, 3), n(1, 3)), attributes={"axis": -2}, fixed=(0,),
             torch=lambda *t: T.cat(t, 0)),
        Case(op="Split", arrays=(n(2, 6), whole(1, 2, 3)), attributes={"axis": 1}, outputs=3,
             torch=lambda t, s: T.split(t, [1, 2, 3], 1)),
        Case(op="Split", arrays=(n(5, 2),), attributes={"num_outputs": 2}, outputs=2,
             torch=lambda t: T.split(t, [3, 2], 0)),
        Case(op="Slice", arrays=(n(4, 7), whole(1, -5), whole(3, ends)),
             torch=lambda t, *_: t[1:3, 2:]),
        Case(op="Slice", arrays=(n(4, 7), whole(6), whole(0), whole(1), whole(-2)),
             torch=lambda t, *_: t[:, [6, 4, 2]]),
        Case(op="Slice", arrays=(n(9), whole(1), whole(ends), whole(0), whole(3)),
             torch=lambda t, *_: t[1::3]),
        Case(op="Pad", arrays=(n(2, 3), whole(1, 0, 2, 3), np.array(0.5)),
             torch=lambda t, p, v: T.cat([v.expand(1, 6), T.cat([t, v.expand(2, 3)], 1),
                                          v.expand(2, 6)], 0)),
        Case(op="Pad", arrays=(n(4, 5), whole(-1, 1, 0, -2)),
             torch=lambda t, p: T.f.pad(t, (1, -2, -1, 0))),
        Case(op="Pad", arrays=(n(1, 3, 5), whole(2, 3), None, whole(2)),
             attributes={"mode": "reflect"}, torch=lambda t, *_: T.f.pad(t, (2, 3), "reflect")),
        Case(op="Pad", arrays=(n(1, 2, 3, 4), whole(0, 0, 1, 2, 0, 0, 1, 0)),
             attributes={"mode": "edge"}, torch=lambda t, p: T.f.pad(t, (2, 0, 1, 1), "replicate")),
        Case(op="Pad", arrays=(n(1, 2, 4), whole(0, 0, 1, 0, 0, 2)),
             attributes={"mode": "wrap"}, torch=lambda t, p: T.f.pad(t, (1, 2), "circular")),
        Case(op="Tile", arrays=(n(2, 3), whole(2, 3)), torch=lambda t, r: t.tile(2, 3)),
        Case(op="Expand", arrays=(n(3, 1), whole(2, 1, 4)), torch=lambda t, s: t.expand(2, 3, 4)),
    ]  # fmt: skip


def _indexing() -> list[Case]:
    n = normal
    places = whole(0, 2, -1, 2, shape=(2, 2))
    return [
        Case(op="Gather", arrays=(n(3, 4), places), torch=lambda t, i: t[i]),
        Case(op="Gather", arrays=(n(2, 3, 4), places), attributes={"axis": 1},
             torch=lambda t, i: t[:, i]),
        Case(op="Gather", arrays=(n(2, 3), whole(1, shape=())), attributes={"axis": -1},
             torch=lambda t, i: t[:, 1]),
        Case(op="GatherElements", arrays=(n(3, 2), places), attributes={"axis": 0},
             torch=lambda t, i: T.gather(t, 0, i % 3)),
        Case(op="GatherND", arrays=(n(3, 2), whole(0, 1, 2, 0, 0, 1, shape=(3, 2))),
             torch=lambda t, i: t[i[:, 0], i[:, 1]]),
        Case(op="GatherND", arrays=(n(2, 3, 4), whole(1, 1, shape=(2, 1))),
             attributes={"batch_dims": 1}, torch=lambda t, i: t[[0, 1], [1, 1]]),
        Case(op="ScatterElements", arrays=(n(3, 4), whole(1, 3, 0, 2, shape=(2, 2)), n(2, 2)),
             attributes={"axis": 1}, torch=lambda t, i, u: T.scatter(t, 1, i, u)),
        Case(op="ScatterElements", arrays=(n(4), whole(1, 1, 3), n(3)),
             attributes={"reduction": "add"}, torch=lambda t, i, u: T.scatter_add(t, 0, i, u)),
        Case(op="ScatterND", arrays=(n(4, 2), whole(3, 1, shape=(2, 1)), n(2, 2)),
             torch=lambda t, i, u: T.index_put(t, (i[:, 0],), u)),
        Case(op="ScatterND", arrays=(n(4, 2), whole(1, 1, shape=(2, 1)), n(2, 2)),
             attributes={"reduction": "add"},
             torch=lambda t, i, u: T.index_put(t, (i[:, 0],), u, accumulate=True)),
    ]  # fmt: skip


def _matrix() -> list[Case]:
    n = normal

    def gemm(across: int, down: int) -> Case:
        a, b = n(*((4, 3) if across else (3, 4))), n(*((5, 4) if down else (4, 5)))
        return Case(
            op="Gemm", arrays=(a, b, n(5)),
            attributes={"transA": across, "transB": down, "alpha": 0.7, "beta": 1.3},
            torch=lambda a, b, c: 0.7 * (a.T if across else a) @ (b.T if down else b) + 1.3 * c,
        )  # fmt: skip

    products = [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (4, 5)),
                ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)),
                ((3, 4), (2, 4, 5))]  # fmt: skip
    sums = {"ij,jk->ik": ((2, 3), (3, 4)), "bij,bkj->bik": ((2, 3, 4), (2, 5, 4)),
            "...ij,jk": ((2, 3, 4), (4, 5)), "ij->j": ((2, 3),), "i,j->ij": ((2,), (3,)),
            "ij,ij,j->i": ((2, 3), (2, 3), (3,)), "...i,...i->...": ((2, 3, 4), (1, 4)),
            "ij,kl->ik": ((2, 3), (4, 5))}  # fmt: skip
    return [
        *(gemm(a, b) for a in (0, 1) for b in (0, 1)),
        Case(op="Gemm", arrays=(n(3, 4), n(4, 5), n(3, 1)), torch=lambda a, b, c: a @ b + c),
        *(Case(op="MatMul", arrays=(n(*a), n(*b)), torch=lambda a, b: T.matmul(a, b))
          for a, b in products),
        *(Case(op="Einsum", arrays=tuple(n(*s) for s in shapes), attributes={"equation": text},
               torch=lambda *t, text=text: T.einsum(text, *t)) for text, shapes in sums.items()),
    ]  # fmt: skip


def _convolution() -> list[Case]:
    n = normal

    def conv(x: tuple[int, ...], w: tuple[int, ...], *, stride: int = 1, pad: int = 0,
             dilation: int = 1, group: int = 1, bias: bool = True) -> Case:  # fmt: skip
        rank = len(x) - 2
        arrays = (n(*x), n(*w), n(w[0])) if bias else (n(*x), n(*w))
        return Case(
            op="Conv", arrays=arrays,
            attributes={"strides": (stride,) * rank, "pads": (pad,) * 2 * rank, "group": group,
                        "dilations": (dilation,) * rank},
            torch=lambda x, w, b=None: getattr(T.f, f"conv{rank}d")(
                x, w, b, stride, pad, dilation, group),
        )  # fmt: skip

    def transposed(x: tuple[int, ...], w: tuple[int, ...], *, stride: int = 1, pad: int = 0,
                   dilation: int = 1, group: int = 1, extra: int = 0) -> Case:  # fmt: skip
        rank = len(x) - 2
        return Case(
            op="ConvTranspose", arrays=(n(*x), n(*w), n(w[1] * group)),
            attributes={"strides": (stride,) * rank, "pads": (pad,) * 2 * rank, "group": group,
                        "dilations": (dilation,) * rank, "output_padding": (extra,) * rank},
            torch=lambda x, w, b: getattr(T.f, f"conv_transpose{rank}d")(
                x, w, b, stride, pad, extra, group, dilation),
        )  # fmt: skip

    def pool(op: str, torch: Any, shape: tuple[int, ...] = (2, 2, 5, 6), **attributes: Any) -> Case:
        return Case(op=op, arrays=(n(*shape),), attributes=attributes, torch=torch)

    same = Case(
        op="Conv", arrays=(n(1, 2, 6, 7), n(3, 2, 3, 3)),
        attributes={"auto_pad": "SAME_UPPER", "strides": (2, 2)},
        torch=lambda x, w: T.f.conv2d(T.f.pad(x, (1, 1, 0, 1)), w, None, 2),
    )  # fmt: skip
    return [
        conv((2, 3, 7), (4, 3, 3), stride=2, pad=1),
        conv((2, 4, 6, 5), (6, 2, 3, 2), stride=2, pad=1, group=2, bias=False),
        conv((1, 3, 7, 7), (3, 1, 3, 3), dilation=2, pad=2, group=3),
        conv((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), pad=1),
        same,
        transposed((2, 4, 5), (4, 3, 3), stride=2, pad=1, extra=1),
        transposed((1, 4, 3, 4), (4, 2, 3, 3), stride=2, group=2),
        transposed((1, 2, 3, 4), (2, 3, 3, 3), stride=2, dilation=3, pad=1, extra=2),
        Case(op="ConvTranspose", arrays=(n(1, 2, 3, 3), n(2, 1, 3, 3)),
             attributes={"auto_pad": "SAME_LOWER", "strides": (2, 2)},
             torch=lambda x, w: T.f.conv_transpose2d(x, w, None, 2)[:, :, 1:, 1:]),
        pool("MaxPool", lambda x: T.f.max_pool2d(x, 3, 2, 1), kernel_shape=(3, 3), strides=(2, 2),
             pads=(1, 1, 1, 1)),
        pool("MaxPool", lambda x: T.f.max_pool2d(x, 2, 2, 0, 2, True), kernel_shape=(2, 2),
             strides=(2, 2), dilations=(2, 2), ceil_mode=1),
        pool("MaxPool", lambda x: T.f.max_pool1d(x, 2, 1), (2, 3, 6), kernel_shape=(2,)),
        pool("AveragePool", lambda x: T.f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
             kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        pool("AveragePool", lambda x: T.f.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
             kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), count_include_pad=1,
             ceil_mode=1),
        pool("LpPool", lambda x: T.f.lp_pool2d(x, 2, 2, 1), kernel_shape=(2, 2)),
        pool("LpPool", lambda x: T.f.lp_pool1d(x.abs(), 3, 3, 2), (2, 2, 7), kernel_shape=(3,),
             strides=(2,), p=3),
        pool("LpPool", lambda x: T.f.avg_pool2d(T.f.pad(x, (1, 1, 1, 1)).abs(), 2, 1) * 4,
             kernel_shape=(2, 2), pads=(1, 1, 1, 1), p=1),
        pool("GlobalAveragePool", lambda x: x.mean((2, 3), keepdim=True)),
        pool("GlobalMaxPool", lambda x: T.amax(x, (2, 3), keepdim=True)),
        pool("GlobalLpPool", lambda x: (x.abs() ** 3).sum((2, 3), keepdim=True) ** (1 / 3), p=3),
    ]  # fmt: skip


def _normalisation() -> list[Case]:
    n, p = normal, positive
    e = {"epsilon": 0.01}
    return [
        Case(op="BatchNormalization", arrays=(n(3, 2, 4), n(2), n(2), n(2), p(2)), attributes=e,
             torch=lambda x, w, b, m, v: (x - m[:, None]) / T.sqrt(v[:, None] + 0.01) * w[:, None]
             + b[:, None]),
        Case(op="BatchNormalization", arrays=(n(3, 2, 4), n(2), n(2), n(2), p(2)), fixed=(3, 4),
             attributes={**e, "training_mode": 1}, torch=lambda x, w, b, m, v: T.f.batch_norm(
                 x, None, None, w, b, training=True, eps=0.01)),
        Case(op="InstanceNormalization", arrays=(n(2, 3, 4), n(3), n(3)), attributes=e,
             torch=lambda x, w, b: T.f.instance_norm(x, weight=w, bias=b, eps=0.01)),
        Case(op="GroupNormalization", arrays=(n(2, 4, 3), n(4), n(4)),
             attributes={**e, "num_groups": 2, "stash_type": 11},
             torch=lambda x, w, b: T.f.group_norm(x, 2, w, b, 0.01)),
        Case(op="LayerNormalization", arrays=(n(2, 3, 4), n(4), n(4)), attributes=e,
             torch=lambda x, w, b: T.f.layer_norm(x, (4,), w, b, 0.01)),
        Case(op="LayerNormalization", arrays=(n(2, 3, 4), n(3, 4), None),
             attributes={**e, "axis": 1},
             torch=lambda x, w, b: T.f.layer_norm(x, (3, 4), w, None, 0.01)),
        Case(op="RMSNormalization", arrays=(n(2, 3, 4), n(4)), attributes=e,
             torch=lambda x, w: T.f.rms_norm(x, (4,), w, 0.01)),
        Case(op="MeanVarianceNormalization", arrays=(n(2, 3, 4, 2),),
             torch=lambda x: (x - x.mean((0, 2, 3), keepdim=True)) / (
                 x.std((0, 2, 3), correction=0, keepdim=True) + 1e-9)),
        Case(op="LpNormalization", arrays=(n(2, 3),), torch=lambda x: T.f.normalize(x, 2, -1)),
        Case(op="LpNormalization", arrays=(n(2, 3),), attributes={"p": 1, "axis": 0},
             torch=lambda x: T.f.normalize(x, 1, 0)),
        *(Case(op="LRN", arrays=(n(2, 6, 3),),
               attributes={"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5},
               torch=lambda x, size=size: T.f.local_response_norm(
                   x.flip(1), size, 0.3, 0.6, 1.5).flip(1)) for size in (3, 4)),
    ]  # fmt: skip


def _losses() -> list[Case]:
    n, p = normal, positive
    labels = whole(1, 0, 3, 1)
    image = _RNG.integers(0, 3, (2, 2, 2)).astype(np.int64)

    def both(op: str, torch: str, arrays: tuple[Any, ...], **attributes: Any) -> Case:
        words = {"reduction": attributes.get("reduction", "mean")}
        if "ignore_index" in attributes:
            words["ignore_index"] = attributes["ignore_index"]
        return Case(op=op, arrays=arrays, attributes=attributes, fixed=(2,), torch=lambda x, y,
                    w=None: getattr(T.f, torch)(x, y, w, **words))  # fmt: skip

    cases = [
        Case(op="Softmax", arrays=(n(2, 3, 4),), attributes={"axis": 1},
             torch=lambda x: T.softmax(x, 1)),
        Case(op="LogSoftmax", arrays=(n(2, 3),), torch=lambda x: T.log_softmax(x, -1)),
        Case(op="SoftmaxCrossEntropyLoss", arrays=(n(4, 5), labels), outputs=2,
             torch=lambda x, y: (T.f.cross_entropy(x, y), T.log_softmax(x, 1))),
    ]  # fmt: skip
    for op, torch in (("NegativeLogLikelihoodLoss", "nll_loss"),
                      ("SoftmaxCrossEntropyLoss", "cross_entropy")):  # fmt: skip
        cases += [
            both(op, torch, (n(4, 5), labels)),
            both(op, torch, (n(4, 5), labels, p(5)), ignore_index=1),
            both(op, torch, (n(2, 3, 2, 2), image, p(3)), reduction="sum"),
            both(op, torch, (n(2, 3, 2, 2), image), reduction="none", ignore_index=2),
            both(op, torch, (n(2, 3, 2, 2), image), ignore_index=0),
        ]
    return cases


def _images() -> list[Case]:
    n = normal

    def resize(x: tuple[int, ...], scales: Any, sizes: Any, torch: Any, **attributes: Any) -> Case:
        arrays = [n(*x), None, None if scales is None else np.array(scales, np.float32)]
        arrays += [] if sizes is None else [whole(*sizes)]
        return Case(op="Resize", arrays=tuple(arrays), attributes=attributes, fixed=(2,),
                    torch=lambda t, *_: torch(t))  # fmt: skip

    cosine, sine = np.cos(n(5, 2)), np.sin(n(5, 2))
    places = whole(4, 0, 2, shape=(1, 3))

    def rotate(x: Any, c: Any, s: Any, p: Any) -> Any:
        c, s = c[p][:, None], s[p][:, None]
        a, b = x[..., :2], x[..., 2:]
        return T.cat([c * a - s * b, s * a + c * b], -1)

    return [
        resize((1, 2, 3, 4), [1, 1, 2, 3], None,
               lambda t: t.repeat_interleave(2, 2).repeat_interleave(3, 3)),
        resize((1, 2, 4, 5), None, [1, 2, 7, 3],
               lambda t: T.f.interpolate(t, (7, 3), mode="bilinear"), mode="linear"),
        resize((1, 2, 4, 5), None, [1, 2, 8, 9],
               lambda t: T.f.interpolate(t, (8, 9), mode="bilinear", align_corners=True),
               mode="linear", coordinate_transformation_mode="align_corners"),
        resize((1, 1, 5, 4), None, [1, 1, 3, 7], lambda t: T.f.interpolate(t, (3, 7)),
               coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        resize((1, 1, 4, 6), [1, 1, 0.5, 0.5], None,
               lambda t: T.f.interpolate(t, (2, 3), mode="bicubic"), mode="cubic"),
        Case(op="RotaryEmbedding", arrays=(n(1, 2, 3, 4), cosine, sine, places), fixed=(1, 2),
             torch=rotate),
    ]  # fmt: skip


def _recurrent() -> list[Case]:
    """Inputs (steps 4, batch 2, features 3), hidden 2; ONNX's order of gates is not PyTorch's."""
    n = normal
    order = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # PyTorch's gates in ONNX's

    def layer(kind: str, direction: str = "forward", bias: bool = True, initial: bool = True,
              layout: int = 0, lengths: Any = None, **attributes: Any) -> Case:  # fmt: skip
        gates, ways = len(order[kind]), 2 if direction == "bidirectional" else 1
        x = n(2, 4, 3) if layout else n(4, 2, 3)
        state = [n(2, ways, 2) if layout else n(ways, 2, 2) for _ in range(1 + (kind == "LSTM"))]
        arrays = [x, n(ways, gates * 2, 3), n(ways, gates * 2, 2),
                  n(ways, gates * 4) if bias else None, lengths,
                  *(state if initial else [])]  # fmt: skip

        def torch(x: Any, w: Any, r: Any, b: Any = None, s: Any = None, *states: Any) -> Any:
            def turned(t: Any) -> Any:
                parts = t.split(2)
                return T.cat([parts[i] for i in order[kind]])

            flat = []
            for d in range(ways):
                flat += [turned(w[d]), turned(r[d])]
                if b is not None:
                    flat += [turned(half) for half in b[d].split(gates * 2)]
            if layout:
                x, states = x.transpose(0, 1), tuple(i.transpose(0, 1) for i in states)
            if not states:
                states = tuple(x.new_zeros(ways, 2, 2) for _ in state)
            begin = states if kind == "LSTM" else states[0]
            name = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}[kind]
            words = (flat, b is not None, 1, 0.0, False, ways == 2)
            if lengths is None:
                y, *last = getattr(T, name)(x, begin, *words, False)
                y = y.reshape(4, 2, ways, 2).transpose(1, 2)
            else:
                packed = T.nn.utils.rnn.pack_padded_sequence(x, s)
                data, *last = getattr(T, name)(packed.data, packed.batch_sizes, begin, *words)
                again = T.nn.utils.rnn.PackedSequence(data, packed.batch_sizes)
                y = T.nn.utils.rnn.pad_packed_sequence(again, total_length=4)[0]
                y = y.reshape(4, 2, ways, 2).transpose(1, 2)
            if layout:
                y, last = y.permute(2, 0, 1, 3), [i.transpose(0, 1) for i in last]
            return [y, *last]

        words = {"hidden_size": 2, "direction": direction, **attributes}
        words |= {"layout": 1} if layout else {}
        words |= {"linear_before_reset": 1} if kind == "GRU" else {}
        return Case(op=kind, arrays=tuple(arrays), outputs=2 + (kind == "LSTM"), torch=torch,
                    attributes=words)  # fmt: skip

    return [
        *(layer(kind) for kind in order),
        *(layer(kind, "bidirectional", bias=False, initial=False) for kind in order),
        *(layer(kind, "bidirectional", lengths=np.array([4, 2], np.int32)) for kind in order),
        layer("LSTM", "bidirectional", layout=1),
        layer("GRU", layout=1, initial=False),
    ]  # fmt: skip


def _recurrent_beyond_pytorch() -> list[Case]:
    """What PyTorch's layers lack: judged by central differences."""
    n = normal
    x, lengths = n(3, 2, 3), np.array([3, 1], np.int32)
    plain = (n(1, 8, 3), n(1, 8, 2), n(1, 16), lengths, n(1, 2, 2), n(1, 2, 2), n(1, 6))
    return [
        Case(op="LSTM", arrays=(x, *plain), attributes={"hidden_size": 2}, outputs=3),
        Case(op="LSTM", arrays=(x, *plain), outputs=3,
             attributes={"hidden_size": 2, "direction": "reverse", "input_forget": 1,
                         "activations": ("Sigmoid", "Tanh", "Sigmoid")}),
        Case(op="GRU", arrays=(x, n(1, 6, 3), n(1, 6, 2), n(1, 12), lengths, n(1, 2, 2)),
             attributes={"hidden_size": 2, "direction": "reverse"}, outputs=2),
        Case(op="RNN", arrays=(x, n(1, 2, 3), n(1, 2, 2), n(1, 4)), outputs=2,
             attributes={"hidden_size": 2, "activations": ("Relu",)}),
    ]  # fmt: skip


def _attention() -> list[Case]:
    n = normal
    look = np.array([[True, True, False], [True, False, False]])

    def plain(q: Any, k: Any, v: Any, mask: Any = None, **words: Any) -> Any:
        return T.f.scaled_dot_product_attention(q, k, v, mask, **words)

    def packed(q: Any, k: Any, v: Any) -> Any:
        def heads(x: Any, count: int) -> Any:
            return x.reshape(1, -1, count, 2).transpose(1, 2)

        y = T.f.scaled_dot_product_attention(heads(q, 4), heads(k, 2), heads(v, 2), enable_gqa=True)
        return y.transpose(1, 2).reshape(1, 3, 8)

    def cached(q: Any, k: Any, v: Any, _: Any, past_k: Any, past_v: Any) -> Any:
        keys, values = T.cat([past_k, k], 2), T.cat([past_v, v], 2)
        ones = T.ones(2, 5, dtype=bool).tril(3)
        return plain(q, keys, values, ones), keys, values

    def capped(q: Any, k: Any, v: Any) -> Any:
        scores = 3 * T.tanh(0.7 * q @ k.transpose(2, 3) / 3)
        near = T.ones(3, 3, dtype=bool).triu(-1)
        return T.softmax(scores.masked_fill(~near, float("-inf")), -1) @ v

    heads = ((2, 3, 2, 4), (2, 3, 3, 4), (2, 3, 3, 5))
    return [
        Case(op="Attention", arrays=tuple(n(*s) for s in heads), torch=plain),
        Case(op="Attention", arrays=(*(n(*s) for s in heads), look), torch=plain),
        Case(op="Attention", arrays=(*(n(*s) for s in heads), n(3, 2, 3)), torch=plain),
        Case(op="Attention", arrays=(n(1, 2, 3, 4), n(1, 2, 3, 4), n(1, 2, 3, 4)),
             attributes={"is_causal": 1}, torch=lambda *t: plain(*t, is_causal=True)),
        Case(op="Attention", arrays=(n(1, 3, 8), n(1, 5, 4), n(1, 5, 4)),
             attributes={"q_num_heads": 4, "kv_num_heads": 2}, torch=packed),
        Case(op="Attention", outputs=3, attributes={"is_causal": 1}, torch=cached,
             arrays=(n(1, 2, 2, 4), n(1, 2, 2, 4), n(1, 2, 2, 4), None, n(1, 2, 3, 4),
                     n(1, 2, 3, 4))),
        Case(op="Attention", arrays=(n(1, 2, 3, 4), n(1, 2, 3, 4), n(1, 2, 3, 4)), torch=capped,
             attributes={"scale": 0.7, "softcap": 3.0, "left_window_size": 1}),
    ]  # fmt: skip


BEYOND_PYTORCH = _recurrent_beyond_pytorch()

CASES: list[Case] = [
    *_elementwise(), *_arithmetic(), *_reduce(), *_shapes(), *_indexing(), *_matrix(),
    *_convolution(), *_normalisation(), *_losses(), *_images(),
    *_recurrent(), *_attention(),
]  # fmt: skip
