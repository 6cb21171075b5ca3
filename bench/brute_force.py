"""The exact search over sets against every mapping there is, on thousands of random networks."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from tests.mapping.random_graphs import MODELS, random_system, residual_graph
from tests.mapping.sets_cases import all_sets, problem_of

from orrery.cost import price
from orrery.mapping.sets import Problem, chain_optimum, evaluate, plan_of, series_optimum
from orrery.mapping.sets._routes import NEVER

from ._record import Figure

GRAPHS = 3000
#: units -> ways to share a unit that both sides may use; all of them where a network is shorter
CHOICES = {3: 8, 4: 5, 5: 4, 6: 3}
#: every so many-th optimum is priced as a plan
PRICED = 10


def figures(graphs: int = GRAPHS) -> list[Figure]:
    """Search every network both ways and count where they agree."""
    count = dict.fromkeys(("equal", "none", "results", "early", "unequal", "six", "priced"), 0)
    differ: list[int] = []
    placed, tried_s, exact_s = 0, 0.0, 0.0
    for seed in range(graphs):
        graph, system = residual_graph(seed, most=6), random_system(seed)
        problem = _limited(problem_of([graph], system), Random(f"choices {seed}"))
        start = time.process_time()
        best, tried = _enumerate(problem)
        between = time.process_time()
        found = series_optimum(problem)
        exact_s += time.process_time() - between
        tried_s += between - start
        placed += tried
        count["results"] += len(graph.outputs) > 1
        count["unequal"] += len(problem.groups) > 1
        count["six"] += len(problem.units) == 6
        if found is None:
            count["none"] += best >= NEVER
            differ += [seed] if best < NEVER else []
            continue
        value, mapping = found
        if not value == best == evaluate(problem, mapping).makespan_ps:
            differ.append(seed)
            continue
        count["equal"] += 1
        count["early"] += min(chain_optimum(problem, 0).value_ps.values()) < value
        if count["equal"] % PRICED == 0:
            plan = plan_of(problem, mapping, searcher="exact-sets")
            cost = price(plan, [graph], system, MODELS)
            if round(cost.total.latency_s * 1e12) != best:
                raise RuntimeError(f"graph {seed}: the plan's price is not what was enumerated")
            count["priced"] += 1
    right = count["equal"] + count["none"]
    return [
        Figure(
            name="residual graphs whose exact optimum is brute force's", value=right, unit="graphs",
            runs=(right,), target=graphs, better="higher",
            note=f"of {graphs}; differ: {differ or 'none'}; neither finds a mapping: "
            f"{count['none']}; several results: {count['results']}, of which one made early comes "
            f"home last: {count['early']}; unequal devices: {count['unequal']}; six units: "
            f"{count['six']}; optima priced as plans, all equal: {count['priced']}",
        ),
        Figure(name="… units that brute force placed", value=placed, unit="units",
               runs=(placed,), note="a mapping that could not beat the best was cut short"),
        Figure(name="… seconds of brute force", value=tried_s, unit="s", runs=(tried_s,),
               note="CPU seconds of one core, tables of moves included"),
        Figure(name="… seconds of the exact search", value=exact_s, unit="s", runs=(exact_s,)),
    ]  # fmt: skip


def _limited(problem: Problem, random: Random) -> Problem:
    """Return a problem in which few ways to share each unit are left, drawn at random."""
    most = CHOICES.get(len(problem.units))
    if most is None:
        return problem
    steps = []
    for choices, tables in zip(problem.choices, problem.step_ps, strict=True):
        kept = {
            parties: random.sample(range(len(listed)), min(most, len(listed)))
            for parties, listed in choices.items()
        }
        own = []
        for one, table in zip(problem.classes, tables, strict=True):
            left = np.full_like(table, NEVER)
            left[:, kept[one.parties]] = table[:, kept[one.parties]]
            own.append(left)
        steps.append(tuple(own))
    return replace(problem, step_ps=tuple(steps))


def _enumerate(problem: Problem) -> tuple[int, int]:
    """Return the least makespan of all mappings and how many units were placed."""
    sets = all_sets(problem)
    tensors = sorted(problem.element_bytes)
    place = {tensor: number for number, tensor in enumerate(tensors)}
    results = problem.tables.workload.results
    wide = max(len(boxes) for known in problem.layouts.values() for boxes in known.values())
    count, classes = len(tensors), problem.classes
    start, finish = np.zeros((2, count, len(classes), wide), np.int64)
    move = np.full((count, len(classes), wide, wide), -1, np.int64)
    hand = np.full((count, len(classes), len(classes), wide, wide), -1, np.int64)
    sizes = [len(group) for group in problem.groups]
    for number, tensor in enumerate(tensors):
        for k, one in enumerate(classes):
            n = len(problem.layouts[tensor][one.parties])
            start[number, k, :n] = problem.start_ps(tensor, k)
            finish[number, k, :n] = problem.finish_ps(tensor, k) if tensor in results else 0
            move[number, k, :n, :n] = problem.move_ps(tensor, k)
            for j, other in enumerate(classes):
                both = zip(one.counts, other.counts, sizes, strict=True)
                if all(a + b <= size for a, b, size in both):
                    m = len(problem.layouts[tensor][other.parties])
                    hand[number, k, j, :n, :m] = problem.hand_ps(tensor, k, j)
    first, options, reads, makes = [0], [], [], []
    for number in range(len(problem.units)):
        for k, devices in sets:
            mask = sum(1 << device for device in devices)
            listed = problem.choices[number][len(devices)]
            for (design, choice), step in np.ndenumerate(problem.step_ps[number][k]):
                if step < NEVER:
                    options.append((k, mask, design, int(step)))
                    reads.append(listed[choice].needs)
                    makes.append(listed[choice].outputs)
        first.append(len(options))
    if min(b - a for a, b in pairwise(first)) == 0:
        return NEVER, 0
    uses = [[place[t] for t, _ in unit.uses] for unit in problem.units]
    outputs = [[place[t] for t, _ in unit.outputs] for unit in problem.units]
    best, tried = _walk()(
        np.array(first), np.array(options), _padded(reads), _padded(makes), _padded(uses),
        _padded(outputs), np.array(problem.cuts), start, finish, move, hand, NEVER,
    )  # fmt: skip
    return int(best), int(tried)


def _padded(rows: list[Any]) -> np.ndarray[Any, Any]:
    out = np.full((len(rows), max(1, *map(len, rows))), -1, np.int64)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


@cache
def _walk() -> Any:
    import numba

    @numba.njit
    def walk(first, options, reads, makes, uses, outputs, cuts, start, finish, move, hand, never):
        units, count = len(first) - 1, start.shape[0]
        # Before each unit: the option of the unit before, devices taken, clock, end, tensors.
        at = first[:-1].copy()
        chosen = np.full(units + 1, -1, np.int64)
        taken = np.zeros(units + 1, np.int64)
        clock, ends = np.zeros((2, units + 1), np.int64)
        where = np.full((units + 1, count, 3), -1, np.int64)  # class, mask of devices, layout
        best, tried, unit = never, 0, 0
        while unit >= 0:
            if at[unit] == first[unit + 1]:
                at[unit] = first[unit]
                unit -= 1
                continue
            option = at[unit]
            at[unit] += 1
            k, mask, design, now = options[option]
            before = chosen[unit]
            used = taken[unit] | mask
            same = before >= 0 and options[before, 1] == mask and options[before, 2] == design
            if before >= 0 and not same and (not cuts[unit] or taken[unit] & mask):
                continue
            tried += 1
            now += clock[unit]
            lies = where[unit + 1]
            lies[:] = where[unit]
            for i in range(uses.shape[1]):
                t, need = uses[unit, i], reads[option, i]
                if t < 0:
                    break
                if lies[t, 0] < 0:
                    took = start[t, k, need]
                elif lies[t, 1] == mask:
                    took = move[t, k, lies[t, 2], need]
                else:
                    took = hand[t, lies[t, 0], k, lies[t, 2], need]
                if took >= 0:
                    now += took
                    lies[t, 0], lies[t, 1], lies[t, 2] = k, mask, need
            end = max(ends[unit], now)
            for i in range(outputs.shape[1]):
                t = outputs[unit, i]
                if t < 0:
                    break
                lies[t, 0], lies[t, 1], lies[t, 2] = k, mask, makes[option, i]
                end = max(end, now + finish[t, k, makes[option, i]])
            if end >= best:
                continue
            if unit + 1 == units:
                best = end
                continue
            chosen[unit + 1], taken[unit + 1] = option, used
            clock[unit + 1], ends[unit + 1] = now, end
            unit += 1
        return best, tried

    return walk
