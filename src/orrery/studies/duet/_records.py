"""Figures beside the published ones and beside their judges; all follow from the cases."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from orrery.provenance import Basis
from orrery.units import format_quantity

from .._frame import Record, compared
from ._case import ALONE, PLACED, SERVED, Case, Kind
from ._published import CLAIMS, NETWORKS, PAPER, Claim

#: What the issue asks of a placement, its prediction, a single path, and a gain worth speaking of.
_NEAR, _PREDICTED, _LOSS, _WORTH = 0.02, 0.10, 0.02, 1.3

_KINDS: dict[str, tuple[Kind, ...]] = {"cpu": ("cpu", "part"), "gpu": ("gpu",)}
_OURS = "measured here"


def claim_records(cases: Sequence[Case]) -> list[Record]:
    """Return the published ranges beside those of the networks of branches."""
    records = []
    for claim in CLAIMS:
        gains = {
            c.name: gain[0] for c in cases
            if c.branched and (gain := c.gain(*_KINDS[claim.over]))
        }  # fmt: skip
        for word, published in (("least", claim.least), ("most", claim.most)):
            name = f"{word} gain over the {claim.over.upper()} alone"
            if not gains:
                records.append(Record(
                    name=name, unit="x", published=published, ours=None, basis=Basis.MEASURED,
                    source=PAPER, status="not reproducible", note=_nobody(claim, cases),
                ))  # fmt: skip
                continue
            ours = (min if word == "least" else max)(gains.values())
            records.append(compared(
                name, "x", published=published, ours=ours, basis=Basis.MEASURED, source=PAPER,
                tolerance=0.1, note=_differs(cases, gains),
            ))  # fmt: skip
    off = statistics.median(abs(c.predicted_s / c.measured_s - 1) for c in cases)
    return [*records, _at_most(
        "error of predicted makespans, median over networks", "%", ours=100 * off,
        limit=100 * _PREDICTED, judge="10 % at most", note="from subgraphs alone; "
        f"{len(cases)} of {len(NETWORKS)} networks, the placement of each",
    )]  # fmt: skip


def _nobody(claim: Claim, cases: Sequence[Case]) -> str:
    if not any(c.branched for c in cases):
        return "no network of branches ran at this scale"
    where = "GPU" if claim.over == "gpu" else "worker with all cores"
    return f"no {where} here that runs a whole network: the workers are sets of cores"


def _differs(cases: Sequence[Case], gains: dict[str, float]) -> str:
    gpu = any(kind == "gpu" for case in cases for kind in case.kinds.values())
    bounds = ", ".join(
        f"{c.name} {gains[c.name]:.2f} "
        + (
            f"of at most {c.ceiling:.2f}" + (f", {c.reach:.2f} in company" if c.reach else "")
            if c.undercut is None
            else "(its bound was undercut)"
        )
        for c in cases
        if c.name in gains
    )
    machine = (
        "networks of sizes of our own, other back ends" if gpu else
        "sets of cores, which share what one back end has alone: 2 is all that equal halves could "
        "gain"
    )  # fmt: skip
    return (f"theirs: a CPU and a GPU against TVM; here: {machine}. Gained, and what the measured "
            f"bound allows: {bounds}")  # fmt: skip


def network_records(case: Case) -> list[Record]:
    """Return all that is held against a judge about one network."""
    return [*_gain(case), *_prediction(case), *_search(case), _outputs(case)]


def _gain(case: Case) -> list[Record]:
    best, gain = case.best(*ALONE), case.gain(*ALONE)
    if best is None or gain is None:
        return []
    ratio, (low, high) = gain
    when = f", measured on {case.date}" if case.date else ""
    note = f"{low:.2f} to {high:.2f} (95 %), against {best}{when}. {why(case)}{_paced(case)}"
    judge, wanted, least_gain = _wanted(case)
    served, (least, most) = case.served()
    # Ways are shown by their medians and judged within rounds, where the machine is the same.
    elsewhere = (
        "" if best in case.blocks[0].times_s else
        f"; {best} ran in rounds of its own, and both beside the placement"
    )  # fmt: skip
    chosen = "placed" if case.chosen == PLACED else f"whole on {case.chosen}"
    return [
        Record(
            name=f"{case.name}: gain over the best alone", unit="x", published=None, ours=ratio,
            basis=Basis.MEASURED, source=_OURS, judge=judge,
            judge_value=wanted, note=note, seconds=case.seconds,
            status="match" if case.undercut is None and ratio >= least_gain else "differs",
        ),
        Record(
            name=f"{case.name}: as the command runs it", unit="s", published=None,
            ours=case.blocks[0].median_s(SERVED), basis=Basis.MEASURED, source=_OURS,
            judge=f"best alone, {100 * _LOSS:g} % more at most", judge_value=case.alone_s,
            status="match" if served <= 1 + _LOSS else "differs",
            note=f"run {chosen}, as was chosen in other rounds: {100 * (served - 1):+.1f} % "
            f"({100 * (least - 1):+.1f} to {100 * (most - 1):+.1f}, 95 %, within rounds) of {best} "
            f"alone{elsewhere}",
        ),
    ]  # fmt: skip


def _wanted(case: Case) -> tuple[str, float, float]:
    """Return who says which gain is wanted, that gain, and what still counts as reaching it."""
    if case.undercut is not None:
        return "bound, which was undercut and proves nothing", case.ceiling, math.inf
    usual = _WORTH if case.branched else 1 / (1 + _LOSS)
    if case.ceiling < usual:
        return (f"bound, which forbids {usual:.3g}; {100 * _PREDICTED:g} % less at most",
                case.ceiling, (1 - _PREDICTED) * case.ceiling)  # fmt: skip
    if case.reach is not None and case.reach < usual:
        return (f"limit with company as measured, which forbids {usual:.3g}; "
                f"{100 * _PREDICTED:g} % less at most", case.reach,
                (1 - _PREDICTED) * case.reach)  # fmt: skip
    if case.branched:
        return f"{_WORTH} of a network of branches, as the bound allows it", usual, usual
    return f"no more lost than {100 * _LOSS:g} % on a single path", usual, usual


def _paced(case: Case) -> str:
    """Return what a bound is of at a pace that is not that of its times."""
    if case.pace is None or abs(case.pace - 1) < _NEAR:
        return ""
    return (f". Bounds are of times as measured, times {case.pace:.2f}, the machine's pace in "
            "these rounds: no proof")  # fmt: skip


def why(case: Case) -> str:
    """Say what keeps a network from gaining more, from what was measured."""
    gain = case.gain(*ALONE)
    ratio = gain[0] if gain else 1.0
    whole, cut = case.alone_s, case.cut_s
    if case.single_path:
        return "A single path: nothing runs side by side"
    if case.undercut is not None:
        took_s, least_s = case.undercut
        return (f"Nothing forbids more: from its parts' times no placement takes less than "
                f"{_s(least_s)}, at the pace of the rounds in which one took {_s(took_s)}, "
                "quicker than the bound; the machine's speed changed, and not for all parts "
                "alike")  # fmt: skip
    bound = f"no placement takes less than {_s(case.bound_s)}, because {case.reason}"
    if case.below is not None:
        took_s, least_s = case.below
        bound += f" (one took {1 - took_s / least_s:.1%} less, within what times are good for)"
    if case.ceiling < _WORTH:
        said = f"The bound forbids a gain of {_WORTH}: whole it takes {_s(whole)}; {bound}"
    elif case.reach is not None and case.reach < _WORTH and case.limit_s is not None:
        said = (f"Side by side its subgraphs slow each other down: as was measured, no placement "
                f"takes less than {_s(case.limit_s)}, a gain of {case.reach:.2f} (by their times "
                f"alone, {_s(case.bound_s)})")  # fmt: skip
    elif ratio > case.ceiling:
        said = f"It gains all that the bound allows, {case.ceiling:.2f}: {bound}"
    elif ratio >= _WORTH:
        said = f"More than {case.ceiling:.2f} is not possible: {bound}"
    else:
        said = (f"The bound would allow {case.ceiling:.2f} ({bound}); predicted was "
                f"{whole / case.predicted_s:.2f}")  # fmt: skip
    if cut is not None and cut > 1.05 * whole:
        said += f". Cut, its parts take {_s(cut)} one after the other: fusion and caches are lost"
    return said


def _prediction(case: Case) -> list[Record]:
    records = [compared(
        f"{case.name}: predicted makespan", "s", ours=case.predicted_s, basis=Basis.ESTIMATED,
        source=_OURS, judge="measured", judge_value=case.measured_s,
        tolerance=_PREDICTED, note="as they were timed: nothing tells the pace of the rounds"
        if case.pace is None else "at the pace of the rounds: one at a "
        f"time its subgraphs took {case.pace:.2f} times as long as when they were timed",
    )]  # fmt: skip
    summed = case.sweep.summed_error
    if summed is not None:
        records.append(_at_most(
            f"{case.name}: error of prediction", "%",
            ours=100 * case.sweep.error, limit=100 * summed,
            judge="operators timed one by one",
            note="both as they were timed, at no later pace; subgraphs timed as wholes; median "
            f"over {len(case.sweep.points)} placements that were measured",
        ))  # fmt: skip
    return records


def _search(case: Case) -> list[Record]:
    sweep, pace = case.sweep, case.pace or 1.0
    proved = sweep.exact_s is not None
    judged = pace * sweep.exact_s if sweep.exact_s else (
        max(pace * (sweep.least_s or 0.0), case.bound_s))  # fmt: skip
    rank = "" if sweep.rank is None else f"; the one that runs has rank {sweep.rank}"
    predicted = compared(
        f"{case.name}: greedy-correction, predicted", "s", ours=pace * sweep.corrected_s,
        basis=Basis.ESTIMATED, source=_OURS, tolerance=_NEAR, judge_value=judged,
        judge="exact" if proved else "bound, nothing exact in time",
        note=f"{counted(sweep.total)} placements{rank}; both at the pace of the rounds",
    )  # fmt: skip
    return [predicted, _measured(case)]


def _measured(case: Case) -> Record:
    """Hold the placement against the quickest other one that was run, by the gap between them."""
    sweep, name = case.sweep, f"{case.name}: greedy-correction, measured"
    count, ours = len(sweep.points), sweep.points[0].measured_s
    if count < 2 and sweep.total > 1:
        return _unknown(name, "%", f"of {counted(sweep.total)} placements ours alone was measured: "
                        "there is nothing to hold it against")  # fmt: skip
    low, high = sweep.interval
    said = (
        "there is no other placement" if count < 2 else
        f"{100 * low:+.1f} to {100 * high:+.1f} (95 %) against the quickest other one, in rounds "
        f"of their own; measured {count} of {counted(sweep.total)}, rank {sweep.measured_rank}"
    )  # fmt: skip
    if abs(ours / case.measured_s - 1) > _PREDICTED:
        said += (f". Among placements ours took {_s(ours)}, among all ways {_s(case.measured_s)}: "
                 "what runs before it matters, or the machine's speed changed")  # fmt: skip
    near = sweep.gap <= _NEAR
    return Record(
        name=name, unit="%", published=None, ours=100 * sweep.gap, basis=Basis.MEASURED,
        source=_OURS, judge=f"quickest of {count} measured, {100 * _NEAR:g} % more at most",
        judge_value=100 * _NEAR, status="match" if near else "differs",
        note=said if near else f"more than that; {said}",
    )  # fmt: skip


def _outputs(case: Case) -> Record:
    worst = max(case.errors.values())
    agrees = worst <= case.tolerance
    wrong = ", ".join(way for way, error in case.errors.items() if not error <= case.tolerance)
    said = (
        f"{len(case.errors)} ways, at most {case.tolerance:g} is allowed: float32 in other orders"
    )
    return Record(
        name=f"{case.name}: error of outputs", unit="", published=None,
        ours=worst if math.isfinite(worst) else None, basis=Basis.MEASURED, source=_OURS,
        judge="NumPy reference", judge_value=0.0, status="match" if agrees else "differs",
        note=said if agrees else f"{said}; beyond it: {wrong}",
    )  # fmt: skip


def _unknown(name: str, unit: str, why: str) -> Record:
    return Record(name=name, unit=unit, published=None, ours=None, basis=Basis.MEASURED,
                  source=_OURS, status="not reproducible", note=why)  # fmt: skip


def _at_most(name: str, unit: str, *, ours: float, limit: float, judge: str, note: str) -> Record:
    holds = ours <= limit
    return Record(
        name=name, unit=unit, published=None, ours=ours, basis=Basis.MEASURED, source=_OURS,
        judge=judge, judge_value=limit, status="match" if holds else "differs",
        note=note if holds else f"more than the judge's; {note}",
    )  # fmt: skip


def counted(total: int) -> str:
    """Return a count for people: digits in groups, a power of ten beyond milliards."""
    return f"{total:,}" if total < 10**9 else f"{total:.1e}"


def _s(value: float) -> str:
    return format_quantity(value, "s")
