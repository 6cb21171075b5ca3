"""Which tensors can stay on chip when: all choices, as steps from one set of tensors to the next.

Models:  a tensor stays from its maker to one of its readers, which all read it there up to that
         one; later readers find it off chip. All operands of a nest stay or none does. What stays
         at a time, and the operands and results of the layer that runs, leaves room for tiles.
Ignores: tensors that are read from off chip once and then stay; parts of tensors.
Judge:   every path through the steps, priced one by one, for small networks (tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from orrery.cost.nest import Stages, room_bits, tensor_bits
from orrery.hardware import Architecture

__all__ = ["Setting", "Step", "Steps", "steps_of"]

#: tensors that stay, each with the place of the last stage that reads it there
State = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which a stage runs.

    Attributes
    ----------
    roles : of its nest that live in the buffer
    taken_bits : of the buffer, by tensors
    kept : tensors that stay, among those that its tail reads and that the stage makes
    written : of these, what goes off chip as well
    """

    stage: int
    roles: tuple[str, ...] = ()
    taken_bits: int = 0
    kept: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One way to run a stage, from a set of tensors that stay (by number) to the next set."""

    before: int
    after: int
    setting: int
    stays: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """All choices.

    Attributes
    ----------
    settings : different ones, over all stages
    steps : per stage
    states : how many sets of tensors there are after each stage
    complete : whether no choice was left out
    """

    settings: tuple[Setting, ...]
    steps: tuple[tuple[Step, ...], ...]
    states: tuple[int, ...]
    complete: bool


def steps_of(
    stages: Stages, architecture: Architecture, level: str | None, *, most_states: int = 256
) -> Steps:
    """Return all ways to run the stages.

    Parameters
    ----------
    level : where tensors may stay; None: nowhere
    most_states : sets of tensors that are followed after a stage; of more, those that save most
    """
    readers = stages.readers()
    room = room_bits(architecture, level) if level is not None else 0
    bits = {name: tensor_bits(architecture, elements) for name, elements in stages.sizes.items()}
    numbers: dict[Setting, int] = {}
    states: dict[State, int] = {(): 0}  # -> the most that a way there has saved
    steps, sizes, complete = [], [], True
    for place, stage in enumerate(stages.stages):
        choices = [_untils(stages, name, place, readers) if level is not None else (-1,)
                   for name in stage.writes]  # fmt: skip
        after: dict[State, int] = {}
        found: list[tuple[int, State, Setting, State]] = []
        for number, (state, saved) in enumerate(states.items()):
            staying = dict(state)
            here = [name in staying for name in stage.reads]
            if any(here) and not (all(here) and stage.reads_kept):
                continue
            for chosen in product(*choices):
                new = {n: u for n, u in zip(stage.writes, chosen, strict=True) if u >= 0}
                taken = sum(bits[name] for name in (*staying, *new))
                if room is not None and taken and taken >= room:
                    continue
                written = frozenset(n for n, u in new.items()
                                    if n in stages.outputs or readers[n][-1] > u)  # fmt: skip
                roles = ("input",) if any(here) else ()
                if stage.writes and stage.writes[0] in new and stage.writes[0] not in written:
                    roles = (*roles, "output")
                setting = Setting(
                    stage=place, roles=roles, taken_bits=taken, written=written,
                    kept=frozenset((*(n for n in stage.tail.reads if n in staying), *new)),
                )  # fmt: skip
                then = tuple(sorted((n, u) for n, u in (staying | new).items() if u > place))
                found.append((number, then, setting, tuple(new.items())))
                gain = saved + sum(bits[n] * (1 + (n not in written)) for n in new)
                after[then] = max(after.get(then, 0), gain)
        if len(after) > most_states:
            complete = False
            best = sorted(after, key=lambda s: (s != (), -after[s], s))[:most_states]
            after = {state: after[state] for state in best}
        order = {state: number for number, state in enumerate(after)}
        steps.append(tuple(
            Step(before=before, after=order[then], stays=stays,
                 setting=numbers.setdefault(setting, len(numbers)))
            for before, then, setting, stays in found if then in order
        ))  # fmt: skip
        sizes.append(len(after))
        states = after
    return Steps(settings=tuple(numbers), steps=tuple(steps), states=tuple(sizes),
                 complete=complete)  # fmt: skip


def _untils(
    stages: Stages, name: str, place: int, readers: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """Return until which stage a tensor may stay; -1: not at all."""
    found = [-1]
    if stages.stages[place].makes_kept and name in stages.sizes:
        for reader in readers.get(name, ()):
            stage = stages.stages[reader]
            if name in stage.reads and not stage.reads_kept:
                break
            found.append(reader)
    return tuple(found)
