"""What every search over sets ends with: a local search, and what a mapping lacks.

Models:  changes of one gene: a choice (with the answers of units after it), a set's design, a cut
         by one place; and choices of one kind for a run of units.
Ignores: changes of a set's devices.
Judge:   no single choice helps any more; never worse than before (tests).
"""

from __future__ import annotations

import numpy as np

from orrery.plan import Infeasible

from ..sets._fast import Evaluator, Running
from ..sets._mapping import Placed, SetMapping, evaluate
from ..sets._problem import Problem
from ..sets._routes import NEVER, Ints

_RUN = 24  #: units that may change their way of being shared together


def local_search(evaluator: Evaluator, mapping: SetMapping, *, follow: int = 1) -> SetMapping:
    """Change one gene after the other while that helps: choices, designs, cuts by one unit.

    Parameters
    ----------
    follow : units after a changed one that may answer it before the change is judged
    """
    problem, every = evaluator.problem, np.arange(len(evaluator.problem.units))
    running = evaluator.start(mapping)
    _settle(running, mapping, follow)
    best, mapping = (running.excess_bytes, running.makespan_ps), running.mapping()
    improved = True
    while improved:
        improved = False
        for changed in _neighbours(problem, mapping):
            running = evaluator.start(changed)
            if running.makespan_ps >= NEVER:
                continue
            running.descend(every, 3, 0)
            if (running.excess_bytes, running.makespan_ps) < best:
                _settle(running, changed, follow)
                best, mapping = (running.excess_bytes, running.makespan_ps), running.mapping()
                improved = True
                break
    return mapping


def _settle(running: Running, mapping: SetMapping, follow: int) -> None:
    """Change single choices, and runs of them, until neither helps."""
    problem = running.evaluator.problem
    wishes = [
        (np.arange(placed.first, placed.last), _wishes(problem, placed)) for placed in mapping.sets
    ]
    every, before = np.arange(len(problem.units)), None
    while before != (running.excess_bytes, running.makespan_ps):
        running.descend(every, 20, follow)
        before = (running.excess_bytes, running.makespan_ps)
        for units, wished in wishes:
            running.spread(units, wished, _RUN)


def _wishes(problem: Problem, placed: Placed) -> Ints:
    """Return per way to cut results, with and without a ring: each unit's fastest such choice."""
    parties = len(placed.devices)
    kinds: dict[tuple[object, ...], dict[int, int]] = {}
    for i, u in enumerate(range(placed.first, placed.last)):
        steps = problem.step_ps[u][placed.set_class][placed.design]
        for number, choice in enumerate(problem.choices[u][parties]):
            strategy = choice.strategies[0]
            if steps[number] >= NEVER:
                continue
            cuts: tuple[int, ...] = ()
            if choice.outputs:
                tensor = problem.units[u].outputs[0][0]
                boxes = problem.layouts[tensor][parties][choice.outputs[0]]
                cuts = tuple(len(np.unique(boxes[:, a, 0])) for a in range(boxes.shape[1]))
            ring = strategy is not None and strategy.shared is not None
            known = kinds.setdefault((strategy is None, ring, cuts), {})
            if i not in known or steps[number] < steps[known[i]]:
                known[i] = number
    out = np.full((len(kinds), placed.last - placed.first), -1, np.int64)
    for kind, known in enumerate(kinds.values()):
        out[kind, list(known)] = list(known.values())
    return out


def _neighbours(problem: Problem, mapping: SetMapping) -> list[SetMapping]:
    """Return mappings with another design of one set, or one cut at the place before or after."""
    found = []
    sets = mapping.sets
    for number, placed in enumerate(sets):
        for design in range(len(problem.designs[placed.set_class])):
            if design != placed.design:
                found.append(_with(problem, mapping, {number: (design, placed.first, placed.last)}))
        if number + 1 == len(sets) or (
            problem.units[placed.first].network != problem.units[sets[number + 1].first].network
        ):
            continue
        after = sets[number + 1]
        earlier = [u for u in range(placed.first + 1, placed.last) if problem.cuts[u]][-1:]
        later = [u for u in range(placed.last + 1, after.last) if problem.cuts[u]][:1]
        for cut in (*earlier, *later):
            found.append(_with(problem, mapping, {
                number: (placed.design, placed.first, cut),
                number + 1: (after.design, cut, after.last),
            }))  # fmt: skip
    return found


def _with(
    problem: Problem, mapping: SetMapping, changes: dict[int, tuple[int, int, int]]
) -> SetMapping:
    sets, choices = list(mapping.sets), list(mapping.choices)
    for number, (design, first, last) in changes.items():
        old = sets[number]
        sets[number] = Placed(set_class=old.set_class, design=design, devices=old.devices,
                              first=first, last=last)  # fmt: skip
        for u in range(first, last):
            steps = problem.step_ps[u][old.set_class][design]
            kept = old.first <= u < old.last and steps[choices[u]] < NEVER
            choices[u] = choices[u] if kept else int(steps.argmin())
    return SetMapping(sets=tuple(sets), choices=tuple(choices))


def shortage(problem: Problem, mapping: SetMapping, tried: int) -> Infeasible:
    """Say what a mapping that breaks a rule lacks most: the best of so many, which proves nothing.

    Parameters
    ----------
    tried : mappings that were looked into
    """
    times = evaluate(problem, mapping)
    names = problem.tables.workload.names
    for u, step in enumerate(times.step_ps):
        if step >= NEVER:
            return Infeasible(
                what=f"sets of devices that run {names[problem.units[u].regions[0]]}", need=1,
                have=0, unit="sets",
                remedies=("add a device with own units", "allow other designs"),
            )  # fmt: skip
    device, need = max(times.overfull.items(), key=lambda entry: entry[1])
    return Infeasible(
        what=f"constants and live tensors on {problem.tables.ends[device]} in the mapping nearest "
        f"to fitting; none that fits was found among {tried} tried, which does not prove that none "
        "exists", need=need, have=problem.capacity_bytes[device], unit="bytes",
        remedies=("search longer (--search two-level --generations 200)",
                  "allow larger sets (--set-sizes)", "split more loops at once (--loops 3)",
                  "use devices with more memory", "reduce the batch, the context or the element "
                  "size"),
    )  # fmt: skip
