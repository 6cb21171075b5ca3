"""Random single-node models: our evaluation against ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from .operator_kit import apply

pytestmark = pytest.mark.needs("onnxruntime")

OPSET = 21
SEEDS = range(4)
FLOAT8 = (17, 18, 19, 20)
#: Where ONNX Runtime 1.31 leaves ONNX's table of casts without saturation: above the largest value
#: it gives 448 for float8e4m3fn, not NaN, and NaN for float8e5m2, not infinity.
RUNTIME_ERRS = {17: (480, 496), 19: (61440, 65536)}
Case = tuple[list[Any], dict[str, Any], int]


def run_onnxruntime(op: str, arrays: list[Any], attributes: dict, outputs: int) -> list[np.ndarray]:
    import onnxruntime
    from onnx import helper

    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    nodes = [helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)]
    if attributes.get("to") in FLOAT8:  # such tensors cannot leave the runtime
        nodes[0].output[0] = "narrow"
        nodes.append(helper.make_node("Cast", ["narrow"], ["y0"], to=1))
    graph = helper.make_graph(
        nodes,
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays, strict=True)
            if a is not None
        ],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {n: a for n, a in zip(names, arrays, strict=True) if a is not None}
    return session.run(None, given)


def f32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: dict[str, Callable[[np.random.Generator], Case]] = {}


def case(op: str, label: str = "") -> Callable[[Callable], Callable]:
    def keep(make: Callable[[np.random.Generator], Case]) -> Callable:
        CASES[f"{op}:{label}" if label else op] = make
        return make

    return keep


# -- element-wise ------------------------------------------------------------------------------

for _op in ("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Exp", "Sin", "Cos", "Tan", "Atan",
            "Sinh", "Cosh", "Tanh", "Asinh", "Erf", "Reciprocal"):  # fmt: skip
    case(_op)(lambda rng: ([3 * f32(rng, 40)], {}, 1))
for _op in ("Sqrt", "Log"):
    case(_op)(lambda rng: ([np.abs(f32(rng, 40))], {}, 1))
for _op in ("Asin", "Acos", "Atanh"):
    case(_op)(lambda rng: ([rng.uniform(-0.99, 0.99, 40).astype(np.float32)], {}, 1))
for _op in ("Add", "Sub", "Mul", "Div", "Less", "GreaterOrEqual"):
    case(_op)(lambda rng: ([f32(rng, 3, 1, 4), f32(rng, 2, 1)], {}, 1))


def _integers(rng: np.random.Generator, dtype: type = np.int32) -> list[np.ndarray]:
    b = rng.integers(-9, 10, 60)
    return [rng.integers(-99, 100, 60).astype(dtype), np.where(b == 0, 7, b).astype(dtype)]


case("Div", "integers")(lambda rng: (_integers(rng), {}, 1))
case("Mod", "floor")(lambda rng: (_integers(rng, np.int64), {}, 1))
case("Mod", "fmod")(lambda rng: (_integers(rng), {"fmod": 1}, 1))
case("Mod", "float")(lambda rng: ([9 * f32(rng, 30), f32(rng, 30)], {"fmod": 1}, 1))
case("Pow", "mixed")(
    lambda rng: ([rng.integers(0, 9, 20), rng.uniform(0, 3, 20).astype(np.float32)], {}, 1)
)
case("Pow", "integer exponent")(
    lambda rng: ([f32(rng, 20), rng.integers(-3, 4, 20).astype(np.int32)], {}, 1)
)
case("Clip")(lambda rng: ([f32(rng, 20), None, np.float32(rng.uniform())], {}, 1))
case("Where")(lambda rng: ([rng.random((3, 1)) > 0.5, f32(rng, 4), f32(rng, 2, 1, 1)], {}, 1))
case("Mean")(lambda rng: ([f32(rng, 3, 1), f32(rng, 4), f32(rng, 1)], {}, 1))

# -- reductions and sorting --------------------------------------------------------------------

for _op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
            "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):  # fmt: skip
    case(_op)(
        lambda rng: (
            [f32(rng, 3, 4, 2), rng.choice(3, rng.integers(1, 4), replace=False).astype(np.int64)],
            {"keepdims": int(rng.integers(2))},
            1,
        )
    )
case("ReduceMean", "integers")(
    lambda rng: ([rng.integers(-50, 50, (4, 7)).astype(np.int32), i64(1)], {}, 1)
)
for _op in ("ArgMax", "ArgMin"):
    case(_op)(
        lambda rng: (
            [rng.integers(0, 3, (4, 6)).astype(np.float32)],
            {"axis": int(rng.integers(-2, 2)), "select_last_index": int(rng.integers(2))},
            1,
        )
    )
case("CumSum")(
    lambda rng: (
        [f32(rng, 4, 5), i64(rng.integers(-2, 2)).reshape(())],
        {"exclusive": int(rng.integers(2)), "reverse": int(rng.integers(2))},
        1,
    )
)
case("TopK")(
    lambda rng: (
        [rng.integers(0, 4, (5, 6)).astype(np.float32), i64(3)],
        {"axis": int(rng.integers(-2, 2)), "largest": int(rng.integers(2))},
        2,
    )
)
case("Unique")(
    lambda rng: (
        [rng.integers(0, 2, (5, 3)).astype(np.float32)],
        {"axis": 0, "sorted": int(rng.integers(2))},
        4,
    )
)

# -- shapes ------------------------------------------------------------------------------------


@case("Slice")
def _(rng: np.random.Generator) -> Case:
    bounds = [rng.integers(-9, 10, 2) for _ in range(2)]
    steps = rng.choice([-3, -2, -1, 1, 2, 3], 2)
    return [f32(rng, 6, 5), *bounds, i64(1, -2), steps], {}, 1


for _mode in ("constant", "edge", "reflect", "wrap"):

    def _pad(rng: np.random.Generator, mode: str = _mode) -> Case:
        x = f32(rng, 4, 5)
        if mode == "constant":
            return [x, rng.integers(-1, 4, 4), np.float32(7)], {"mode": mode}, 1
        return [x, rng.integers(0, 4, 4)], {"mode": mode}, 1

    case("Pad", _mode)(_pad)
case("Split")(
    lambda rng: ([f32(rng, 7, 2)], {"num_outputs": 3, "axis": 0}, 3),
)
case("Expand")(lambda rng: ([f32(rng, 3, 1), i64(2, 1, 4)], {}, 1))
case("Trilu")(
    lambda rng: (
        [f32(rng, 2, 4, 5), i64(rng.integers(-5, 6)).reshape(())],
        {"upper": int(rng.integers(2))},
        1,
    )
)
for _mode in ("DCR", "CRD"):
    case("DepthToSpace", _mode)(
        lambda rng, mode=_mode: ([f32(rng, 1, 8, 2, 3)], {"blocksize": 2, "mode": mode}, 1)
    )
case("ReverseSequence")(
    lambda rng: ([f32(rng, 5, 3, 2), rng.integers(1, 6, 3)], {"time_axis": 0, "batch_axis": 1}, 1)
)

# -- indexing ----------------------------------------------------------------------------------

for _reduction in ("none", "add", "mul", "min", "max"):

    def _elements(rng: np.random.Generator, reduction: str = _reduction) -> Case:
        places = np.argsort(rng.random((4, 3)), 0)[:2] - 4  # no place twice
        return [f32(rng, 4, 3), places, f32(rng, 2, 3)], {"axis": 0, "reduction": reduction}, 1

    def _slices(rng: np.random.Generator, reduction: str = _reduction) -> Case:
        places = rng.permutation(4)[:2].reshape(2, 1)
        return [f32(rng, 4, 3), places, f32(rng, 2, 3)], {"reduction": reduction}, 1

    case("ScatterElements", _reduction)(_elements)
    case("ScatterND", _reduction)(_slices)
case("GatherND")(
    lambda rng: ([f32(rng, 2, 3, 4), rng.integers(-3, 3, (2, 5, 1))], {"batch_dims": 1}, 1)
)
case("GatherElements")(lambda rng: ([f32(rng, 4, 3), rng.integers(-4, 4, (2, 3))], {"axis": 0}, 1))
case("OneHot")(
    lambda rng: (
        [rng.integers(-5, 6, (2, 3)), i64(4), np.array([-1, 2], np.float32)],
        {"axis": int(rng.integers(-3, 3))},
        1,
    )
)

# -- products and quantisation -----------------------------------------------------------------

case("Gemm")(
    lambda rng: (
        [f32(rng, 5, 3), f32(rng, 4, 5), f32(rng, 4)],
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
        1,
    )
)
case("Einsum")(
    lambda rng: ([f32(rng, 2, 3, 4), f32(rng, 2, 5, 4)], {"equation": "bsd,btd->bst"}, 1)
)
case("Einsum", "ellipsis")(
    lambda rng: ([f32(rng, 2, 3, 4), f32(rng, 4, 2)], {"equation": "...ij,jk->...ki"}, 1)
)
case("Det")(lambda rng: ([f32(rng, 3, 4, 4)], {}, 1))


@case("MatMulInteger")
def _(rng: np.random.Generator) -> Case:
    a, b = (rng.integers(0, 256, s).astype(np.uint8) for s in ((3, 9), (9, 4)))
    return [a, b, np.uint8(rng.integers(256)), rng.integers(0, 256, 4).astype(np.uint8)], {}, 1


@case("QLinearMatMul")
def _(rng: np.random.Generator) -> Case:
    a, b = (rng.integers(0, 256, s).astype(np.uint8) for s in ((3, 9), (9, 4)))
    s = np.float32
    return [a, s(0.02), np.uint8(120), b, s(0.01), np.uint8(130), s(0.05), np.uint8(99)], {}, 1


for _kind, _shape, _block in (("tensor", (), 0), ("axis", (4,), 0), ("block", (3, 2), 2)):

    def _quantise(rng: np.random.Generator, shape: tuple = _shape, block: int = _block) -> Case:
        scale = rng.uniform(0.01, 0.1, shape).astype(np.float32)
        zero = rng.integers(0, 256, shape).astype(np.uint8)
        attributes = {"axis": 1, **({"block_size": block} if block else {})}
        return [f32(rng, 3, 4) * 5, scale, np.asarray(zero)], attributes, 1

    def _restore(rng: np.random.Generator, shape: tuple = _shape, block: int = _block) -> Case:
        (_, scale, zero), attributes, _ = _quantise(rng, shape, block)
        return [rng.integers(0, 256, (3, 4)).astype(np.uint8), scale, zero], attributes, 1

    case("QuantizeLinear", _kind)(_quantise)
    case("DequantizeLinear", _kind)(_restore)
case("DynamicQuantizeLinear")(lambda rng: ([f32(rng, 50)], {}, 3))
for _to in FLOAT8:
    for _saturate in (0, 1):

        def _narrow(rng: np.random.Generator, to: int = _to, saturate: int = _saturate) -> Case:
            x = f32(rng, 60) * np.float32(10.0) ** rng.integers(-6, 7)
            low, high = RUNTIME_ERRS.get(to, (0, 0))
            x[(np.abs(x) >= low) & (np.abs(x) < high)] = 0
            return [x], {"to": to, "saturate": saturate}, 1

        case("Cast", f"{_to}, saturate {_saturate}")(_narrow)
for _to in (2, 3, 6, 9, 10, 11):
    case("Cast", str(_to))(lambda rng, to=_to: ([f32(rng, 60) * 30], {"to": to}, 1))
case("Cast", "wraps")(lambda rng: ([rng.integers(-(2**40), 2**40, 50)], {"to": 3}, 1))
for _op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
    case(_op)(lambda rng: ([i64(12).reshape(())], {"periodic": int(rng.integers(2))}, 1))


@pytest.mark.parametrize("name", CASES)
def test_equals_onnxruntime(name):
    op = name.partition(":")[0]
    for seed in SEEDS:
        arrays, attributes, outputs = CASES[name](np.random.default_rng(seed))
        arrays = [None if a is None else np.asarray(a) for a in arrays]
        ours = apply(op, *arrays, outputs=outputs, **attributes)
        theirs = run_onnxruntime(op, arrays, attributes, outputs)
        for mine, other in zip([ours] if outputs == 1 else ours, theirs, strict=True):
            assert mine.shape == other.shape
            if attributes.get("to") in FLOAT8:
                mine = mine.astype(np.float32)
            assert mine.dtype == other.dtype
            if mine.dtype.kind == "f":
                np.testing.assert_allclose(mine, other, rtol=2e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(mine, other)
