"""The two-level genetic search: which sets, designs and cuts; below, how each set shares its units.

Models:  genomes of parts (a class of sets, its design, the unit where it ends), network by network;
         seeded from what slow links separate, each with the design that its units like best. A
         genome is worth what its sets take when each is shared as the lower level finds it.
Ignores: sets that come back after others have taken over.
Judge:   the exact optimum (tests, bench).

After the first level of the genetic search of MARS (DAC 2023), reconstructed from its outline.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from orrery.errors import CancelledError
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.settings import to_record
from orrery.store import content_hash
from orrery.timeline import PS_PER_S

from .._workers import Shared, run_all
from ..sets._fast import Evaluator
from ..sets._mapping import Placed, SetMapping, evaluate, fits
from ..sets._problem import Problem
from ..sets._routes import NEVER, Ints
from ._engine import HOPELESS, Evolved, evolve
from ._local import local_search, shortage
from ._settings import TwoLevelSearch, closer_look, lower_level, upper_level
from ._within import Features, least_steps, share_range


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSets:
    """What a search over sets found.

    Attributes
    ----------
    finished : False when it was stopped before its end
    generations : done
    history : best makespan (ps) after each exchange among islands
    """

    mapping: SetMapping
    makespan_ps: int
    finished: bool
    generations: int
    history: tuple[int, ...]


def two_level(
    problem: Problem, settings: TwoLevelSearch, *, bound_ps: int | None = None,
    progress: Progress = SILENT, executor: Executor | None = None, resume: Path | None = None,
) -> FoundSets | Infeasible:  # fmt: skip
    """Search for a fast mapping onto sets.

    Parameters
    ----------
    bound_ps : a lower bound, shown with the best; the search ends where it is reached
    executor : threads or processes that share sets' units; the result is the same as without
    resume : file of the search's state; continued from where there is one, and kept up to date

    Raises
    ------
    SpecError : `resume` belongs to another search
    CancelledError : the user asked to stop before there was any mapping
    """
    genomes = genomes_of(problem, settings, executor)
    if isinstance(genomes, Infeasible):
        return genomes
    seeds, whole = _weighed(genomes, progress)
    genomes.reference = genomes.value(seeds[0])
    found: Evolved[_Genome] = Evolved(
        best=seeds[0], value=genomes.reference, generations=0, finished=False,
        history=(genomes.reference,),
    )  # fmt: skip
    if whole:
        with contextlib.suppress(CancelledError):  # the best seed is a mapping already
            found = evolve(
                genomes, upper_level(settings),
                seeds=seeds[: settings.islands * settings.population // 2], task=_TASK,
                bound=None if bound_ps is None else bound_ps * (1 / PS_PER_S), unit=1 / PS_PER_S,
                progress=progress, record=resume,
                subject=_subject(problem, settings),
            )  # fmt: skip
    mapping = genomes.mapping(found.best)
    if found.finished and settings.communication and not settings.one_level:
        mapping = genomes.finish(mapping)
    times = evaluate(problem, mapping)
    if not fits(problem, mapping, times):
        return shortage(problem, mapping, len(genomes.known))
    return FoundSets(
        mapping=mapping, makespan_ps=times.makespan_ps, finished=found.finished,
        generations=found.generations, history=found.history,
    )  # fmt: skip


def _weighed(genomes: _Sets, progress: Progress) -> tuple[list[_Genome], bool]:
    """Return the seeds, best first, as far as there was time, and whether that was all."""
    seeds, whole = genomes.seeds(), True
    for number, seed in enumerate(seeds):
        best = min(map(genomes.value, seeds[:number]), default=HOPELESS)
        try:
            progress.step(f"{_TASK}: seeds", number, len(seeds),
                          best=None if best >= NEVER else best / PS_PER_S)  # fmt: skip
        except CancelledError:
            if not number:
                raise
            seeds, whole = seeds[:number], False
            break
        if seed not in genomes.known:
            genomes.values(seeds[number : number + _AT_ONCE])
    return sorted(seeds, key=genomes.value), whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A set of a class with a design, up to before unit `last`."""

    set_class: int
    design: int
    last: int


_Genome = tuple[tuple[_Part, ...], ...]

_TASK = "two-level search"

_ATTEMPTS = 20  #: random mappings that leave some network without devices, before a seed serves

_AT_ONCE = 8  #: seeds that are valued between two questions whether to stop


class Lower:
    """The lower level; worker processes have it too, each with its own tables."""

    def __init__(self, problem: Problem, settings: TwoLevelSearch) -> None:
        self.evaluator, self.features = Evaluator(problem), Features(problem)
        self.problem, self.settings = problem, settings

    def __reduce__(self) -> tuple[type[Lower], tuple[Problem, TwoLevelSearch]]:
        return Lower, (self.problem, self.settings)


def _share(lower: Lower, placed: Placed) -> Ints:
    s = lower.settings
    return share_range(lower.evaluator, lower.features, placed, lower_level(s),
                       genetic=not s.one_level, communication=s.communication)  # fmt: skip


def _look_closer(lower: Lower, placed: Placed) -> Ints:
    return share_range(lower.evaluator, lower.features, placed, closer_look(lower.settings))


def _polish(lower: Lower, mapping: SetMapping) -> SetMapping:
    return local_search(lower.evaluator, mapping, follow=lower.settings.polish)


class _Sets:
    """Genomes of the upper level.

    Attributes
    ----------
    reference : a makespan that is reached; what cannot beat it is not looked into
    """

    def __init__(
        self, problem: Problem, settings: TwoLevelSearch, executor: Executor | None = None
    ) -> None:
        self.p, self.settings, self.executor = problem, settings, executor
        self.lower = Shared(Lower(problem, settings))
        self.evaluator = self.lower.value.evaluator
        self.least = least_steps(problem)
        self.networks = max(unit.network for unit in problem.units) + 1
        self.spans: list[tuple[int, int]] = []
        for network in range(self.networks):
            mine = [u for u, unit in enumerate(problem.units) if unit.network == network]
            self.spans.append((mine[0], mine[-1] + 1))
        self.cuts = [[u for u in range(a + 1, b) if problem.cuts[u]] for a, b in self.spans]
        self.sizes = tuple(len(group) for group in problem.groups)
        self.by_counts = {one.counts: k for k, one in enumerate(problem.classes)}
        self.components = _components(problem)
        self.reference = 2 * HOPELESS
        self.shared: dict[tuple[int, int, int, int], Ints] = {}
        self.known: dict[_Genome, int] = {}

    # -- what the engine asks ---------------------------------------------------------------------

    def create(self, random: np.random.Generator) -> _Genome:
        for _ in range(_ATTEMPTS):
            parts = [self._random_parts(network, random) for network in range(self.networks)]
            found = self._repaired(parts, random)
            if found is not None:
                return found
        return self.seeds()[0]

    def cross(self, one: _Genome, other: _Genome, random: np.random.Generator) -> _Genome:
        parts: list[list[_Part]] = []
        for network, (begin, end) in enumerate(self.spans):
            if self.networks > 1 and random.random() < 0.5:
                parts.append(list((one, other)[int(random.integers(2))][network]))
                continue
            # Sets of one up to some unit, from there on those of the other.
            options = [*self.cuts[network], end]
            at = int(options[int(random.integers(len(options)))])
            left = [part for part in one[network] if part.last < at]
            crossing = next(part for part in one[network] if part.last >= at)
            right = [part for part in other[network] if part.last > at]
            middle = [] if at <= begin else [_Part(
                set_class=crossing.set_class, design=crossing.design, last=at)]  # fmt: skip
            parts.append([*left, *middle, *right])
        return self._repaired(parts, random) or one

    def mutate(self, genome: _Genome, random: np.random.Generator) -> _Genome:
        parts = [list(network) for network in genome]
        network = int(random.integers(self.networks))
        mine = parts[network]
        place = int(random.integers(len(mine)))
        [self._move_device, self._other_design, self._shift_cut, self._split, self._merge,
         self._other_class][int(random.integers(6))](network, mine, place, random)  # fmt: skip
        return self._repaired(parts, random) or genome

    def improve(self, genome: _Genome) -> _Genome:
        return genome

    def values(self, genomes: Sequence[_Genome]) -> list[int]:
        fresh = [g for g in dict.fromkeys(genomes) if g not in self.known and self._hopeful(g)]
        self._share([placed for genome in fresh for placed in self.place(genome)])
        return list(map(self.value, genomes))

    def value(self, genome: _Genome) -> int:
        if genome not in self.known:
            self.known[genome] = self._value(genome)
        return self.known[genome]

    def write(self, genome: _Genome) -> Any:
        return [[[x.set_class, x.design, x.last] for x in network] for network in genome]

    def read(self, body: Any) -> _Genome:
        return tuple(
            tuple(_Part(set_class=k, design=d, last=last) for k, d, last in network)
            for network in body
        )

    # -- worth ------------------------------------------------------------------------------------

    def _least(self, genome: _Genome) -> int:
        """Return what all units take at least, whatever fetches take."""
        return max(
            sum(int(np.diff(self.least[s.set_class, s.design][[first, s.last]])[0])
                for first, s in self._ranges(network, parts))
            for network, parts in enumerate(genome)
        )  # fmt: skip

    def _hopeful(self, genome: _Genome) -> bool:
        return self._least(genome) < min(self.reference, NEVER)

    def _value(self, genome: _Genome) -> int:
        if not self._hopeful(genome):
            return max(self._least(genome), self.reference)
        mapping = self.mapping(genome)
        running = self.evaluator.start(mapping)
        if len(mapping.sets) > self.networks and not self.settings.one_level:
            running.descend(np.arange(len(self.p.units)), 1, 0)
        excess = running.excess_bytes
        return running.makespan_ps if not excess else HOPELESS + min(excess, HOPELESS - 1)

    def mapping(self, genome: _Genome) -> SetMapping:
        """Return a genome's sets, each shared as the lower level finds it."""
        sets = self.place(genome)
        self._share(sets)
        choices = np.zeros(len(self.p.units), np.int64)
        for placed in sets:
            choices[placed.first : placed.last] = self.shared[_key(placed)]
        return SetMapping(sets=sets, choices=tuple(map(int, choices)))

    def place(self, genome: _Genome) -> tuple[Placed, ...]:
        """Return a genome's sets; of like devices the first that are free."""
        taken = [0] * len(self.sizes)
        sets = []
        for network, parts in enumerate(genome):
            for first, part in self._ranges(network, parts):
                one = self.p.classes[part.set_class]
                sets.append(Placed(
                    set_class=part.set_class, design=part.design, first=first, last=part.last,
                    devices=one.placed(self.p.groups, taken),
                ))  # fmt: skip
                taken = [a + b for a, b in zip(taken, one.counts)]
        return tuple(sets)

    def finish(self, mapping: SetMapping) -> SetMapping:
        """Look closer at how the sets of a mapping are shared; a local search ends it."""
        choices = np.array(mapping.choices)
        found = run_all(self.executor, _look_closer, self.lower, mapping.sets)
        for placed, own in zip(mapping.sets, found):
            choices[placed.first : placed.last] = own
        closer = SetMapping(sets=mapping.sets, choices=tuple(map(int, choices)))
        starts = list(dict.fromkeys((mapping, closer)))
        ends = run_all(self.executor, _polish, self.lower, starts)

        def worth(end: SetMapping) -> tuple[int, int]:
            running = self.evaluator.start(end)
            return running.excess_bytes, running.makespan_ps

        return min(ends, key=worth)

    def _share(self, sets: Sequence[Placed]) -> None:
        """Find how sets are shared that nobody has asked for yet."""
        # Devices of the class's own example: what is found must not depend on who asks first.
        wanted = {
            _key(one): replace(one, devices=self.p.classes[one.set_class].devices)
            for one in sets if _key(one) not in self.shared
        }  # fmt: skip
        found = run_all(self.executor, _share, self.lower, list(wanted.values()))
        self.shared |= dict(zip(wanted, found))

    def _ranges(self, network: int, parts: tuple[_Part, ...]) -> list[tuple[int, _Part]]:
        firsts = [self.spans[network][0], *(part.last for part in parts)]
        return list(zip(firsts, parts))

    # -- genes ------------------------------------------------------------------------------------

    def _best_design(self, set_class: int, first: int, last: int) -> int:
        """Return the design under which the units of a range take least."""
        totals = [
            int(self.least[set_class, d][last] - self.least[set_class, d][first])
            for d in range(len(self.p.designs[set_class]))
        ]
        return totals.index(min(totals))

    def _random_class(self, random: np.random.Generator) -> int:
        pool = self.components if random.random() < 0.6 else range(len(self.p.classes))
        return int(pool[int(random.integers(len(pool)))])

    def _random_parts(self, network: int, random: np.random.Generator) -> list[_Part]:
        begin, end = self.spans[network]
        most = min(self.settings.most_sets, len(self.cuts[network]) + 1)
        number = min(most, int(random.geometric(0.5)))
        cuts = sorted(random.choice(self.cuts[network], number - 1, replace=False)) if number > 1 \
            else []  # fmt: skip
        parts, first = [], begin
        for last in (*map(int, cuts), end):
            set_class = self._random_class(random)
            parts.append(self._part(set_class, first, last, random))
            first = last
        return parts

    def _part(
        self, set_class: int, first: int, last: int, random: np.random.Generator | None
    ) -> _Part:
        design = self._best_design(set_class, first, last)
        if random is not None and random.random() < 0.2:
            design = int(random.integers(len(self.p.designs[set_class])))
        return _Part(set_class=set_class, design=design, last=last)

    def _first(self, network: int, mine: list[_Part], place: int) -> int:
        return mine[place - 1].last if place else self.spans[network][0]

    def _move_device(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        """Take a device of some group into a set, or out of it."""
        counts = list(self.p.classes[mine[place].set_class].counts)
        group = int(random.integers(len(counts)))
        counts[group] += 1 if random.random() < 0.5 else -1
        found = self.by_counts.get(tuple(counts))
        if found is not None:
            mine[place] = self._part(
                found, self._first(network, mine, place), mine[place].last, random
            )

    def _other_design(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        part = mine[place]
        design = int(random.integers(len(self.p.designs[part.set_class])))
        mine[place] = _Part(set_class=part.set_class, design=design, last=part.last)

    def _shift_cut(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        if place == len(mine) - 1:
            return
        before, after = self._first(network, mine, place), mine[place + 1].last
        free = [cut for cut in self.cuts[network] if before < cut < after]
        if random.random() < 0.5:  # by one place
            at = free.index(mine[place].last)
            free = free[max(0, at - 1) : at + 2]
        cut = int(free[int(random.integers(len(free)))])
        part = mine[place]
        mine[place] = _Part(set_class=part.set_class, design=part.design, last=cut)

    def _split(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        first, part = self._first(network, mine, place), mine[place]
        free = [cut for cut in self.cuts[network] if first < cut < part.last]
        if not free or len(mine) >= self.settings.most_sets:
            return
        cut = int(free[int(random.integers(len(free)))])
        fresh = self._random_class(random)
        if random.random() < 0.5:
            mine[place : place + 1] = [self._part(fresh, first, cut, random), part]
        else:
            left = _Part(set_class=part.set_class, design=part.design, last=cut)
            mine[place : place + 1] = [left, self._part(fresh, cut, part.last, random)]

    def _merge(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        if place == len(mine) - 1:
            return
        keep = mine[place + int(random.integers(2))]
        last = mine[place + 1].last
        mine[place : place + 2] = [_Part(set_class=keep.set_class, design=keep.design, last=last)]

    def _other_class(
        self, network: int, mine: list[_Part], place: int, random: np.random.Generator
    ) -> None:
        first = self._first(network, mine, place)
        mine[place] = self._part(self._random_class(random), first, mine[place].last, random)

    # -- repair and seeds -------------------------------------------------------------------------

    def _repaired(
        self, parts: list[list[_Part]], random: np.random.Generator | None
    ) -> _Genome | None:
        """Make a partition of parts: what no devices are left for shrinks, or its neighbour's.

        None where some network is left without devices.
        """
        free = list(self.sizes)
        order = list(range(self.networks))
        if random is not None:
            order = [int(n) for n in random.permutation(self.networks)]
        repaired: dict[int, list[_Part]] = {}
        for waiting, network in zip(range(self.networks - 1, -1, -1), order):
            kept: list[_Part] = []
            first = self.spans[network][0]
            for part in parts[network][: self.settings.most_sets]:
                fitting = self._fit(part.set_class, free, sum(free) - waiting)
                if fitting is None and not kept:
                    fitting = self._any(free)
                    if fitting is None:
                        return None
                if fitting is None:
                    continue
                if fitting != part.set_class:
                    part = self._part(fitting, first, part.last, random)
                free = [a - b for a, b in zip(free, self.p.classes[fitting].counts)]
                kept.append(part)
                first = part.last
            tail = kept[-1]
            kept[-1] = _Part(
                set_class=tail.set_class, design=tail.design, last=self.spans[network][1]
            )
            repaired[network] = kept
        return tuple(tuple(repaired[network]) for network in range(self.networks))

    def _fit(self, set_class: int, free: list[int], most: int) -> int | None:
        """Return the class, or the largest one inside it, for which there are devices."""
        wanted = self.p.classes[set_class].counts
        best = None
        for k, one in enumerate(self.p.classes):
            if (
                one.parties <= most
                and all(c <= f and c <= w for c, f, w in zip(one.counts, free, wanted))
                and (best is None or one.parties > self.p.classes[best].parties)
            ):
                best = k
        return best

    def _any(self, free: list[int]) -> int | None:
        return next((k for k, one in enumerate(self.p.classes)
                     if all(c <= f for c, f in zip(one.counts, free))), None)  # fmt: skip

    def seeds(self) -> list[_Genome]:
        """Return genomes from what slow links separate: each component for all, and in pairs."""
        found: dict[_Genome | None, None] = {}
        options = [*self.components, *(k for k, one in enumerate(self.p.classes)
                                       if one.parties == 1)]  # fmt: skip
        for k in options:
            for rival in options:
                parts = []
                for network, (begin, end) in enumerate(self.spans):
                    mine = k if network % 2 == 0 else rival
                    parts.append([self._part(mine, begin, end, None)])
                found[self._repaired(parts, None)] = None
                cut = self._best_cut(k, rival)
                if k != rival and self.networks == 1 and cut is not None:
                    begin, end = self.spans[0]
                    found[self._repaired([[
                        self._part(k, begin, cut, None), self._part(rival, cut, end, None),
                    ]], None)] = None  # fmt: skip
        return [genome for genome in found if genome is not None]

    def _best_cut(self, one: int, other: int) -> int | None:
        """Return where the first network is best cut between two sets, by its units' profiles."""
        begin, end = self.spans[0]
        if not self.cuts[0]:
            return None

        def total(set_class: int, first: int, last: int) -> int:
            design = self._best_design(set_class, first, last)
            least = self.least[set_class, design]
            return int(least[last] - least[first])

        return min(self.cuts[0], key=lambda u: total(one, begin, u) + total(other, u, end))


def _key(placed: Placed) -> tuple[int, int, int, int]:
    return placed.first, placed.last, placed.set_class, placed.design


def _components(problem: Problem) -> list[int]:
    """Return the classes of what holds together when slower links are left out, for any speed."""
    tables = problem.tables
    numbers = {name: n for n, name in enumerate(tables.ends)}
    speeds = sorted({link.bandwidth_bytes_per_s for link in tables.system.links})
    by_counts = {one.counts: k for k, one in enumerate(problem.classes)}
    found: dict[int, None] = {}
    for speed in speeds:
        parent: dict[str, str] = {}

        def root(end: str, parent: dict[str, str] = parent) -> str:
            while parent.setdefault(end, end) != end:
                end = parent[end]
            return end

        for link in tables.system.links:
            if link.bandwidth_bytes_per_s >= speed:
                for end in link.ends[1:]:
                    parent[root(end)] = root(link.ends[0])
        joined: dict[tuple[str, int], set[int]] = {}
        for name, n in numbers.items():
            if n < len(tables.of_device):
                joined.setdefault((root(name), tables.kind[n]), set()).add(n)
        for members in joined.values():
            counts = tuple(sum(d in members for d in group) for group in problem.groups)
            if counts in by_counts:
                found[by_counts[counts]] = None
    if not found:
        found[len(problem.classes) - 1] = None
    return list(found)


def genomes_of(
    problem: Problem, settings: TwoLevelSearch, executor: Executor | None = None
) -> _Sets | Infeasible:
    """Return the genomes of the upper level, or why no mapping can be one."""
    genomes = _Sets(problem, settings, executor)
    if sum(map(len, problem.groups)) < genomes.networks or not genomes.seeds():
        return _too_few(problem, genomes.networks)
    return genomes


def _too_few(problem: Problem, networks: int) -> Infeasible:
    return Infeasible(
        what="devices, one at least for each network", need=networks,
        have=sum(map(len, problem.groups)), unit="devices",
        remedies=("add devices", "map fewer networks at once", "allow smaller sets"),
    )  # fmt: skip


def _subject(problem: Problem, settings: TwoLevelSearch) -> str:
    """Return what a state on disk must agree with; more generations are no other search."""
    record = {k: v for k, v in to_record(settings).items() if k != "generations"}
    names = [reference.digest for reference in problem.tables.workload.references]
    tables = [table.tobytes() for steps in problem.step_ps for table in steps]
    return content_hash(repr(sorted(record.items())), repr(names),
                        problem.tables.system.digest, *tables)  # fmt: skip
