"""Trained weights from a safetensors file, put into a network under the same names.

The file is read as its specification says (https://github.com/huggingface/safetensors): eight
bytes of header length, little-endian, a JSON header, then the tensors back to back. Nothing of it
is executed and no tensor is read before somebody wants its values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, did_you_mean
from orrery.store import open_plain

from ._constant import Constant, FileConstant, SeededConstant
from ._graph import Graph
from ._precision import ConvertedConstant
from ._types import BITS, TensorType

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8e4m3fn",
    "F8_E5M2": "float8e5m2",
}  # fmt: skip
_LARGEST_HEADER = 100_000_000  #: of the specification
_MESSAGE_NAMES = 6


def read_safetensors(path: Path) -> dict[str, FileConstant]:
    """Return the tensors of a file by name, mapped when they are read.

    Raises
    ------
    SpecError : no such file, or not one of this format: says what is wrong with which tensor
    """
    try:
        with open_plain(path) as handle:
            size = path.stat().st_size
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"a file of {size} bytes whose header says {length}")
            header = json.loads(handle.read(length))
            if not isinstance(header, dict):
                raise ValueError("a header that is no mapping of names")
    except (OSError, ValueError, RecursionError) as error:
        said = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        if isinstance(error, FileNotFoundError):
            said = "no such file"
        raise SpecError(
            str(path), found=said, wanted="a safetensors file",
            fix="write it with safetensors.torch.save_file(module.state_dict(), path)",
        ) from None  # fmt: skip
    header.pop("__metadata__", None)
    begin = 8 + length
    return {name: _entry(path, name, said, begin, size - begin) for name, said in header.items()}


def _entry(path: Path, name: str, said: Any, begin: int, held: int) -> FileConstant:
    def refuse(found: object, wanted: str) -> SpecError:
        return SpecError(f"{path}: tensor {name!r}", found=found, wanted=wanted,
                         fix="write the file again")  # fmt: skip

    said = said if isinstance(said, Mapping) else {}
    dtype, shape, offsets = (said.get(key) for key in ("dtype", "shape", "data_offsets"))
    if dtype not in _DTYPES:
        raise refuse(f"element type {dtype}", f"one of {', '.join(_DTYPES)}")
    if not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise refuse(f"shape {shape} at {offsets}", "whole numbers")
    type_ = TensorType(dtype=_DTYPES[dtype], shape=tuple(shape))
    first, last = offsets
    bytes_ = math.prod(shape) * BITS[type_.dtype] // 8
    if last - first != bytes_ or last > held:
        raise refuse(f"bytes {first} to {last} of {held}", f"the {bytes_} bytes of {type_}")
    return FileConstant(path=path, offset=begin + first, type=type_)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)


def with_weights(graph: Graph, weights: Mapping[str, Constant], *, where: str) -> Graph:
    """Return the network with its constants replaced by those of the same names.

    Every weight that the library draws from a seed must be given; another float type that is
    narrower than the network's is widened, which is exact. Counters of training steps
    (``num_batches_tracked``) are left out.

    Raises
    ------
    SpecError : names that are missing or that the network does not have, another shape or element
        type, a square matrix whose orientation nobody can tell
    """
    given = {n: w for n, w in weights.items() if not n.endswith("num_batches_tracked")}
    drawn = {n for n, c in graph.constants.items() if isinstance(c, SeededConstant)}
    missing, unexpected = sorted(drawn - set(given)), sorted(set(given) - set(graph.constants))
    if missing or unexpected or not given:
        parts = (("no", missing, " for the network"), ("", unexpected, ", which it does not have"))
        found = "; ".join(f"{no} {_few(names)}{end}".strip() for no, names, end in parts if names)
        near = did_you_mean(unexpected[0], missing) if unexpected and missing else ""
        raise SpecError(
            f"{where} for {graph.name}", found=found or "no tensors",
            wanted=f"the {len(drawn) or len(graph.constants)} tensors of the network by name",
            fix=f"rename them{near}, or give an ONNX file, which holds its weights",
        )  # fmt: skip
    transposed = {node.inputs[1] for node in graph.nodes if node.operator == "MatMul"}
    found_types = {
        name: _fitted(
            f"{where}: tensor {name!r}",
            weight,
            graph.constants[name].type,
            square=name in transposed & drawn,
        )
        for name, weight in given.items()
    }
    return replace(graph, constants={**graph.constants, **found_types})


def _few(names: list[str]) -> str:
    more = len(names) - _MESSAGE_NAMES
    return ", ".join(names[:_MESSAGE_NAMES]) + (f" and {more} more" if more > 0 else "")


def _fitted(where: str, weight: Constant, want: TensorType, *, square: bool) -> Constant:
    have = weight.type
    same = have.dtype == want.dtype
    widens = "float" in have.dtype and "float" in want.dtype and BITS[have.dtype] < BITS[want.dtype]
    if have.shape != want.shape or not (same or widens):
        raise SpecError(where, found=str(have), wanted=str(want),
                        fix="convert or transpose the tensor")  # fmt: skip
    if square and len(want.sizes) == 2 and want.sizes[0] == want.sizes[1] > 1:
        raise SpecError(
            where, found=f"{have}, square", wanted="a matrix whose sizes tell rows from columns",
            fix="give an ONNX file: frameworks store this matrix in either order",
        )  # fmt: skip
    return weight if same else ConvertedConstant(original=weight, type=want)
