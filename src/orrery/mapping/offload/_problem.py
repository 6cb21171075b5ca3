"""A step's profile as columns, and what may become of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from orrery.offload_plan import Action, SavedTensor, StepProfile

#: what becomes of a tensor: it stays, is written as it is, is written packed, is made again
KEEP: Final = 0
WRITE: Final = 1
PACK: Final = 2
DROP: Final = 3
ACTIONS: dict[int, Action] = {KEEP: "keep", WRITE: "offload", PACK: "offload", DROP: "recompute"}

Choices = tuple[int, ...]  #: one of the four per tensor, in the order of their making


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a search looks up again and again; every tuple has one entry per tensor.

    Attributes
    ----------
    names, size, made_s, last_s, need_s, gone_s : of the profile's tensors
    write_s, read_s : seconds in the one channel by choice, beside computation; 0 where nothing
        moves
    write_drag, read_drag, waiting_speed, deepest : of the profile
    moved : bytes one way by choice
    again_s : to make it again; 0 where that is not possible
    again_from : tensors that it is made again from, the one made last first
    again_bytes : that making it again takes beside it
    outlives : whether some tensor may be made again from one that is let go before it
    allowed : what may become of it, KEEP first
    forward : (seconds, 0 made or 1 used for the last time, tensor), in order of time
    backward : (seconds, 0 needed or 1 let go, tensor), in order of time
    needs : the tensors in the order in which the backward needs them; of two at once the one made
        later comes first
    """

    names: tuple[str, ...]
    room: int
    forward_s: float
    backward_s: float
    disk: int | None
    queue: int | None
    size: tuple[int, ...]
    made_s: tuple[float, ...]
    last_s: tuple[float, ...]
    need_s: tuple[float, ...]
    gone_s: tuple[float, ...]
    write_s: tuple[tuple[float, ...], ...]
    read_s: tuple[tuple[float, ...], ...]
    moved: tuple[tuple[int, ...], ...]
    again_s: tuple[float, ...]
    again_from: tuple[tuple[int, ...], ...]
    again_bytes: tuple[int, ...]
    allowed: tuple[tuple[int, ...], ...]
    forward: tuple[tuple[float, int, int], ...]
    backward: tuple[tuple[float, int, int], ...]
    needs: tuple[int, ...]
    write_drag: float
    read_drag: float
    waiting_speed: float
    deepest: int | None
    outlives: bool = False

    @property
    def plain_s(self) -> float:
        """Seconds of the step when nothing has to move."""
        return self.forward_s + self.backward_s

    def events(self, choices: Sequence[int]) -> Sequence[tuple[float, int, int]]:
        """Return `backward` with what others are made again from there for as long as those need.

        A tensor that left, or is made again itself, is then needed as early as the first of them,
        just before it. One that is kept is let go no sooner than any of them.
        """
        backward = self._let_go_later(choices) if self.outlives else self.backward
        if not any(
            choice == DROP and any(choices[m] != KEEP for m in self.again_from[n])
            for n, choice in enumerate(choices)
        ):
            return backward
        found: list[tuple[float, int, int]] = []
        there: set[int] = set()
        for at, kind, n in backward:
            if kind:
                found.append((at, kind, n))
                continue
            asked = [n]
            while asked:
                last = asked[-1]
                missing = [m for m in self.again_from[last]
                           if choices[m] != KEEP and m not in there] if (
                    choices[last] == DROP and last not in there) else []  # fmt: skip
                if missing:
                    asked.append(missing[0])
                    continue
                asked.pop()
                if last not in there:
                    there.add(last)
                    found.append((at, 0, last))
        return found

    def _let_go_later(self, choices: Sequence[int]) -> Sequence[tuple[float, int, int]]:
        later = list(self.gone_s)
        for n in reversed(range(len(choices))):  # made from earlier ones alone
            if choices[n] == DROP:
                for m in self.again_from[n]:
                    later[m] = max(later[m], later[n])
        # What is made again itself, or was read back, is held by nobody who only was made from it.
        moved = [(max(at, later[n]) if kind and choices[n] == KEEP else at, kind, n)
                 for at, kind, n in self.backward]  # fmt: skip
        return sorted(moved, key=lambda event: event[:2])

    def taken_s(self, tensor: int, choice: int) -> float:
        """Seconds that a choice takes of the computation, if the step never waits."""
        again = self.again_s[tensor] if choice == DROP else 0.0
        moved = self.write_drag * self.write_s[tensor][choice]
        return again + moved + self.read_drag * self.read_s[tensor][choice]

    def too_deep(self, choices: Sequence[int]) -> int | None:
        """Return the first tensor at the end of a longer chain of making again than allowed."""
        if self.deepest is None or choices.count(DROP) <= self.deepest:
            return None
        depth = [0] * len(choices)
        for n, choice in enumerate(choices):
            if choice == DROP:
                depth[n] = 1 + max((depth[m] for m in self.again_from[n]), default=0)
                if depth[n] > self.deepest:
                    return n
        return None

    def moved_bytes(self, choices: Sequence[int]) -> int:
        """Bytes that are written per step."""
        return sum(moved[choice] for moved, choice in zip(self.moved, choices))


def columns_of(profile: StepProfile, *, recompute: bool = True, pack: bool = True) -> Columns:
    """Return a profile's columns; tensors are made again, or packed, only if that is wanted."""
    tensors = profile.tensors
    rows = range(len(tensors))
    row = {tensor.name: n for n, tensor in enumerate(tensors)}
    again_from = tuple(
        tuple(sorted((row[name] for name in tensor.recompute_needs), reverse=True))
        for tensor in tensors
    )
    made = [(tensor.made_s, 0, n) for n, tensor in enumerate(tensors)]
    used = [(tensor.last_use_s, 1, n) for n, tensor in enumerate(tensors)]
    # Let go at the instant of a need comes after it: at that instant both are in memory.
    needed = sorted((tensor.needed_s, -n) for n, tensor in enumerate(tensors))
    ranks = {-n: rank for rank, (_, n) in enumerate(needed)}
    needs = [(tensor.needed_s, 0, ranks[n], n) for n, tensor in enumerate(tensors)]
    gone = [(tensor.let_go_s, 1, ranks[n], n) for n, tensor in enumerate(tensors)]
    return Columns(
        names=tuple(tensor.name for tensor in tensors),
        room=profile.room_bytes, forward_s=profile.forward_s, backward_s=profile.backward_s,
        disk=profile.disk_bytes, queue=profile.queue_bytes,
        size=tuple(tensor.size_bytes for tensor in tensors),
        made_s=tuple(tensor.made_s for tensor in tensors),
        last_s=tuple(tensor.last_use_s for tensor in tensors),
        need_s=tuple(tensor.needed_s for tensor in tensors),
        gone_s=tuple(tensor.let_go_s for tensor in tensors),
        write_s=tuple(_by_choice(tensor, profile.write_s) for tensor in tensors),
        read_s=tuple(_by_choice(tensor, profile.read_s) for tensor in tensors),
        moved=tuple((0, t.stored_bytes, t.packed_bytes or 0, 0) for t in tensors),
        again_s=tuple(tensor.recompute_s or 0.0 for tensor in tensors),
        again_from=again_from,
        again_bytes=tuple(tensor.recompute_bytes for tensor in tensors),
        allowed=tuple(_allowed(tensors[n], recompute, pack) for n in rows),
        forward=tuple(sorted(made + used)),
        backward=tuple((at, kind, n) for at, kind, _, n in sorted(needs + gone)),
        needs=tuple(-n for _, n in needed),
        write_drag=profile.write_drag, read_drag=profile.read_drag,
        waiting_speed=profile.waiting_speed, deepest=profile.recompute_depth,
        outlives=any(tensors[m].let_go_s < tensor.let_go_s
                     for tensor, needs in zip(tensors, again_from) for m in needs),
    )  # fmt: skip


class _Seconds(Protocol):
    def __call__(self, tensor: SavedTensor, /, *, packed: bool = False) -> float: ...


def _by_choice(tensor: SavedTensor, seconds: _Seconds) -> tuple[float, ...]:
    packed = 0.0 if tensor.packed_bytes is None else seconds(tensor, packed=True)
    return (0.0, seconds(tensor), packed, 0.0)


def _allowed(tensor: SavedTensor, recompute: bool, pack: bool) -> tuple[int, ...]:
    if not tensor.movable:
        return (KEEP,)
    again = recompute and tensor.recompute_s is not None
    packed = pack and tensor.packed_bytes is not None
    return (KEEP, WRITE, *((PACK,) if packed else ()), *((DROP,) if again else ()))
