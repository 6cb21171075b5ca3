"""Reverse-mode differentiation of a graph: gradients are ordinary nodes.

Models:  the chain rule over nodes in reverse order; gradients of a tensor with several readers are
         added up; only what lies between the wanted tensors and the seeds is visited.
Ignores: second derivatives of operators whose first one is not an ONNX operator; control flow.
Judge:   PyTorch's gradients on every operator that has a derivative; central differences.

A derivative is registered beside the operators and says, for every input of a node, the name of
the gradient's tensor, or None where no gradient flows (it is zero, or nobody wants it)::

    @derivative("Mul")
    def mul(c):
        a, b, g = *c.inputs, c.gradient
        return [c.summed(c.emit("Mul", g, b), 0), c.summed(c.emit("Mul", g, a), 1)]

All dimensions of the tensors on the way must be bound: shapes become constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, UnsupportedOperatorsError

from ._constant import ArrayConstant, Constant
from ._graph import Graph, Node
from ._infer import known_values
from ._operator import OPERATORS, TypeContext, find_operator
from ._types import TensorType, numpy_dtype

Array = NDArray[Any]

#: A tensor's name, an absent optional input, a number (takes the type of the node's first tensor),
#: or an array that becomes a constant.
Operand = str | float | Array | None

Derivative = Callable[["DerivativeContext"], Sequence[str | None]]


def derivative(*names: str, domain: str = "") -> Callable[[Derivative], Derivative]:
    """Attach a derivative to operators that are registered; twice is an error."""

    def register(rule: Derivative) -> Derivative:
        for name in names:
            found = OPERATORS[domain, name]
            if found.derivative is not None:
                raise ValueError(f"the derivative of {name} is registered twice")
            OPERATORS[domain, name] = replace(found, derivative=rule)
        return rule

    return register


def is_float(type_: TensorType | None) -> bool:
    """Whether gradients flow through tensors of this type."""
    return type_ is not None and "float" in type_.dtype


class Tape:
    """Nodes that are added behind those of a graph, their types as they grow.

    Attributes
    ----------
    nodes : added so far
    types, constants : the graph's and the added ones
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = dict(graph.types)
        self.constants: dict[str, Constant] = dict(graph.constants)
        self.values: dict[str, Array] = known_values(graph)
        self._pool: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._taken = {*graph.types, *graph.inputs, *graph.constants}
        for node in graph.nodes:
            self._taken |= {node.name, *node.outputs}
        self._serial: dict[str, int] = {}
        self._amended: dict[str, dict[int, str]] = {}

    def fresh(self, name: str) -> str:
        """Return the name, with a number behind it when it is taken."""
        serial, candidate = self._serial.get(name, 0), name
        while candidate in self._taken or (serial and candidate == name):
            serial += 1
            candidate = f"{name}_{serial}"
        self._serial[name] = serial
        self._taken.add(candidate)
        return candidate

    def constant(self, value: Any) -> str:
        """Return the name of a constant; equal ones are one tensor."""
        array = np.asarray(value)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._pool:
            name = self.fresh("derived.constant")
            self._pool[key] = name
            self.constants[name] = ArrayConstant(array)
            self.types[name] = self.constants[name].type
            self.values[name] = array
        return self._pool[key]

    def emit(
        self, label: str, op: str, *operands: Operand, domain: str = "", outputs: int = 1,
        keep: Sequence[bool] | None = None, **attributes: Any,
    ) -> tuple[str, ...]:  # fmt: skip
        """Add a node named after `label` and return its outputs; `keep` leaves some unnamed."""
        first = next((o for o in operands if isinstance(o, str)), None)
        dtype = numpy_dtype(self.types[first].dtype) if first is not None else np.dtype(np.float32)
        inputs = tuple(self._operand(o, dtype) for o in operands)
        name = self.fresh(f"{label}.{op}")
        names = [name, *(self.fresh(f"{name}.{i}") for i in range(1, outputs))]
        made = tuple(n if keep is None or keep[i] else "" for i, n in enumerate(names))
        node = Node(name=name, op=op, inputs=inputs, outputs=made, attributes=attributes,
                    domain=domain)  # fmt: skip
        operator = find_operator(node)
        if operator is None:
            raise ValueError(f"no operator {node.operator}")
        context = TypeContext(
            node=node, graph_name=self.graph.name,
            inputs=tuple(self.types.get(i) if i else None for i in inputs),
            values=tuple(self.values.get(i) if i else None for i in inputs),
        )  # fmt: skip
        for tensor, type_ in zip(made, operator.infer(context), strict=False):
            if tensor and type_ is not None:
                self.types[tensor] = type_
        self.nodes.append(node)
        return made

    def _operand(self, operand: Operand, dtype: np.dtype[Any]) -> str:
        if operand is None or isinstance(operand, str):
            return operand or ""
        if isinstance(operand, np.ndarray):
            return self.constant(operand)
        return self.constant(np.asarray(operand, dtype))

    def output(self, node: Node, index: int) -> str:
        """Return an output of a node of the graph, naming it if nobody has yet."""
        if index < len(node.outputs) and node.outputs[index]:
            return node.outputs[index]
        amended = self._amended.setdefault(node.name, {})
        if index not in amended:
            amended[index] = self.fresh(f"{node.name}.{index}")
            operator = find_operator(node)
            if operator is None:
                raise ValueError(f"no operator {node.operator}")
            types = operator.infer(TypeContext(
                node=node, graph_name=self.graph.name,
                inputs=tuple(self.types.get(i) if i else None for i in node.inputs),
                values=tuple(self.values.get(i) if i else None for i in node.inputs),
            ))  # fmt: skip
            found = types[index]
            if found is not None:
                self.types[amended[index]] = found
        return amended[index]

    def forward(self) -> tuple[Node, ...]:
        """Return the graph's nodes, with the outputs that were named since."""
        nodes = []
        for node in self.graph.nodes:
            more = self._amended.get(node.name)
            if more:
                count = max(len(node.outputs), max(more) + 1)
                padded = (*node.outputs, *[""] * (count - len(node.outputs)))
                outputs = tuple(more.get(i, name) for i, name in enumerate(padded))
                node = replace(node, outputs=outputs)
            nodes.append(node)
        return tuple(nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivativeContext:
    """What a derivative sees of its node, and how it adds nodes.

    Attributes
    ----------
    node : the node of the forward pass
    gradients : tensor name per output; None where no gradient flows
    wanted : per input, whether anybody uses its gradient
    """

    node: Node
    gradients: tuple[str | None, ...]
    wanted: tuple[bool, ...]
    tape: Tape

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.node.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.node.outputs

    @property
    def gradient(self) -> str:
        """The gradient of the first output (asked for where there is no other one)."""
        found = self.gradients[0]
        return self.zeros_like(self.outputs[0]) if found is None else found

    def has(self, index: int) -> bool:
        """Whether an optional input is present."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def needs(self, index: int) -> bool:
        """Whether somebody uses the gradient of an input."""
        return index < len(self.wanted) and self.wanted[index]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, else the operator's default, else `default`."""
        if name in self.node.attributes:
            return self.node.attributes[name]
        operator = find_operator(self.node)
        found = operator.attributes.get(name) if operator is not None else None
        return default if found is None else found

    def type(self, tensor: str) -> TensorType:
        """Return the type of a tensor, added ones included."""
        found = self.tape.types.get(tensor)
        if found is None:
            raise self.error(f"tensor {tensor!r} of no known type", "a known type",
                             "bind the symbolic dimensions")  # fmt: skip
        return found

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the sizes of a tensor; all must be bound."""
        return self.type(tensor).sizes

    def value(self, index: int) -> Array | None:
        """Return the value of an input if it is known before running."""
        return self.tape.values.get(self.inputs[index]) if self.has(index) else None

    def known(self, index: int, what: str) -> tuple[int, ...]:
        """Return a small integer input that must be known before running."""
        found = self.value(index)
        if found is None:
            raise self.error(f"{what} that only running tells", f"{what} known beforehand",
                             "make it a constant")  # fmt: skip
        return tuple(int(v) for v in np.asarray(found).ravel())

    def emit(self, op: str, *operands: Operand, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return its name; numbers become scalar constants."""
        return self.emit_all(op, *operands, domain=domain, **attributes)[0]

    def emit_all(
        self, op: str, *operands: Operand, domain: str = "", outputs: int = 1,
        keep: Sequence[bool] | None = None, **attributes: Any,
    ) -> tuple[str, ...]:  # fmt: skip
        """Add a node and return all its outputs."""
        return self.tape.emit(f"{self.node.name}.grad", op, *operands, domain=domain,
                              outputs=outputs, keep=keep, **attributes)  # fmt: skip

    def constant(self, value: Any) -> str:
        """Return the name of a constant with this value."""
        return self.tape.constant(value)

    def output(self, index: int) -> str:
        """Return an output of the forward node; it is named if it was not."""
        return self.tape.output(self.node, index)

    # -- shapes -------------------------------------------------------------------------------

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Reshape to known sizes; the same tensor when it has them."""
        if self.shape(tensor) == tuple(shape):
            return tensor
        zero: dict[str, Any] = {"allowzero": 1} if 0 in shape else {}
        return self.emit("Reshape", tensor, np.array(shape, np.int64), **zero)

    def expand(self, tensor: str, shape: Sequence[int]) -> str:
        """Broadcast to known sizes; the same tensor when it has them."""
        if self.shape(tensor) == tuple(shape):
            return tensor
        return self.emit("Expand", tensor, np.array(shape, np.int64))

    def zeros_like(self, tensor: str) -> str:
        """Return zeros of a tensor's type."""
        type_ = self.type(tensor)
        return self.emit("ConstantOfShape", np.array(type_.sizes, np.int64),
                         value=np.zeros(1, numpy_dtype(type_.dtype)))  # fmt: skip

    def sum(self, tensor: str, axes: Sequence[int], *, keepdims: bool = False) -> str:
        """Add up over axes; the same tensor when there are none."""
        if not axes:
            return tensor
        return self.emit("ReduceSum", tensor, np.array(axes, np.int64), keepdims=int(keepdims))

    def mean(self, tensor: str, axes: Sequence[int]) -> str:
        """Average over axes, which stay with size 1."""
        return self.emit("ReduceMean", tensor, np.array(axes, np.int64), keepdims=1)

    def summed(self, tensor: str, index: int) -> str | None:
        """Return a gradient added up over the axes that broadcasting an input has added.

        A tensor [4, 3] becomes [3] for an input [3], [4, 1] for an input [4, 1].
        """
        if not self.needs(index):
            return None
        return self.summed_to(tensor, self.shape(self.inputs[index]))

    def summed_to(self, tensor: str, target: Sequence[int]) -> str:
        """Return a tensor added up over the axes on which `target` was broadcast."""
        shape = self.shape(tensor)
        lead = len(shape) - len(target)
        axes = [
            i for i, size in enumerate(shape) if i < lead or (target[i - lead] == 1 and size != 1)
        ]  # fmt: skip
        return self.reshape(self.sum(tensor, axes), target)

    def where(self, condition: str, chosen: str, other: Operand = 0.0) -> str:
        """Choose by a condition; what is not chosen is zero by default."""
        if not isinstance(other, str):
            other = self.constant(np.asarray(other, numpy_dtype(self.type(chosen).dtype)))
        return self.emit("Where", condition, chosen, other)

    def error(self, found: str, wanted: str, fix: str) -> ModelError:
        return ModelError(
            f"{self.tape.graph.name}: derivative of node {self.node.name!r} ({self.node.operator})",
            found=found, wanted=wanted, fix=fix,
        )  # fmt: skip


def backward(
    tape: Tape, seeds: Mapping[str, str], wanted: Iterable[str]
) -> dict[str, str]:  # fmt: skip
    """Add the backward nodes of a graph to its tape.

    Parameters
    ----------
    seeds : tensor of the graph -> tensor that holds the gradient that arrives there
    wanted : tensors whose gradients are asked for

    Returns
    -------
    wanted tensor -> its gradient; a tensor that no gradient reaches is left out

    Raises
    ------
    UnsupportedOperatorsError : operators on the way that have no derivative, all of them
    ModelError : a case that a derivative does not cover, an unbound dimension
    """
    graph, wanted = tape.graph, tuple(wanted)
    moving = _moving(graph, wanted)
    nodes = _between(graph, moving, seeds)
    _require_derivatives(graph, nodes)
    parts: dict[str, list[str]] = {tensor: [seed] for tensor, seed in seeds.items()}
    found: dict[str, str] = {}

    def total(tensor: str) -> str | None:
        if tensor not in found and tensor in parts:
            terms = parts.pop(tensor)
            if len(terms) == 1:
                found[tensor] = terms[0]
            else:
                op = "Add" if len(terms) == 2 else "Sum"
                found[tensor] = tape.emit(f"{tensor}.grad", op, *terms)[0]
        return found.get(tensor)

    for node in reversed(nodes):
        gradients = tuple(total(output) if output else None for output in node.outputs)
        operator = find_operator(node)
        if operator is None or operator.derivative is None or not any(gradients):
            continue
        context = DerivativeContext(
            node=node, gradients=gradients, tape=tape,
            wanted=tuple(name in moving for name in node.inputs),
        )  # fmt: skip
        for name, part, needed in zip(
            node.inputs, operator.derivative(context), context.wanted, strict=False
        ):
            if part is None or not needed:
                continue
            if tape.types[part] != tape.types[name]:
                raise context.error(f"a gradient {tape.types[part]} for {name!r}",
                                    f"{tape.types[name]}", "report this as a defect")  # fmt: skip
            parts.setdefault(name, []).append(part)
    gradients_found = {tensor: total(tensor) for tensor in wanted}
    return {tensor: name for tensor, name in gradients_found.items() if name is not None}


def gradient_graph(graph: Graph, wanted: Sequence[str], of: Sequence[str] = ()) -> Graph:
    """Return the graph with gradients as further outputs.

    Before: inputs x, outputs y. After: inputs x and ``y.seed`` (the gradient that arrives at y),
    outputs y and ``x.gradient`` for every wanted x (zeros where y does not depend on it).

    Parameters
    ----------
    wanted : tensors (inputs, constants or others) whose gradients are asked for
    of : outputs whose seeds are given; all floating-point ones by default

    Raises
    ------
    UnsupportedOperatorsError : operators without a derivative
    ModelError : a wanted tensor that has no gradient, or an unbound dimension
    """
    graph = graph.infer()
    tape = Tape(graph)
    chosen = tuple(of) or tuple(o for o in graph.outputs if is_float(graph.types.get(o)))
    seeds = {}
    for output in chosen:
        seeds[output] = tape.fresh(f"{output}.seed")
        tape.types[seeds[output]] = graph.type(output)
    for name in wanted:
        if not is_float(graph.types.get(name)):
            raise ModelError(
                f"{graph.name}: gradient of {name!r}",
                found=str(graph.types.get(name, "no tensor")),
                wanted="a floating-point tensor of the graph", fix="correct the name",
            )  # fmt: skip
    gradients = backward(tape, seeds, wanted)
    for name in wanted:
        if name not in gradients:  # nothing that has a slope depends on it
            type_ = graph.type(name)
            gradients[name] = tape.emit(
                f"{name}.grad", "ConstantOfShape", np.array(type_.sizes, np.int64),
                value=np.zeros(1, numpy_dtype(type_.dtype)),
            )[0]  # fmt: skip
    outputs = []
    for name in wanted:
        outputs.append(tape.fresh(f"{name}.gradient"))
        tape.nodes.append(Node(name=outputs[-1], op="Identity", inputs=(gradients[name],),
                               outputs=(outputs[-1],)))  # fmt: skip
        tape.types[outputs[-1]] = tape.types[gradients[name]]
    return replace(
        graph, nodes=(*tape.forward(), *tape.nodes), types=tape.types, constants=tape.constants,
        inputs=(*graph.inputs, *seeds.values()), outputs=(*graph.outputs, *outputs),
    )  # fmt: skip


def _moving(graph: Graph, wanted: Iterable[str]) -> set[str]:
    """Return the floating-point tensors that change when a wanted one does."""
    moving = {name for name in wanted if is_float(graph.types.get(name))}
    for node in graph.nodes:
        if not moving.isdisjoint(node.inputs):
            moving.update(o for o in node.outputs if o and is_float(graph.types.get(o)))
    return moving


def _between(graph: Graph, moving: set[str], seeds: Iterable[str]) -> list[Node]:
    """Return the nodes through which gradients flow, in the graph's order."""
    arrived, nodes = set(seeds), []
    for node in reversed(graph.nodes):
        if any(o in arrived and o in moving for o in node.outputs if o):
            nodes.append(node)
            arrived.update(name for name in node.inputs if name in moving)
    return nodes[::-1]


def _require_derivatives(graph: Graph, nodes: Iterable[Node]) -> None:
    missing: dict[str, list[str]] = {}
    for node in nodes:
        operator = find_operator(node)
        if operator is None or operator.derivative is None:
            missing.setdefault(node.operator, []).append(node.name)
    if missing:
        raise UnsupportedOperatorsError(
            f"{graph.name}: training", dict(missing), what="operators without a derivative",
            fix="`orrery show --operators` lists which have one; cut them off or replace them",
        )  # fmt: skip
