"""Which tensors can stay on chip when: all choices, as steps from one set of tensors to the next.

Models:  a tensor stays from its maker to one of its readers, which all read it there up to that
         one; later readers find it off chip. All operands of a nest stay or none does. What stays
         at a time, and the operands and results of the layer that runs, leaves room for tiles.
         A chain of layers whose tensors would fill more than half of the room may run in tiles of
         rows, each tile through all of it.
Ignores: tensors that are read from off chip once and then stay; parts of tensors, but for such
         tiles; weights that would stay from tile to tile; tiles of chains that fit easily.
Judge:   every path through the steps, priced one by one, for small networks (tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from orrery.cost.nest import NestProblem, Stages, Tail, Tile, room_bits, row_tiles, tensor_bits
from orrery.hardware import Architecture

#: tensors that stay, each with the place of the last stage that reads it there
State = tuple[tuple[str, int], ...]

#: Stages that are cut into tiles of rows together at most, and heights of tiles that are tried:
#: the highest that fit of those that another number of tiles asks for.
LONGEST, HEIGHTS = 3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A nest of a stage, or of a tile of it.

    Attributes
    ----------
    roles : of the nest that live in the buffer
    taken_bits : of the buffer, by tensors
    makes : elements of the result that stays in the buffer
    tail : of one run; the nest's `times` says how often
    rows : of a tile; 0: all
    """

    stage: int
    problem: NestProblem
    roles: tuple[str, ...] = ()
    taken_bits: int = 0
    makes: int = 0
    tail: Tail
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which a stage runs, or a chain of them in tiles.

    Attributes
    ----------
    kept : tensors that stay, among those that its tail reads and that the stage makes
    written : of these, what goes off chip as well
    """

    parts: tuple[Part, ...]
    kept: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One way to run a stage or a chain.

    Attributes
    ----------
    before, after : numbers of the sets of tensors that stay
    end : the place of the stage that comes next
    stays : tensors made that stay, with the place of their last reader
    """

    before: int
    after: int
    end: int
    setting: Setting
    stays: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """All choices.

    Attributes
    ----------
    steps : per stage those that begin there
    complete : whether no choice was left out
    heights : of tiles that were tried, the highest first
    """

    steps: tuple[tuple[Step, ...], ...]
    complete: bool
    heights: tuple[int, ...] = ()

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Different settings, in the order of the stages."""
        return tuple(dict.fromkeys(step.setting for stage in self.steps for step in stage))


def steps_of(
    stages: Stages, architecture: Architecture, level: str | None, *, most_states: int = 256
) -> Steps:
    """Return all ways to run the stages.

    Parameters
    ----------
    level : where tensors may stay; None: nowhere
    most_states : sets of tensors that are followed from a stage; of more, those that save most
    """
    return _Choices(stages, architecture, level).all(most_states)


class _Choices:
    """The stages, and what is known of their tensors."""

    def __init__(self, stages: Stages, architecture: Architecture, level: str | None) -> None:
        self.stages, self.level = stages, level
        self.readers = stages.readers()
        self.room = room_bits(architecture, level) if level is not None else 0
        self.bits = {name: tensor_bits(architecture, n) for name, n in stages.sizes.items()}
        self.element_bits = tensor_bits(architecture, 1)
        self.tiles: dict[tuple[int, int, int], tuple[Tile, ...]] = {}
        self.heights: set[int] = set()

    def all(self, most_states: int) -> Steps:
        count, complete = len(self.stages.stages), True
        # per place: set of tensors -> (number, the most bits that a way there has saved)
        states: list[dict[State, tuple[int, int]]] = [{} for _ in range(count + 1)]
        states[0][()] = 0, 0
        steps: list[tuple[Step, ...]] = []
        for place in range(count):
            here = states[place]
            if len(here) > most_states:
                complete = False
                best = sorted(here, key=lambda s: (s != (), -here[s][1], s))[:most_states]
                here = {state: here[state] for state in best}
            found = []
            for state, (number, saved) in here.items():
                for end, setting, new in self.ways(place, dict(state)):
                    rest = {**dict(state), **new}
                    then = tuple(sorted((n, u) for n, u in rest.items() if u >= end))
                    gain = saved + sum(self.bits[n] * (1 + (n not in setting.written)) for n in new)
                    after, most = states[end].get(then, (len(states[end]), 0))
                    states[end][then] = after, max(gain, most)
                    found.append(Step(before=number, after=after, end=end, setting=setting,
                                      stays=tuple(new.items())))  # fmt: skip
            steps.append(tuple(found))
        heights = tuple(sorted(self.heights, reverse=True))
        return Steps(steps=tuple(steps), complete=complete, heights=heights)

    def ways(
        self, place: int, staying: dict[str, int]
    ) -> Iterator[tuple[int, Setting, dict[str, int]]]:
        """Yield the ways to run from a stage on: where they end, how, which tensors stay then."""
        stage = self.stages.stages[place]
        here = [name in staying for name in stage.reads]
        if any(here) and not (all(here) and stage.reads_kept):
            return
        inside = ("input",) if any(here) else ()
        for new, written, taken in self._results(place, staying):
            outside = not stage.writes or stage.writes[0] not in new or stage.writes[0] in written
            roles = inside if outside else (*inside, "output")
            parts = tuple(
                Part(stage=place, problem=problem, roles=roles, taken_bits=taken,
                     tail=stage.tail, makes=0 if outside else self.stages.sizes[stage.writes[0]])
                for problem in stage.problems
            )  # fmt: skip
            kept = frozenset((*(n for n in stage.tail.reads if n in staying), *new))
            yield place + 1, Setting(parts=parts, kept=kept, written=written), new
        for last in range(place + 1, min(place + LONGEST, len(self.stages.stages))):
            if self._worth_cutting(place, last, staying):
                yield from self._cut(place, last, staying, inside)

    def _results(
        self, place: int, staying: dict[str, int]
    ) -> Iterator[tuple[dict[str, int], frozenset[str], int]]:
        """Yield which results of a stage stay until when, which are written too, what all take."""
        stage = self.stages.stages[place]
        for chosen in product(*(self._untils(name, place) for name in stage.writes)):
            new = {n: u for n, u in zip(stage.writes, chosen, strict=True) if u >= 0}
            taken = sum(self.bits[name] for name in (*staying, *new))
            if self.room is None or not taken or taken < self.room:
                yield new, frozenset(
                    n for n, u in new.items()
                    if n in self.stages.outputs or self.readers[n][-1] > u
                ), taken  # fmt: skip

    def _untils(self, name: str, place: int) -> tuple[int, ...]:
        """Return until which stage a tensor may stay; -1: not at all."""
        found = [-1]
        if self.level is not None and self.stages.stages[place].makes_kept and name in self.bits:
            for reader in self.readers.get(name, ()):
                stage = self.stages.stages[reader]
                if name in stage.reads and not stage.reads_kept:
                    break
                found.append(reader)
        return tuple(found)

    def _worth_cutting(self, first: int, last: int, staying: dict[str, int]) -> bool:
        """Return whether the tensors within a chain would leave little room when whole."""
        if self.level is None or self.room is None:
            return False
        made = [sum(self.bits.get(name, 0) for name in stage.writes)
                for stage in self.stages.stages[first:last]]  # fmt: skip
        peak = max(before + after for before, after in pairwise((0, *made, 0)))
        return 2 * (peak + sum(self.bits[name] for name in staying)) > self.room

    def _rows_of(self, first: int, last: int) -> Iterator[tuple[int, tuple[Tile, ...]]]:
        """Yield heights of tiles and a chain cut into such, one for each number of tiles."""
        problems = self.stages.stages[last].problems
        rows = dict(problems[0].loops).get("H", 0) if problems else 0
        for height in sorted({-(-rows // n) for n in range(2, rows + 1)}, reverse=True):
            key = first, last, height
            if key not in self.tiles:
                self.tiles[key] = row_tiles(self.stages, first, last, height)
            if not self.tiles[key]:
                return
            yield height, self.tiles[key]

    def _cut(
        self, first: int, last: int, staying: dict[str, int], inside: tuple[str, ...]
    ) -> Iterator[tuple[int, Setting, dict[str, int]]]:
        """Yield a chain in tiles of rows, the highest that leave room for the nests' own tiles."""
        tried = 0
        for height, tiles in self._rows_of(first, last):
            fits = False
            for new, written, taken in self._results(last, staying):
                parts = []
                for tile in tiles:
                    fed, feeds = tile.stage > first, tile.stage < last
                    stays = feeds or (bool(new) and not written)
                    roles = ("input",) if fed or inside else ()
                    held = fed * tile.reads + feeds * tile.makes
                    parts.append(Part(
                        stage=tile.stage, problem=tile.problem, tail=tile.tail, rows=tile.rows,
                        roles=(*roles, "output") if stays else roles,
                        taken_bits=taken + self.element_bits * held, makes=tile.makes,
                    ))  # fmt: skip
                if self.room is None or max(part.taken_bits for part in parts) < self.room:
                    fits = True
                    setting = Setting(parts=tuple(parts), kept=frozenset(new), written=written)
                    yield last + 1, setting, new
            if fits:
                self.heights.add(height)
                tried += 1
            if tried == HEIGHTS:
                return
