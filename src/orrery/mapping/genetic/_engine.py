"""A genetic search that knows nothing of its genomes: islands, elitism, tournaments, restarts.

Models:  islands that breed by themselves for some generations, then pass their best on in a ring.
         Every draw comes from (seed, island, epoch), so interruptions do not show in the result;
         all islands' new members are valued at once, so that genomes can share that out.
Ignores: what a genome means (see `Genomes`).
Judge:   a problem with a known optimum; runs whole and continued, equal (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from orrery.errors import CancelledError, SpecError
from orrery.progress import SILENT, Progress
from orrery.store import read_record, write_record

G = TypeVar("G")

#: Values from here on belong to genomes that break a rule; the less, the nearer to keeping it.
HOPELESS = 2**60

_KIND, _SCHEMA = "genetic-search", 1


class Genomes(Protocol[G]):
    """What the engine must know of genomes; all but `create`'s draws depends on arguments alone."""

    def create(self, random: np.random.Generator) -> G:
        """Return a new genome."""
        ...

    def cross(self, one: G, other: G, random: np.random.Generator) -> G:
        """Return a child of two."""
        ...

    def mutate(self, genome: G, random: np.random.Generator) -> G:
        """Return a changed copy."""
        ...

    def improve(self, genome: G) -> G:
        """Return what a local search makes of a genome; the genome itself where there is none."""
        ...

    def values(self, genomes: Sequence[G]) -> list[int]:
        """Return what is to be small, of each."""
        ...

    def write(self, genome: G) -> Any:
        """Return a genome as plain data (for JSON)."""
        ...

    def read(self, body: Any) -> G:
        """Return a genome from what `write` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """How the engine breeds.

    Attributes
    ----------
    population, elite, tournament : per island: members, those that stay, those that compete
    crossover : share of children that have two parents
    islands, apart : how many; generations between two exchanges (and between two records on disk)
    generations : at most, but whole turns of `apart`
    patience : generations without a better best after which all but the elite are made anew
    """

    population: int = 16
    elite: int = 2
    tournament: int = 3
    crossover: float = 0.7
    generations: int = 30
    patience: int = 12
    islands: int = 2
    apart: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolved(Generic[G]):
    """What a search found.

    Attributes
    ----------
    generations : done, by every island
    finished : False when it was stopped before
    history : best value after every exchange
    """

    best: G
    value: int
    generations: int
    finished: bool
    history: tuple[int, ...]


@dataclass(slots=True)
class _Island(Generic[G]):
    """Members, best first, with their values."""

    members: list[G]
    values: list[int]
    stalled: int = 0
    best: int = 2**62


def evolve(
    genomes: Genomes[G],
    settings: Evolution,
    *,
    seeds: Sequence[G] = (),
    task: str = "genetic search",
    bound: float | None = None,
    unit: float = 1.0,
    progress: Progress = SILENT,
    record: Path | None = None,
    subject: str = "",
) -> Evolved[G]:
    """Search for a genome of small value.

    Parameters
    ----------
    seeds : members of the first generation, shared out among the islands
    bound, unit : lower bound and size of one, for progress: best and bound in these units
    record : file that holds the state; continued from where it is there, written at every exchange
    subject : what is searched, so that a record of something else is refused

    Raises
    ------
    SpecError : the record belongs to another search
    CancelledError : the user asked to stop before there was a first generation
    """
    islands, epoch, history = _begin(genomes, settings, seeds, record, subject)
    if not islands:
        progress.step(task, 0, settings.generations)
        islands = _found(genomes, settings, seeds)
    finished = True
    while True:
        _, best, _ = _best(islands)
        if not history or epoch >= len(history):
            history.append(best)
        done = epoch * settings.apart
        shown = None if best >= HOPELESS else best * unit
        try:
            progress.step(task, done, settings.generations, best=shown, bound=bound)
        except CancelledError:
            finished = False
            break
        if done >= settings.generations or (bound is not None and best * unit <= bound):
            break
        _breed(genomes, settings, epoch, islands)
        _exchange(islands)
        epoch += 1
        if record is not None:
            _keep(record, genomes, settings, subject, islands, epoch, history)
    member, value, _ = _best(islands)
    return Evolved(
        best=member, value=value, generations=epoch * settings.apart,
        finished=finished, history=tuple(history),
    )  # fmt: skip


def _found(
    genomes: Genomes[G], settings: Evolution, seeds: Sequence[G]
) -> list[_Island[G]]:  # fmt: skip
    """Return every island's first generation."""
    islands: list[_Island[G]] = []
    for number in range(settings.islands):
        random = np.random.default_rng([settings.seed, number])
        members = list(seeds[number :: settings.islands])[: settings.population]
        while len(members) < settings.population:
            members.append(genomes.create(random))
        islands.append(_Island(members=members, values=[]))
    _value(genomes, islands)
    return islands


def _breed(
    genomes: Genomes[G], settings: Evolution, epoch: int, islands: Sequence[_Island[G]]
) -> None:
    """Let islands breed until the next exchange."""
    draws = [
        np.random.default_rng([settings.seed, number, epoch, 1]) for number in range(len(islands))
    ]
    for _ in range(settings.apart):
        for island, random in zip(islands, draws, strict=True):
            _next(genomes, settings, island, random)
        _value(genomes, islands)
        for island in islands:
            if island.values[0] < island.best:
                island.best, island.stalled = island.values[0], 0
            else:
                again = island.stalled >= settings.patience
                island.stalled = 0 if again else island.stalled + 1


def _next(
    genomes: Genomes[G], settings: Evolution, island: _Island[G], random: np.random.Generator
) -> None:
    """Put children in the place of all but the elite; they have no values yet."""
    members = island.members[: settings.elite]
    restart = island.stalled >= settings.patience
    while len(members) < settings.population:
        if restart:
            child = genomes.create(random)
        elif random.random() < settings.crossover:
            one, other = _chosen(island, settings, random), _chosen(island, settings, random)
            child = genomes.cross(one, other, random)
            if random.random() < 0.5:
                child = genomes.mutate(child, random)
        else:
            child = genomes.mutate(_chosen(island, settings, random), random)
        members.append(child)
    island.members, island.values = members, island.values[: settings.elite]


def _value(genomes: Genomes[G], islands: Sequence[_Island[G]]) -> None:
    """Value the members that are new, sort all, and let a local search work on the best."""
    fresh = [island.members[len(island.values) :] for island in islands]
    values = iter(genomes.values([member for members in fresh for member in members]))
    for island, members in zip(islands, fresh, strict=True):
        island.values = [*island.values, *(next(values) for _ in members)]
        _sort(island)
        _polish(genomes, island)


def _chosen(island: _Island[G], settings: Evolution, random: np.random.Generator) -> G:
    # Members are sorted, so the lowest number wins a tournament.
    return island.members[int(random.integers(len(island.members), size=settings.tournament).min())]


def _sort(island: _Island[G]) -> None:
    order = sorted(range(len(island.members)), key=island.values.__getitem__)
    island.members = [island.members[i] for i in order]
    island.values = [island.values[i] for i in order]


def _polish(genomes: Genomes[G], island: _Island[G]) -> None:
    """Let a local search work on the best, and keep what it finds."""
    better = genomes.improve(island.members[0])
    if better is not island.members[0]:
        (value,) = genomes.values([better])
        if value < island.values[0]:
            island.members[0], island.values[0] = better, value


def _exchange(islands: list[_Island[G]]) -> None:
    """Replace every island's worst by the best of the one before."""
    best = [(island.members[0], island.values[0]) for island in islands]
    for number, island in enumerate(islands):
        if len(islands) > 1:
            island.members[-1], island.values[-1] = best[number - 1]
            _sort(island)


def _best(islands: list[_Island[G]]) -> tuple[G, int, int]:
    value, number = min((island.values[0], number) for number, island in enumerate(islands))
    return islands[number].members[0], value, number


# -- records --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _IslandRecord:
    members: list[Any]
    values: list[int]
    stalled: int
    best: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    subject: str
    settings: Evolution
    epoch: int
    history: list[int]
    islands: list[_IslandRecord]


def _keep(
    path: Path, genomes: Genomes[G], settings: Evolution, subject: str,
    islands: list[_Island[G]], epoch: int, history: list[int],
) -> None:  # fmt: skip
    body = _Record(
        subject=subject, settings=settings, epoch=epoch, history=history,
        islands=[
            _IslandRecord(members=[genomes.write(m) for m in island.members],
                          values=island.values, stalled=island.stalled, best=island.best)
            for island in islands
        ],
    )  # fmt: skip
    write_record(path, _KIND, _SCHEMA, body, indent=None)


def _begin(
    genomes: Genomes[G], settings: Evolution, seeds: Sequence[G], path: Path | None, subject: str
) -> tuple[list[_Island[G]], int, list[int]]:
    if path is None or not path.exists():
        return [], 0, []
    body = read_record(path, _KIND, _Record, _SCHEMA, broken="delete it to start anew")
    # More generations are no other search.
    longer = Evolution(**{
        name: getattr(body.settings if name == "generations" else settings, name)
        for name in Evolution.__dataclass_fields__
    })  # fmt: skip
    if body.subject != subject or body.settings != longer:
        raise SpecError(
            str(path), found="the state of another search", wanted="this search's own",
            fix="give another file, or the settings, network and system it was started with",
        )  # fmt: skip
    return (
        [
            _Island(members=[genomes.read(m) for m in one.members], values=one.values,
                    stalled=one.stalled, best=one.best)
            for one in body.islands
        ],
        body.epoch, body.history,
    )  # fmt: skip
