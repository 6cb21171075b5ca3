"""Constants between ONNX tensors and ours: every storage form, bit for bit.

ONNX stores a tensor as raw little-endian bytes (in the message, or in a file beside it) or in one
of six typed lists. Raw bytes become a `FileConstant` wherever a file holds them, so that nothing
is read before somebody asks.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant, FileConstant, unpack_codes
from .._types import BITS, ELEMENT_CODES, ELEMENT_NAMES, TensorType, numpy_dtype

#: element type -> (field that holds its values when they are not raw, dtype of that field)
_TYPED_FIELDS: dict[str, tuple[str, type]] = {
    "float32": ("float_data", np.float32), "complex64": ("float_data", np.float32),
    "float64": ("double_data", np.float64), "complex128": ("double_data", np.float64),
    "int64": ("int64_data", np.int64), "uint32": ("uint64_data", np.uint64),
    "uint64": ("uint64_data", np.uint64), "string": ("string_data", object),
}  # fmt: skip

#: No tensor has more bytes than this, whatever a damaged file declares.
_MOST_BYTES = 1 << 50


@dataclass(slots=True)
class TensorSource:
    """Where the tensors of one model come from, and the reader of each.

    Attributes
    ----------
    where : the model, for messages
    path : the model's file when it can be mapped, else None
    folder : where external data may lie; None when the model has no file
    span : raw bytes -> (offset, length) in `path` if they are a ticket of `_wire.lean`
    """

    where: str
    path: Path | None = None
    folder: Path | None = None
    span: Callable[[bytes], tuple[int, int] | None] = lambda raw: None
    _sizes: dict[str, tuple[Path, int]] = field(default_factory=dict)

    def constant(self, tensor: Any, name: str) -> Constant:
        """Return the value of a TensorProto; external and large ones stay in their file.

        Raises
        ------
        ModelError : an unknown element type, bytes that do not fill the shape, or external data
            that is missing, short or outside the model's folder
        """
        where = f"{self.where}: constant {name!r}"
        type_ = _type(tensor, where)
        if tensor.HasField("segment"):
            raise ModelError(where, found="a tensor in segments", wanted="a whole tensor",
                             fix="save the model again")  # fmt: skip
        if tensor.data_location == 1:
            return self._external(tensor, type_, where)
        if type_.dtype == "string":
            return ArrayConstant(_strings(tensor, type_, where))
        if tensor.HasField("raw_data"):
            span = self.span(tensor.raw_data)
            if span is None or self.path is None:
                return ArrayConstant(from_bytes(tensor.raw_data, type_, where))
            offset, length = span
            if length != type_.size_bytes:
                raise _misfit(where, length, type_)
            return FileConstant(path=self.path, offset=offset, type=type_)
        return ArrayConstant(_typed(tensor, type_, where))

    def _external(self, tensor: Any, type_: TensorType, where: str) -> Constant:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if any(isinstance(text, bytes) for entry in entries.items() for text in entry):
            raise ModelError(f"{where}: external data", found="bytes that are no UTF-8",
                             wanted="text in UTF-8", fix="save the model again")  # fmt: skip
        location = entries.get("location", "")
        offset = _whole_number(entries, "offset", 0, where)
        length = _whole_number(entries, "length", type_.size_bytes, where)
        if type_.dtype == "string":
            raise ModelError(where, found="strings in external data", wanted="strings in the model",
                             fix="save the model again")  # fmt: skip
        if length != type_.size_bytes:
            raise _misfit(where, length, type_)
        if location not in self._sizes:
            path = self._safe_path(location, where)
            self._sizes[location] = (path, path.stat().st_size)
        path, size = self._sizes[location]
        if offset + length > size:
            raise ModelError(
                f"{where}: external data {location!r}", found=f"{size} bytes",
                wanted=f"{offset + length} bytes (offset {offset} + length {length})",
                fix="copy the data file again, whole",
            )  # fmt: skip
        if not length:
            return ArrayConstant(np.zeros(type_.sizes, numpy_dtype(type_.dtype)))
        return FileConstant(path=path, offset=offset, type=type_)

    def _safe_path(self, location: str, where: str) -> Path:
        """Return the file of an external location, which must lie below the model's folder."""
        where = f"{where}: external data {location!r}"
        wanted, fix = "a file inside the model's folder", "put the data file beside the model"
        if self.folder is None:
            raise ModelError(where, found="a model without a folder", wanted=wanted,
                             fix="read the model from its file")  # fmt: skip
        parts = PurePosixPath(location).parts
        windows = PureWindowsPath(location)
        if (
            not location or "\0" in location or "\\" in location or windows.drive
            or PurePosixPath(location).is_absolute() or ".." in parts or not parts
        ):  # fmt: skip
            raise ModelError(where, found="a path that leaves the folder or is none",
                             wanted=wanted, fix=fix)  # fmt: skip
        path = self.folder
        for index, part in enumerate(parts):
            path = path / part
            try:
                mode = path.lstat().st_mode
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise ModelError(where, found=reason, wanted=wanted, fix=fix) from None
            if stat.S_ISLNK(mode):
                raise ModelError(where, found="a symbolic link", wanted=wanted, fix=fix)
            last = index == len(parts) - 1
            if last != stat.S_ISREG(mode) or (not last and not stat.S_ISDIR(mode)):
                raise ModelError(where, found="something that is no plain file", wanted=wanted,
                                 fix=fix)  # fmt: skip
        return path


def from_bytes(raw: bytes, type_: TensorType, where: str) -> NDArray[Any]:
    """Return the tensor that little-endian raw bytes hold."""
    if len(raw) != type_.size_bytes:
        raise _misfit(where, len(raw), type_)
    bits = BITS[type_.dtype]
    if bits < 8:
        data = np.frombuffer(raw, np.uint8)
        lanes = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
        codes = np.stack(lanes, -1).ravel()[: type_.elements]
        return unpack_codes(codes, type_.dtype).reshape(type_.sizes)
    if type_.dtype == "bool":  # a byte other than 0 and 1 would make NumPy inconsistent
        return np.not_equal(np.frombuffer(raw, np.uint8), 0).reshape(type_.sizes)
    return np.frombuffer(raw, numpy_dtype(type_.dtype)).reshape(type_.sizes)


def pack_bytes(value: NDArray[Any], dtype: str) -> bytes:
    """Return the raw little-endian bytes of a tensor, sub-byte types packed low bits first."""
    bits = BITS[dtype]
    if bits >= 8:
        return np.ascontiguousarray(value).tobytes()
    codes = np.ascontiguousarray(value).ravel().view(np.uint8) & ((1 << bits) - 1)
    lanes = 8 // bits
    codes = np.concatenate([codes, np.zeros(-len(codes) % lanes, np.uint8)]).reshape(-1, lanes)
    packed = np.zeros(len(codes), np.uint8)
    for lane in range(lanes):
        packed |= (codes[:, lane] << (bits * lane)).astype(np.uint8)
    return packed.tobytes()


def _type(tensor: Any, where: str) -> TensorType:
    dtype = ELEMENT_NAMES.get(tensor.data_type)
    if dtype is None:
        raise ModelError(where, found=f"element type {tensor.data_type}",
                         wanted=f"one of {', '.join(ELEMENT_CODES)}", fix="convert it")  # fmt: skip
    dims = tuple(tensor.dims)
    if any(d < 0 for d in dims):
        raise ModelError(where, found=f"shape {dims}", wanted="sizes of zero or more",
                         fix="correct the shape")  # fmt: skip
    if len(dims) > 64 or math.prod(d for d in dims if d) * 16 > _MOST_BYTES:
        raise ModelError(where, found=f"shape {dims[:8]} of rank {len(dims)}",
                         wanted="a tensor that some memory can hold",
                         fix="check that the file is whole")  # fmt: skip
    return TensorType(dtype=dtype, shape=dims)


def _strings(tensor: Any, type_: TensorType, where: str) -> NDArray[Any]:
    if len(tensor.string_data) != type_.elements:
        raise ModelError(where, found=f"{len(tensor.string_data)} strings",
                         wanted=f"{type_.elements} for {type_}", fix="save it again")  # fmt: skip
    value = np.empty(type_.elements, object)
    try:
        value[:] = [text.decode("utf-8") for text in tensor.string_data]
    except UnicodeDecodeError:
        raise ModelError(where, found="bytes that are no UTF-8", wanted="text in UTF-8",
                         fix="save the strings as UTF-8") from None  # fmt: skip
    return value.reshape(type_.sizes)


def _typed(tensor: Any, type_: TensorType, where: str) -> NDArray[Any]:
    dtype = type_.dtype
    source, stored = _TYPED_FIELDS.get(dtype, ("int32_data", np.int32))
    values: NDArray[Any] = np.array(getattr(tensor, source), stored)
    bits = BITS[dtype]
    lanes = 8 // bits if bits < 8 else 1
    wanted = type_.elements * 2 if dtype.startswith("complex") else -(-type_.elements // lanes)
    if len(values) != wanted:
        raise ModelError(where, found=f"{len(values)} values in {source}",
                         wanted=f"{wanted} for {type_}", fix="save it again")  # fmt: skip
    if bits < 8:
        return from_bytes(values.astype(np.uint8).tobytes(), type_, where)
    if dtype == "bool":
        return values.astype(np.bool_).reshape(type_.sizes)
    if dtype.startswith("complex"):
        return values.view(numpy_dtype(dtype)).reshape(type_.sizes)
    if source == "int32_data" and (dtype.startswith(("float", "bfloat"))):
        codes = values.astype(np.uint16 if bits == 16 else np.uint8)
        return codes.view(numpy_dtype(dtype)).reshape(type_.sizes)
    return values.astype(numpy_dtype(dtype)).reshape(type_.sizes)


def _whole_number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ModelError(f"{where}: external data {key}", found=text,
                         wanted="a whole number, zero or more",
                         fix="save the model again")  # fmt: skip
    return int(text)


def _misfit(where: str, found: int, type_: TensorType) -> ModelError:
    return ModelError(where, found=f"{found} bytes", wanted=f"{type_.size_bytes} bytes for {type_}",
                      fix="check that the file is whole")  # fmt: skip
