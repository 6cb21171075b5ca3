"""Loop nests of layers: optima against all nests, mappings per second, whole networks."""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import inf, isclose
from random import Random

from tests.mapping.nest.cases import exhaustive, keeping_array, random_array, random_layer

from orrery.cost import Refusal
from orrery.cost.nest import LOOPS, NestProblem, Zeros, nest_problem, stages_of
from orrery.graph import build_model
from orrery.hardware.spatial import load_architecture
from orrery.mapping.groups import engine
from orrery.mapping.nest import OBJECTIVES, NestFound, best_nest, nest_network, nest_stages
from orrery.mapping.nest._find import question
from orrery.mapping.nest._patterns import patterns_of
from orrery.mapping.nest._program import program_of
from orrery.mapping.nest._space import mappings_of, options_of, places_of
from orrery.mapping.nest._terms import Space
from orrery.plan import Infeasible

from ._record import Figure, repeated, run_command

CASES, MOST_NESTS = 500, 500
#: ZigZag's default search of the same network on its TPU-like core.
ZIGZAG_CYCLES, ZIGZAG_J, ZIGZAG_S = 3_863_768, 1.871e-3, 49.8


def figures(cases: int = CASES) -> list[Figure]:
    """Compare with every nest of random small layers; search ResNet-18; count mappings."""
    return [_against_all(cases), _per_second(), *_network(), *_together(), *_large()]


def _against_all(cases: int) -> Figure:
    draw, wrong, seen, nests = Random(20261121), 0, 0, 0
    while seen < cases:
        problem = random_layer(draw)
        architecture = keeping_array(draw) if seen % 4 == 3 else random_array(draw)
        columns = [n for n, place in enumerate(places_of(architecture)) if place.axis is None]
        if not 2 <= mappings_of(options_of(problem, architecture), columns) <= MOST_NESTS:
            continue
        best, number = exhaustive(problem, architecture)
        seen, nests = seen + 1, nests + number
        for objective in OBJECTIVES:
            found = best_nest(problem, architecture, objective)
            if isinstance(found, NestFound):
                right = found.proven and isclose(found.value, best[objective], rel_tol=1e-8)
            else:
                right = best[objective] == inf
            wrong += not right
    return Figure(
        name="optima that are not the best of all nests", value=wrong, unit="", runs=(wrong,),
        target=0, note=f"{cases} random layers and arrays, every fourth with operands that stay on "
        f"chip, three objectives, {nests} nests priced one by one",
    )  # fmt: skip


def _per_second() -> Figure:
    space = Space(_layers()["layer1.0.conv1 0"], load_architecture("tpu-like-32"))
    program = program_of(space, "energy", Zeros(), None)
    patterns = patterns_of(space.problem, space.architecture)
    asked = question(space, program, patterns[:1])

    def one(_: int) -> int:
        return sum(engine()(*asked, inf, 0.0, 1, True)[3] for _ in range(40))

    def measure() -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as threads:
            scored = sum(threads.map(one, range(2)))
        return scored / (time.perf_counter() - start)

    return repeated(
        "mappings scored a second, 3x3 convolution on tpu-like-32", "1/s", measure, runs=3,
        target=1e7, better="higher",
        note="complete mappings given their energy, on two threads, wall clock; what a search "
        "rules out without a price is not counted",
    )  # fmt: skip


@cache
def _layers() -> dict[str, NestProblem]:
    found = {}
    for region in build_model("resnet18").regions():
        nests = nest_problem(region)
        if not isinstance(nests, Refusal):
            found |= {f"{region.name} {n}": nest for n, nest in enumerate(nests) if nest.macs}
    return found


def _network() -> list[Figure]:
    problems, architecture = _layers(), load_architecture("tpu-like-32")
    figures = []
    for objective, worth, peer in (("latency", "cycles", ZIGZAG_CYCLES), ("energy", "J", ZIGZAG_J)):
        results: list[float] = []

        def measure(objective: str = objective, results: list[float] = results) -> float:
            start = time.perf_counter()
            with ThreadPoolExecutor(2) as threads:
                found = nest_network(problems, architecture, objective, executor=threads)
            seconds = time.perf_counter() - start
            nests = [nest for nest in found.values() if isinstance(nest, NestFound)]
            if len(nests) < len(problems) or not all(nest.proven for nest in nests):
                raise RuntimeError("a layer without a proven nest")
            results.append(sum(nest.value for nest in nests))
            return seconds

        figures.append(repeated(
            f"ResNet-18 on tpu-like-32, least {objective}, proven", "s", measure, runs=3,
            target=ZIGZAG_S / 100, note="warm, no cache, two threads; a hundredth of ZigZag's "
            "default search",
        ))  # fmt: skip
        figures.append(Figure(name=f"… {worth}", value=results[-1], unit=worth,
                              runs=(results[-1],), target=peer,
                              note="the target is what ZigZag finds"))  # fmt: skip
    return figures


def _together() -> list[Figure]:
    """ResNet-18 within both of ZigZag's figures at once: tensors may stay on chip, as there."""
    architecture = load_architecture("tpu-like-32", loops=tuple(LOOPS))
    stages = stages_of(build_model("resnet18"), passes=False)
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        found = nest_stages(stages, architecture, "energy", most_cycles=ZIGZAG_CYCLES,
                            executor=threads)  # fmt: skip
    seconds = time.perf_counter() - start
    if isinstance(found, Infeasible):
        raise RuntimeError(str(found))
    note = "convolutions with fused tails and the dense layer; poolings left to another unit"
    return [
        Figure(name="ResNet-18, least energy within ZigZag's cycles: energy", unit="J",
               value=found.energy_j or inf, runs=(found.energy_j or inf,), target=ZIGZAG_J,
               note=f"{note}; at most {100 * found.gap:.3g} % above the least"),
        Figure(name="… cycles of the same nests", unit="cycles", value=float(found.cycles),
               runs=(float(found.cycles),), target=ZIGZAG_CYCLES),
        Figure(name="… search", unit="s", value=seconds, runs=(seconds,),
               note="warm, no cache, two threads; which tensors stay is searched too"),
    ]  # fmt: skip


#: A child that searches a network without and with its cache; compiled code is read from disk.
_CHILD = """
import sys, time, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from orrery.cost import Refusal
from orrery.cost.nest import NestProblem, nest_problem
from orrery.graph import build_model
from orrery.hardware.spatial import load_architecture
from orrery.mapping.nest import nest_network
from orrery.store import Cache
architecture = load_architecture(sys.argv[2])
problems = {}
for region in build_model(sys.argv[1]).regions():
    nests = nest_problem(region)
    if not isinstance(nests, Refusal):
        problems |= {f"{region.name} {n}": one for n, one in enumerate(nests) if one.macs}
with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as threads:
    for _ in range(2):
        start = time.perf_counter()
        nest_network(problems, architecture, "energy", executor=threads,
                     cache=Cache("nests", folder=Path(folder)))
        print(time.perf_counter() - start)
"""


def _large() -> list[Figure]:
    figures = []
    for network in ("gpt2-345m", "resnet152"):
        for array in ("tpu-like-32", "gemmini-16"):
            runs = [run_command([sys.executable, "-c", _CHILD, network, array]) for _ in range(3)]
            times = [[float(line) for line in run.output.split()] for run in runs]
            for place, (what, target) in enumerate((("cold", 5.0), ("cached", 0.3))):
                taken = tuple(one[place] for one in times)
                figures.append(Figure(
                    name=f"{network} on {array}, least energy, {what}", unit="s",
                    value=statistics.median(taken), runs=taken, target=target,
                    note="first search of a process, compiled code from disk, two threads"
                    if not place else "every nest from the cache, priced anew",
                ))  # fmt: skip
            peaks = tuple(run.peak_bytes / 1e6 for run in runs)
            figures.append(Figure(name=f"{network} on {array}, peak memory", unit="MB",
                                  value=max(peaks), runs=peaks, target=500.0,
                                  note="of the whole process"))  # fmt: skip
    return figures
