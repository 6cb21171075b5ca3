"""A graph that grows while a PyTorch program is translated, operator by operator.

Nothing here knows PyTorch: `_from_torch` turns its programs into neutral operands (`Value`, number,
text for an element type, list) and calls the translator that is registered for each ATen operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant
from .._graph import Graph, Node
from .._operator import RANDOM_OPERATORS, TypeContext, find_operator
from .._sizes import Sizes, propagate
from .._training import LEARNED_KEY, PADDING_KEY, STOPS_KEY
from .._types import TensorType, numpy_dtype
from ._relay import relay

#: Constants up to this many elements are shown to shape rules as values.
_VALUE_LIMIT = 4096

#: What is computed from constants alone is computed now when it has no more elements than this, or
#: no more than what it is computed from.
_FOLD_LIMIT = 1 << 16

#: ONNX's numbers for element types (`TensorProto.DataType`).
_CODES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "bfloat16": 16,
}  # fmt: skip

Operand = Any  #: `Value`, number, text, None or a list of these
_F = TypeVar("_F", bound=Callable[..., Any])

#: ATen operator with overload, e.g. ``aten.add.Tensor`` -> translator(translation, *args, **kwargs)
TRANSLATORS: dict[str, Callable[..., Any]] = {}


def translates(*operators: str) -> Callable[[_F], _F]:
    """Register a function as the translator of ATen operators; twice is an error.

    A name without an overload means ``.default``.
    """

    def register(function: _F) -> _F:
        for name in operators:
            full = "aten." + (name if "." in name else f"{name}.default")
            if full in TRANSLATORS:
                raise ValueError(f"{full} has two translators")
            TRANSLATORS[full] = function
        return function

    return register


class Refusal(Exception):  # no error by itself: the reader gathers all of them
    """A translator meets arguments it cannot express; the reader lists all of them at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor of the program, or a size that is not bound yet (a one-element int64 tensor).

    `size` is the name of such a size, empty for tensors.
    """

    name: str
    type: TensorType
    size: str = ""

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def shape(self) -> tuple[int | str, ...]:
        return self.type.shape

    @property
    def rank(self) -> int:
        return self.type.rank


def is_float(dtype: str) -> bool:
    """Return whether an element type holds real numbers."""
    return dtype.startswith(("float", "bfloat"))


@dataclass(slots=True, kw_only=True)
class Translation:
    """The graph under construction.

    Attributes
    ----------
    results : types of the current operator's outputs, as PyTorch has them
    wanted : which of these outputs somebody reads
    learned : constants that training changes; what depends on them is never computed now
    padding : learned tables with the row that no gradient reaches
    stops : nodes at which gradients stop
    turned : learned matrix -> its transpose, which several layers may read
    """

    name: str
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    sizes: dict[str, Sizes] = field(default_factory=dict)
    uniform: dict[str, float] = field(default_factory=dict)
    results: tuple[TensorType, ...] = ()
    wanted: frozenset[int] = frozenset()
    learned: set[str] = field(default_factory=set)
    padding: set[tuple[str, int]] = field(default_factory=set)
    stops: set[str] = field(default_factory=set)
    turned: dict[str, Value] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)
    _base: str = ""

    # -- what the reader calls ----------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """Return a tensor name that nobody has, near the wanted one."""
        name = name or "tensor"
        candidate = name
        while candidate in self._taken:
            candidate = f"{name}_{self._taken[name]}"
            self._taken[name] += 1
        self._taken[candidate] = 1
        return candidate

    def input(self, name: str, type_: TensorType) -> Value:
        name = self.fresh(name)
        self.types[name] = type_
        return Value(name=name, type=type_)

    def add_constant(self, name: str, array: NDArray[Any]) -> Value:
        """Add a constant that shares the array's storage, which must not change any more."""
        name = self.fresh(name)
        array = array.view()
        array.flags.writeable = False  # else the constant would copy it
        constant = ArrayConstant(array)
        self.constants[name] = constant
        self.types[name] = constant.type
        if array.size <= _VALUE_LIMIT:
            self.values[name] = array
        return Value(name=name, type=constant.type)

    def translate(
        self, base: str, results: tuple[TensorType, ...], wanted: frozenset[int],
        translator: Callable[..., Any], args: Sequence[Operand], kwargs: Mapping[str, Operand],
    ) -> Any:  # fmt: skip
        """Call a translator; the node that makes its result gets the name `base`."""
        self.results, self.wanted = results, wanted
        self._base = self.fresh(base)
        before = len(self.nodes)
        constants = set(self.constants)
        found = translator(self, *args, **kwargs)
        many = isinstance(found, list | tuple)
        if not many and (not isinstance(found, Value) or found.size):
            return found  # a size, or nothing
        values: list[Value | None] = list(found) if many else [found]
        self._rename_result(values, before, constants)
        typed = [
            None if value is None else self._checked(value, type_)
            for value, type_ in zip(values, results, strict=False)
        ]
        return typed if many else typed[0]

    def _checked(self, value: Value, type_: TensorType) -> Value:
        """Give a result PyTorch's type, after comparing it with ours."""
        ours = self.types[value.name]
        same = ours.dtype == type_.dtype and ours.rank == type_.rank
        if not same or any(
            a != b
            for a, b in zip(ours.shape, type_.shape, strict=True)
            if isinstance(a, int) and isinstance(b, int)
        ):
            raise Refusal(f"arguments whose translation gives {ours} where PyTorch has {type_}")
        return replace(value, type=type_)

    def _rename_result(
        self, values: list[Value | None], before: int, constants: set[str]
    ) -> None:  # fmt: skip
        first = next((v for v in values if v is not None), None)
        if first is None:
            return
        renamed: dict[str, str] = {}
        if first.name in self.constants:
            if first.name not in constants:
                renamed[first.name] = self._base
        else:
            for index in range(before, len(self.nodes)):
                node = self.nodes[index]
                if first.name in node.outputs:
                    if len(node.outputs) == 1:
                        renamed[first.name] = self._base
                    else:
                        for place, output in enumerate(node.outputs):
                            renamed[output] = f"{self._base}.{place}" if output else ""
                    self.nodes[index] = replace(node, name=self._base)
        self._replace_names(renamed, before)
        for place, value in enumerate(values):
            if value is not None and value.name in renamed:
                values[place] = replace(value, name=renamed[value.name])

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor another name (for outputs)."""
        self._replace_names({tensor: name}, 0)

    def _replace_names(self, renamed: Mapping[str, str], before: int) -> None:
        if not renamed:
            return
        for index in range(before, len(self.nodes)):
            node = self.nodes[index]
            self.nodes[index] = replace(
                node,
                inputs=tuple(renamed.get(t, t) for t in node.inputs),
                outputs=tuple(renamed.get(t, t) for t in node.outputs),
            )
        tables: tuple[dict[str, Any], ...] = (
            self.types, self.constants, self.values, self.sizes, self.uniform,
        )  # fmt: skip
        for table in tables:
            for old, new in renamed.items():
                if old in table:
                    table[new] = table.pop(old)

    def finish(
        self, inputs: Sequence[str], outputs: Sequence[str], states: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> Graph:  # fmt: skip
        """Return the graph without what no output needs; it says what is learned."""
        needed = set(outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        origin: dict[str, tuple[str, ...]] = {}
        nodes = relay(kept[::-1], outputs, self.constants, self.learned, self.fresh, origin)
        needed = {*outputs, *(name for node in nodes for name in node.inputs)}
        constants = {n: c for n, c in self.constants.items() if n in needed}
        self.types.update((name, constant.type) for name, constant in constants.items())
        notes = {LEARNED_KEY: [name for name in constants if name in self.learned]}
        padded = {name for name, row in self.padding if row >= 0 and name in constants}
        rows = [f"{name} {row}" for name, row in sorted(self.padding) if name in padded]
        stops = [node.name for node in nodes if node.name in self.stops]
        notes.update({PADDING_KEY: rows} if rows else {})
        notes.update({STOPS_KEY: stops} if stops else {})
        relaid = [f"{name} {' '.join(origin[name])}" for name in constants if name in origin]
        notes.update({"relaid": relaid} if relaid else {})
        return Graph(
            name=self.name, nodes=tuple(nodes), inputs=tuple(inputs),
            outputs=tuple(outputs), constants=constants, states=states,
            metadata={**metadata, **{key: "\n".join(names) for key, names in notes.items()}},
            types={n: self.types[n] for n in (*inputs, *constants)},
        ).infer()  # fmt: skip

    def depends(self, value: Value) -> bool:
        """Return whether a tensor depends on learned ones."""
        reached = set(self.learned)
        for node in self.nodes:
            if reached.intersection(node.inputs):
                reached.update(name for name in node.outputs if name)
        return value.name in reached

    # -- what translators call ----------------------------------------------------------------

    @property
    def result(self) -> TensorType:
        """Type of the current operator's first output."""
        return self.results[0]

    def op(self, op: str, *inputs: Value | None, **attributes: Any) -> Value:
        """Apply an ONNX operator with one output; attributes that are None are left out."""
        return self.ops(op, 1, *inputs, **attributes)[0]

    def ops(self, op: str, outputs: int, *inputs: Value | None, **attributes: Any) -> list[Value]:
        """Apply an ONNX operator with several outputs."""
        names = [v.name if v is not None else "" for v in inputs]
        while names and not names[-1]:
            names.pop()
        label = self.fresh(f"{self._base}.{op.lower()}")
        made = [label] if outputs == 1 else [self.fresh(f"{label}.{i}") for i in range(outputs)]
        node = Node(
            name=label, op=op, inputs=tuple(names), outputs=tuple(made),
            attributes={
                k: tuple(v) if isinstance(v, list) else v
                for k, v in attributes.items() if v is not None
            },
        )  # fmt: skip
        operator = find_operator(node)
        if operator is None:
            raise ModelError(
                f"{self.name}: {label}", found=f"operator {op}", wanted="a known one",
                fix="report it",
            )  # fmt: skip
        context = TypeContext(
            node=node, graph_name=self.name,
            inputs=tuple(self.types[n] if n else None for n in names),
            values=tuple(self.values.get(n) if n else None for n in names),
            sizes=tuple(self.sizes.get(n) if n else None for n in names),
        )  # fmt: skip
        types = list(operator.infer(context))
        folded = self._fold(node, types)
        if folded is not None:
            return folded
        self.nodes.append(node)
        for name, type_ in zip(made, types, strict=False):
            if type_ is None:
                raise Refusal(f"arguments for which nobody knows the type of {name}")
            self.types[name] = type_
        propagate(node, self.types, self.values, self.sizes)
        return [Value(name=name, type=self.types[name]) for name in made]

    def _fold(self, node: Node, types: Sequence[TensorType | None]) -> list[Value] | None:
        """Compute a node now when its inputs are constants and the result is not larger."""
        if node.op in RANDOM_OPERATORS or any(
            n and (n not in self.constants or n in self.learned) for n in node.inputs
        ):
            return None
        total = 0
        for type_ in types:
            if type_ is None or not type_.is_bound:
                return None
            total += type_.elements
        read = sum(self.types[n].elements for n in node.inputs if n)
        operator = find_operator(node)
        if operator is None or total > max(_FOLD_LIMIT, read):
            return None
        arrays = [self.constants[n].array() if n else None for n in node.inputs]
        made: list[Value] = []
        for name, array in zip(node.outputs, operator.run(node, arrays), strict=True):
            if array is None:
                return None
            self._taken.pop(name, None)
            made.append(self.add_constant(name, array))
        return made

    def known(self, value: Operand) -> NDArray[Any] | None:
        """Return the value of a tensor that never changes, None when only running can tell."""
        if isinstance(value, Value):
            constant = self.constants.get(value.name)
            return None if value.name in self.learned or constant is None else constant.array()
        return None if value is None else np.asarray(value)

    def constant(self, value: Any, dtype: str, label: str = "constant") -> Value:
        """Add a fixed value."""
        array = np.array(value).astype(numpy_dtype(dtype))
        made = self.add_constant(f"{self._base}.{label}", array)
        if array.size == 1:
            self.uniform[made.name] = array.item()
        return made

    def cast(self, value: Value, dtype: str) -> Value:
        """Return a tensor in another element type."""
        if value.dtype == dtype:
            return value
        if dtype not in _CODES:
            raise Refusal(f"element type {dtype}")
        return self.op("Cast", value, to=_CODES[dtype])

    def code(self, dtype: str) -> int:
        """Return ONNX's number for an element type."""
        if dtype not in _CODES:
            raise Refusal(f"element type {dtype}")
        return _CODES[dtype]

    def operand(self, value: Operand, dtype: str) -> Value:
        """Return a tensor, a size or a number as a tensor of this element type."""
        if isinstance(value, Value):
            if value.size:
                value = self.op("Reshape", value, self.constant([], "int64", "scalar"))
            return self.cast(value, dtype)
        return self.constant(value, dtype)

    def stopped(self, value: Value) -> Value:
        """Return the current operator's result: the same tensor, which passes no gradient on."""
        self.stops.add(self._base)
        return self.op("Identity", value)

    def size_operand(self, value: Operand) -> Value:
        """Return a size as a one-element int64 tensor."""
        if isinstance(value, Value):
            return value if value.rank == 1 else self.reshape(self.cast(value, "int64"), [1])
        return self.constant([int(value)], "int64", "size")

    def ints(self, numbers: Iterable[Operand], label: str = "sizes") -> Value:
        """Return sizes, some of which may not be bound yet, as one int64 tensor."""
        numbers = list(numbers)
        if not any(isinstance(n, Value) for n in numbers):
            return self.constant(np.array([int(n) for n in numbers], np.int64), "int64", label)
        return self.op("Concat", *(self.size_operand(n) for n in numbers), axis=0)

    def reshape(self, value: Value, sizes: Sequence[Operand]) -> Value:
        """Reshape; a single unbound size is left for the operator to find out."""
        sizes = list(sizes)
        unbound = [i for i, n in enumerate(sizes) if isinstance(n, Value)]
        if len(unbound) > 1:  # 0 keeps the size that stands at the same place
            for place in unbound:
                if place < value.rank and sizes[place].size == value.shape[place]:
                    sizes[place] = 0
            unbound = [i for i, n in enumerate(sizes) if isinstance(n, Value)]
        if len(unbound) == 1 and -1 not in sizes:
            sizes[unbound[0]] = -1
        if not unbound and 0 in sizes and not isinstance(value.shape[sizes.index(0)], str):
            return self.op("Reshape", value, self.ints(sizes, "shape"), allowzero=1)
        return self.op("Reshape", value, self.ints(sizes, "shape"))

    def size_of(self, value: Value, axis: int) -> Operand:
        """Return a size of a tensor: the number, or what computes it."""
        axis %= max(1, value.rank)
        known = value.shape[axis]
        if isinstance(known, int):
            return known
        found = self.op("Shape", value, start=axis, end=axis + 1)
        return replace(found, size=known)

    def number(self, value: Operand, what: str) -> int:
        """Return a size that must be known now."""
        if isinstance(value, int):
            return value
        raise Refusal(f"{what} that is not known before running")

    def static(self, value: Value, axis: int) -> int:
        """Return a size of a tensor that must be bound."""
        return self.number(value.shape[axis], f"a size of axis {axis}")

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Permute axes; nothing when the order is the same."""
        if list(order) == list(range(value.rank)):
            return value
        return self.op("Transpose", value, perm=[int(axis) for axis in order])

    def unsqueeze(self, value: Value, *axes: int) -> Value:
        return self.op("Unsqueeze", value, self.ints(axes, "axes"))

    def squeeze(self, value: Value, *axes: int) -> Value:
        return self.op("Squeeze", value, self.ints(axes, "axes"))

    def slice(
        self, value: Value, axis: int, start: Operand, end: Operand, step: int = 1
    ) -> Value:  # fmt: skip
        return self.op(
            "Slice", value, self.ints([start], "start"), self.ints([end], "end"),
            self.ints([axis], "axis"), self.ints([step], "step") if step != 1 else None,
        )  # fmt: skip

    def gather(self, value: Value, axis: int, places: Any) -> Value:
        """Pick along an axis; `places` may be a number, a list or an array of any rank."""
        return self.op("Gather", value, self.constant(places, "int64", "places"), axis=axis)


def clean_name(name: str) -> str:
    """Return a name of letters, digits, dots and underscores."""
    return re.sub(r"[^\w.]+", "_", name).strip("._") or "tensor"
