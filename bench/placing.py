"""One network on several workers of this machine: the gains, the search, the prediction, the cost.

Networks are measured as the study ``duet`` measures them: all ways in turn, ratios within rounds,
95 % intervals from order statistics. The best back end alone is the best of the workers' and of
PyTorch, node by node and compiled, in a process of its own (it is not among the workers). A
network that is a single path is compared with all these called directly, so that the executor and
the fallback count too. What a step costs is that of a chain whose subgraphs do nothing, less
calling them one after the other, and that of forks whose branches take up a processor for a time,
less the longer branches. ``BENCH_SHORT=1`` leaves out PyTorch and the largest networks and measures
for shorter; ``BENCH_PARTS=networks,single,steps`` names the parts to measure.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np

from orrery.api.choosing import PLACED
from orrery.api.placing import choose, local_workers
from orrery.graph import Graph, Node, Region, TensorType, build_model, example_inputs
from orrery.progress import SILENT
from orrery.runtime import Executable
from orrery.runtime.processes import placed_network
from orrery.runtime.together import (
    PROCESS,
    Fallback,
    LocalWorker,
    PlacedNetwork,
    Step,
    WorkerPool,
    core_sets,
)
from orrery.studies.duet import (
    ALONE,
    Case,
    Effort,
    Elsewhere,
    counted,
    in_rounds,
    measure_case,
    outside,
    pytorch_ways,
    timed,
)

from ._record import Figure, short, wanted

BRANCHED = ("siamese-lstm", "wide-deep", "facebagnet", "inception_v3", "casia-surf", "mt-dnn")
SINGLE = ("resnet50", "mobilenet_v2", "vgg16")
#: Left out of a short run.
LARGE = ("mt-dnn", "vgg16")
EFFORT = Effort(
    networks=BRANCHED, profile_s=30.0, races_s=30.0, rounds=100, rounds_s=30.0, tail_runs=0,
    tail_s=0.0, sweep_rounds=11, sweep_s=20.0, looked=300_000, most_operators=0, torch="compiled",
)  # fmt: skip
SHORT = replace(EFFORT, networks=tuple(n for n in BRANCHED if n not in LARGE), profile_s=10.0,
                races_s=15.0, rounds_s=15.0, sweep_s=8.0, torch="off")  # fmt: skip
WORTH = 1.3
SUBGRAPHS, REQUESTS = 32, 200
#: Seconds of two branches beside each other.
BRANCHES = (200e-6, 150e-6)
AGAIN = " again"


def figures() -> Iterator[Figure]:
    """Measure six networks with paths side by side, three without, and chains of nothing."""
    effort, workers = SHORT if short() else EFFORT, local_workers()
    if wanted("steps"):
        yield from of_steps()
    if wanted("single"):
        yield from of_singles(workers, torch=effort.torch != "off")
    if wanted("networks"):
        cases = [measure_case(build_model(n), workers, effort, SILENT) for n in effort.networks]
        yield from (*of_search(cases), *of_prediction(cases), *of_gains(cases))


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def of_search(cases: Sequence[Case]) -> list[Figure]:
    """Greedy-correction by prediction over the exact placement, and what runs over the best run."""
    known = [c for c in cases if c.sweep.exact_s or c.sweep.least_s]
    predicted = tuple(
        100 * (c.sweep.corrected_s / (c.sweep.exact_s or c.sweep.least_s) - 1) for c in known
    )
    measured = tuple(100 * c.sweep.gap for c in cases)
    left = ", ".join(c.name for c in cases if c.sweep.exact_s is None) or "none"
    found = [Figure(
        name="placing: greedy-correction over exact, measured, worst", unit="%", target=2.0,
        value=max(measured), runs=measured, note="; ".join(
            f"{c.name} {_pair(100 * c.sweep.gap, *(100 * e for e in c.sweep.interval))} over the "
            f"quickest of {len(c.sweep.points)} of {counted(c.sweep.total)}" for c in cases),
    )]  # fmt: skip
    if known:
        found.insert(0, Figure(
            name="placing: greedy-correction over exact, predicted, worst", unit="%", target=2.0,
            value=max(predicted), runs=predicted,
            note=f"{', '.join(c.name for c in known)}; exact not proved: {left} (there over "
            "what no placement is predicted to undercut, where that is known)",
        ))  # fmt: skip
    return found


def of_prediction(cases: Sequence[Case]) -> list[Figure]:
    """Predicted makespans of the placements against measured ones."""
    off = [(c.name, 100 * (c.predicted_s / c.measured_s - 1)) for c in cases]
    if not off:
        return []
    errors = tuple(abs(error) for _, error in off)
    said = "; ".join(f"{name} {error:+.1f}" for name, error in off)
    how = ", ".join(f"{c.name} x{c.pace:.2f} (without {_without(c):+.1f})"
                    for c in cases if c.pace)  # fmt: skip
    return [Figure(
        name="placing: predicted makespan off measured, median", unit="%", target=10.0,
        value=float(np.median(errors)), runs=errors, note=f"{said}; at the pace of the rounds, as "
        f"subgraphs one at a time tell: {how}",
    )]  # fmt: skip


def _without(case: Case) -> float:
    """Return by how many per cent the prediction is off without the pace."""
    return 100 * (case.predicted_s / (case.pace or 1.0) / case.measured_s - 1)


def of_gains(cases: Sequence[Case]) -> list[Figure]:
    """Gain over the best back end alone of each network; the second largest is the figure."""
    gains = {c.name: gain for c in cases if (gain := c.gain(*ALONE))}
    ordered = sorted((gain[0] for gain in gains.values()), reverse=True)

    # A bound that a placement undercut forbids nothing.
    def forbidden(ceilings: Sequence[float]) -> bool:
        return len(ceilings) > 1 and sorted(ceilings)[-2] < WORTH

    said = (
        "the bound by times alone forbids it: "
        if forbidden([math.inf if c.undercut else c.ceiling for c in cases]) else
        "the limit with company as measured forbids it: "
        if forbidden([math.inf if c.undercut else c.reach or c.ceiling for c in cases]) else
        "the bound allows "
    )  # fmt: skip
    least = {c.name: f"{c.ceiling:.2f}{' (undercut: no proof)' if c.undercut else ''}"
             f"{f', {c.reach:.2f} in company' if c.reach else ''}" for c in cases}  # fmt: skip
    found = [Figure(
        name="placing: second largest gain over the best back end alone", unit="x",
        value=ordered[min(1, len(ordered) - 1)], runs=tuple(ordered), target=WORTH, better="higher",
        note=said + ", ".join(f"{name} {most}" for name, most in least.items())
        + f"; alone best: {', '.join(f'{c.name} {c.best(*ALONE)}' for c in cases)}"
        + "".join(f"; {c.name}: {n}" for c in cases for n in c.notes if "torch" in n.lower()),
    )]  # fmt: skip
    for case in cases:
        if case.name in gains:
            ratio, (low, high) = gains[case.name]
            found.append(Figure(
                name=f"placing: gain of {case.name}", unit="x", value=ratio, runs=(low, high),
                better="higher", note=f"{_pair(ratio, low, high)} over {case.best(*ALONE)}, "
                f"at most {least[case.name]}",
            ))  # fmt: skip
    return found


def of_singles(workers: Sequence[LocalWorker], *, torch: bool) -> list[Figure]:
    """Single paths as the command runs them, over the best back end called directly."""
    found, notes = [], []
    for name in (n for n in SINGLE if torch or n not in LARGE):
        graph = build_model(name)
        inputs = example_inputs(graph, seed=0)
        most = max(len(w.processors) for w in workers)
        with WorkerPool(workers) as pool:
            choice = choose(graph, inputs, pool, repeats=30, cache=None, progress=SILENT)
            ordered = sorted(choice.networks, key=lambda way: (way != choice.best, way))
            served = Fallback({way: choice.networks[way] for way in ordered})
            direct = {
                f"{w.label}{again}": w.backend.prepare(graph)
                for again in ("", AGAIN) for w in workers
                if len(w.processors) == most and w.backend.refuses(graph) is None
            }  # fmt: skip
            alone = {label: timed(partial(made.run, inputs)) for label, made in direct.items()}
            with (pytorch_ways(graph, inputs, most, compiled=True) if torch
                  else nullcontext(Elsewhere(notes=["PyTorch left out"]))) as others:  # fmt: skip
                alone |= others.ways
                rounds = in_rounds(
                    {"served": timed(partial(served.run, inputs)),
                     **{label: outside(pool, way) for label, way in alone.items()}},
                    rounds=200, most_s=30.0, progress=SILENT, task=name,
                )  # fmt: skip
        best = min((a for a in alone if not a.endswith(AGAIN)), key=rounds.median_s)
        ratio, (low, high) = rounds.speedup(best, "served")
        found.append(100 * (ratio - 1))
        way = "placed" if choice.best == PLACED else choice.best
        ends = (100 * (end - 1) for end in (low, high))
        notes.append(f"{name} {_pair(found[-1], *ends)}, run {way}, directly best {best}")
        if best + AGAIN in alone:  # what is made twice is not quite as quick twice
            same, sides = rounds.speedup(best, best + AGAIN)
            alike = _pair(100 * (same - 1), *(100 * (side - 1) for side in sides))
            notes[-1] += f" (a second one made like that: {alike})"
        notes += [f"{name}: {note}" for note in others.notes]
    return [Figure(
        name="placing: single path over the best back end directly, worst", unit="%", target=2.0,
        value=max(found), runs=tuple(found), note="; ".join(notes),
    )]  # fmt: skip


@dataclass(eq=False)
class Nothing:
    """A back end whose subgraphs hand on what they are given.

    Parameters
    ----------
    seconds : operator -> how long it first takes up the processor, as libraries do: without the
        interpreter's lock
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    name: str = "nothing"

    def refuses(self, graph: Graph) -> None:
        return None

    def prepare(self, graph: Graph) -> Executable:
        seconds = sum(self.seconds.get(node.op, 0.0) for node in graph.nodes)
        if seconds:
            take_up(1e-9)  # compiled before anything is timed
        return _HandsOn(graph.inputs[0], graph.outputs[0], seconds)


class _HandsOn:
    def __init__(self, read: str, made: str, seconds: float) -> None:
        self.read, self.made, self.seconds = read, made, seconds

    def run(self, inputs: Any) -> dict[str, Any]:
        if self.seconds:
            take_up(self.seconds)
        return {self.made: inputs[self.read]}


def take_up(seconds: float) -> None:
    """Take up the processor for a time, without the interpreter's lock, as libraries do."""
    _looking_at_the_clock()(round(seconds * 1e9), np.zeros(2, np.int64))


@cache
def _looking_at_the_clock() -> Callable[[int, Any], None]:
    tell = ctypes.CDLL(None).clock_gettime
    tell.argtypes, tell.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_int
    monotonic = time.CLOCK_MONOTONIC
    from numba import njit

    def look(nanoseconds: int, moment: Any) -> None:
        tell(monotonic, moment.ctypes)
        until = moment[0] * 1_000_000_000 + moment[1] + nanoseconds
        while moment[0] * 1_000_000_000 + moment[1] < until:
            tell(monotonic, moment.ctypes)

    made: Callable[[int, Any], None] = njit(nogil=True)(look)
    return made


@cache
def chain(length: int) -> Graph:
    """Return operators one after the other on four numbers."""
    return Graph(
        name="chain", inputs=("x0",), outputs=(f"x{length}",),
        nodes=tuple(Node(name=f"n{k}", op="Relu", inputs=(f"x{k}",), outputs=(f"x{k + 1}",))
                    for k in range(length)),
        types={"x0": TensorType(dtype="float32", shape=(4,))},
    ).infer()  # fmt: skip


def step_seconds(
    pattern: Sequence[int], requests: int, length: int = SUBGRAPHS, *, processes: bool = False
) -> list[float]:
    """Return seconds a subgraph above calling it, one per request.

    Parameters
    ----------
    pattern : numbers of the workers that take turns
    processes : workers are processes, save the last subgraph's
    """
    graph, sets = chain(length), list(core_sets().values())
    own = sets[1:] or sets  # the halves, where there are two
    workers = [
        LocalWorker(name=f"w{k}", processors=own[k % len(own)], backend=Nothing(), label="nothing")
        for k in range(max(pattern) + 1)
    ]
    numbers = [pattern[k % len(pattern)] for k in range(length)]
    kinds = [PROCESS if processes and number != numbers[-1] else "" for number in numbers]
    steps = [
        Step(region=Region(graph=graph, nodes=(f"n{k}",)), worker=f"w{numbers[k]}{kinds[k]}")
        for k in range(length)
    ]
    inputs, found = {"x0": np.zeros(4, np.float32)}, []
    with WorkerPool(workers) as pool:
        network = placed_network(graph, steps, pool)
        calls = [pool.prepare(s.worker.removesuffix(PROCESS), s.region) for s in steps]
        for turn in range(requests + requests // 10):
            begun = time.perf_counter()
            network.run(inputs)
            between = time.perf_counter()
            values = dict(inputs)
            for call in calls:
                values.update(call.run(values))
            took = 2 * between - begun - time.perf_counter()
            if turn >= requests // 10:  # the first ones warm up
                found.append(took / length)
    return found


def forks(count: int) -> Graph:
    """Return operators on four numbers: count times one, two beside each other, and one."""
    nodes = []
    for k in range(count):
        nodes += [
            Node(name=f"a{k}", op="Relu", inputs=(f"x{k}",), outputs=(f"a{k}",)),
            Node(name=f"b{k}", op="Neg", inputs=(f"a{k}",), outputs=(f"b{k}",)),
            Node(name=f"c{k}", op="Abs", inputs=(f"a{k}",), outputs=(f"c{k}",)),
            Node(name=f"d{k}", op="Add", inputs=(f"b{k}", f"c{k}"), outputs=(f"x{k + 1}",)),
        ]
    return Graph(
        name="forks", inputs=("x0",), outputs=(f"x{count}",), nodes=tuple(nodes),
        types={"x0": TensorType(dtype="float32", shape=(4,))},
    ).infer()  # fmt: skip


def fork_seconds(
    requests: int, count: int = SUBGRAPHS // 4, *, branches: tuple[float, float] = BRANCHES
) -> list[float]:
    """Return seconds a subgraph above the longer of two branches, one per request.

    Two workers: the first begins and has the first branch, the second has the other and joins.
    What the branches take is told by the clock, whatever else the machine does.
    """
    graph, sets = forks(count), list(core_sets().values())
    own = sets[1:] or sets
    backend = Nothing({"Neg": branches[0], "Abs": branches[1]})
    workers = [
        LocalWorker(name=f"w{k}", processors=own[k % len(own)], backend=backend, label="nothing")
        for k in range(2)
    ]
    steps = [
        Step(region=Region(graph=graph, nodes=(node.name,)), worker=f"w{int(node.name[0] in 'cd')}")
        for node in graph.nodes
    ]
    inputs = {"x0": np.zeros(4, np.float32)}
    with WorkerPool(workers) as pool:
        network = PlacedNetwork(graph, steps, pool)
        found = []
        for _ in range(requests + requests // 10):  # the first ones warm up
            begun = time.perf_counter()
            network.run(inputs)
            found.append((time.perf_counter() - begun - count * max(branches)) / (4 * count))
    return found[requests // 10 :]


def of_steps() -> list[Figure]:
    """What a subgraph costs beside its work: on one worker, to and fro between two, in forks."""
    chains = (
        ("on one worker", (0,), False), ("to and fro between two", (0, 1), False),
        ("to and fro, one of two a process", (0, 1), True),
    )  # fmt: skip
    measured = {
        said: step_seconds(pattern, REQUESTS, processes=processes)
        for said, pattern, processes in chains
    }
    measured["forked and joined between two"] = fork_seconds(REQUESTS)
    made = []
    for said, seconds in measured.items():
        values = [1e6 * s for s in seconds]
        made.append(Figure(
            name=f"placing: executor, a subgraph {said}", unit="us", target=50.0,
            value=float(np.median(values)), runs=tuple(values),
            note=f"median of {REQUESTS} requests of {SUBGRAPHS} subgraphs; {load()}",
        ))  # fmt: skip
    return made


def _pair(value: float, low: float, high: float) -> str:
    return f"{value:.3g} ({low:.3g} to {high:.3g}, 95 %)"
