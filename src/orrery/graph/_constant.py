"""Constants that take memory only while somebody reads them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError
from orrery.store import content_hash

from ._types import BITS, TensorType, numpy_dtype


def dtype_name(dtype: Any) -> str:
    """Return the element type that a NumPy dtype stands for, e.g. ``float8e4m3fn``."""
    dtype = np.dtype(dtype)
    if dtype == np.dtype(object) or dtype.kind in "US":
        return "string"
    for name in BITS:
        if name != "string" and numpy_dtype(name) == dtype:
            return name
    raise ModelError("constant", found=str(dtype), wanted="a tensor element type", fix="convert it")


@runtime_checkable
class Constant(Protocol):
    """A tensor whose value is part of the model."""

    @property
    def type(self) -> TensorType:
        """Element type and (bound) shape."""
        ...

    def array(self) -> NDArray[Any]:
        """Return the value; it may be a read-only view of a mapped file. Do not keep it."""
        ...

    def digest(self) -> str:
        """Return a hash of the value (or of the recipe that determines it)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayConstant:
    """A value in memory."""

    value: NDArray[Any]

    def __post_init__(self) -> None:
        value = np.asarray(self.value)
        if value.flags.writeable:
            value = value.copy()
            value.flags.writeable = False
        object.__setattr__(self, "value", value)

    @property
    def type(self) -> TensorType:
        return TensorType(dtype=dtype_name(self.value.dtype), shape=self.value.shape)

    def array(self) -> NDArray[Any]:
        return self.value

    def digest(self) -> str:
        if self.value.dtype == object:
            return content_hash("strings", *(str(s) for s in self.value.ravel()))
        return content_hash(str(self.type), np.ascontiguousarray(self.value).tobytes())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileConstant:
    """A value that lies in a file, little-endian, at an offset; mapped when read.

    Sub-byte types are packed in the file, low nibble first, and unpacked when read.
    """

    path: Path
    offset: int
    type: TensorType

    def array(self) -> NDArray[Any]:
        size = self.type.size_bytes
        if size == 0:
            return np.zeros(self.type.sizes, numpy_dtype(self.type.dtype))
        try:
            raw = np.memmap(self.path, np.uint8, "r", self.offset, (size,))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"constant in {self.path.name}",
                found=str(error),
                wanted="the file as it was when the model was read",
                fix="restore the file or read the model again",
            ) from None
        bits = BITS[self.type.dtype]
        if bits < 8:
            lanes = [(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
            codes = np.stack(lanes, -1).ravel()[: self.type.elements]
            return unpack_codes(codes, self.type.dtype).reshape(self.type.sizes)
        if self.type.dtype == "bool":  # a byte other than 0 and 1 would make NumPy inconsistent
            return raw.astype(np.bool_).reshape(self.type.sizes)
        dtype = numpy_dtype(self.type.dtype)
        return np.frombuffer(raw, dtype).reshape(self.type.sizes)

    def digest(self) -> str:
        if BITS[self.type.dtype] < 8 or self.type.dtype == "bool":
            return ArrayConstant(self.array()).digest()
        # The same hash as `ArrayConstant.digest`, a block at a time.
        label, left = str(self.type).encode(), self.type.size_bytes
        hasher = hashlib.blake2b(len(label).to_bytes(8, "little") + label, digest_size=20)
        hasher.update(left.to_bytes(8, "little"))
        with self.path.open("rb") as handle:
            handle.seek(self.offset)
            while left > 0 and (block := handle.read(min(left, 1 << 22))):
                hasher.update(block)
                left -= len(block)
        return hasher.hexdigest()


def same_value(one: Constant, other: Constant) -> bool:
    """Return whether two constants hold the same bits, wherever they lie."""
    if one.type != other.type:
        return False
    if one is other or (type(one) is type(other) and one.digest() == other.digest()):
        return True
    a, b = one.array(), other.array()
    if one.type.dtype == "string":
        return bool(np.array_equal(a, b))
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def unpack_codes(codes: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """Turn sub-byte codes, one to a byte, into elements of a sub-byte type."""
    bits = BITS[dtype]
    if dtype.startswith("int"):
        sign = np.uint8(1 << (bits - 1))
        return ((codes ^ sign).astype(np.int8) - np.int8(sign)).astype(numpy_dtype(dtype))
    if dtype.startswith("uint"):
        return codes.astype(numpy_dtype(dtype))
    return codes.astype(np.uint8).view(numpy_dtype(dtype))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SeededConstant:
    """Values drawn from a seeded normal distribution; the model library's weights.

    The same (key, shape, mean, scale) gives the same values on every machine.

    Attributes
    ----------
    key : text that seeds the generator, e.g. ``resnet18/layer1.0.conv1.weight``
    mean, scale : of the normal distribution; scale 0 gives a constant
    positive : take the absolute value (for variances)
    """

    key: str
    type: TensorType
    mean: float = 0.0
    scale: float = 1.0
    positive: bool = False

    def array(self) -> NDArray[Any]:
        if self.scale == 0:
            return np.full(self.type.sizes, self.mean, numpy_dtype(self.type.dtype))
        seed = int.from_bytes(hashlib.blake2b(self.key.encode(), digest_size=8).digest(), "little")
        values = np.random.Generator(np.random.PCG64(seed)).standard_normal(
            self.type.sizes, np.float32
        )
        values *= np.float32(self.scale)
        values += np.float32(self.mean)
        if self.positive:
            np.abs(values, out=values)
        return values.astype(numpy_dtype(self.type.dtype), copy=False)

    def digest(self) -> str:
        return content_hash(
            "seeded", self.key, str(self.type), repr((self.mean, self.scale, self.positive))
        )
