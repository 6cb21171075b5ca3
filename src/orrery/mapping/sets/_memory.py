"""How much each device must hold at once under a mapping onto sets.

Models:  what `orrery.cost` counts in a split plan: constants and states for good; a tensor on the
         set where it lies, in each of its layouts from the region that makes or brings it to the
         end of the last that reads it there, whichever sets work meanwhile; a result until it is
         home, too; what regions have at hand beside. Each set holds what its fullest device does.
Ignores: that a view shares bytes with what it looks at; when inputs and results lie on devices
         that are the host too, and when results come home while a unit goes on; the return of
         states. All but the last count too much, never too little.
Judge:   `orrery.cost.price` of random mappings: nowhere less, and equal nearly everywhere (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._choices import Choice
from ._problem import Problem
from ._routes import Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """What is the same under every mapping.

    Attributes
    ----------
    ends : tensor -> unit, and place of the region in it, after which no region needs it
    arrives : network inputs; without a host they lie from the start where they are first needed
    standing_bytes : per device, what it holds whatever the mapping: scalars, and, where it is the
        host too, inputs and results
    most_bytes : no device needs more
    """

    ends: Mapping[int, tuple[int, int]]
    arrives: frozenset[int]
    standing_bytes: tuple[int, ...]
    most_bytes: int


def lives_of(problem: Problem) -> Lives:
    """Return how long tensors live, and what devices hold in any case."""
    w = problem.tables.workload
    ends: dict[int, tuple[int, int]] = {}
    made: set[int] = set()
    for number, unit in enumerate(problem.units):
        for tensor, place in (*unit.uses, *unit.outputs):
            ends[tensor] = max(ends.get(tensor, (0, 0)), (number, place))
        made |= {tensor for tensor, _ in unit.outputs}
    inside = {tensor for unit in problem.units for tensor in unit.main}
    scalars = sum(
        size for tensor, size in enumerate(w.size_bytes)
        if tensor not in ends and tensor not in inside and tensor not in w.states
    )  # fmt: skip
    standing = [scalars] * len(problem.capacity_bytes)
    arrives = frozenset(ends.keys() - made)
    if 0 <= problem.host < len(standing):
        standing[problem.host] += sum(w.size_bytes[t] for t in arrives | (w.results & ends.keys()))
    most = max(standing, default=0) + 2 * sum(w.size_bytes[t] for t in ends)
    for listed in problem.choices:
        every = [choice for choices in listed.values() for choice in choices]
        most += max((c.resident_bytes for c in every), default=0)
        most += max((max(c.extra_bytes) for c in every), default=0)
    return Lives(
        ends=ends, arrives=arrives, standing_bytes=tuple(standing), most_bytes=most,
    )  # fmt: skip


def held_bytes(problem: Problem, tensor: int, boxes: Ints) -> Ints:
    """Return per layout what its fullest party holds; of a grown cache what its state lacks."""
    w = problem.tables.workload
    parts = (boxes[..., 1] - boxes[..., 0]).prod(axis=-1).max(axis=-1)
    held: Ints = parts * problem.element_bytes[tensor]
    state = w.grown.get(tensor)
    if state is not None and w.size_bytes[tensor]:
        fresh = w.size_bytes[tensor] - w.size_bytes[state]
        held = -(-held * fresh // w.size_bytes[tensor])
    return held


def needs_bytes(
    problem: Problem, sets: Sequence[tuple[int, ...]], choices: Sequence[Choice],
    moved: Sequence[Sequence[bool]], starts_ps: Sequence[int], home_ps: Mapping[int, int],
) -> tuple[list[int], list[int]]:  # fmt: skip
    """Return per device its constants and states, and the most that it holds at once.

    Parameters
    ----------
    sets, choices : per unit
    moved : per unit and fetch, whether the tensor came to lie in another layout by it
    starts_ps : per unit; home_ps : of results, when they are at the host
    """
    lives = lives_of(problem)
    #: per set of devices: for good, at the moment, at most
    fixed = dict.fromkeys(sets, 0)
    now, most = fixed.copy(), fixed.copy()
    lies: dict[int, tuple[tuple[int, ...], int]] = {}
    kept: set[tuple[tuple[int, ...], int]] = set()  # parts of constants

    def held(unit: int, tensor: int, layout: int) -> int:
        boxes = problem.layouts[tensor][len(sets[unit])]
        return int(held_bytes(problem, tensor, boxes[layout : layout + 1])[0])

    def put(unit: int, tensor: int, layout: int) -> None:
        lies[tensor] = (sets[unit], held(unit, tensor, layout))
        now[sets[unit]] += lies[tensor][1]

    if problem.host < 0:
        for number, (unit, choice) in enumerate(zip(problem.units, choices)):
            for (tensor, _), need in zip(unit.uses, choice.needs):
                if tensor in lives.arrives and tensor not in lies:
                    put(number, tensor, need)
    for number, (unit, choice) in enumerate(zip(problem.units, choices)):
        here = sets[number]
        for tensor in home_ps if problem.host >= 0 else ():
            end = lives.ends[tensor][0]
            over = end < number and problem.units[end].network == unit.network
            if over and tensor in lies and home_ps[tensor] <= starts_ps[number]:
                where, size = lies.pop(tensor)
                now[where] -= size
        fixed[here] += choice.resident_bytes
        for part, size in choice.shared:
            fixed[here] -= size if (here, part) in kept else 0
            kept.add((here, part))
        touched = [
            *zip(unit.uses, choice.needs, moved[number]),
            *((out, layout, True) for out, layout in zip(unit.outputs, choice.outputs)),
        ]
        for place, extra in enumerate(choice.extra_bytes):
            gone = []
            for (tensor, at), layout, moves in touched:
                if at == place and moves:
                    if tensor in lies:
                        gone.append(lies[tensor])
                    put(number, tensor, layout)
            most[here] = max(most[here], now[here] + extra)
            for other in now:
                most[other] = max(most[other], now[other])
            for (tensor, at), _, _ in touched:
                last = at == place and lives.ends[tensor] == (number, place)
                if last and tensor in lies and tensor not in home_ps:
                    gone.append(lies.pop(tensor))
            for where, size in gone:
                now[where] -= size
    resident = [0] * len(problem.capacity_bytes)
    needs = list(lives.standing_bytes)
    for where in now:
        for device in where:
            resident[device] += fixed[where]
            needs[device] += fixed[where] + most[where]
    return resident, needs
