"""The types of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from orrery.errors import ModelError

Dimension = int | str  #: a size, or the name of a size that is not bound yet

#: No machine numbers the elements of a longer axis with 32 bits, and no network has one.
LARGEST_SIZE = 2**31 - 1

#: element type -> bits per element as stored (strings have no fixed size)
BITS: dict[str, int] = {
    "bool": 8, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int16": 16,
    "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64, "float4e2m1": 4,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8,
    "float8e8m0": 8, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64,
    "complex64": 64, "complex128": 128, "string": 0,
}  # fmt: skip

#: element type -> ONNX's number for it (`TensorProto.DataType`), as in attributes ``to``, ``dtype``
ELEMENT_CODES: dict[str, int] = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "string": 8, "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
    "complex64": 14, "complex128": 15, "bfloat16": 16, "float8e4m3fn": 17, "float8e4m3fnuz": 18,
    "float8e5m2": 19, "float8e5m2fnuz": 20, "uint4": 21, "int4": 22, "float4e2m1": 23,
    "float8e8m0": 24, "uint2": 25, "int2": 26,
}  # fmt: skip
ELEMENT_NAMES = {code: name for name, code in ELEMENT_CODES.items()}

_ML: dict[str, Any] = {
    "bfloat16": ml_dtypes.bfloat16, "float8e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "float8e5m2": ml_dtypes.float8_e5m2,
    "float8e5m2fnuz": ml_dtypes.float8_e5m2fnuz, "float8e8m0": ml_dtypes.float8_e8m0fnu,
    "float4e2m1": ml_dtypes.float4_e2m1fn, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4,
    "int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2,
}  # fmt: skip


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Return the NumPy dtype of an element type; 4-bit types take a byte each in memory."""
    if dtype == "string":
        return np.dtype(object)
    found: np.dtype[Any] = np.dtype(_ML.get(dtype, dtype))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Element type and shape of a tensor.

    Attributes
    ----------
    dtype : a key of `BITS`, e.g. ``float32``
    shape : sizes, outermost first; a name stands for a size that is not bound yet
    """

    dtype: str
    shape: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if self.dtype not in BITS:
            raise ModelError(
                "tensor type",
                found=self.dtype,
                wanted=f"one of {', '.join(BITS)}",
                fix="use a known element type",
            )
        for size in self.shape:
            if isinstance(size, int) and size < 0:
                raise ModelError(
                    "tensor type", found=f"dimension {size}", wanted="zero or more",
                    fix="correct the shape",
                )  # fmt: skip

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_bound(self) -> bool:
        """Whether every dimension is a number."""
        return all(isinstance(size, int) for size in self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape as numbers.

        Raises
        ------
        ModelError : a dimension is not bound; names it
        """
        for size in self.shape:
            if type(size) is not int:
                break
        else:  # asked for very often, and nearly always plain numbers
            return tuple(self.shape)  # type: ignore[arg-type]
        unbound = [size for size in self.shape if not isinstance(size, int)]
        if unbound:
            raise ModelError(
                f"tensor of shape {self}",
                found=f"unbound dimension {unbound[0]!r}",
                wanted="a number",
                fix=f"bind it where an input has it: --shape {unbound[0]}=8",
            )
        return tuple(int(size) for size in self.shape)

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.sizes)

    @property
    def size_bytes(self) -> int:
        """Bytes as stored, sub-byte types packed and rounded up."""
        return -(-self.elements * BITS[self.dtype] // 8)

    def __str__(self) -> str:
        return f"{self.dtype}[{'×'.join(map(str, self.shape))}]"
