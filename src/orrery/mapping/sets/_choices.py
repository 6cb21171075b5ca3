"""The ways in which a set of equal devices can share one unit, and what each takes.

Models:  every strategy of `orrery.cost` for the unit's first region, its followers split as that
         leaves the result; or all of it on the set's first device alone. Seconds of rounds and sums
         on the set's links, bytes that each device keeps.
Ignores: unequal shares; strategies under which a follower cannot be split as its input is.
Judge:   `orrery.cost.price` of whole plans, equal to the picosecond (tests).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from orrery.cost import (
    CostModel,
    Phase,
    Refusal,
    Sharding,
    Strategy,
    combining,
    reads_values,
    shard,
    shard_region,
    strategies,
)
from orrery.graph import Region
from orrery.hardware import Device
from orrery.timeline import PS_PER_S

from ._classes import SetClass
from ._routes import NEVER, Ints, Links, phase_ps
from ._units import Case

Messages = tuple[tuple[int, int, int], ...]  #: source, target, bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One way to share a unit among so many parties, before anybody prices it.

    Attributes
    ----------
    strategies, shardings : per region; None for one that the first device computes alone
    needs, outputs : per use and output of the unit, bounds of boxes, parties × axes × 2
    parts : per region, per round, text of what is computed -> a party that computes it
    rotations : per region, per round, messages (source, target, bytes) among parties
    sums : phases of messages that follow, of all regions
    resident_bytes : most of any party: constants and states
    extra_bytes : most of any party, per region: what it has at hand beside what the unit reads and
        leaves: tensors inside the unit, partial sums, buffers for what rotates
    weights : per region, per constant of it, its parts as text, and the least that a party keeps
    """

    strategies: tuple[Strategy | None, ...]
    shardings: tuple[Sharding | None, ...]
    needs: tuple[Ints, ...]
    outputs: tuple[Ints, ...]
    parts: tuple[tuple[Mapping[str, int], ...], ...]
    rotations: tuple[tuple[Messages, ...], ...]
    sums: tuple[Messages, ...]
    resident_bytes: int
    extra_bytes: tuple[int, ...]
    weights: tuple[tuple[tuple[bytes, int], ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A shape with its layouts numbered.

    Attributes
    ----------
    strategies : per region; None for one that the first device computes alone
    needs, outputs : per use and output of the unit, numbers into the layouts of its tensor
    resident_bytes, extra_bytes : see `Shape`
    shared : constants that others have too: number (equal where parts are), bytes (see `Shape`)
    """

    strategies: tuple[Strategy | None, ...]
    needs: tuple[int, ...]
    outputs: tuple[int, ...]
    resident_bytes: int
    extra_bytes: tuple[int, ...]
    shared: tuple[tuple[int, int], ...]


def bounds(sharding_boxes: Sequence[object]) -> Ints:
    """Return boxes as an array, parties × axes × 2."""
    return np.array([box.spans for box in sharding_boxes], np.int64)  # type: ignore[attr-defined]


def shapes_of(
    regions: Sequence[Region],
    main: Sequence[str],
    uses: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]],
    parties: int,
    *,
    shared: bool,
    dimensions: int,
    kernel: bool,
    followers: dict[tuple[object, ...], Sharding | None],
    lost: list[Sharding] | None = None,
) -> list[Shape]:
    """List the ways in which so many devices can share a unit.

    Parameters
    ----------
    regions, main : of the unit; the tensor by which each follower follows
    uses, outputs : tensors by name, with the position of their region
    shared, dimensions : see `orrery.cost.strategies`
    kernel : whether to split kernel positions as well. Rings inside meshes of several loops are
        never listed: they are many, and seldom worth it
    followers : shardings of followers, to be filled and given again for units of the same regions
    lost : to be filled with ways to share the first region alone that the unit cannot follow
    """
    alone = _alone(regions, main, uses, outputs, parties)
    if parties == 1:
        return [alone]
    listed = strategies(
        regions[0], parties, shared=shared, dimensions=dimensions,
        without=() if kernel else ("Kh", "Kw"), mesh_rings=False,
    )  # fmt: skip
    if isinstance(listed, Refusal):
        return [alone]
    found = [alone]
    for strategy in listed:
        shape = _shape(regions, main, uses, outputs, parties, strategy, followers)
        if shape is not None:
            found.append(shape)
        elif lost is not None and not isinstance(
            first := shard(regions[0], strategy, parties), Refusal
        ):
            lost.append(first)
    return found


def _alone(
    regions: Sequence[Region], main: Sequence[str], uses: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]], parties: int,
) -> Shape:  # fmt: skip
    """The set's first device computes all, the others nothing."""

    whole = [shard(region, Strategy(), 1) for region in regions]

    def held(tensor: str, place: int, *, made: bool) -> Ints:
        sizes = regions[place].graph.type(tensor).sizes
        boxes = np.zeros((parties, len(sizes), 2), np.int64)
        boxes[0, :, 1] = sizes
        found = whole[place]
        if not isinstance(found, Refusal) and not made:
            # A window that skips the last rows does not need them.
            for operand, layout in zip(found.nest.operands, found.needs):
                if operand.tensor == tensor:
                    boxes[0] = bounds(layout.boxes)[0]
        return boxes

    resident = 0
    inside = [0] * (len(regions) + 1)  # of the tensor before each region, where it is the unit's
    for place, region in enumerate(regions):
        graph = region.graph
        states = [tensor for tensor in region.inputs if tensor in graph.states]
        resident += sum(graph.known_bytes(w) or 0 for w in (*region.weights, *states))
        resident += sum(c.type.size_bytes for c in region.inner_constants)
        if place:
            inside[place] = graph.known_bytes(main[place - 1]) or 0
    return Shape(
        strategies=(None,) * len(regions), shardings=(None,) * len(regions),
        needs=tuple(held(*use, made=False) for use in uses),
        outputs=tuple(held(*out, made=True) for out in outputs),
        parts=(({"": 0},),) * len(regions), rotations=((),) * len(regions), sums=(),
        resident_bytes=resident, extra_bytes=tuple(a + b for a, b in pairwise(inside)),
        weights=tuple(tuple((b"", region.graph.known_bytes(w) or 0) for w in region.weights)
                      for region in regions),
    )  # fmt: skip


def _shape(
    regions: Sequence[Region], main: Sequence[str], uses: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]], parties: int, strategy: Strategy,
    followers: dict[tuple[object, ...], Sharding | None],
) -> Shape | None:  # fmt: skip
    first = shard(regions[0], strategy, parties)
    if isinstance(first, Refusal):
        return None
    shardings = [first]
    for place, (region, tensor) in enumerate(zip(regions[1:], main)):
        before = shardings[-1]
        made = next(i for i, r in enumerate(before.nest.results) if r.tensor == tensor)
        boxes = bounds(before.outputs[made].boxes)
        key = (place, parties, boxes.tobytes())
        if key not in followers:
            followers[key] = _follow(region, boxes, parties)
        follower = followers[key]
        if follower is None:
            return None
        shardings.append(follower)
    needs: list[Ints] = []
    for tensor, place in uses:
        nest = shardings[place].nest
        read = [
            n.boxes for o, n in zip(nest.operands, shardings[place].needs) if o.tensor == tensor
        ]
        if not read or any(boxes != read[0] for boxes in read):
            return None  # a region that needs one tensor in two ways
        needs.append(bounds(read[0]))
    made_boxes = [bounds(shardings[place].output(tensor).boxes) for tensor, place in outputs]
    resident = np.zeros(parties, np.int64)
    for region, sharding in zip(regions, shardings):
        constants = {*region.graph.constants, *region.graph.states}
        fixed = {
            (o.tensor, party, layout.boxes[party]): layout.held_bytes(party)
            for o, layout in zip(sharding.nest.operands, sharding.needs)
            if o.tensor in constants
            for party in range(parties)
        }
        for (_, party, _), size in fixed.items():
            resident[party] += size
    return Shape(
        strategies=tuple(s.strategy for s in shardings), shardings=tuple(shardings),
        needs=tuple(needs), outputs=tuple(made_boxes), resident_bytes=int(resident.max()),
        extra_bytes=_extra(shardings, main, parties), parts=tuple(map(_parts, shardings)),
        weights=tuple(tuple(_kept(s, w) for w in r.weights) for r, s in zip(regions, shardings)),
        rotations=tuple(tuple(map(_messages, s.rotation)) for s in shardings),
        sums=tuple(phase for s in shardings for phase in _sums(s)),
    )  # fmt: skip


def _kept(sharding: Sharding, weight: str) -> tuple[bytes, int]:
    found = [n for o, n in zip(sharding.nest.operands, sharding.needs) if o.tensor == weight]
    least = min((n.held_bytes(party) for n in found for party in range(n.parties)), default=0)
    return b"".join(bounds(n.boxes).tobytes() for n in found), least


def _bare(sharding: Sharding) -> Shape:
    """Return what pricing one region alone needs, whatever it reads and leaves."""
    return Shape(
        strategies=(sharding.strategy,), shardings=(sharding,), needs=(), outputs=(),
        parts=(_parts(sharding),), rotations=(tuple(map(_messages, sharding.rotation)),),
        sums=_sums(sharding), resident_bytes=0, extra_bytes=(0,),
    )  # fmt: skip


def _sums(sharding: Sharding) -> tuple[Messages, ...]:
    if not any(partial.partial for partial in sharding.partials):
        return ()
    return tuple(_messages(p) for change in combining(sharding) for p in change.phases)


def _extra(shardings: Sequence[Sharding], main: Sequence[str], parties: int) -> tuple[int, ...]:
    found = []
    for place, sharding in enumerate(shardings):
        most = 0
        for party in range(parties):
            inside = sharding.output(main[place]).held_bytes(party) if place < len(main) else 0
            if place:
                inside += shardings[place - 1].output(main[place - 1]).held_bytes(party)
            inside += sum(
                max(0, partial.held_bytes(party) - output.held_bytes(party))
                for partial, output in zip(sharding.partials, sharding.outputs)
            )
            most = max(most, inside + _rotating(sharding, party))
        found.append(most)
    return tuple(found)


def _rotating(sharding: Sharding, party: int) -> int:
    """Return the bytes of buffers; a second one where the first part may be read again."""
    arriving = [m.size_bytes for phase in sharding.rotation for m in phase.messages
                if m.target == party]  # fmt: skip
    if not arriving or sharding.rotating is None:
        return 0
    graph, tensor = sharding.region.graph, sharding.nest.operands[sharding.rotating].tensor
    fixed = tensor in graph.constants or tensor in graph.states
    return max(arriving) * (2 if len(sharding.rotation) > 1 and not fixed else 1)


def _parts(sharding: Sharding) -> tuple[Mapping[str, int], ...]:
    """Return per round what is computed, each different part once, with a party that does."""
    rounds = []
    for row in sharding.shards:
        seen: dict[object, int] = {}
        for party, part in {id(part): (party, part) for party, part in enumerate(row)}.values():
            sizes = [None if box is None else box.sizes for box in part.operands]
            # Attributes differ at borders only (padding), and are texts of numbers then.
            seen.setdefault((tuple(sizes), repr(part.node.attributes)), party)
        rounds.append({row[party].signature: party for party in seen.values()})
    return tuple(rounds)


def _messages(phase: Phase) -> Messages:
    return tuple((m.source, m.target, m.size_bytes) for m in phase.messages)


def _follow(region: Region, boxes: Ints, parties: int) -> Sharding | None:
    """Return the sharding of an element-wise region whose result lies in given boxes."""
    factors = [
        (axis, len({tuple(span) for span in boxes[:, axis].tolist()}))
        for axis in range(boxes.shape[1])
    ]
    cut = [(axis, count) for axis, count in factors if count > 1]
    if math.prod(count for _, count in cut) not in (1, parties):
        return None
    if not cut:
        found = shard(region, Strategy(), parties)
        same = not isinstance(found, Refusal) and np.array_equal(
            bounds(found.outputs[0].boxes), boxes
        )
        return found if same and not isinstance(found, Refusal) else None
    nest = shard(region, Strategy(), 1)
    if isinstance(nest, Refusal):
        return None
    # Neighbours in number differ along the innermost loop.
    cut.sort(key=lambda entry: bool((boxes[0, entry[0]] != boxes[1, entry[0]]).any()))
    loops = [(nest.nest.results[0].axes[axis].loop, count) for axis, count in cut]
    exclusive = tuple((loop, count) for loop, count in loops if loop is not None)
    found = shard(region, Strategy(exclusive=exclusive), parties)
    same = not isinstance(found, Refusal) and np.array_equal(bounds(found.outputs[0].boxes), boxes)
    return found if same and not isinstance(found, Refusal) else None


class Pricer:
    """Prices shards by the cost models, each different one once."""

    def __init__(self, models: Mapping[str, CostModel], unpriced: frozenset[str]) -> None:
        self.models, self.unpriced, self.by_value = models, unpriced, reads_values(models)
        self._known: dict[tuple[str, str, int, str], int] = {}
        self._parts: dict[tuple[str, str], Region] = {}
        self._by: dict[tuple[str, str, int], CostModel | None] = {}
        #: of regions that follow others, what `Filled` says they take at least
        self.least: dict[tuple[str, bool], tuple[int, ...]] = {}

    def rounds_ps(
        self, shape: Shape, place: int, region: Region, name: str, design: str | None,
        device: Device, kind: int,
    ) -> list[int] | None:  # fmt: skip
        """Return picoseconds of the slowest party per round; None when somebody refuses.

        Parameters
        ----------
        place : of the region in its unit
        name : of what the region computes (`orrery.cost.signature`)
        """
        if name in self.unpriced:
            return [0] * len(shape.parts[place])
        model = self._model(region, name, design, device, kind)
        if model is None:
            return None
        key, sharding = (name, design or "", kind), shape.shardings[place]
        slowest = []
        for turn, parts in enumerate(shape.parts[place]):
            most = 0
            if self.by_value and sharding is not None:
                parts = {sharding.holding(turn, p): p for p in range(len(sharding.weights))}
            for text, party in parts.items():
                found = self._known.get((*key, text))
                if found is None:
                    part = self._parts.get((name, text))
                    if part is None:
                        part = region if sharding is None else shard_region(sharding, party, turn)
                        self._parts[name, text] = part
                    found = self._price(part, model, device)
                    self._known[*key, text] = found
                if found < 0:
                    return None
                most = max(most, found)
            slowest.append(most)
        return slowest

    def forget_parts(self) -> None:
        """Let go of what was priced; other designs that ask for the same parts have done so."""
        self._parts.clear()

    def _price(self, region: Region, model: CostModel, device: Device) -> int:
        if model.refuses(region, device) is not None:
            return -1
        return to_ps(model.cost(region, device).latency_s)

    def _model(
        self, region: Region, name: str, design: str | None, device: Device, kind: int
    ) -> CostModel | None:
        """Return who prices a region: the design, or the device's own units where that refuses."""
        key = (name, design or "", kind)
        if key not in self._by:
            self._by[key] = self._ask(region, design, device)
        return self._by[key]

    def _ask(self, region: Region, design: str | None, device: Device) -> CostModel | None:
        if design is not None and self.models[design].refuses(region, device) is None:
            return self.models[design]
        own = self.models.get("")
        operators = {node.operator for node in region.members}
        if own is None or own.refuses(region, device) is not None:
            return None
        if device.operators is not None and not operators <= set(device.operators):
            return None
        return own

    def by_design(
        self, region: Region, name: str, design: str | None, device: Device, kind: int
    ) -> bool:
        """Whether the design itself does the work, not the device's own units."""
        if design is None:
            return False
        model = self._model(region, name, design, device, kind)
        return model is self.models[design]


def to_ps(seconds: float) -> int:
    """Return whole picoseconds, as every clock here counts."""
    return NEVER if seconds * PS_PER_S >= NEVER else int(np.rint(seconds * PS_PER_S))


def links_ps(shape: Shape, links: Links, devices: Sequence[int]) -> tuple[list[list[int]], int]:
    """Return what rotations take, per region and round, and all sums together.

    Parameters
    ----------
    devices : end per party
    """
    known: dict[Messages, int] = {}

    def timed(messages: Messages) -> int:
        if messages not in known:
            placed = [(devices[a], devices[b], size) for a, b, size in messages]
            known[messages] = phase_ps(links, placed)
        return known[messages]

    return [list(map(timed, turns)) for turns in shape.rotations], sum(map(timed, shape.sums))


def step_ps(compute: Sequence[Sequence[int]], rotations: Sequence[Sequence[int]], sums: int) -> int:
    """Return what a unit takes on a set once all it needs is there.

    Parameters
    ----------
    compute, rotations : per region, per round
    """
    total = sums
    for rounds, turns in zip(compute, rotations):
        total += sum(max(pair) for pair in zip(rounds, turns)) + sum(rounds[len(turns) :])
    return min(total, NEVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a problem keeps of a `Shape`."""

    strategies: tuple[Strategy | None, ...]
    needs: tuple[Ints, ...]
    outputs: tuple[Ints, ...]
    resident_bytes: int
    extra_bytes: tuple[int, ...]
    weights: tuple[tuple[tuple[bytes, int], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Ways to share a unit per number of parties; their times per variant of links and class.

    `least_ps` : per variant, what each region of the unit takes at least, were it by itself
    """

    ways: Mapping[int, tuple[Way, ...]]
    step_ps: tuple[tuple[Ints, ...], ...]
    least_ps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filler:
    """All that filling needs; worker processes get a copy.

    Attributes
    ----------
    offered, kinds, devices : per class, its designs, and the kind and record of its devices
    links : per variant
    """

    cases: tuple[Case, ...]
    classes: tuple[SetClass, ...]
    offered: tuple[tuple[str | None, ...], ...]
    kinds: tuple[int, ...]
    devices: tuple[Device, ...]
    links: tuple[Links, ...]
    pricer: Pricer
    shared: bool
    dimensions: int
    kernel: bool


def fill(filler: Filler, number: int) -> Filled:
    """List the ways to share one of the cases, and what each takes on every class of sets."""
    case = filler.cases[number]
    shapes: dict[int, list[Shape]] = {}
    followers: dict[tuple[object, ...], Sharding | None] = {}
    compute: dict[tuple[int, int, str | None], list[list[list[int]] | None]] = {}
    out: list[list[Ints]] = [[] for _ in filler.links]
    least = [[NEVER] * len(case.regions) for _ in filler.links]
    lost: dict[int, list[Sharding]] = {}
    for k, one in enumerate(filler.classes):
        parties, kind, designs = one.parties, filler.kinds[k], filler.offered[k]
        if parties not in shapes:
            shapes[parties] = shapes_of(
                case.regions, case.main, case.uses, case.outputs, parties, shared=filler.shared,
                dimensions=filler.dimensions, kernel=filler.kernel, followers=followers,
                lost=lost.setdefault(parties, []),
            )  # fmt: skip
        for design in designs:
            key = (parties, kind, design)
            if key not in compute:
                compute[key] = [
                    _rounds(shape, case, design, filler.devices[k], kind, filler.pricer)
                    for shape in shapes[parties]
                ]
        for links, tables, bounds_ps in zip(filler.links, out, least):
            table = np.full((len(designs), len(shapes[parties])), NEVER, np.int64)
            for c, shape in enumerate(shapes[parties]):
                turns, sums = links_ps(shape, links, one.devices)
                for d, design in enumerate(designs):
                    rounds = compute[parties, kind, design][c]
                    if rounds is not None:
                        table[d, c] = step_ps(rounds, turns, sums)
                        alone = step_ps(rounds[:1], turns[:1], sums)
                        bounds_ps[0] = min(bounds_ps[0], alone)
            tables.append(table)
    for place in range(len(case.regions)):
        for variant, most in enumerate(_least(filler, case, place, lost)):
            least[variant][place] = min(least[variant][place], most)
    filler.pricer.forget_parts()
    ways = {
        parties: tuple(
            Way(strategies=x.strategies, needs=x.needs, outputs=x.outputs,
                resident_bytes=x.resident_bytes, extra_bytes=x.extra_bytes, weights=x.weights)
            for x in listed
        )
        for parties, listed in shapes.items()
    }  # fmt: skip
    return Filled(ways=ways, step_ps=tuple(map(tuple, out)), least_ps=tuple(map(tuple, least)))


def _least(
    filler: Filler, case: Case, place: int, lost: Mapping[int, Sequence[Sharding]]
) -> tuple[int, ...]:
    """Return per variant what a region takes at least in ways that its unit does not list."""
    known, key = filler.pricer.least, (case.names[place], place > 0)
    if place and key in known:
        return known[key]
    alone = replace(case, regions=(case.regions[place],), names=(case.names[place],), main=(),
                    uses=(), outputs=())  # fmt: skip
    found = [NEVER] * len(filler.links)
    shapes: dict[int, list[Shape]] = {}
    compute: dict[tuple[int, int, str | None, int], list[list[int]] | None] = {}
    for k, one in enumerate(filler.classes):
        if one.parties not in shapes:
            shapes[one.parties] = [
                _bare(s) for s in (lost[one.parties] if not place else _ways(filler, alone, one))
            ]
        for c, shape in enumerate(shapes[one.parties]):
            for design in filler.offered[k]:
                at = (one.parties, filler.kinds[k], design, c)
                if at not in compute:
                    compute[at] = _rounds(shape, alone, design, filler.devices[k],
                                          filler.kinds[k], filler.pricer)  # fmt: skip
                rounds = compute[at]
                for v, links in enumerate(filler.links if rounds is not None else ()):
                    turns, sums = links_ps(shape, links, one.devices)
                    found[v] = min(found[v], step_ps(rounds or (), turns, sums))
    if place:
        known[key] = tuple(found)
    return tuple(found)


def _ways(filler: Filler, case: Case, one: SetClass) -> Iterator[Sharding]:
    listed = strategies(
        case.regions[0], one.parties, shared=filler.shared, dimensions=filler.dimensions,
        without=() if filler.kernel else ("Kh", "Kw"), mesh_rings=False,
    )  # fmt: skip
    for strategy in () if isinstance(listed, Refusal) or one.parties == 1 else listed:
        found = shard(case.regions[0], strategy, one.parties)
        if not isinstance(found, Refusal):
            yield found


def _rounds(
    shape: Shape, case: Case, design: str | None, device: Device, kind: int, pricer: Pricer
) -> list[list[int]] | None:
    found = []
    for place, (region, name) in enumerate(zip(case.regions, case.names)):
        rounds = pricer.rounds_ps(shape, place, region, name, design, device, kind)
        if rounds is None:
            return None
        found.append(rounds)
    return found
