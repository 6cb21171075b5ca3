"""Run labelled data through a network, or through its regions one after another, and score it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import MissingExtraError, SpecError
from orrery.graph import ArrayConstant, Graph, Region
from orrery.progress import SILENT, Progress

from .._backend import Backend, Tensors
from .._evaluator import Evaluator, checked_outputs, read_only
from .._onnxruntime import OnnxRuntimeBackend, load_library, region_evaluator
from .._reference import ReferenceBackend
from ._data import LabelledData, result_of
from ._scores import TaskMetric


def usual_backend(graph: Graph) -> Backend:
    """Return ONNX Runtime where it is installed and takes the network, else the NumPy reference."""
    try:
        load_library()
    except MissingExtraError:
        return ReferenceBackend()
    fast = OnnxRuntimeBackend()
    return fast if fast.refuses(graph) is None else ReferenceBackend()


def answers(
    run: Callable[[Tensors], Tensors], graph: Graph, data: LabelledData, metric: TaskMetric,
    *, task: str, progress: Progress = SILENT,
) -> NDArray[Any]:  # fmt: skip
    """Return the score of every chosen sample, in order.

    Parameters
    ----------
    run : the network's inputs -> its outputs, a batch at a time
    task : name under which progress is told

    Raises
    ------
    SpecError : data that do not fit; a score that is not a number
    CancelledError : the caller asked to stop
    """
    output = result_of(graph)
    scores: list[NDArray[Any]] = []
    done, total = 0, len(data.chosen)
    for inputs, labels in data.batches(graph):
        progress.step(task, done, total)
        made = np.asarray(run(inputs)[output])[: len(labels)]
        found = metric.score(made, labels)
        if not metric.share and not np.isfinite(found).all():
            raise SpecError(f"{task}: {metric.figure}", found="NaN or infinity for a sample",
                            wanted="finite answers", fix="check the weights and the scaling of the "
                            "inputs")  # fmt: skip
        scores.append(found)
        done += len(labels)
    progress.step(task, done, total)
    return np.concatenate(scores)


@dataclass(slots=True)
class _Step:
    """A region, what it reads, and which of that nobody reads later; no evaluator: as it is."""

    region: Region
    evaluate: Evaluator | None
    inputs: tuple[str, ...]
    last: tuple[str, ...] = ()


def chained(
    graph: Graph, parts: Sequence[tuple[tuple[str, ...], Evaluator | None]], backend: Backend
) -> Callable[[Tensors], dict[str, Any]]:
    """Return what runs a network region by region.

    Parameters
    ----------
    parts : nodes of a region, and what evaluates it; None leaves it to the back end, together with
        its neighbours of that kind

    Raises
    ------
    SpecError : regions that do not make all of the network
    """
    evaluated = {name for nodes, evaluate in parts if evaluate is not None for name in nodes}
    read = {name for node in graph.nodes if node.name in evaluated for name in node.inputs}
    # Designs read their weights in every batch: mapped or seeded ones would be made each time.
    held = {n: ArrayConstant(c.array()) for n, c in graph.constants.items() if n in read}
    graph = replace(graph, constants={**graph.constants, **held})
    steps = _ordered(graph, parts)
    otherwise = region_evaluator(backend)

    def run(inputs: Tensors) -> dict[str, Any]:
        values: dict[str, Any] = {name: read_only(value) for name, value in inputs.items()}
        for step in steps:
            taken = {name: values[name] for name in step.inputs}
            made = (step.evaluate or otherwise)(step.region, taken)
            made = checked_outputs(step.region.name, step.region, made)
            values.update({name: read_only(value) for name, value in made.items()})
            for name in step.last:
                values.pop(name, None)
        return {
            n: values[n] if n in values else graph.constants[n].array() for n in graph.outputs
        }  # fmt: skip

    return run


def _joined(steps: Sequence[_Step]) -> list[_Step]:
    """Return the steps with neighbours that have no evaluator as one: fewer borders to cross."""
    joined: list[_Step] = []
    for step in steps:
        if step.evaluate is None and joined and joined[-1].evaluate is None:
            before = joined.pop().region
            whole = Region(graph=before.graph, nodes=(*before.nodes, *step.region.nodes))
            step = _Step(whole, None, whole.inputs)
        joined.append(step)
    return joined


def _ordered(
    graph: Graph, parts: Sequence[tuple[tuple[str, ...], Evaluator | None]]
) -> list[_Step]:
    held, steps = set(graph.inputs), list[_Step]()
    regions = [(Region(graph=graph, nodes=nodes), evaluate) for nodes, evaluate in parts]
    left = [_Step(region, evaluate, region.inputs) for region, evaluate in regions]
    while left:
        waiting = list[_Step]()
        for step in left:
            ready = held.issuperset(step.inputs)
            (steps if ready else waiting).append(step)
            held.update(step.region.outputs if ready else ())
        if len(waiting) == len(left):
            break
        left = waiting
    lost = [step.region.name for step in left]
    lost += [name for name in graph.outputs if name not in held and name not in graph.constants]
    if lost:
        raise SpecError(f"{graph.name}: regions", found=f"nothing makes {lost[0]} or what it needs",
                        wanted="every node in a region", fix="make the plan again")  # fmt: skip
    steps, seen = _joined(steps), set(graph.outputs)
    for step in reversed(steps):
        step.last = tuple(name for name in step.inputs if name not in seen)
        seen.update(step.inputs)
    return steps
