"""How well fitted constants foretell networks that they never saw, and how far to trust them.

Models:  networks are left out in turn (in at most `MOST_FOLDS` groups). The errors of what was
         left out give the interval: its ends are quantiles of log(measured / price), every network
         weighing the same. Coverage is counted on networks that neither the constants nor the
         interval saw: the errors behind that interval come from fits without either.
Ignores: that a new network may be of another kind. The intervals hold for rows of networks that
         might as well have been among the given ones (exchangeable), one row at a time.
Judge:   coverage on synthetic truths with known noise (tests): 80 ± 10 %.
Source:  Vovk, "Cross-conformal predictors", 2015; Dunn, Wasserman, Ramdas, "Distribution-free
         prediction sets for two-layer hierarchical models", 2023.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.progress import SILENT, Progress

from ._fit import Design, Fit, Floats, fit

#: networks left out -> the design that the others are fitted by, and the one that prices those
#: left out; whatever either chooses or looks up may have seen the others alone
Without = Callable[[frozenset[str]], tuple[Design, Design]]

#: share of rows that the interval is to hold
CONFIDENCE = 0.8
MOST_FOLDS = 10
#: one to hold out, one for the interval, one to fit
LEAST_NETWORKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One network, priced by constants that did not see it.

    Attributes
    ----------
    before, after : median and 90th percentile of abs(price / measured - 1), with the constants as
        they were and as fitted without this network
    covered : share of its rows within the interval made without it
    total : price of all its rows over what they were measured to take together
    """

    network: str
    rows: int
    before: tuple[float, float]
    after: tuple[float, float]
    covered: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Validation:
    """What leaving networks out has shown.

    Attributes
    ----------
    interval : ratios measured / price at the ends of the interval, from all networks
    measured, unfitted, priced : of every row: as given, by the constants as they were, by
        constants without its network
    spread : standard error of each constant's logarithm by the jackknife; NaN where a fold did
        not determine it
    """

    held: tuple[Held, ...]
    interval: tuple[float, float]
    measured: Floats
    unfitted: Floats
    priced: Floats
    spread: Floats

    @property
    def coverage(self) -> float:
        """Share of all held-out rows within their interval."""
        rows = sum(one.rows for one in self.held)
        return sum(one.covered * one.rows for one in self.held) / rows


def overall(validation: Validation) -> dict[str, float]:
    """Return median and 90th percentile of abs(price / measured - 1) of all rows left out."""
    found = {}
    for when, priced in (("before", validation.unfitted), ("after", validation.priced)):
        sizes = np.abs(priced / validation.measured - 1)
        found[f"median error {when}"] = float(np.median(sizes))
        found[f"90th percentile error {when}"] = float(np.percentile(sizes, 90))
    return found


def left_out_error(validation: Validation) -> float:
    """Return the median error of the rows left out, above zero."""
    return max(overall(validation)["median error after"], 1e-6)


def cross_validate(
    design: Design, measured: Floats, networks: Sequence[str], *, confidence: float = CONFIDENCE,
    progress: Progress = SILENT, unfitted: Floats | None = None, without: Without | None = None,
) -> Validation:  # fmt: skip
    """Leave networks out in turn.

    Parameters
    ----------
    networks : of every row; `LEAST_NETWORKS` different ones at least
    confidence : share of rows that the interval is to hold
    progress : told of every fit; asked whether to stop
    unfitted : prices by the constants as they were, where not those of the design at its start
    without : designs that hang on who is left out, of all rows; None: `design` whoever is
    """
    names = sorted(set(networks))
    fold_of = {name: number % MOST_FOLDS for number, name in enumerate(names)}
    folds = np.array([fold_of[name] for name in networks])
    member = np.array([names.index(name) for name in networks])
    count = int(folds.max()) + 1
    logs = np.log(measured)

    fits = itertools.count(1)
    total = count + count * (count - 1) // 2

    def residuals(left: tuple[int, ...], near: Floats | None = None) -> tuple[Floats, Fit]:
        progress.step("leave networks out", next(fits), total)
        asked = judged = design
        if without is not None:
            asked, judged = without(frozenset(n for n in names if fold_of[n] in left))
        seen = ~np.isin(folds, left)
        found = fit(asked.rows(seen), measured[seen], near)
        return logs - np.log(judged.price(found.x)), found

    single = [residuals((fold,)) for fold in range(count)]
    pairs = {
        pair: residuals(pair, single[pair[0]][1].x)[0]
        for pair in itertools.combinations(range(count), 2)
    }
    outside = np.choose(folds, [errors for errors, _ in single])
    unfitted = design.price(design.start) if unfitted is None else unfitted
    with np.errstate(divide="ignore"):
        before = np.log(unfitted) - logs
    held: list[Held] = []
    for place, name in enumerate(names):
        mine, fold = member == place, fold_of[name]
        low, high = quantile(*_others(pairs, folds, member, fold), confidence)
        inside = (outside[mine] >= low) & (outside[mine] <= high)
        held.append(Held(
            network=name, rows=int(mine.sum()), before=_errors(before[mine]),
            after=_errors(-outside[mine]), covered=float(inside.mean()),
            total=float((measured * np.exp(-outside))[mine].sum() / measured[mine].sum()),
        ))  # fmt: skip
    low, high = quantile(outside, member, confidence)
    return Validation(
        held=tuple(held), interval=(float(np.exp(low)), float(np.exp(high))),
        measured=measured, unfitted=unfitted,
        priced=measured * np.exp(-outside), spread=_jackknife([one for _, one in single]),
    )  # fmt: skip


def _others(
    pairs: dict[tuple[int, int], Floats], folds: NDArray[np.int_], member: NDArray[np.int_],
    left: int,
) -> tuple[Floats, NDArray[np.int_]]:  # fmt: skip
    """Return errors of every other fold by a fit that saw neither it nor `left`."""
    errors, names = [], []
    for (a, b), found in pairs.items():
        if left in (a, b):
            mine = folds == (b if a == left else a)
            errors.append(found[mine])
            names.append(member[mine])
    return np.concatenate(errors), np.concatenate(names)


def quantile(errors: Floats, member: NDArray[np.int_], confidence: float) -> tuple[float, float]:
    """Return the ends that leave out an equal share of rows, every network weighing the same.

    As many rows as there are stand for one more that was not seen, at the far end of either side,
    as split conformal prediction does.
    """
    sizes = np.bincount(member)[member]
    weight = 1.0 / sizes
    weight /= weight.sum()
    order = np.argsort(errors)
    tail = max(0.0, (1 - confidence) / 2 * (len(errors) + 1) - 1) / len(errors)
    below = np.cumsum(weight[order])
    above = np.cumsum(weight[order][::-1])
    low = errors[order][min(len(order) - 1, int(np.searchsorted(below, tail, "right")))]
    high = errors[order][::-1][min(len(order) - 1, int(np.searchsorted(above, tail, "right")))]
    return float(min(low, high)), float(max(low, high))


def _errors(logs: Floats) -> tuple[float, float]:
    sizes = np.abs(np.exp(np.minimum(logs, 50.0)) - 1)
    return float(np.median(sizes)), float(np.percentile(sizes, 90))


def _jackknife(found: Sequence[Fit]) -> Floats:
    """Return the spread of each constant that every fold determined."""
    x = np.stack([one.x for one in found])
    told = np.array([[status == "fitted" for status in one.status] for one in found]).all(axis=0)
    logs = np.log(np.where(told, x, 1.0))
    squares = ((logs - logs.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(told, np.sqrt((len(x) - 1) / len(x) * squares), np.nan)
