"""What mappings take when links turn out slower or faster, and which of them regrets least.

Models:  the same workload on the same devices whose links have so many times their bandwidth; the
         best mapping of each case, and every mapping in every case. Regret is how much longer a
         mapping takes than the best known in that case; the robust mapping is the candidate whose
         largest regret over all cases is least.
Ignores: latencies of links, which stay; mappings that are best in no case but might regret less
         than all candidates.
Judge:   `orrery.cost.price` of every plan on every scaled system, equal to the picosecond (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from orrery.cost import CostModel
from orrery.errors import SpecError, check_choice
from orrery.hardware import Link, System
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress

from .._tables import Tables, with_links
from ._mapping import SetMapping, evaluate, feasible
from ._problem import Freedoms, Problem, fill_problems
from ._routes import NEVER, Ints
from ._series import best_mapping

#: which links are scaled: all, those with an end at the host, or the others
Which = Literal["all", "host", "devices"]
_WHICH = ("all", "host", "devices")


class Search(Protocol):
    """Finds a lower bound (ps) and a good mapping."""

    def __call__(
        self, problem: Problem, *, progress: Progress = SILENT
    ) -> tuple[int, SetMapping] | Infeasible: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A mapping, the cases in which a search found it, and a line for each of its sets."""

    names: tuple[str, ...]
    mapping: SetMapping
    sets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What differs between the best mappings of two neighbouring cases.

    Attributes
    ----------
    sets, designs : whether the devices or cuts of any set differ; whether any unit's design does
    units : how many units are shared in another way, or by another number of devices
    """

    sets: bool
    designs: bool
    units: int

    def __bool__(self) -> bool:
        return self.sets or self.designs or self.units > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Mappings under several bandwidths.

    Attributes
    ----------
    factors : of the links' bandwidths, rising
    bound_ps : per factor; no mapping of this form is faster
    own : per factor, number of the candidate that the search found for it
    makespan_ps : candidates × factors; `NEVER` or more where something does not fit
    robust : number of the candidate whose largest regret is least
    changes : between neighbouring factors
    """

    factors: tuple[float, ...]
    bound_ps: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    own: tuple[int, ...]
    makespan_ps: Ints
    robust: int
    changes: tuple[Change, ...]

    @property
    def never_ps(self) -> int:
        """What nothing takes that fits."""
        return NEVER

    @property
    def best_ps(self) -> Ints:
        """Least makespan of any candidate, per factor."""
        least: Ints = self.makespan_ps.min(axis=0)
        return least

    @property
    def regret(self) -> NDArray[np.float64]:
        """Candidates × factors: how much longer than the best known there, as a fraction."""
        return _regret(self.makespan_ps)

    @property
    def proven(self) -> bool:
        """Whether the best known is the optimum in every case, so that regrets are exact."""
        return bool((self.best_ps <= np.array(self.bound_ps, np.int64)).all())

    @property
    def mapping(self) -> SetMapping:
        """The mapping that regrets least."""
        return self.candidates[self.robust].mapping


def scale_links(system: System, factor: float, which: Which = "all") -> tuple[Link, ...]:
    """Return a system's links with so many times their bandwidth.

    Parameters
    ----------
    which : ``all``, ``host`` (those with an end there), or ``devices`` (all others)

    Raises
    ------
    SpecError : a factor that is not a finite number above zero; no such kind of links
    """
    if not (math.isfinite(factor) and factor > 0):
        raise SpecError("factor of bandwidths", found=factor, wanted="a finite number above zero",
                        fix="1 leaves links as they are")  # fmt: skip
    check_choice("links to scale", which, _WHICH)
    return tuple(
        replace(link, bandwidth_bytes_per_s=factor * link.bandwidth_bytes_per_s)
        if which == "all" or (which == "host") == (system.host in link.ends)
        else link
        for link in system.links
    )


def fill_scaled(
    tables: Tables, models: Mapping[str, CostModel], capacity_bytes: Sequence[int],
    factors: Sequence[float], *, which: Which = "all", **freedoms: Unpack[Freedoms],
) -> tuple[Problem, ...]:  # fmt: skip
    """Fill a problem per factor of the links' bandwidths; devices' work is priced once.

    Parameters
    ----------
    capacity_bytes, freedoms : see `fill_problem`

    Raises
    ------
    SpecError : no factors, or one that is no number above zero
    """
    if not factors:
        raise SpecError("factors of bandwidths", found="none", wanted="one or more",
                        fix="give a factor")  # fmt: skip
    variants = [with_links(tables, scale_links(tables.system, f, which)) for f in factors]
    return fill_problems(variants, models, capacity_bytes, **freedoms)


def compare_cases(
    problems: Sequence[Problem], factors: Sequence[float], *,
    also: Mapping[str, SetMapping] | None = None, search: Search = best_mapping,
    progress: Progress = SILENT,
) -> Sensitivity | Infeasible:  # fmt: skip
    """Search every case, evaluate every mapping in every case, and find the one to regret least.

    Parameters
    ----------
    problems, factors : of `fill_scaled`, factors rising
    also : name -> further mappings that compete
    search : finds a lower bound (ps) and a mapping for each case

    Raises
    ------
    SpecError : factors that do not rise, or not one for each problem
    TooManyStatesError : too many tensors are needed later at some place
    CancelledError : the user asked to stop
    """
    if len(problems) != len(factors) or any(b <= a for a, b in pairwise(factors)):
        raise SpecError(
            "factors of bandwidths", found=", ".join(f"{f:g}" for f in factors),
            wanted=f"{len(problems)} different numbers, rising", fix="sort them, each once",
        )  # fmt: skip
    bounds: list[int] = []
    names: dict[SetMapping, list[str]] = {}
    found: list[SetMapping] = []
    for done, (problem, factor) in enumerate(zip(problems, factors)):
        progress.step("bandwidths", done, len(problems))
        best = search(problem, progress=progress)
        if isinstance(best, Infeasible):
            return best
        bounds.append(best[0])
        found.append(best[1])
        names.setdefault(best[1], []).append(f"best at {factor:g}")
    for name, mapping in (also or {}).items():
        names.setdefault(mapping, []).append(name)
    table = np.array([[_makespan(p, m) for p in problems] for m in names], np.int64)
    worst = _regret(table).max(axis=1)
    numbers = {mapping: number for number, mapping in enumerate(names)}
    return Sensitivity(
        factors=tuple(factors), bound_ps=tuple(bounds),
        candidates=tuple(Candidate(
            names=tuple(n), mapping=m, sets=set_texts(problems[0], m)
        ) for m, n in names.items()),
        own=tuple(numbers[m] for m in found), makespan_ps=table,
        # Of equal ones the one that is faster in sum.
        robust=min(range(len(table)), key=lambda i: (worst[i], int(table[i].sum()))),
        changes=tuple(_change(problems[0], a, b) for a, b in pairwise(found)),
    )  # fmt: skip


def _makespan(problem: Problem, mapping: SetMapping) -> int:
    times = evaluate(problem, mapping)
    return times.makespan_ps if feasible(times) else max(NEVER, times.makespan_ps)


def _regret(makespan_ps: Ints) -> NDArray[np.float64]:
    least = np.maximum(makespan_ps.min(axis=0), 1)
    out: NDArray[np.float64] = makespan_ps / least - 1
    return out


def _change(problem: Problem, one: SetMapping, other: SetMapping) -> Change:
    def shape(mapping: SetMapping) -> list[tuple[tuple[int, ...], int, int]]:
        return [(s.devices, s.first, s.last) for s in mapping.sets]

    units = range(len(problem.units))
    ones, others = _per_unit(problem, one), _per_unit(problem, other)
    return Change(
        sets=shape(one) != shape(other),
        designs=any(ones[u][0] != others[u][0] for u in units),
        units=sum(ones[u][1:] != others[u][1:] for u in units),
    )


def _per_unit(problem: Problem, mapping: SetMapping) -> dict[int, tuple[str | None, int, object]]:
    """Return design, number of devices and strategies of every unit."""
    found: dict[int, tuple[str | None, int, object]] = {}
    for placed in mapping.sets:
        parties = len(placed.devices)
        design = problem.designs[placed.set_class][placed.design]
        for u in range(placed.first, placed.last):
            choice = problem.choices[u][parties][mapping.choices[u]]
            found[u] = (design, parties, choice.strategies)
    return found


def set_texts(problem: Problem, mapping: SetMapping) -> tuple[str, ...]:
    """Return a line per set: how many devices, their design, the regions they take over."""
    w, texts = problem.tables.workload, []
    for placed in mapping.sets:
        design = problem.designs[placed.set_class][placed.design] or "as they are"
        first = w.names[problem.units[placed.first].regions[0]]
        last = w.names[problem.units[placed.last - 1].regions[-1]]
        texts.append(f"{len(placed.devices)} × {design}: {first} to {last}")
    return tuple(texts)
