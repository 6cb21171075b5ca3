"""What a search over sets must beat: random mappings, one split for all layers, one device.

Models:  the same problem and the same clock as the searches.
Ignores: nothing of its own.
Judge:   every candidate evaluated by `evaluate` (tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.timeline import PS_PER_S

from ..sets._fast import Evaluator
from ..sets._mapping import Placed, SetMapping, evaluate, fits
from ..sets._problem import Problem
from ..sets._routes import NEVER
from ._local import shortage
from ._settings import TwoLevelSearch
from ._two_level import genomes_of


def random_sets(
    problem: Problem, *, draws: int = 100, seed: int = 0, most_sets: int = 4,
    progress: Progress = SILENT,
) -> SetMapping | Infeasible:  # fmt: skip
    """Return the best of random sets, designs, cuts and choices; none of them is refused.

    Parameters
    ----------
    draws : how many; those that do not fit into memories count too

    Raises
    ------
    CancelledError : the user asked to stop
    """
    genomes = genomes_of(problem, TwoLevelSearch(most_sets=most_sets))
    if isinstance(genomes, Infeasible):
        return genomes
    random = np.random.default_rng(seed)
    best: tuple[tuple[bool, int], SetMapping] | None = None
    for number in range(draws):
        shown = None if best is None or best[0][0] else best[0][1] / PS_PER_S
        progress.step("random mappings", number, draws, best=shown)
        sets = genomes.place(genomes.create(random))
        choices = [0] * len(problem.units)
        for placed in sets:
            for u in range(placed.first, placed.last):
                steps = problem.step_ps[u][placed.set_class][placed.design]
                allowed = np.flatnonzero(steps < NEVER)
                choices[u] = int(random.choice(allowed)) if len(allowed) else 0
        mapping = SetMapping(sets=sets, choices=tuple(choices))
        running = genomes.evaluator.start(mapping)
        refused = running.excess_bytes > 0 or running.makespan_ps >= NEVER
        worth = (refused, running.makespan_ps)
        if best is None or worth < best[0]:
            best = (worth, mapping)
    if best is None or best[0][0]:
        return shortage(problem, best[1] if best else _whole(problem, 0, 0), draws)
    return best[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformSets:
    """The best mapping with one kind of split for all layers.

    Attributes
    ----------
    kind : ``axis N`` of results, or ``sum`` for loops over which is summed
    tried : kind -> its best makespan (ps) over all sets and designs that fit
    split : units that are split so; all others the set's first device computes alone
    """

    kind: str
    mapping: SetMapping
    makespan_ps: int
    tried: dict[str, int]
    split: int


def uniform_sets(problem: Problem, *, progress: Progress = SILENT) -> UniformSets | Infeasible:
    """Return the best single kind of split on the best single set with its best design.

    All layers that can be are split in one loop of that kind; nothing rotates.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    refused = _one_network(problem)
    if refused is not None:
        return refused
    evaluator = Evaluator(problem)
    tried: dict[str, tuple[int, SetMapping, int]] = {}
    worst: list[SetMapping] = []
    sets = [k for k, one in enumerate(problem.classes) if one.parties > 1]
    for done, k in enumerate(sets):
        progress.step("uniform splits", done, len(sets))
        parties = problem.classes[k].parties
        kinds = [_kinds(problem, u, parties) for u in range(len(problem.units))]
        for kind in sorted({name for listed in kinds for name in listed}):
            for d in range(len(problem.designs[k])):
                choices = []
                for u, listed in enumerate(kinds):
                    steps = problem.step_ps[u][k][d]
                    options = [c for c in listed.get(kind, ()) if steps[c] < NEVER]
                    choices.append(min(options, key=steps.__getitem__, default=0))
                mapping = _whole(problem, k, d, tuple(choices))
                running = evaluator.start(mapping)
                if running.excess_bytes or running.makespan_ps >= NEVER:
                    worst.append(mapping)
                elif kind not in tried or running.makespan_ps < tried[kind][0]:
                    split = sum(choice > 0 for choice in choices)
                    tried[kind] = (running.makespan_ps, mapping, split)
    if not tried:
        if worst:
            return shortage(problem, worst[0], len(worst))
        return Infeasible(
            what="sets of several devices that split some layer", need=1, have=0, unit="sets",
            remedies=("add devices of one kind", "allow larger sets"),
        )  # fmt: skip
    kind = min(tried, key=lambda name: tried[name][0])
    makespan, mapping, split = tried[kind]
    return UniformSets(
        kind=kind, mapping=mapping, makespan_ps=makespan, split=split,
        tried={name: found[0] for name, found in tried.items()},
    )  # fmt: skip


def single_set(problem: Problem) -> SetMapping | Infeasible:
    """Return the best single device with its best design."""
    refused = _one_network(problem)
    if refused is not None:
        return refused
    best: tuple[int, SetMapping] | None = None
    worst: list[SetMapping] = []
    for mapping in _alone(problem):
        times = evaluate(problem, mapping)
        if not fits(problem, mapping, times):
            worst.append(mapping)
        elif best is None or times.makespan_ps < best[0]:
            best = (times.makespan_ps, mapping)
    if best is not None:
        return best[1]
    if worst:
        return shortage(problem, worst[0], len(worst))
    return Infeasible(
        what="sets of one device", need=1, have=0, unit="sets", remedies=("allow sets of one",)
    )


def _alone(problem: Problem) -> Iterator[SetMapping]:
    for k, one in enumerate(problem.classes):
        if one.parties == 1:
            for d in range(len(problem.designs[k])):
                yield _whole(problem, k, d)


def _whole(
    problem: Problem, set_class: int, design: int, choices: tuple[int, ...] | None = None
) -> SetMapping:
    """Return one set that takes all units; without choices its first device does all."""
    count = len(problem.units)
    placed = Placed(set_class=set_class, design=design, first=0, last=count,
                    devices=problem.classes[set_class].devices)  # fmt: skip
    return SetMapping(sets=(placed,), choices=(0,) * count if choices is None else choices)


def _one_network(problem: Problem) -> Infeasible | None:
    """Refuse several networks: each needs a set of its own."""
    networks = max(unit.network for unit in problem.units) + 1
    if networks == 1:
        return None
    return Infeasible(
        what="sets, one for each network, where there is only one set", need=networks, have=1,
        unit="sets", remedies=("map one network at a time", "search for several sets"),
    )  # fmt: skip


def _kinds(problem: Problem, u: int, parties: int) -> dict[str, list[int]]:
    """Return per kind the choices of a unit that split one loop, and nothing else."""
    found: dict[str, list[int]] = {}
    for number, choice in enumerate(problem.choices[u][parties]):
        strategy = choice.strategies[0]
        if strategy is None or strategy.shared is not None or len(strategy.exclusive) != 1:
            continue
        kind = "sum"
        for (tensor, _), layout in zip(problem.units[u].outputs, choice.outputs):
            boxes = problem.layouts[tensor][parties][layout]
            cut = [a for a in range(boxes.shape[1]) if (boxes[:, a] != boxes[0, a]).any()]
            if cut and strategy.combine != "reduce_scatter":
                kind = f"axis {cut[0]}"
                break
        found.setdefault(kind, []).append(number)
    return found
