"""Who holds which part of a tensor, and the messages that change it.

Models:  a layout is one box per party: split, replicated, overlapping (halo) or absent; a partial
         layout holds addends. Changing it moves exactly what a party needs and lacks. Pieces that a
         group gathers go round its ring, as do sums; everything else goes directly, in one phase.
Ignores: the arithmetic of sums; who is near whom (parties are numbers; pricing maps them).
Judge:   execution between processes: contents bit for bit, bytes counted (tests/runtime); the
         ring's closed forms; brute force over elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from orrery.errors import SpecError
from orrery.graph import TensorType

from ._box import Box, cut, subtract, tiles

_ALGORITHMS = ("ring", "direct")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A part of a tensor on its way from one party to another."""

    source: int
    target: int
    box: Box
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Messages that travel at once; the next phase starts when all have arrived.

    Attributes
    ----------
    kind : ``all-gather``, ``reduce-scatter``, ``exchange`` (halo, all-to-all, broadcast, …) or
        ``rotate``
    tensor : whose parts these are
    adds : whether the receiver adds what arrives to what it holds
    """

    kind: str
    tensor: str
    messages: tuple[Message, ...]
    adds: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(message.size_bytes for message in self.messages)

    def placed(self, places: Sequence[int]) -> Phase:
        """Return the phase among a larger number of parties: party i becomes ``places[i]``."""
        return replace(self, messages=tuple(
            replace(m, source=places[m.source], target=places[m.target]) for m in self.messages
        ))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which part of a tensor each party holds.

    Attributes
    ----------
    type : of the whole tensor, bound
    boxes : per party; an empty box for a party that holds nothing
    partial : parties with equal boxes hold addends of these elements, not copies
    """

    type: TensorType
    boxes: tuple[Box, ...]
    partial: bool = False

    @classmethod
    def replicated(cls, type_: TensorType, parties: int) -> Layout:
        """Everybody holds everything."""
        return cls(type=type_, boxes=(Box.whole(type_.sizes),) * parties)

    @classmethod
    def held_by(cls, type_: TensorType, parties: int, holder: int) -> Layout:
        """One party holds everything, the others nothing."""
        whole = Box.whole(type_.sizes)
        nothing = Box(spans=((0, 0),) * max(type_.rank, 1))
        if type_.rank == 0:
            raise SpecError("layout", found="a scalar held by one", wanted="a tensor with axes",
                            fix="replicate scalars")  # fmt: skip
        boxes = tuple(whole if party == holder else nothing for party in range(parties))
        return cls(type=type_, boxes=boxes)

    @classmethod
    def split(
        cls, type_: TensorType, factors: Mapping[int, int], weights: Sequence[float]
    ) -> Layout:
        """Split axes among parties, first axis outermost.

        Parameters
        ----------
        factors : axis -> number of parts; their product is the number of parties
        weights : per party, in proportion to which it holds
        """
        spans = [
            cut(type_.sizes[axis], marginal)
            for axis, marginal in zip(factors, mesh_weights(tuple(factors.values()), weights))
        ]
        boxes = []
        for picked in product(*spans):
            box = Box.whole(type_.sizes)
            for axis, span in zip(factors, picked):
                box = box.with_span(axis, span)
            boxes.append(box)
        return cls(type=type_, boxes=tuple(boxes))

    @property
    def parties(self) -> int:
        return len(self.boxes)

    @property
    def is_replicated(self) -> bool:
        """Whether every party holds the whole."""
        whole = Box.whole(self.type.sizes)
        return not self.partial and all(box == whole for box in self.boxes)

    def held_bytes(self, party: int) -> int:
        """Return the bytes of a party's part."""
        return self.bytes_of(self.boxes[party])

    def bytes_of(self, box: Box) -> int:
        """Return the bytes of a part of this tensor, on its own; sub-byte types are packed."""
        return -(-box.volume * _bits(self.type.dtype) // 8)

    def placed(self, places: Sequence[int], parties: int) -> Layout:
        """Return the layout among a larger number of parties: party i becomes ``places[i]``.

        The others hold nothing, so that layouts of different sets of parties can be compared:
        ``reshard(a.placed((0, 1), 6), b.placed((2, 3, 4, 5), 6), …)`` hands over between sets.

        Raises
        ------
        SpecError : a scalar, which everybody has to hold, or places that do not fit
        """
        fit = len(set(places)) == len(places) == self.parties
        if not fit or not all(0 <= place < parties for place in places):
            raise SpecError("layout", found=f"places {tuple(places)} among {parties}",
                            wanted=f"{self.parties} different ones below {parties}",
                            fix="correct them")  # fmt: skip
        if self.type.rank == 0 and len(places) < parties:
            raise SpecError("layout", found="a scalar held by some", wanted="a tensor with axes",
                            fix="replicate scalars")  # fmt: skip
        boxes = [Box(spans=((0, 0),) * self.type.rank)] * parties
        for place, box in zip(places, self.boxes):
            boxes[place] = box
        return replace(self, boxes=tuple(boxes))

    def groups(self) -> list[list[int]]:
        """Return the parties that hold equal boxes, in order; who holds nothing is left out."""
        found: dict[Box, list[int]] = {}
        for party, box in enumerate(self.boxes):
            if box.volume:
                found.setdefault(box, []).append(party)
        return list(found.values())

    def __str__(self) -> str:
        if self.is_replicated:
            return "replicated"
        parts = [len({box.spans[axis] for box in self.boxes}) for axis in range(self.type.rank)]
        text = "split " + "×".join(map(str, parts)) if max(parts, default=1) > 1 else "whole"
        return f"partial {text}" if self.partial else text


@cache
def _bits(dtype: str) -> int:
    return TensorType(dtype=dtype, shape=(8,)).size_bytes


def mesh_weights(factors: Sequence[int], weights: Sequence[float]) -> list[tuple[float, ...]]:
    """Return the weights along each axis of a mesh of parties: sums over the other axes.

    Parties are numbered with the last axis fastest.

    Raises
    ------
    SpecError : the factors' product is not the number of weights
    """
    coordinates = list(product(*(range(factor) for factor in factors)))
    if len(coordinates) != len(weights):
        raise SpecError("mesh of parties", found="×".join(map(str, factors)) or "no factor",
                        wanted=f"a product of {len(weights)}",
                        fix="correct the factors")  # fmt: skip
    return [
        tuple(
            sum(w for c, w in zip(coordinates, weights) if c[axis] == position)
            for position in range(factor)
        )
        for axis, factor in enumerate(factors)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resharding:
    """A change of layout as messages.

    Attributes
    ----------
    before, after : the layouts
    settled : layout once sums are made; `before` itself unless that is partial
    phases : those that add come first and work on `before`'s boxes in place
    """

    tensor: str
    before: Layout
    settled: Layout
    after: Layout
    phases: tuple[Phase, ...]

    @property
    def moved_bytes(self) -> int:
        """Bytes of all messages."""
        return sum(phase.size_bytes for phase in self.phases)


def reshard(before: Layout, after: Layout, tensor: str, algorithm: str = "ring") -> Resharding:
    """Return the messages that turn one layout into another; none when it asks for nothing new.

    Parameters
    ----------
    algorithm : ``ring`` passes gathered pieces round each group (p − 1 phases), also those that a
        group gets from outside; ``direct`` sends everything at once. Sums go round the ring in
        both.

    Raises
    ------
    SpecError : layouts of different tensors or parties, a partial target that differs from the
        source, or elements that nobody holds
    """
    where = f"reshard {tensor!r}"
    if algorithm not in _ALGORITHMS:
        raise SpecError(where, found=algorithm, wanted=f"one of {', '.join(_ALGORITHMS)}",
                        fix="correct the algorithm")  # fmt: skip
    if before.type != after.type or before.parties != after.parties:
        raise SpecError(where, found=f"{before.type} on {before.parties} and {after.type} on "
                        f"{after.parties} parties", wanted="one tensor on the same parties",
                        fix="lay both out alike")  # fmt: skip
    if before == after:
        return Resharding(tensor=tensor, before=before, settled=before, after=after, phases=())
    if after.partial:
        raise SpecError(where, found=f"{before} -> {after}", wanted="a target that is not partial",
                        fix="sum first")  # fmt: skip
    settled, sums = before, list[Phase]()
    if before.partial:
        settled, sums = _sum(before, after, tensor)
    rounds: list[list[Message]] = []
    fetched = dict(enumerate(after.boxes))
    if algorithm == "ring":
        for group in after.groups():
            whole = after.boxes[group[0]]
            pieces = [settled.boxes[i].meet(whole) for i in group]
            if len(group) < 2:
                continue
            if not any(piece.volume for piece in pieces):
                # All comes from outside: once, in pieces, which then go round.
                pieces = list(_pieces(whole, len(group)))
                fetched.update(zip(group, pieces))
            elif tiles(pieces, whole):
                for party in group:
                    del fetched[party]
            else:
                continue
            _merge(rounds, _ring(after, group, pieces, offset=0))
    phases = [_phase("all-gather", tensor, messages) for messages in rounds]
    direct = _direct(settled, fetched, where)
    if direct:
        phases.insert(0, _phase("exchange", tensor, direct))
    return Resharding(tensor=tensor, before=before, settled=settled, after=after,
                      phases=(*sums, *phases))  # fmt: skip


def sums_into(partial: Layout) -> Layout:
    """Return the layout that a reduce-scatter of a partial layout leaves: each sums its piece."""
    boxes = list(partial.boxes)
    for group in partial.groups():
        for party, piece in zip(group, _pieces(partial.boxes[group[0]], len(group))):
            boxes[party] = piece
    return replace(partial, boxes=tuple(boxes), partial=False)


def _sum(before: Layout, after: Layout, tensor: str) -> tuple[Layout, list[Phase]]:
    """Reduce-scatter in every group of addends, into the wanted pieces where these tile it."""
    boxes = list(before.boxes)
    rounds: list[list[Message]] = []
    for group in before.groups():
        whole = before.boxes[group[0]]
        pieces = [after.boxes[i].meet(whole) for i in group]
        if not tiles(pieces, whole):
            pieces = list(_pieces(whole, len(group)))
        for party, piece in zip(group, pieces):
            boxes[party] = piece
        _merge(rounds, _ring(before, group, pieces, offset=1))
    settled = replace(before, boxes=tuple(boxes), partial=False)
    return settled, [_phase("reduce-scatter", tensor, messages, adds=True) for messages in rounds]


def _ring(
    layout: Layout, group: Sequence[int], pieces: Sequence[Box], offset: int
) -> list[list[Message]]:
    """Pass pieces round a ring for p − 1 rounds.

    With `offset` 0 each starts with its own piece (gather); with 1 the piece that ends complete at
    party i starts at party i + 1 (scatter of sums).
    """
    count = len(group)
    return [
        [
            Message(source=party, target=group[(i + 1) % count], box=box,
                    size_bytes=layout.bytes_of(box))
            for i, party in enumerate(group)
            if (box := pieces[(i - step - offset) % count]).volume
        ]
        for step in range(count - 1)
    ]  # fmt: skip


def _direct(before: Layout, wanted: Mapping[int, Box], where: str) -> list[Message]:
    """Let every party fetch what it lacks of a box, each element once, nearest in number first.

    Only parties that hold or want something are numbered, so that it does not matter which others
    there are.
    """
    messages = []
    taking_part = [
        party for party, held in enumerate(before.boxes)
        if held.volume or (party in wanted and wanted[party].volume)
    ]  # fmt: skip
    rank = {party: number for number, party in enumerate(taking_part)}
    for party, box in wanted.items():
        if party not in rank:
            continue
        missing = list(subtract(box, before.boxes[party]))
        for source in sorted(taking_part, key=lambda p: (abs(rank[p] - rank[party]), p)):
            if source == party or not missing:
                continue
            rest: list[Box] = []
            for box in missing:
                held = box.meet(before.boxes[source])
                if held.volume:
                    messages.append(Message(source=source, target=party, box=held,
                                            size_bytes=before.bytes_of(held)))  # fmt: skip
                rest.extend(subtract(box, held))
            missing = rest
        if missing:
            raise SpecError(where, found=f"elements {missing[0]} held by nobody",
                            wanted="a source that holds the whole tensor",
                            fix="say where the rest is")  # fmt: skip
    return messages


def _pieces(box: Box, count: int) -> tuple[Box, ...]:
    """Cut a box along the axis that keeps the largest part smallest; parts may be empty."""
    if not box.spans:
        raise SpecError("partial layout", found="a scalar", wanted="a tensor with axes to cut",
                        fix="leave the scalar whole")  # fmt: skip
    largest = [-(-size // count) * box.volume // max(size, 1) for size in box.sizes]
    axis = largest.index(min(largest))
    start, stop = box.spans[axis]
    share, rest = divmod(stop - start, count)
    parts = []
    for i in range(count):
        end = start + share + (i < rest)
        parts.append(box.with_span(axis, (start, end)))
        start = end
    return tuple(parts)


def _merge(rounds: list[list[Message]], more: list[list[Message]]) -> None:
    """Let the rings of different groups turn at the same time."""
    for step, messages in enumerate(more):
        if step == len(rounds):
            rounds.append([])
        rounds[step].extend(messages)


def _phase(kind: str, tensor: str, messages: Sequence[Message], *, adds: bool = False) -> Phase:
    return Phase(kind=kind, tensor=tensor, messages=tuple(messages), adds=adds)
