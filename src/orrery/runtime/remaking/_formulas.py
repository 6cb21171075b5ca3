"""Operators by the node that autograd makes for them: operands, numbers, calculation.

Models:  the forward of each operator, from what its node has saved and from its inputs. With
         convolutions, products of matrices and attention among them, whatever checkpointing runs
         again can be made again.
Ignores: operators whose numbers (an axis, a constant) their node does not keep; attention with
         dropout or a mask.
Judge:   every bit of what was there, operator by operator (tests/runtime/offload/test_remade.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: Layer norm's node keeps the standard deviation but not the small number in it.
_EPSILONS = (1e-5, 1e-12, 1e-6, 1e-8, 1e-3, 1e-7)


class UnmadeError(Exception):
    """Values do not lead to the tensor; whoever asked has to keep it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """How a node's result is calculated.

    Attributes
    ----------
    name : for texts
    make : operands, numbers, whether the first operand may be overwritten
    operands : under which name the node saves each, None where it does not
    scalars : numbers of a node; None where they are not all known
    result : under which name the node saves what it made
    optional : operands that may be none
    lacks : whether a node surely has no operand at a place; None: it would have saved it
    inplace : whether it can overwrite its first operand
    views : whether the result shows memory of the operand
    """

    name: str
    make: Callable[[Sequence[Any], tuple[Any, ...], bool], Any]
    operands: tuple[str | None, ...] = ("self",)
    scalars: Callable[[Any], tuple[Any, ...] | None] = lambda node: ()
    result: str | None = None
    optional: tuple[int, ...] = ()
    lacks: Callable[[Any, int], bool] | None = None
    inplace: bool = False
    views: bool = False


def _numbers(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    return lambda node: tuple(_plain(getattr(node, f"_saved_{name}")) for name in names)


def _plain(value: Any) -> Any:
    """Axes come as 64 bits without a sign."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 63:
        return value - (1 << 64)
    return value


def _shape(node: Any) -> tuple[Any, ...]:
    return (tuple(node._input_metadata[0].shape),)


def _dtype(node: Any) -> tuple[Any, ...]:
    return (node._input_metadata[0].dtype,)


def _trained(node: Any) -> tuple[Any, ...] | None:
    return (node._saved_eps,) if node._saved_training else None


def _of(function: str, **more: Any) -> Formula:
    """One operand, numbers after it; ``f_`` is the same in place."""

    def make(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
        import torch

        name = f"{function}_" if instead else function
        found = getattr(torch, name, None) or getattr(torch.nn.functional, name)
        return found(*operands, *numbers)

    return Formula(name=function, make=make, **more)


def _sum(sign: int) -> Formula:
    def make(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
        one, other = operands
        if instead and one.shape == other.shape and one.dtype == other.dtype:
            return one.add_(other, alpha=sign * numbers[0])
        return one.add(other, alpha=sign * numbers[0])

    return Formula(name="add" if sign > 0 else "subtract", make=make, operands=(None, None),
                   scalars=_numbers("alpha"), inplace=True)  # fmt: skip


def _product(name: str) -> Formula:
    def make(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
        del numbers
        one, other = operands
        same = one.dtype == other.dtype and one.shape == other.shape
        return getattr(one, f"{name}_" if instead and same else name)(other)

    return Formula(name=name, make=make, operands=("self", "other"), inplace=True)


def _batch_norm(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
    import torch

    del instead
    x, weight, bias = operands
    # The same pass over the same input; running means are not touched.
    return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, numbers[0])[0]


def _layer_norm(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
    import torch

    del instead
    x, weight, bias, deviation = operands
    for epsilon in _EPSILONS:
        found, _, again = torch.native_layer_norm(x, numbers[0], weight, bias, epsilon)
        if torch.equal(again, deviation):
            return found
    raise UnmadeError("layer norm: no known epsilon")


_CONVOLUTION = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")


def _convolution(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
    import torch

    del instead
    return torch.convolution(*operands, *numbers)


def _no_bias(node: Any, place: int) -> bool:
    return place == 2 and node._saved_bias_sym_sizes_opt in (None, (0,))


def _matrices(function: str, *operands: str | None, scalars: tuple[str, ...] = ()) -> Formula:
    def make(values: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
        import torch

        del instead
        return getattr(torch, function)(*values, **dict(zip(scalars, numbers, strict=True)))

    return Formula(name=function, make=make, operands=operands, scalars=_numbers(*scalars))


def _attended(node: Any) -> tuple[Any, ...] | None:
    masked = node._raw_saved_attn_mask.data is not None
    return None if node._saved_dropout_p or masked else (node._saved_is_causal, node._saved_scale)


def _attention(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
    import torch

    del instead
    causal, scale = numbers
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return attend(*operands, 0.0, causal, scale=scale)[0]


def _cast(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
    del instead
    return operands[0].to(numbers[0])


def _viewed(method: str) -> Callable[[Sequence[Any], tuple[Any, ...], bool], Any]:
    def make(operands: Sequence[Any], numbers: tuple[Any, ...], instead: bool) -> Any:
        del instead
        return getattr(operands[0], method)(*numbers)

    return make


def _view(method: str, scalars: Callable[[Any], tuple[Any, ...] | None]) -> Formula:
    return Formula(name=method, make=_viewed(method), operands=(None,), scalars=scalars, views=True)


_POOL = ("kernel_size", "stride", "padding")

FORMULAS: dict[str, Formula] = {
    "ReluBackward0": _of("relu", operands=(None,), result="result", inplace=True),
    "SigmoidBackward0": _of("sigmoid", operands=(None,), result="result", inplace=True),
    "TanhBackward0": _of("tanh", operands=(None,), result="result", inplace=True),
    "ExpBackward0": _of("exp", operands=(None,), result="result", inplace=True),
    "SqrtBackward0": _of("sqrt", operands=(None,), result="result", inplace=True),
    "NegBackward0": _of("neg", operands=(None,), inplace=True),
    "LogBackward0": _of("log", inplace=True),
    "AbsBackward0": _of("abs", inplace=True),
    "SiluBackward0": _of("silu"),
    "MishBackward0": _of("mish"),
    "HardswishBackward0": _of("hardswish"),
    "LeakyReluBackward0": _of("leaky_relu", scalars=_numbers("negative_slope")),
    "HardtanhBackward0": _of("hardtanh", scalars=_numbers("min_val", "max_val")),
    "ClampBackward1": _of("clamp", scalars=_numbers("min", "max")),
    "SoftplusBackward0": _of("softplus", scalars=_numbers("beta", "threshold")),
    "PowBackward0": _of("pow", scalars=_numbers("exponent")),
    "GeluBackward0": Formula(
        name="gelu", scalars=_numbers("approximate"),
        make=lambda operands, numbers, instead: _gelu(operands[0], numbers[0]),
    ),
    "SoftmaxBackward0": _of("softmax", operands=(None,), scalars=_numbers("dim"), result="result"),
    "MaxPool2DWithIndicesBackward0": _of(
        "max_pool2d", scalars=_numbers(*_POOL, "dilation", "ceil_mode")
    ),
    "AvgPool2DBackward0": _of(
        "avg_pool2d",
        scalars=_numbers(*_POOL, "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "AddBackward0": _sum(1),
    "SubBackward0": _sum(-1),
    "MulBackward0": _product("mul"),
    "DivBackward0": _product("div"),
    "NativeBatchNormBackward0": Formula(
        name="batch_norm", make=_batch_norm, operands=("input", "weight", None), scalars=_trained,
        optional=(1, 2),
    ),
    "NativeLayerNormBackward0": Formula(
        name="layer_norm", make=_layer_norm, operands=("input", "weight", "bias", "result2"),
        scalars=_numbers("normalized_shape"), optional=(1, 2),
    ),
    "ConvolutionBackward0": Formula(
        name="convolution", make=_convolution, operands=("input", "weight", None),
        scalars=_numbers(*_CONVOLUTION), optional=(2,), lacks=_no_bias,
    ),
    "MmBackward0": _matrices("mm", "self", "mat2"),
    "BmmBackward0": _matrices("bmm", "self", "mat2"),
    "AddmmBackward0": _matrices("addmm", None, "mat1", "mat2", scalars=("beta", "alpha")),
    "BaddbmmBackward0": _matrices("baddbmm", None, "batch1", "batch2", scalars=("beta", "alpha")),
    "ScaledDotProductFlashAttentionForCpuBackward0": Formula(
        name="attention", make=_attention, operands=("query", "key", "value"), scalars=_attended,
        result="output",
    ),
    "ToCopyBackward0": Formula(name="to", make=_cast, operands=(None,), scalars=_dtype),
    "CloneBackward0": Formula(name="clone", make=_viewed("clone"), operands=(None,)),
    "ViewBackward0": _view("reshape", _shape),
    "UnsafeViewBackward0": _view("reshape", _shape),
    "ReshapeAliasBackward0": _view("reshape", _shape),
    "TransposeBackward0": _view("transpose", _numbers("dim0", "dim1")),
    "TBackward0": _view("t", lambda node: ()),
    "PermuteBackward0": _view("permute", lambda node: (_plain(node._saved_dims),)),
    "UnsqueezeBackward0": _view("unsqueeze", _numbers("dim")),
}  # fmt: skip


def _gelu(x: Any, approximate: str) -> Any:
    import torch

    return torch.nn.functional.gelu(x, approximate=approximate)
