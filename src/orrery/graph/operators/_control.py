"""Bodies run by condition, count or element: If, Loop and Scan.

Models:  each through the reference of its bodies.
Ignores: nothing of the definition; a body's types are inferred anew from what its node is given.
Judge:   ONNX node tests; ONNX Runtime on whole graphs; loops unrolled by hand.

Counts: If counts its costlier branch; Loop and Scan count their body once per iteration, so that
must be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._constant import ArrayConstant
from .._evaluate import evaluate_node
from .._graph import Graph
from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType, numpy_dtype
from ._rules import agree


def run_body(body: Graph, values: Sequence[Any]) -> list[Any]:
    """Evaluate a body on its inputs in order (captured tensors last); returns its outputs.

    Inputs are not checked against declared types: exporters declare bodies loosely.
    """
    known: dict[str, Any] = dict(zip(body.inputs, values, strict=True))
    for node in body.nodes:
        known.update(evaluate_node(body, node, known))
    return [known[n] if n in known else body.constants[n].array() for n in body.outputs]


def _typed(
    context: TypeContext, body: Graph, types: Sequence[TensorType | None], first_captured: int
) -> Graph | None:
    """Return the body with all types inferred, None when an input's type is not known.

    Captured values that are known before running become constants of the body.
    """
    captured = context.attribute("captured", 0)
    given = list(types) + list(context.inputs[first_captured:])
    if captured != len(context.inputs) - first_captured or len(given) != len(body.inputs):
        raise context.error(f"{len(given)} values for {len(body.inputs)} inputs of its body",
                            "as many values as inputs")  # fmt: skip
    constants, inputs = dict(body.constants), list(body.inputs)
    for name, value in zip(body.inputs[len(types) :], context.values[first_captured:]):
        if value is not None:
            constants[name] = ArrayConstant(np.asarray(value))
            inputs.remove(name)
    known = dict(zip(body.inputs, given, strict=True))
    if any(known[name] is None for name in inputs):
        return None
    types_ = {name: type_ for name, type_ in known.items() if type_ is not None}
    key = (tuple(types_.items()), tuple(
        (name, value.dtype, value.shape, value.tobytes())
        for name, value in zip(body.inputs[len(types) :], context.values[first_captured:])
        if value is not None))  # fmt: skip
    typed = replace(body, inputs=tuple(inputs), constants=constants, types=types_)
    return body.remembered("typed", key, typed.infer)


def _outputs(body: Graph) -> list[TensorType | None]:
    found = {**{n: c.type for n, c in body.constants.items()}, **body.types}
    return [found.get(name) for name in body.outputs]


def _known(body: Graph | None, context: TypeContext) -> Graph:
    if body is None:
        raise context.error("a body whose inputs have no known type", "known types",
                            "bind the symbolic dimensions and infer shapes")  # fmt: skip
    return body


def _body_count(body: Graph) -> Operations:
    return sum((body.operations(node) for node in body.nodes), Operations())


def bodies_run(context: TypeContext) -> list[tuple[Graph, int]]:
    """Return the bodies that an If, Loop or Scan runs, inferred, and how often each runs.

    Raises
    ------
    ModelError : only running can tell, or the node has no body
    """
    return _BODIES_RUN[context.node.op](context)


def _bodies_count(context: TypeContext) -> Operations:
    return sum((_body_count(body) * times for body, times in bodies_run(context)), Operations())


def _either(
    context: TypeContext, first: TensorType | None, second: TensorType | None, index: int
) -> TensorType | None:
    """Return what two types have in common; sizes that differ get a fresh name."""
    if first is None or second is None or first.rank != second.rank:
        return None
    if first.dtype != second.dtype:
        raise context.error(f"{first} or {second} for output {index}", "one element type")
    shape = tuple(
        a if a == b else context.fresh(f"output{index}.axis{i}")
        for i, (a, b) in enumerate(zip(first.shape, second.shape, strict=True))
    )
    return TensorType(dtype=first.dtype, shape=shape)


def _branches(context: TypeContext) -> Iterator[Graph]:
    """Yield the branches that may run: one when the condition is known."""
    condition = context.value(0)
    for name, taken in (("then_branch", True), ("else_branch", False)):
        body = context.attribute(name)
        if not isinstance(body, Graph):
            raise context.error(f"no {name}", "two branches")
        if condition is None or bool(np.asarray(condition).ravel()[0]) == taken:
            yield body


def _typed_branches(context: TypeContext) -> list[tuple[Graph, Graph | None]]:
    """Return the branches that may run, as given and inferred.

    A branch that does not fit the types at hand cannot run: exporters guard a Squeeze by an If
    on the very size that it needs. It is left out as long as another one fits.
    """
    fitting: list[tuple[Graph, Graph | None]] = []
    refused: ModelError | None = None
    for body in _branches(context):
        try:
            fitting.append((body, _typed(context, body, (), 1)))
        except ModelError as error:
            refused = error
    if refused is not None and not fitting:
        raise refused
    return fitting


def _if_type(context: TypeContext) -> list[TensorType | None]:
    results: list[list[TensorType | None]] = [
        [None] * len(body.outputs) if typed is None else _outputs(typed)
        for body, typed in _typed_branches(context)
    ]
    if len(results) == 1:
        return results[0]
    return [_either(context, a, b, i) for i, (a, b) in enumerate(zip(*results, strict=True))]


def _if_run(context: TypeContext) -> list[tuple[Graph, int]]:
    """The branch that is taken, else the costlier one."""
    branches = [_known(typed, context) for _, typed in _typed_branches(context)]
    return [(max(branches, key=lambda body: _body_count(body).total), 1)]


@operator("If", infer=_if_type, count=_bodies_count)
def if_(condition: Array, *outer: Array, captured: int = 0, else_branch: Graph | None = None,
        then_branch: Graph | None = None) -> Any:  # fmt: skip
    """Run one of two bodies."""
    body = then_branch if bool(np.asarray(condition).ravel()[0]) else else_branch
    if body is None:
        raise ModelError("If", found="no branch", wanted="two branches", fix="correct the model")
    return tuple(run_body(body, outer))


_NUMBER = TensorType(dtype="int64", shape=())
_TRUTH = TensorType(dtype="bool", shape=())


def _settled(
    context: TypeContext, body: Graph, before: Sequence[TensorType], states: Sequence[TensorType],
    after: Sequence[TensorType], first_captured: int, first_output: int,
) -> Graph | None:  # fmt: skip
    """Infer a body whose states must have one type in every iteration.

    Sizes of a state that the body changes become names, until nothing changes any more.
    """
    states = list(states)
    for _ in range(1 + sum(s.rank for s in states)):
        typed = _typed(context, body, [*before, *states, *after], first_captured)
        if typed is None:
            return None
        results = _outputs(typed)[first_output : first_output + len(states)]
        merged = [_either(context, s, r, i) for i, (s, r) in enumerate(zip(states, results))]
        if any(m is None for m in merged):
            return None
        if merged == states:
            return typed
        states = [m for m in merged if m is not None]
    return typed


def _loop_body(context: TypeContext) -> tuple[Graph | None, int]:
    """Return the inferred body of a Loop and the number of its states."""
    body = context.attribute("body")
    if not isinstance(body, Graph):
        raise context.error("no body", "a body")
    first_captured = len(context.inputs) - context.attribute("captured", 0)
    states = context.inputs[2:first_captured]
    if any(s is None for s in states):
        return None, len(states)
    settled = _settled(context, body, (_NUMBER, _TRUTH), [s for s in states if s is not None], (),
                       first_captured, 1)  # fmt: skip
    return settled, len(states)


def _trip_count(context: TypeContext) -> int | None:
    """Return how often a Loop runs, when a constant says so and no condition can end it."""
    trips = context.value(0)
    if trips is None or (context.has(1) and context.value(1) is None):
        return None
    body = context.attribute("body")
    condition = body.outputs[0]
    producer = body.producer(condition)
    while producer is not None and producer.op == "Identity":
        condition = producer.inputs[0]
        producer = body.producer(condition)
    stays = condition == body.inputs[1] or (
        condition in body.constants and bool(body.constants[condition].array().ravel()[0])
    )
    if context.has(1) and not stays:
        return None
    started = context.value(1)
    if started is not None and not bool(np.asarray(started).ravel()[0]):
        return 0
    return max(int(np.asarray(trips).ravel()[0]), 0)


def _loop_type(context: TypeContext) -> list[TensorType | None]:
    body, states = _loop_body(context)
    if body is None:
        return [None] * len(context.node.outputs)
    types = _outputs(body)[1:]
    trips: Dimension | None = _trip_count(context)
    if trips is None:
        trips = context.fresh("iterations")
    scanned = [
        None if t is None else TensorType(dtype=t.dtype, shape=(trips, *t.shape))
        for t in types[states:]
    ]
    return [*types[:states], *scanned]


def _loop_run(context: TypeContext) -> list[tuple[Graph, int]]:
    """The body once per iteration."""
    trips = _trip_count(context)
    body, states = _loop_body(context)
    if trips is None:
        scanned = [t for t in context.outputs[states:] if t is not None and t.is_bound]
        if not scanned:
            raise context.error("a number of iterations that only running tells",
                                "a constant trip count", "unroll the loop")  # fmt: skip
        trips = scanned[0].sizes[0]
    return [(_known(body, context), trips)]


def _stacked(body: Graph, name: str, values: Sequence[Array]) -> Array:
    """Stack the values of all iterations; of none, as far as the body declares their type."""
    if values:
        return np.stack(values)
    type_ = body.types.get(name)
    if type_ is None:
        return np.zeros((0,), np.float32)
    rest = tuple(d if isinstance(d, int) else 0 for d in type_.shape)
    return np.zeros((0, *rest), numpy_dtype(type_.dtype))


@operator("Loop", infer=_loop_type, count=_bodies_count)
def loop(trips: Array | None, condition: Array | None, *values: Any, body: Graph | None = None,
         captured: int = 0) -> Any:  # fmt: skip
    """Run a body by count, by condition, or both; states first, then the stacked scans."""
    if body is None:
        raise ModelError("Loop", found="no body", wanted="a body", fix="correct the model")
    most = None if trips is None else int(np.asarray(trips).ravel()[0])
    going = condition is None or bool(np.asarray(condition).ravel()[0])
    states, outer = list(values[: len(values) - captured]), values[len(values) - captured :]
    scans: list[list[Array]] = [[] for _ in range(len(body.outputs) - 1 - len(states))]
    done = 0
    while going and (most is None or done < most):
        results = run_body(body, [np.asarray(done), np.asarray(True), *states, *outer])
        going = condition is None or bool(np.asarray(results[0]).ravel()[0])
        states = results[1 : 1 + len(states)]
        for scan, value in zip(scans, results[1 + len(states) :], strict=True):
            scan.append(value)
        done += 1
    names = body.outputs[1 + len(states) :]
    return (*states, *(_stacked(body, n, s) for n, s in zip(names, scans, strict=True)))


# -- scans ----------------------------------------------------------------------------------------


def _scan_parts(context: TypeContext) -> tuple[Graph | None, int, Dimension]:
    """Return the inferred body, the number of states and that of iterations."""
    attribute, body = context.attribute, context.attribute("body")
    count = attribute("num_scan_inputs")
    first_captured = len(context.inputs) - attribute("captured", 0)
    if not isinstance(body, Graph) or not count:
        raise context.error("no body or no scan inputs", "a body and num_scan_inputs")
    given = context.inputs[:first_captured]
    if any(g is None for g in given):
        return None, first_captured - count, context.fresh("iterations")
    states = [g for g in given[: first_captured - count] if g is not None]
    slices, steps = [], None
    for i, type_ in enumerate(g for g in given[first_captured - count :] if g is not None):
        axis = _listed(attribute("scan_input_axes"), i) % type_.rank
        size = type_.shape[axis]
        steps = size if steps is None else agree(context, steps, size, "scanned length")
        rest = (*type_.shape[:axis], *type_.shape[axis + 1 :])
        slices.append(TensorType(dtype=type_.dtype, shape=rest))
    typed = _settled(context, body, (), states, slices, first_captured, 0)
    return typed, len(states), 0 if steps is None else steps


def _listed(values: Sequence[int] | None, index: int) -> int:
    return int(values[index]) if values else 0


def _scan_type(context: TypeContext) -> list[TensorType | None]:
    body, states, steps = _scan_parts(context)
    if body is None:
        return [None] * len(context.node.outputs)
    types = _outputs(body)
    result = types[:states]
    for i, type_ in enumerate(types[states:]):
        if type_ is not None:
            axis = _listed(context.attribute("scan_output_axes"), i) % (type_.rank + 1)
            shape = (*type_.shape[:axis], steps, *type_.shape[axis:])
            type_ = TensorType(dtype=type_.dtype, shape=shape)
        result.append(type_)
    return result


def _scan_run(context: TypeContext) -> list[tuple[Graph, int]]:
    """The body once per element of the scanned axis."""
    body, _, steps = _scan_parts(context)
    if isinstance(steps, str):
        raise context.error(f"unbound length {steps}", "a number",
                            f"bind it where an input has it: --shape {steps}=8")  # fmt: skip
    return [(_known(body, context), steps)]


@operator("Scan", infer=_scan_type, count=_bodies_count)
def scan(*values: Array, body: Graph | None = None, captured: int = 0, num_scan_inputs: int = 1,
         scan_input_axes: Sequence[int] | None = None,
         scan_input_directions: Sequence[int] | None = None,
         scan_output_axes: Sequence[int] | None = None,
         scan_output_directions: Sequence[int] | None = None) -> Any:  # fmt: skip
    """Run a body over slices of its inputs; states first, then the stacked outputs."""
    if body is None:
        raise ModelError("Scan", found="no body", wanted="a body", fix="correct the model")
    own, outer = values[: len(values) - captured], values[len(values) - captured :]
    states: list[Any] = list(own[: len(own) - num_scan_inputs])
    sources = [
        np.moveaxis(s, _listed(scan_input_axes, i), 0)
        for i, s in enumerate(own[len(own) - num_scan_inputs :])
    ]
    backwards = [bool(_listed(scan_input_directions, i)) for i in range(num_scan_inputs)]
    steps = sources[0].shape[0]
    stacks: list[list[Array]] = [[] for _ in range(len(body.outputs) - len(states))]
    for t in range(steps):
        slices = [s[steps - 1 - t if b else t] for s, b in zip(sources, backwards, strict=True)]
        results = run_body(body, [*states, *slices, *outer])
        states = results[: len(states)]
        for stack, value in zip(stacks, results[len(states) :], strict=True):
            stack.append(value)
    scanned = []
    for i, stack in enumerate(stacks):
        ordered = stack[::-1] if _listed(scan_output_directions, i) else stack
        whole = _stacked(body, body.outputs[len(states) + i], ordered)
        axis = _listed(scan_output_axes, i)
        scanned.append(np.moveaxis(whole, 0, axis))
    return (*states, *scanned)


#: operator -> what it runs; an operator whose body only adjusts its own work is not among them
_BODIES_RUN: dict[str, Callable[[TypeContext], list[tuple[Graph, int]]]] = {
    "If": _if_run, "Loop": _loop_run, "Scan": _scan_run,
}  # fmt: skip

#: Operators that do nothing but run their bodies.
CONTROL_FLOW = frozenset(_BODIES_RUN)
