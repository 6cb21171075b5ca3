"""One immutable graph: nodes in topological order, typed tensors, lazy constants.

Models:  a network as ONNX operators on tensors, with inputs, outputs, constants and resident
         tensors (a state's next value is an output: key/value caches, optimiser moments).
Ignores: control flow is opaque: a node's sub-graphs are attributes.
Judge:   write to ONNX, read again, equal; ONNX Runtime on every network family.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from orrery.errors import ModelError, UnknownNameError
from orrery.store import content_hash

from ._constant import Constant, same_value
from ._types import TensorType

if TYPE_CHECKING:
    from ._operator import Operations

#: Constants of up to so many elements are copied into the bodies that read them.
_COPIED_ELEMENTS = 4096

#: So many answers of a kind are remembered per graph, or one per node.
_KEPT = 8

T = TypeVar("T")

#: int, float, text, tuples of these, a NumPy array (tensor attribute) or a Graph (a body)
Attribute = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator application.

    Attributes
    ----------
    name : unique in its graph
    op : ONNX operator name at the semantics of `CANONICAL_OPSET`; older files are upgraded on
        reading
    inputs : tensor names; an empty name is an absent optional input
    outputs : tensor names; an empty name is an output nobody wants
    attributes : by name; absent ones take the operator's default
    domain : ``""`` for ONNX's own operators
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.op, self.inputs, self.outputs))

    @property
    def operator(self) -> str:
        """Domain and name, e.g. ``Conv`` or ``com.example.Magic``."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network.

    Attributes
    ----------
    name : the network's name
    nodes : in topological order (checked)
    inputs : names of the tensors a caller gives, states included
    outputs : names of the tensors a caller gets, next values of states included
    types : of every tensor whose type is known, constants included
    constants : tensor name -> value, not read before somebody asks
    states : input name -> output name that holds its next value (resident between calls)
    metadata : free text pairs, kept in the ONNX file
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    _index: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for attribute in ("types", "constants", "states", "metadata"):
            value = getattr(self, attribute)
            if not isinstance(value, MappingProxyType):
                object.__setattr__(self, attribute, MappingProxyType(dict(value)))
        self._check()

    def _check(self) -> None:
        for what, group in (
            ("inputs", self.inputs), ("outputs", self.outputs), ("constants", self.constants),
        ):  # fmt: skip
            if "" in group:
                raise ModelError(
                    f"{self.name}: {what}",
                    found="a tensor without a name",
                    wanted="a name for each",
                    fix="name it",
                )
        known = {"", *self.inputs, *self.constants}
        producers: dict[str, Node] = {}
        names: set[str] = set()
        everything = {output for node in self.nodes for output in node.outputs}
        for node in self.nodes:
            where = f"{self.name}: node {node.name!r}"
            if node.name in names:
                raise ModelError(
                    where,
                    found="a second node of this name",
                    wanted="unique names",
                    fix="rename one",
                )
            names.add(node.name)
            for tensor in node.inputs:
                if tensor not in known:
                    found = f"input {tensor!r}, which " + (
                        "is made later or by a cycle" if tensor in everything else "nobody defines"
                    )
                    raise ModelError(
                        where,
                        found=found,
                        wanted="nodes in topological order",
                        fix="sort the nodes or define the tensor",
                    )
            for tensor in node.outputs:
                if tensor and tensor in known:
                    raise ModelError(
                        where,
                        found=f"output {tensor!r} defined twice",
                        wanted="one producer per tensor",
                        fix="rename one",
                    )
                known.add(tensor)
                producers[tensor] = node
        for tensor in (*self.outputs, *self.states, *self.states.values()):
            if tensor not in known:
                raise ModelError(
                    f"{self.name}: outputs",
                    found=f"{tensor!r}, which nobody defines",
                    wanted="tensors of the graph",
                    fix="correct the name",
                )
        for source, target in self.states.items():
            if source not in self.inputs or target not in self.outputs:
                raise ModelError(
                    f"{self.name}: states",
                    found=f"{source!r} -> {target!r}",
                    wanted="an input and an output",
                    fix="list both",
                )
        producers.pop("", None)
        self._index["producer"] = producers

    # -- looking around ---------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Equal structure, metadata and constants' values, bit by bit, wherever these lie."""
        if not isinstance(other, Graph):
            return NotImplemented
        return (
            self.structure_digest == other.structure_digest
            and dict(self.metadata) == dict(other.metadata)
            and self.constants.keys() == other.constants.keys()
            and all(same_value(c, other.constants[name]) for name, c in self.constants.items())
        )

    def __hash__(self) -> int:
        return hash((self.name, self.nodes, self.inputs, self.outputs))

    def __reduce__(self) -> tuple[partial[Graph], tuple[()]]:
        """Pickle as it was made: read-only views of dictionaries cannot travel."""
        return partial(
            Graph, name=self.name, nodes=self.nodes, inputs=self.inputs, outputs=self.outputs,
            types=dict(self.types), constants=dict(self.constants), states=dict(self.states),
            metadata=dict(self.metadata),
        ), ()  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"Graph({self.name!r}, {len(self.nodes)} nodes, inputs {', '.join(self.inputs)}, "
            f"outputs {', '.join(self.outputs)})"
        )

    def node(self, name: str) -> Node:
        """Return the node of this name."""
        by_name = self._index.get("node")
        if by_name is None:
            by_name = self._index["node"] = {node.name: node for node in self.nodes}
        try:
            found: Node = by_name[name]
        except KeyError:
            raise UnknownNameError(f"node of {self.name}", name, by_name) from None
        return found

    def producer(self, tensor: str) -> Node | None:
        """Return the node that makes a tensor; None for inputs and constants."""
        found: Node | None = self._index["producer"].get(tensor)
        return found

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, each once, in order."""
        table = self._index.get("consumers")
        if table is None:
            table = {}
            for node in self.nodes:
                for name in dict.fromkeys(node.inputs):
                    table.setdefault(name, []).append(node)
            table = self._index["consumers"] = {k: tuple(v) for k, v in table.items()}
        found: tuple[Node, ...] = table.get(tensor, ())
        return found

    def type(self, tensor: str) -> TensorType:
        """Return the type of a tensor.

        Raises
        ------
        ModelError : the type is not known (shape inference could not tell)
        """
        try:
            return self.types[tensor]
        except KeyError:
            raise ModelError(
                f"{self.name}: tensor {tensor!r}", found="no known type", wanted="a type",
                fix="bind the symbolic dimensions and infer shapes",
            ) from None  # fmt: skip

    def known_bytes(self, tensor: str) -> int | None:
        """Return the bytes of a tensor, None when only running can tell its size."""
        type_ = self.types.get(tensor)
        known = type_ is not None and type_.is_bound and type_.dtype != "string"
        return type_.size_bytes if known and type_ is not None else None

    def grown_from(self, tensor: str) -> str | None:
        """Return the state that a tensor appends to, or None.

        Before: next = Concat(state, new). After: where the state lies, only `new` is written; the
        rest of the next value is there already (a key/value cache).
        """
        node = self.producer(tensor)
        if node is None or node.op != "Concat" or node.domain:
            return None
        return next((name for name in node.inputs if self.states.get(name) == tensor), None)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the dimensions of inputs that are not bound yet."""
        names = [d for i in self.inputs for d in self.type(i).shape if isinstance(d, str)]
        return tuple(dict.fromkeys(names))

    @property
    def digest(self) -> str:
        """Hash of structure, types and constants: two graphs with one digest compute the same."""
        if "digest" not in self._index:
            self._index["digest"] = content_hash(
                self.structure_digest,
                *(f"{n}={c.digest()}" for n, c in sorted(self.constants.items())),
            )
        return str(self._index["digest"])

    @property
    def structure_digest(self) -> str:
        """Hash of everything but the constants' values."""
        if "structure" not in self._index:
            tensors = {"", *self.inputs, *self.outputs}
            tensors |= {t for node in self.nodes for t in (*node.inputs, *node.outputs)}
            self._index["structure"] = content_hash(
                self.name,
                repr(self.inputs),
                repr(self.outputs),
                repr(sorted(self.states.items())),
                *(_node_text(node) for node in self.nodes),
                *(f"{n}:{self.types[n]}" for n in sorted(tensors) if n in self.types),
            )
        return str(self._index["structure"])

    def remembered(self, what: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned for this key the last time, or make it now.

        For answers about this graph that are asked again and again: bodies within bodies would be
        worked out anew at every level. Only the latest few are kept.
        """
        kept = self._index.setdefault(f"remembered {what}", {})
        if key in kept:
            found: T = kept[key]
            return found
        made = make()
        while len(kept) >= max(_KEPT, len(self.nodes)):
            del kept[next(iter(kept))]
        kept[key] = made
        return made

    # -- verbs (each lives in its own module) -------------------------------------------------

    def with_types(self, types: Mapping[str, TensorType]) -> Graph:
        """Return the same graph with these tensor types."""
        return replace(self, types=types)

    def bind(self, **sizes: int) -> Graph:
        """Bind symbolic dimensions by name and infer all types again."""
        from ._infer import bind

        return bind(self, sizes)

    def infer(self) -> Graph:
        """Return the graph with the type of every tensor inferred."""
        from ._infer import infer

        return infer(self)

    def evaluate(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the NumPy reference; returns the graph's outputs by name."""
        from ._evaluate import evaluate

        return evaluate(self, inputs)

    def operations(self, node: Node) -> Operations:
        """Return MACs and other operations of a node at the bound shapes."""
        from ._infer import count

        return count(self, node)

    def macs_by_type(self, node: Node) -> Mapping[str, int]:
        """Return the MACs of a node by the element type of what is multiplied.

        Those of a body (If, Loop, Scan) count under the types of the body's own nodes, wherever
        nested; a node's type is that of its first operand.
        """
        from ._infer import macs_by_type

        return macs_by_type(self, node)

    def all_constants(self) -> tuple[Constant, ...]:
        """Return every constant, those inside bodies included, each once."""
        mine = tuple(self.constants.values())
        return mine + _inner_constants(self.nodes, self.constants)

    def known_operations(self, node: Node) -> Operations | None:
        """Return `operations`, or None when only running can tell (a loop that data ends)."""
        try:
            return self.operations(node)
        except ModelError:
            return None

    def training(
        self, optimizer: str = "sgd", *, loss: str = "auto", outputs: Sequence[str] = (),
        frozen: Sequence[str] = (), seed: int = 0, **settings: float,
    ) -> Graph:  # fmt: skip
        """Derive the training step: forward, loss, backward and update nodes.

        Learned tensors become states. See `orrery.graph._training.training` for the parameters.
        """
        from ._training import training

        return training(
            self, optimizer, loss=loss, outputs=outputs, frozen=frozen, seed=seed, **settings
        )

    def regions(self) -> tuple[Region, ...]:
        """Return one region per node, the default unit of plans."""
        return tuple(Region(graph=self, nodes=(node.name,)) for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A connected piece of a graph, usually one node: the unit of plans, profiling and kernels.

    `nodes` are node names in topological order; `label` overrides the name.
    """

    graph: Graph
    nodes: tuple[str, ...]
    label: str = ""

    @property
    def name(self) -> str:
        """The label, else the first node's name (with a count when there are more)."""
        more = f"+{len(self.nodes) - 1}" if len(self.nodes) > 1 else ""
        return self.label or self.nodes[0] + more

    @property
    def members(self) -> tuple[Node, ...]:
        return tuple(self.graph.node(name) for name in self.nodes)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that come from outside, constants not counted."""
        return tuple(t for t in self._outside() if t not in self.graph.constants)

    @property
    def weights(self) -> tuple[str, ...]:
        """Constants that members read."""
        return tuple(t for t in self._outside() if t in self.graph.constants)

    @property
    def operators(self) -> frozenset[str]:
        """Operators of all members and of the nodes in their bodies."""
        inner = (node for body in bodies_of(self.members) for node in body.nodes)
        return frozenset(node.operator for node in (*self.members, *inner))

    @property
    def inner_constants(self) -> tuple[Constant, ...]:
        """Constants inside the members' bodies, each once and none that is among `weights`."""
        weights = {name: self.graph.constants[name] for name in self.weights}
        return _inner_constants(self.members, weights)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors made here that somebody outside reads or that the graph returns."""
        mine, wanted = set(self.nodes), set(self.graph.outputs)
        return tuple(
            t
            for node in self.members
            for t in node.outputs
            if t and (t in wanted or any(c.name not in mine for c in self.graph.consumers(t)))
        )

    @property
    def operations(self) -> Operations:
        """MACs and other operations of all members."""
        from ._operator import Operations

        total = Operations()
        for node in self.members:
            total += self.graph.operations(node)
        return total

    def _outside(self) -> Iterable[str]:
        made = {t for node in self.members for t in node.outputs}
        return dict.fromkeys(t for n in self.members for t in n.inputs if t and t not in made)

    def size_bytes(self, tensors: Iterable[str]) -> int:
        """Total bytes of tensors."""
        return sum(self.graph.type(t).size_bytes for t in tensors)


def bodies_of(nodes: Iterable[Node]) -> Iterator[Graph]:
    """Yield the bodies of nodes and the bodies in these."""
    for node in nodes:
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield value
                yield from bodies_of(value.nodes)


def _inner_constants(nodes: Iterable[Node], outer: Mapping[str, Constant]) -> tuple[Constant, ...]:
    """Return the constants inside bodies, but not those that are copies of an outer one."""
    bodies = list(bodies_of(nodes))
    named = {name for body in bodies for name in body.constants}
    seen = {_identity(name, outer[name]) for name in named if name in outer}
    found = []
    for body in bodies:
        for name, constant in body.constants.items():
            key = _identity(name, constant)
            if key not in seen:
                seen.add(key)
                found.append(constant)
    return tuple(found)


def _identity(name: str, constant: Constant) -> tuple[str, object]:
    """Return what copies of one constant share; only small ones are ever copied into bodies."""
    small = constant.type.dtype != "string" and constant.type.elements <= _COPIED_ELEMENTS
    return name, constant.digest() if small else id(constant)


def _node_text(node: Node) -> str:
    attributes = sorted((k, _attribute_text(v)) for k, v in node.attributes.items())
    return repr((node.name, node.operator, node.inputs, node.outputs, attributes))


def _attribute_text(value: Attribute) -> str:
    if isinstance(value, Graph):
        return value.digest
    if hasattr(value, "tobytes"):
        return content_hash(str(value.dtype), str(value.shape), value.tobytes())
    return repr(value)
