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
from ._memory import held_bytes, lives_of
from ._problem import Problem
from ._routes import Ints

#: capacities from here on are all the same to compiled code
_MOST_BYTES = 2**62 - 1


class Flat(NamedTuple):
    """What does not change: per unit and class, offsets into pools; per tensor, who touches it.

    Attributes
    ----------
    network, width : per unit; width counts its fetches and outputs
    step_at, options, need_at, choice_at : units × classes, offsets of `steps` (designs × choices),
        number of choices, offsets of `layouts` and `held` (choices × width) and of `resident`
    extra_at, places : offsets of `extra` (choices × regions of the unit); how many regions
    held : bytes of each layout; `resident`, `extra` : see `Choice`
    shared, share, share_bytes : per unit, how many of its constants others have too; which parts
        (choices × those, at `share_at`), and their bytes; `parts` : how many different ones
    slot_at : per unit, offset of its fetches and outputs, in this order: the position of the region
        that touches (`slot_place`), the number of the touch, the tensor, whether it ends there
    tensor_at, tensors : tensors of each unit, without repetition
    touch_at, touch_unit, touch_slot, touch_made : fetches and outputs of each tensor, in order
    arrives : per tensor, whether it is a network input; `hosted` : whether those come from a host
    result_of : per tensor, number of the result, -1 for others
    result_at, result_unit : results of each network, and the unit each comes from
    result_tensor, result_last : what it is, and the last unit that touches it
    standing, capacity : bytes per device; `tight` : whether memories can be too small
    """

    network: Ints
    width: Ints
    step_at: Ints
    options: Ints
    need_at: Ints
    choice_at: Ints
    steps: Ints
    layouts: Ints
    held: Ints
    resident: Ints
    extra_at: Ints
    places: Ints
    extra: Ints
    shared: Ints
    share_at: Ints
    share: Ints
    share_bytes: Ints
    parts: int
    slot_at: Ints
    slot_place: Ints
    slot_touch: Ints
    slot_tensor: Ints
    slot_ends: NDArray[np.bool_]
    arrives: NDArray[np.bool_]
    hosted: bool
    tensor_at: Ints
    tensors: Ints
    touch_at: Ints
    touch_unit: Ints
    touch_slot: Ints
    touch_made: NDArray[np.bool_]
    result_of: Ints
    result_at: Ints
    result_unit: Ints
    result_tensor: Ints
    result_last: Ints
    standing: Ints
    capacity: Ints
    tight: bool


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
    set_class, set_design, home : per set; `home` is equal where the devices are
    on : sets × devices
    step, touch, moved : picoseconds per unit, and per fetch or output; whether that moves a tensor
    room, lies, kept, clock : scratch for counting bytes, of rows × sets, rows × tensors, sets ×
        parts of constants, networks
    total : per network; prefix : per result, up to the end of its unit; back : per result
    """

    set_of: Ints
    choice: Ints
    set_class: Ints
    set_design: Ints
    home: Ints
    on: NDArray[np.bool_]
    step: Ints
    touch: Ints
    moved: NDArray[np.bool_]
    total: Ints
    prefix: Ints
    back: Ints
    room: Ints
    lies: Ints
    kept: NDArray[np.bool_]
    clock: Ints


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
    step_at, options, need_at, choice_at, extra_at, share_at = (
        np.zeros(shape, np.int64) for _ in range(6)
    )
    steps, pools = _Pool(), [_Pool() for _ in range(6)]
    layouts, held, resident, extra, share, share_bytes = pools
    shared = [len(next(iter(listed.values()))[0].shared) for listed in problem.choices]
    lives = lives_of(problem)
    sizes = {
        (tensor, parties): held_bytes(problem, tensor, boxes)
        for tensor, listed in problem.layouts.items() for parties, boxes in listed.items()
    }  # fmt: skip
    for u, unit in enumerate(units):
        seen: dict[int, tuple[int, int, int, int]] = {}
        tensors = [tensor for tensor, _ in (*unit.uses, *unit.outputs)]
        for k, one in enumerate(classes):
            choices = problem.choices[u][one.parties]
            if one.parties not in seen:
                table = np.array([(*c.needs, *c.outputs) for c in choices], np.int64)
                seen[one.parties] = (
                    layouts.add(table),
                    resident.add(np.array([c.resident_bytes for c in choices], np.int64)),
                    extra.add(np.array([c.extra_bytes for c in choices], np.int64)),
                    share.add(np.array([[n for n, _ in c.shared] for c in choices], np.int64)),
                )
                share_bytes.add(np.array([[b for _, b in c.shared] for c in choices], np.int64))
                held.add(np.array(
                    [sizes[t, one.parties][table[:, i]] for i, t in enumerate(tensors)], np.int64
                ).T)  # fmt: skip
            need_at[u, k], choice_at[u, k], extra_at[u, k], share_at[u, k] = seen[one.parties]
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
    slots = [
        (place, touches[numbers[tensor]].index((u, slot, slot >= len(unit.uses))),
         numbers[tensor], lives.ends[tensor] == (u, place) and result_of[numbers[tensor]] < 0)
        for u, unit in enumerate(units)
        for slot, (tensor, place) in enumerate((*unit.uses, *unit.outputs))
    ]  # fmt: skip
    touch_at = _starts([len(touch) for touch in touches])
    slot_table = np.array(slots, np.int64).reshape(-1, 4)
    flat = Flat(
        network=np.array([unit.network for unit in units], np.int64),
        width=np.array([len(unit.uses) + len(unit.outputs) for unit in units], np.int64),
        step_at=step_at, options=options, need_at=need_at, choice_at=choice_at, steps=steps.array(),
        layouts=layouts.array(), held=held.array(), resident=resident.array(), extra_at=extra_at,
        places=np.array([len(unit.regions) for unit in units], np.int64), extra=extra.array(),
        shared=np.array(shared, np.int64), share_at=share_at, share=share.array(),
        share_bytes=share_bytes.array(), parts=int(share.array().max(initial=-1)) + 1,
        slot_at=_starts([len(unit.uses) + len(unit.outputs) for unit in units]),
        slot_place=slot_table[:, 0].copy(),
        slot_touch=slot_table[:, 1] + touch_at[slot_table[:, 2]],
        slot_tensor=slot_table[:, 2].copy(), slot_ends=slot_table[:, 3].astype(np.bool_),
        arrives=np.array([tensor in lives.arrives for tensor in numbers], np.bool_),
        hosted=problem.host >= 0, tensor_at=_starts([len(mine) for mine in per_unit]),
        tensors=np.array([t for mine in per_unit for t in mine], np.int64),
        touch_at=touch_at,
        touch_unit=np.array([u for touch in touches for u, _, _ in touch], np.int64),
        touch_slot=np.array([s for touch in touches for _, s, _ in touch], np.int64),
        touch_made=np.array([out for touch in touches for _, _, out in touch], np.bool_),
        result_of=result_of,
        result_at=_starts([sum(n == one for n, _, _ in results) for one in range(networks)]),
        result_unit=np.array([u for _, u, _ in results], np.int64),
        result_tensor=np.array([t for _, _, t in results], np.int64),
        result_last=np.array([touches[t][-1][0] for _, _, t in results], np.int64),
        standing=np.array(lives.standing_bytes, np.int64),
        capacity=np.array([min(size, _MOST_BYTES) for size in problem.capacity_bytes], np.int64),
        tight=lives.most_bytes > min(problem.capacity_bytes),
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
        on=np.zeros((sets, len(problem.capacity_bytes)), np.bool_),
        step=np.zeros(len(flat.network), np.int64),
        touch=np.zeros(len(flat.touch_unit), np.int64),
        moved=np.zeros(len(flat.touch_unit), np.bool_), total=np.zeros(networks, np.int64),
        prefix=np.zeros(len(flat.result_unit), np.int64),
        back=np.zeros(len(flat.result_unit), np.int64), room=np.zeros((4, sets), np.int64),
        lies=np.zeros((2, len(flat.arrives)), np.int64), clock=np.zeros(networks, np.int64),
        kept=np.zeros((sets, flat.parts), np.bool_),
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
