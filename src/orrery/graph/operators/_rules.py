"""Shape rules, counts and numerical habits that many operators share.

Dimensions that are not bound yet are names. `plus`, `times` and `formula` make the name of a
derived one from its parts (``past+seq``), so that two nodes that compute the same size agree
on its name without anybody solving equations.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from orrery.errors import ModelError
from orrery.store import content_hash

from .._operator import Array, Operations, TypeContext
from .._types import ELEMENT_CODES, ELEMENT_NAMES, Dimension, TensorType, numpy_dtype

Shape = tuple[Dimension, ...]
_F = TypeVar("_F", bound=Callable[..., Any])
_LONGEST_NAME = 80  #: characters


# -- element types ----------------------------------------------------------------------------


def element_type(code: int) -> str:
    """Return the element type that ONNX's number stands for, e.g. 1 -> ``float32``.

    Raises
    ------
    ModelError : no such element type
    """
    try:
        return ELEMENT_NAMES[int(code)]
    except KeyError:
        raise ModelError(
            "element type", found=code, wanted="a number of ONNX's TensorProto.DataType, 1 to 26",
            fix="correct the attribute",
        ) from None  # fmt: skip


def element_dtype(code: int) -> np.dtype[Any]:
    """Return the NumPy dtype that ONNX's number stands for."""
    return numpy_dtype(element_type(code))


# -- dimensions -------------------------------------------------------------------------------


_SUM = re.compile(r"([\w.]+(?:\+[\w.]+)*?)([+-]\d+)?")
_PRODUCT = re.compile(r"[\w.]+(?:\*[\w.]+)+")


def plus(*dimensions: Dimension) -> Dimension:
    """Add dimensions; ``plus("n", 2, 3) == "n+5"``, ``plus("n-1", 1) == "n"``."""
    number = 0
    names: list[str] = []
    for dimension in dimensions:
        if isinstance(dimension, int):
            number += dimension
        elif simple := _SUM.fullmatch(dimension):
            names += simple[1].split("+")
            number += int(simple[2] or 0)
        else:
            names.append(dimension)
    if not names:
        return number
    return "+".join(sorted(names)) + (f"{number:+}" if number else "")


def times(*dimensions: Dimension) -> Dimension:
    """Multiply dimensions; ``times("n", 2, 3) == "6*n"``."""
    number, names = _factors(dimensions)
    if not names or number == 0:
        return number
    factors = [f"({n})" if "+" in n or "-" in n else n for n in sorted(names)]
    return "*".join(factors if number == 1 else [str(number), *factors])


def _factors(dimensions: Iterable[Dimension]) -> tuple[int, list[str]]:
    """Return the number and the names in a product; names of products are taken apart."""
    number = 1
    names: list[str] = []
    for dimension in dimensions:
        if isinstance(dimension, int):
            number *= dimension
            continue
        for part in dimension.split("*") if _PRODUCT.fullmatch(dimension) else [dimension]:
            if part.isdigit():
                number *= int(part)
            else:
                names.append(part)
    return number, names


def formula(text: str, function: Callable[..., int], *dimensions: Dimension) -> Dimension:
    """Return ``function(*dimensions)``, or a name made of `text` when some are names.

    ``formula("({}-1)//2+1", lambda n: (n - 1) // 2 + 1, "n") == "(n-1)//2+1"``
    """
    if any(isinstance(d, str) for d in dimensions):
        return text.format(*dimensions)
    return function(*dimensions)


def divide_out(total: Sequence[Dimension], known: Sequence[Dimension]) -> Dimension | None:
    """Return product(total) / product(known), names cancelled; None when it does not divide."""
    number, names = _factors(total)
    divisor, below = _factors(known)
    rest, extra = Counter(names) - Counter(below), Counter(below) - Counter(names)
    if extra or divisor == 0 or number % divisor:
        return None
    return times(number // divisor, *rest.elements())


def agree(context: TypeContext, first: Dimension, second: Dimension, what: str) -> Dimension:
    """Return the one size that two tensors share: a number wins over a name.

    Raises
    ------
    ModelError : two different numbers
    """
    if isinstance(first, int) and isinstance(second, int) and first != second:
        raise context.error(f"{what}: {first} and {second}", f"equal sizes for {what}")
    return second if isinstance(first, str) and isinstance(second, int) else first


# -- axes and small integer inputs ------------------------------------------------------------


def axis_of(context: TypeContext, axis: int, rank: int) -> int:
    """Return the axis counted from the front; a negative one counts from the back.

    Raises
    ------
    ModelError : outside of the tensor
    """
    if not -rank <= axis < rank:
        raise context.error(f"axis {axis}", f"an axis of a tensor of rank {rank}")
    return int(axis) % rank if rank else 0


def axes_of(context: TypeContext, axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Return axes counted from the front, in the given order; repeated ones are refused."""
    normal = tuple(axis_of(context, int(a), rank) for a in axes)
    if len(set(normal)) != len(normal):
        raise context.error(f"axes {normal}", "each axis once")
    return normal


def integers(value: Array) -> tuple[int, ...]:
    """Return the elements of a small integer array (shape, axes, …) as Python numbers."""
    return tuple(int(v) for v in np.asarray(value).ravel())


def known_integers(context: TypeContext, index: int) -> tuple[int, ...] | None:
    """Return the numbers in an input that is known before running, else None."""
    value = context.value(index)
    return None if value is None else integers(value)


def known_sizes(context: TypeContext, index: int) -> Shape | None:
    """Return the sizes in an input as far as they are known, at least by name, else None."""
    numbers = known_integers(context, index)
    if numbers is not None:
        return numbers
    return context.sizes[index] if index < len(context.sizes) else None


# -- shape rules ------------------------------------------------------------------------------


def same_type(context: TypeContext) -> list[TensorType | None]:
    """Output has the type of input 0."""
    return [context.input(0)]


def with_dtype(type_: TensorType, dtype: str) -> TensorType:
    """Return the same shape with another element type."""
    return TensorType(dtype=dtype, shape=type_.shape)


def broadcast_shapes(context: TypeContext, shapes: Sequence[Shape]) -> Shape:
    """Broadcast shapes as NumPy does, names included.

    1 and a name give the name; a number above 1 and a name give the number; two different names
    may be equal or one of them 1, which only binding tells: they give a fresh name.

    Raises
    ------
    ModelError : two different numbers, none of them 1
    """
    rank = max((len(s) for s in shapes), default=0)
    result: list[Dimension] = []
    for position in range(-rank, 0):
        found = [s[position] for s in shapes if len(s) >= -position]
        sizes = {d for d in found if isinstance(d, int) and d != 1}
        names = dict.fromkeys(d for d in found if isinstance(d, str))
        if len(sizes) > 1:
            listed = " and ".join("×".join(map(str, s)) or "scalar" for s in shapes)
            raise context.error(f"shapes {listed}", "shapes that broadcast", "reshape one of them")
        if sizes:
            result.append(sizes.pop())
        elif not names:
            result.append(1)
        else:
            result.append(next(iter(names)) if len(names) == 1 else _either(names))
    return tuple(result)


def _either(names: Iterable[str]) -> str:
    """Name a size that is one of several: ``a|b``, each once, and never long."""
    parts = sorted({part for name in names for part in name.split("|")})
    joined = "|".join(parts)
    if len(joined) <= _LONGEST_NAME:
        return joined
    return f"{parts[0]}|…{content_hash(joined)[:8]}"


def broadcast(context: TypeContext) -> list[TensorType | None]:
    """All inputs broadcast; element type of input 0."""
    types = [t for t in context.inputs if t is not None]
    shape = broadcast_shapes(context, [t.shape for t in types])
    return [TensorType(dtype=context.input(0).dtype, shape=shape)]


def reduced_shape(context: TypeContext, shape: Shape, axes: Iterable[int], keepdims: bool) -> Shape:
    """Return a shape with axes reduced to 1, or dropped."""
    gone = set(axes_of(context, axes, len(shape)))
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def outer_type(context: TypeContext, dtype_attribute: str, default: str) -> str:
    """Return the element type that an attribute names by number, else a default."""
    code = context.attribute(dtype_attribute)
    return default if code is None else element_type(code)


# -- counts -----------------------------------------------------------------------------------


def nothing(context: TypeContext) -> Operations:
    """Moving data, changing its shape or naming it computes nothing."""
    return Operations()


def per_output(operations: int) -> Callable[[TypeContext], Operations]:
    """Count so many operations for every element of the first output."""

    def count(context: TypeContext) -> Operations:
        return Operations(others=operations * context.output(_first_output(context)).elements)

    return count


def per_input(operations: int, index: int = 0) -> Callable[[TypeContext], Operations]:
    """Count so many operations for every element of an input."""

    def count(context: TypeContext) -> Operations:
        return Operations(others=operations * context.input(index).elements)

    return count


def _first_output(context: TypeContext) -> int:
    return next((i for i, t in enumerate(context.outputs) if t is not None), 0)


# -- numerical habits -------------------------------------------------------------------------

_NARROW = frozenset(
    numpy_dtype(name)
    for name in ELEMENT_CODES
    if name in ("float16", "bfloat16") or name.startswith(("float8", "float4"))
)


def is_narrow(dtype: Any) -> bool:
    """Whether a NumPy dtype is a floating-point type below 32 bits."""
    return np.dtype(dtype) in _NARROW


def in_float32(function: _F) -> _F:
    """Compute in float32 when the first array is a narrow float, and round the results back.

    NumPy lacks many functions for bfloat16 and rounds after each step in float16; ONNX Runtime
    and PyTorch keep float32 between load and store. Arrays that do not have the type of the
    first one pass unchanged, as do results that are not float32.
    """

    @functools.wraps(function)
    def wrapper(*arrays: Any, **attributes: Any) -> Any:
        dtype = next((np.asarray(a).dtype for a in arrays if a is not None), None)
        if dtype is None or not is_narrow(dtype):
            return function(*arrays, **attributes)
        wide = [
            a.astype(np.float32) if a is not None and np.asarray(a).dtype == dtype else a
            for a in arrays
        ]
        result = function(*wide, **attributes)
        if isinstance(result, tuple):
            return tuple(_narrow(r, dtype) for r in result)
        return _narrow(result, dtype)

    return cast(_F, wrapper)


def _narrow(value: Any, dtype: np.dtype[Any]) -> Any:
    if value is None or np.asarray(value).dtype != np.float32:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(value).astype(dtype)


def quiet(function: _F) -> _F:
    """Compute without NumPy's warnings: overflow and 0/0 have a defined result in ONNX."""

    @functools.wraps(function)
    def wrapper(*arrays: Any, **attributes: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays, **attributes)

    return cast(_F, wrapper)
