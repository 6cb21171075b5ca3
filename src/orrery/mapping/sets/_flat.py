"""A problem and a mapping as flat arrays, for compiled code.

Models:  the tables of `Problem`, each at an offset in one pool; a mapping's sets and choices with
         what every unit and every fetch takes now.
Ignores: nothing of its own.
Judge:   `evaluate`, equal on random mappings (tests).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._mapping import SetMapping
from ._problem import Problem
from ._routes import Ints

__all__ = ["Costs", "Flat", "State", "flatten", "new_state"]

#: capacities from here on are all the same to compiled code
_MOST_BYTES = 2**62 - 1


class Flat(NamedTuple):
    """What does not change: per unit and class, offsets into pools; per tensor, who touches it.

    Attributes
    ----------
    network, width : per unit; width counts its fetches and outputs
    step_at, options, need_at, choice_at : units × classes, offsets of `steps` (designs × choices),
        number of choices, offsets of `layouts` (choices × width) and of `resident` and the like
    tensor_at, tensors : tensors of each unit, without repetition
    touch_at, touch_unit, touch_slot, touch_made : fetches and outputs of each tensor, in order
    result_of : per tensor, number of the result, -1 for others
    result_at, result_unit : results of each network, and the unit each comes from
    """

    network: Ints
    width: Ints
    step_at: Ints
    options: Ints
    need_at: Ints
    choice_at: Ints
    steps: Ints
    layouts: Ints
    resident: Ints
    working: Ints
    alone: NDArray[np.bool_]
    tensor_at: Ints
    tensors: Ints
    touch_at: Ints
    touch_unit: Ints
    touch_slot: Ints
    touch_made: NDArray[np.bool_]
    result_of: Ints
    result_at: Ints
    result_unit: Ints
    capacity: Ints


class Costs(NamedTuple):
    """What fetches take: offsets into `pool`, -1 where a table is not filled yet.

    Attributes
    ----------
    layouts : tensors × classes, how many layouts there are
    start, finish, move : tensors × classes
    hand : tensors × classes × classes
    """

    layouts: Ints
    start: Ints
    finish: Ints
    move: Ints
    hand: Ints
    pool: Ints


class State(NamedTuple):
    """A mapping, and what it takes now.

    Attributes
    ----------
    set_of, choice : per unit; set -1 leaves a unit out
    set_class, set_design, home, first : per set; `home` is equal where the devices are
    on : sets × devices
    step, touch : picoseconds per unit, and per fetch or output
    total : per network; prefix : per result, up to the end of its unit; back : per result
    held, held_alone, most, most_alone : bytes per set: constants of all units, and the most that a
        unit has at hand; those of shared units, and those that the first device computes alone
    """

    set_of: Ints
    choice: Ints
    set_class: Ints
    set_design: Ints
    home: Ints
    first: Ints
    on: NDArray[np.bool_]
    step: Ints
    touch: Ints
    total: Ints
    prefix: Ints
    back: Ints
    held: Ints
    held_alone: Ints
    most: Ints
    most_alone: Ints


def flatten(problem: Problem) -> tuple[Flat, list[int]]:
    """Return a problem as arrays, and its tensors in the order in which these count them."""
    units, classes = problem.units, problem.classes
    numbers: dict[int, int] = {}
    touches: list[list[tuple[int, int, bool]]] = []
    per_unit: list[list[int]] = []
    for u, unit in enumerate(units):
        mine: dict[int, None] = {}
        for slot, (tensor, _) in enumerate((*unit.uses, *unit.outputs)):
            t = numbers.setdefault(tensor, len(numbers))
            if t == len(touches):
                touches.append([])
            touches[t].append((u, slot, slot >= len(unit.uses)))
            mine[t] = None
        per_unit.append(list(mine))
    shape = (len(units), len(classes))
    step_at, options, need_at, choice_at = (np.zeros(shape, np.int64) for _ in range(4))
    steps, pools = _Pool(), [_Pool() for _ in range(4)]
    layouts, resident, working, alone = pools
    for u in range(len(units)):
        seen: dict[int, tuple[int, int]] = {}
        for k, one in enumerate(classes):
            choices = problem.choices[u][one.parties]
            if one.parties not in seen:
                seen[one.parties] = (
                    layouts.add(np.array([(*c.needs, *c.outputs) for c in choices], np.int64)),
                    resident.add(np.array([c.resident_bytes for c in choices], np.int64)),
                )
                working.add(np.array([c.working_bytes for c in choices], np.int64))
                alone.add(np.array([c.strategies[0] is None for c in choices], np.int64))
            need_at[u, k], choice_at[u, k] = seen[one.parties]
            options[u, k] = len(choices)
            step_at[u, k] = steps.add(problem.step_ps[u][k])
    networks = max(unit.network for unit in units) + 1
    results = sorted(
        (units[touch[-1][0]].network, made[0], t)
        for t, touch in enumerate(touches)
        if (made := [u for u, _, out in touch if out])
        and list(numbers)[t] in problem.tables.workload.results
    )
    result_of = np.full(len(touches), -1, np.int64)
    for number, (_, _, t) in enumerate(results):
        result_of[t] = number
    flat = Flat(
        network=np.array([unit.network for unit in units], np.int64),
        width=np.array([len(unit.uses) + len(unit.outputs) for unit in units], np.int64),
        step_at=step_at, options=options, need_at=need_at, choice_at=choice_at, steps=steps.array(),
        layouts=layouts.array(), resident=resident.array(), working=working.array(),
        alone=alone.array().astype(np.bool_), tensor_at=_starts([len(mine) for mine in per_unit]),
        tensors=np.array([t for mine in per_unit for t in mine], np.int64),
        touch_at=_starts([len(touch) for touch in touches]),
        touch_unit=np.array([u for touch in touches for u, _, _ in touch], np.int64),
        touch_slot=np.array([s for touch in touches for _, s, _ in touch], np.int64),
        touch_made=np.array([out for touch in touches for _, _, out in touch], np.bool_),
        result_of=result_of,
        result_at=_starts([sum(n == one for n, _, _ in results) for one in range(networks)]),
        result_unit=np.array([u for _, u, _ in results], np.int64),
        capacity=np.array([min(size, _MOST_BYTES) for size in problem.capacity_bytes], np.int64),
    )  # fmt: skip
    return flat, list(numbers)


def new_state(flat: Flat, problem: Problem, mapping: SetMapping) -> State:
    """Return a mapping as arrays, before anything is counted."""
    sets, networks = len(mapping.sets), len(flat.result_at) - 1
    homes: dict[tuple[int, ...], int] = {}
    state = State(
        set_of=np.full(len(flat.network), -1, np.int64),
        choice=np.array(mapping.choices, np.int64),
        set_class=np.array([s.set_class for s in mapping.sets], np.int64),
        set_design=np.array([s.design for s in mapping.sets], np.int64),
        home=np.array([homes.setdefault(s.devices, len(homes)) for s in mapping.sets], np.int64),
        first=np.array([s.devices[0] for s in mapping.sets], np.int64),
        on=np.zeros((sets, len(problem.capacity_bytes)), np.bool_),
        step=np.zeros(len(flat.network), np.int64),
        touch=np.zeros(len(flat.touch_unit), np.int64), total=np.zeros(networks, np.int64),
        prefix=np.zeros(len(flat.result_unit), np.int64),
        back=np.zeros(len(flat.result_unit), np.int64),
        held=np.zeros(sets, np.int64), held_alone=np.zeros(sets, np.int64),
        most=np.zeros(sets, np.int64), most_alone=np.zeros(sets, np.int64),
    )  # fmt: skip
    for number, placed in enumerate(mapping.sets):
        state.set_of[placed.first : placed.last] = number
        state.on[number, list(placed.devices)] = True
    return state


class _Pool:
    """Arrays one after the other, equal ones once."""

    def __init__(self) -> None:
        self.parts: list[Ints] = []
        self.size = 0

    def add(self, part: Ints) -> int:
        at, self.size = self.size, self.size + part.size
        self.parts.append(part.ravel())
        return at

    def array(self) -> Ints:
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.int64)


def _starts(counts: list[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
