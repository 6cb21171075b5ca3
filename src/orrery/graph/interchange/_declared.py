"""What a file declares of its outputs, held against what its nodes make.

Element types must agree, as ONNX Runtime demands; so must the number of dimensions and every size
that both sides know as a number. A name, or nothing, agrees with any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orrery.errors import ModelError

from .._graph import Graph
from .._types import ELEMENT_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a ValueInfoProto says of a tensor; None for what it leaves open.

    Attributes
    ----------
    dtype : element type
    sizes : of each dimension; the whole is None when even their number is open
    """

    dtype: str | None
    sizes: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "…" if self.sizes is None else "×".join("?" if s is None else str(s)
                                                        for s in self.sizes)  # fmt: skip
        return f"{self.dtype or 'any type'}[{sizes}]"


def declared_type(info: Any) -> Declared | None:
    """Return what a ValueInfoProto declares; None when it declares no tensor."""
    if info.type.WhichOneof("value") != "tensor_type":
        return None
    tensor = info.type.tensor_type
    sizes: tuple[int | None, ...] | None = None
    if tensor.HasField("shape"):
        sizes = tuple(
            int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None
            for dim in tensor.shape.dim
        )
    return Declared(dtype=ELEMENT_NAMES.get(tensor.elem_type), sizes=sizes)


def require_agreement(graph: Graph, declared: Mapping[str, Declared], where: str) -> None:
    """Refuse a graph whose inferred outputs contradict what its file declares.

    Raises
    ------
    ModelError : another element type, number of dimensions or size; shows both
    """
    for name, promise in declared.items():
        type_ = graph.types.get(name)
        if type_ is None:
            continue
        fits = promise.dtype in (None, type_.dtype)
        if promise.sizes is not None:
            fits = fits and len(promise.sizes) == type_.rank
            fits = fits and all(
                a is None or isinstance(b, str) or a == b
                for a, b in zip(promise.sizes, type_.shape, strict=True)
            )
        if not fits:
            raise ModelError(
                f"{where}: output {name!r}",
                found=f"{type_} as its nodes make it",
                wanted=f"{promise} as the file declares it",
                fix="correct the declared output, or export the model again",
            )
