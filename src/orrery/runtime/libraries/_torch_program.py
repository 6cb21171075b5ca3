"""A graph as a list of steps on PyTorch tensors: what is known is computed once, before.

Models:  nothing; it computes each node by the table of operations.
Ignores: nothing; operators that are not in the table are refused beforehand.
Judge:   ONNX's node tests, the NumPy reference on networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orrery.errors import ModelError, OrreryError
from orrery.graph import Graph, Node, dtype_name, evaluate_node
from orrery.units import format_quantity

from ._library import foreign_operators
from ._torch_table import DTYPES, OPERATIONS, Operation

#: Values of up to so many elements are worked out on the host by the reference.
_HOST_ELEMENTS = 1 << 14


def refused(graph: Graph) -> str | None:
    """Return what of a graph cannot run, all of it, or None."""
    _load_operations()
    if (why := foreign_operators(graph)) is not None:
        return why
    reasons: dict[str, None] = {}
    for node in graph.nodes:
        operation = OPERATIONS.get(node.operator)
        if operation is None:
            reasons[node.operator] = None
        elif (reason := operation.why_not(node, graph.types)) is not None:
            reasons[f"{node.operator} ({reason})"] = None
    if reasons:
        return f"operators that the PyTorch back end lacks: {', '.join(sorted(reasons))}"
    made = [tensor for node in graph.nodes for tensor in node.outputs if tensor]
    for name in dict.fromkeys((*graph.inputs, *graph.constants, *made, *graph.outputs)):
        if name in graph.types and graph.types[name].dtype not in DTYPES:
            return (
                f"tensor {name!r} is {graph.types[name].dtype}, which PyTorch does not compute in"
            )
    return None


def _load_operations() -> None:
    """Fill the table; the modules do not load PyTorch."""
    from . import (  # noqa: F401
        _torch_elementwise,
        _torch_indexing,
        _torch_matrix,
        _torch_normalize,
        _torch_recurrent,
        _torch_reduce,
        _torch_shape,
        _torch_window,
    )


# -- NumPy at the border -------------------------------------------------------------------------


@dataclass(slots=True)
class _Writable:
    """Hands out an array's memory as if it could be written to; nobody here writes."""

    array: Any

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, "data": (self.array.ctypes.data, False)}


def from_numpy(t: Any, value: Any) -> Any:
    """Return a tensor that shares an array's memory, where the array is contiguous."""
    array = np.asarray(value, order="C")
    narrow = dtype_name(array.dtype) == "bfloat16"
    if narrow:
        array = array.view(np.int16)
    if not array.flags.writeable and array.size:  # the library would warn each time
        array = np.asarray(_Writable(array))
    tensor = t.from_numpy(array)
    return tensor.view(t.bfloat16) if narrow else tensor


def to_numpy(t: Any, tensor: Any) -> Any:
    """Return an array that shares a tensor's memory, where this lies on the host."""
    host = tensor.detach().cpu()
    if host.dtype == t.bfloat16:
        import ml_dtypes

        return host.contiguous().view(t.int16).numpy().view(ml_dtypes.bfloat16)
    return host.numpy()


class Constants:
    """The constants of a graph on a device, each uploaded once, when somebody asks."""

    def __init__(self, t: Any, graph: Graph, device: str) -> None:
        self.t, self.graph, self.device = t, graph, device
        self._kept: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._kept:
            # The array may be a view of a file that changes later, so a copy is kept.
            value = from_numpy(self.t, self.graph.constants[name].array())
            self._kept[name] = value.to(self.device, copy=True)
        return self._kept[name]

    def values(self) -> Sequence[Any]:
        return list(self._kept.values())


# -- programs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node: where its inputs lie, where its outputs go, what may be dropped afterwards.

    Attributes
    ----------
    inputs : per input a place among the values, or -1 and what is given instead
    given : per input a NumPy array, a tensor or None, where the place is -1
    host : positions of inputs to bring to the host before running
    ready : what was prepared of constant weights, or None
    device : where to put what is made of values on the host alone, or empty
    """

    node: Node
    operation: Operation
    inputs: tuple[int, ...]
    given: tuple[Any, ...]
    host: tuple[int, ...]
    outputs: tuple[int, ...]
    ready: Any = None
    device: str = ""
    drops: tuple[int, ...] = ()

    def run(self, t: Any, values: list[Any]) -> None:
        arguments = [
            given if place < 0 else values[place] for place, given in zip(self.inputs, self.given)
        ]
        for position in self.host:
            arguments[position] = to_numpy(t, arguments[position])
        made = self.operation(t, self.node, arguments, self.ready)
        if self.device:
            made = tuple(value.to(self.device) for value in made)
        for place, value in zip(self.outputs, made):
            if place >= 0:
                values[place] = value
        for place in self.drops:
            values[place] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A graph at sizes that are known, ready to run.

    Attributes
    ----------
    inputs : place of each input of the graph, in its order
    outputs : place of each output, -1 for one that is known
    known : the outputs that are known, by name
    size : number of places
    waits : whether a step reads values back to the host, so that the device is waited for
    """

    graph: Graph
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    known: Mapping[str, Any]
    size: int

    @property
    def waits(self) -> bool:
        return any(step.host for step in self.steps)

    def run(self, t: Any, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """Return the outputs, in the graph's order, for inputs in its order."""
        values: list[Any] = [None] * self.size
        for place, tensor in zip(self.inputs, tensors):
            values[place] = tensor
        for step in self.steps:
            try:
                step.run(t, values)
            except (RuntimeError, IndexError, ValueError, TypeError) as error:
                if isinstance(error, OrreryError):
                    raise
                raise failure(t, self.graph, step.node, error) from error
        return tuple(
            self.known[name] if place < 0 else values[place]
            for name, place in zip(self.graph.outputs, self.outputs)
        )


def failure(t: Any, graph: Graph, node: Node, error: Exception) -> OrreryError:
    """Return what the library raised as an error that names the node and, of memory, the sizes."""
    text = " ".join(str(error).split())[:300]
    where = f"{graph.name}: node {node.name!r} ({node.operator})"
    lacks = isinstance(error, t.cuda.OutOfMemoryError) or "allocate memory" in text
    if lacks:
        weights = sum(constant.type.size_bytes for constant in graph.all_constants())
        sizes = [graph.known_bytes(name) or 0 for name in (*node.inputs, *node.outputs) if name]
        return ModelError(
            where, found=f"too little memory on the device ({text})",
            wanted=f"{format_quantity(weights, 'bytes')} for weights and "
            f"{format_quantity(sum(sizes), 'bytes')} for the tensors of this node",
            fix="take a smaller batch or size, or another device",
        )  # fmt: skip
    return ModelError(where, found=f"PyTorch: {text}", wanted="inputs that fit the operator",
                      fix="correct the model or its inputs")  # fmt: skip


def make_program(t: Any, graph: Graph, constants: Constants) -> Program:
    """Work out what is known, place the rest.

    Small values that depend on nothing given (shapes, axes) come from the NumPy reference; larger
    ones are computed once by the steps themselves.
    """
    builder = _Builder(t=t, graph=graph, constants=constants)
    for node in graph.nodes:
        builder.add(node)
    return builder.program()


class _Builder:
    def __init__(self, *, t: Any, graph: Graph, constants: Constants) -> None:
        self.t, self.graph, self.constants = t, graph, constants
        self.host: dict[str, Any] = {}  # small values that are known, as arrays
        self.device: dict[str, Any] = {}  # larger ones, as tensors
        self.places: dict[str, int] = {name: i for i, name in enumerate(graph.inputs)}
        self.steps: list[Step] = []

    def add(self, node: Node) -> None:
        """Fold a node, or make a step of it."""
        if self._fold_shape(node) or self._fold_small(node):
            return
        step = self._step(node)
        if all(place < 0 for place in step.inputs) and node.inputs:
            values: list[Any] = [None] * (len(node.outputs))
            replace(step, outputs=tuple(range(len(values)))).run(self.t, values)
            for name, value in zip(node.outputs, values):
                if name:
                    self.device[name] = value
            return
        outputs = []
        for name in node.outputs:
            if name:
                self.places[name] = len(self.places)
            outputs.append(self.places[name] if name else -1)
        self.steps.append(replace(step, outputs=tuple(outputs)))

    def _fold_shape(self, node: Node) -> bool:
        """Take sizes from the type of a tensor, whatever its values will be."""
        if node.op not in ("Shape", "Size") or node.domain:
            return False
        type_ = self.graph.types.get(node.inputs[0])
        if type_ is None or not type_.is_bound:
            return False
        if node.op == "Size":
            self.host[node.outputs[0]] = np.array(math.prod(type_.sizes), np.int64)
        else:
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            self.host[node.outputs[0]] = np.array(type_.sizes[start:end], np.int64)
        return True

    def _fold_small(self, node: Node) -> bool:
        names = [name for name in node.inputs if name]
        if not all(self._small(name) for name in names):
            return False
        outputs = [self.graph.known_bytes(name) for name in node.outputs if name]
        if any(size is None or size > 8 * _HOST_ELEMENTS for size in outputs):
            return False
        values = {name: self._array(name) for name in names}
        self.host.update(evaluate_node(self.graph, node, values))
        return True

    def _small(self, name: str) -> bool:
        constant = self.graph.constants.get(name)
        if constant is not None:
            return constant.type.elements <= _HOST_ELEMENTS
        return name in self.host

    def _array(self, name: str) -> Any:
        return self.host[name] if name in self.host else self.graph.constants[name].array()

    def _step(self, node: Node) -> Step:
        operation = OPERATIONS[node.operator]
        places, given, host = [], [], []
        for position, name in enumerate(node.inputs):
            wanted = position in operation.host
            place, value = -1, None
            if name in self.places:
                place = self.places[name]
                if wanted:
                    host.append(position)
            elif name and wanted:
                known = name in self.host or name in self.graph.constants
                value = self._array(name) if known else to_numpy(self.t, self.device[name])
            elif name:
                value = self.tensor(name)
            places.append(place)
            given.append(value)
        ready = operation.ready(self.t, node, given) if operation.ready is not None else None
        alone = all(i in operation.host for i in range(len(node.inputs)))
        return Step(node=node, operation=operation, inputs=tuple(places), given=tuple(given),
                    host=tuple(host), outputs=(), ready=ready,
                    device=self.constants.device if alone else "")  # fmt: skip

    def tensor(self, name: str) -> Any:
        """Return a known value as a tensor on the device."""
        if name in self.device:
            return self.device[name]
        if name in self.host:
            value = from_numpy(self.t, self.host[name])
            self.device[name] = value.to(self.constants.device, copy=True)
            return self.device[name]
        return self.constants[name]

    def program(self) -> Program:
        """Return the steps, each followed by what nobody reads later."""
        wanted = {self.places[name] for name in self.graph.outputs if name in self.places}
        last: dict[int, int] = {}
        for index, step in enumerate(self.steps):
            for place in (*step.inputs, *step.outputs):
                if place >= 0:
                    last[place] = index
        drops: list[list[int]] = [[] for _ in self.steps]
        for place, index in last.items():
            if place not in wanted:
                drops[index].append(place)
        steps = tuple(
            replace(step, drops=tuple(gone)) for step, gone in zip(self.steps, drops, strict=True)
        )
        known = {n: self.tensor(n) for n in self.graph.outputs if n not in self.places}
        return Program(
            graph=self.graph, steps=steps, inputs=tuple(range(len(self.graph.inputs))),
            outputs=tuple(self.places.get(name, -1) for name in self.graph.outputs),
            known=known, size=len(self.places),
        )  # fmt: skip


def storages(tensors: Sequence[Any]) -> Iterator[int]:
    """Yield where the memory of tensors begins."""
    for tensor in tensors:
        yield tensor.untyped_storage().data_ptr()


Runner = Callable[[Sequence[Any]], tuple[Any, ...]]
