"""What the reader keeps per graph and per inlined function call; declared types; node order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant
from .._graph import Node
from .._types import ELEMENT_NAMES, LARGEST_SIZE, Dimension, TensorType
from ._tensors import TensorSource

#: A sparse tensor is made dense; more elements than this are refused.
_MOST_DENSE_ELEMENTS = 1 << 28


@dataclass(slots=True)
class Names:
    """Hands out names that nobody has yet."""

    taken: set[str] = field(default_factory=set)
    _next: dict[str, int] = field(default_factory=dict)

    def fresh(self, hint: str) -> str:
        """Return `hint`, or `hint` with the first number that makes it new; it is taken then."""
        name, number = hint, self._next.get(hint, 2)
        while name in self.taken:
            name, number = f"{hint}_{number}", number + 1
        self._next[hint] = number
        self.taken.add(name)
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """An attribute and its kind as stored."""

    kind: int
    value: Any


@dataclass(slots=True, kw_only=True)
class Frame:
    """The surroundings of nodes: the model itself, or one call of a model-local function.

    Attributes
    ----------
    opsets : domain -> version
    renamed : name inside the function -> name in the graph
    attributes : what the caller gave, for ``ref_attr_name``
    calls : functions being inlined, outermost first
    prefix : put before names inside a function
    """

    opsets: Mapping[str, int]
    names: Names
    renamed: dict[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Value] = field(default_factory=dict)
    calls: tuple[tuple[str, str, str], ...] = ()
    prefix: str = ""

    def name(self, name: str) -> str:
        """Return a tensor's name in the graph."""
        if not name or not self.calls:
            return name
        if name not in self.renamed:
            self.renamed[name] = self.names.fresh(f"{self.prefix}{name}")
        return self.renamed[name]


@dataclass(slots=True, kw_only=True)
class Scope:
    """One graph while it is read; the surroundings that upgrades see.

    Attributes
    ----------
    visible : constants of this graph and of those around it
    ranks : tensor -> rank, where somebody knows it
    unknown_ranks : tensors whose rank an upgrade asked for in vain
    """

    where: str
    names: Names
    constants: dict[str, Constant]
    visible: dict[str, Constant]
    ranks: Mapping[str, int]
    node_names: Names = field(default_factory=Names)
    unknown_ranks: set[str] = field(default_factory=set)

    def constant(self, hint: str, value: NDArray[Any]) -> str:
        name = self.fresh(hint)
        self.constants[name] = ArrayConstant(value)
        return name

    def fresh(self, hint: str) -> str:
        return self.names.fresh(hint)

    def rank(self, tensor: str) -> int | None:
        if tensor in self.visible:
            return self.visible[tensor].type.rank
        if tensor not in self.ranks:
            self.unknown_ranks.add(tensor)
        return self.ranks.get(tensor)

    def is_empty(self, tensor: str) -> bool:
        found = self.visible.get(tensor)
        return found is not None and found.type.elements == 0


def value_type(info: Any, where: str, *, required: bool = False) -> TensorType | None:
    """Return the declared type of a ValueInfoProto; None where it says too little.

    Raises
    ------
    ModelError : with `required`, no tensor type or no rank; a dimension out of range
    """
    where = f"{where}: tensor {info.name!r}"
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type" or not info.type.tensor_type.HasField("shape"):
        if not required:
            return None
        found = "no type" if kind is None else kind.removesuffix("_type").replace("_", " ")
        raise ModelError(
            where, found="a tensor without a shape" if kind == "tensor_type" else found,
            wanted="a tensor with a known number of dimensions",
            fix="export the model with input shapes (dimensions may be symbolic)",
        )  # fmt: skip
    tensor = info.type.tensor_type
    dtype = ELEMENT_NAMES.get(tensor.elem_type)
    if dtype is None:
        if not required:
            return None
        raise ModelError(where, found=f"element type {tensor.elem_type}",
                         wanted=f"one of {', '.join(ELEMENT_NAMES.values())}",
                         fix="convert the model")  # fmt: skip
    shape: list[Dimension] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > LARGEST_SIZE:
            raise ModelError(where, found=f"dimension {dim.dim_value}",
                             wanted=f"zero to {LARGEST_SIZE}", fix="correct the shape")  # fmt: skip
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(int(dim.dim_value))
        elif dim.HasField("dim_value") and dim.dim_value < -1:
            raise ModelError(where, found=f"dimension {dim.dim_value}", wanted="zero or more",
                             fix="correct the shape")  # fmt: skip
        elif dim.dim_param:
            shape.append(str(dim.dim_param))
        elif required:  # not given, or -1 as some exporters write: its name is its place
            shape.append(f"{info.name}.{axis}")
        else:
            return None
    return TensorType(dtype=dtype, shape=tuple(shape))


def sparse_value(proto: Any, name: str, source: TensorSource) -> Constant:
    """Return a sparse tensor (coordinate format) as a dense constant.

    Raises
    ------
    ModelError : indices that do not fit, or a dense form too large to hold
    """
    where = f"{source.where}: sparse constant {name!r}"
    values = source.constant(proto.values, name).array()
    indices = source.constant(proto.indices, name).array()
    dims = tuple(proto.dims)
    elements = 1
    for size in dims:
        elements *= size
    if not dims or min(dims) < 0 or elements > _MOST_DENSE_ELEMENTS:
        raise ModelError(where, found=f"shape {dims}",
                         wanted=f"at most {_MOST_DENSE_ELEMENTS} elements when dense",
                         fix="store it dense")  # fmt: skip
    count = values.size
    if values.ndim != 1 or indices.dtype != np.int64 or values.dtype == object or (
        indices.shape not in ((count,), (count, len(dims)))
    ):  # fmt: skip
        raise ModelError(where, found=f"values {values.shape}, indices {indices.shape}",
                         wanted="one index, or one per dimension, for each value",
                         fix="save it again")  # fmt: skip
    bounds = np.array([elements] if indices.ndim == 1 else dims, np.int64)
    if count and ((indices < 0).any() or (indices.reshape(count, -1) >= bounds).any()):
        raise ModelError(where, found="an index outside the shape", wanted=f"indices below {dims}",
                         fix="save it again")  # fmt: skip
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
    dense = np.zeros(elements, values.dtype)
    dense[flat] = values
    return ArrayConstant(dense.reshape(dims))


def in_order(nodes: Sequence[Node], given: Iterable[str], where: str) -> list[Node]:
    """Return the nodes in topological order, otherwise as they stand.

    Raises
    ------
    ModelError : a cycle; names nodes on it
    """
    seen = set(given)
    made = {tensor for node in nodes for tensor in node.outputs if tensor} - seen
    for node in nodes:
        if any(tensor in made and tensor not in seen for tensor in node.inputs):
            break
        seen.update(node.outputs)
    else:
        return list(nodes)
    waiting: list[int] = []
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        needed = {tensor for tensor in node.inputs if tensor in made}
        waiting.append(len(needed))
        for tensor in needed:
            readers.setdefault(tensor, []).append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    ordered: list[Node] = []
    done: set[str] = set()
    while ready:
        node = nodes[heapq.heappop(ready)]
        ordered.append(node)
        for tensor in dict.fromkeys(node.outputs):
            if tensor in done:
                continue  # a second producer; the graph's own check names it
            done.add(tensor)
            for index in readers.get(tensor, ()):
                waiting[index] -= 1
                if waiting[index] == 0:
                    heapq.heappush(ready, index)
    if len(ordered) < len(nodes):
        stuck = [nodes[i].name for i, count in enumerate(waiting) if count > 0]
        raise ModelError(
            where, found=f"a cycle; among its nodes or after it: {', '.join(stuck[:4])}",
            wanted="a graph without cycles", fix="export the model again",
        )  # fmt: skip
    return ordered
