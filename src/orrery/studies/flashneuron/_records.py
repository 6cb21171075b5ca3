"""Records of the study: what the abstract claims, and what is held against a judge."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from orrery.provenance import Basis
from orrery.units import format_quantity

from .._frame import Record, compared
from ._case import EIGHT, Case
from ._published import BATCH, PAPER, THROUGHPUT
from ._trial import OURS, Taken

_OURS = "this machine"
_GAIN, _RATE, _PREDICTED = 8.0, 0.8, 0.15


def claim_records(cases: Sequence[Case]) -> list[Record]:
    """Return the claims of the abstract beside the least and the most of ours."""
    gains = {c.network.name: gain for c in cases if (gain := c.main.gain()) is not None}
    rates = {c.network.name: rate for c in cases if (rate := _best_rate(c)) is not None}
    said = ", ".join(f"{name} {gain:.3g}" for name, gain in gains.items())
    found = [
        _claim(f"{which} gain in the largest batch", "x", pick(gains.values(), default=None),
               published, f"gained: {said}; a cap of memory on processors, not a GPU of 16 GB, "
               "and nothing stored in half precision")
        for which, pick, published in zip(("least", "most"), (min, max), BATCH, strict=True)
    ]  # fmt: skip
    best = max(rates.values(), default=None)
    found.append(_claim(
        "most gain in samples/s", "%", None if best is None else 100 * (best - 1), THROUGHPUT,
        "a larger batch keeps a GPU busier, and processors are busy with few samples; "
        "theirs moves past the processor, ours takes its time",
    ))  # fmt: skip
    return found


def _claim(name: str, unit: str, ours: float | None, published: float, note: str) -> Record:
    if ours is None:
        return Record(
            name=name, unit=unit, published=published, ours=None, basis=Basis.MEASURED,
            source=f"{PAPER}, abstract", status="not reproducible", note="nothing fitted here",
        )  # fmt: skip
    return compared(
        name, unit, published=published, ours=ours, basis=Basis.MEASURED, tolerance=0.05,
        source=f"{PAPER}, abstract", note=note,
    )  # fmt: skip


def _best_rate(case: Case) -> float | None:
    found = [case.largest.faster(way, "none") for way in (OURS, EIGHT)]
    return max((pair[0] for pair in found if pair is not None), default=None)


def network_records(case: Case) -> list[Record]:
    """Return all that is held against a judge about one network."""
    return [*_batch(case), *_rates(case), *_equal(case), *_prediction(case), _losses(case)]


def _batch(case: Case) -> list[Record]:
    name, ours = f"{case.network.name}: largest batch", case.main.found[OURS]
    plain = case.main.found["none"].largest
    others = ", ".join(f"{way} {f.largest}" for way, f in case.main.found.items() if way != OURS)
    cap = format_quantity(case.main.cap_bytes, "bytes")
    note = f"within {cap}; others: {others}. The next tried: {case.main.whys.get(OURS, 'none')}"
    wanted = _GAIN * plain
    return [Record(
        name=name, unit="", published=None, ours=float(ours.largest), basis=Basis.MEASURED,
        source=_OURS, judge=f"{_GAIN:g} times plain training's", judge_value=wanted, note=note,
        seconds=case.seconds, status="match" if ours.largest >= wanted else "differs",
    )]  # fmt: skip


def _rates(case: Case) -> list[Record]:
    found = []
    for way in (EIGHT, OURS):
        pair = case.largest.faster(way, "none")
        if pair is None:
            continue
        ratio, (low, high) = pair
        batch = case.largest.batches[way]
        found.append(Record(
            name=f"{case.network.name}: samples/s, {'8 x' if way == EIGHT else 'largest'} batch",
            unit="x", published=None, ours=ratio, basis=Basis.MEASURED, source=_OURS,
            judge="of plain training's at its largest", judge_value=_RATE,
            status="match" if ratio >= _RATE else "differs",
            note=f"{low:.2f} to {high:.2f} (95 % where 6 rounds), batch {batch}; "
            f"{_share(case.largest.outcomes[way].steps[-1])}",
        ))  # fmt: skip
    return found


def _share(taken: Taken) -> str:
    """Say what moving took of a step."""
    hidden = "nothing" if taken.hidden_share is None else f"{100 * taken.hidden_share:.0f} %"
    moved = format_quantity(taken.moved_bytes, "bytes")
    of = f"{100 * taken.io_cpu_s / taken.cpu_s:.0f} % of the processor time" if taken.cpu_s else ""
    return f"{moved} moved a step, {hidden} hidden, {of}".rstrip(", ")


def _equal(case: Case) -> list[Record]:
    found = []
    for over in ("checkpointing", "naive file"):
        pair = case.equal.faster(OURS, over)
        if pair is None:
            continue
        ratio, (low, high) = pair
        found.append(Record(
            name=f"{case.network.name}: samples/s over {over}", unit="x", published=None,
            ours=ratio, basis=Basis.MEASURED, source=_OURS, judge=f"{over}, equal batch and cap",
            judge_value=1.0, status="match" if ratio > 1 else "differs",
            note=f"{low:.2f} to {high:.2f} (95 % where 6 rounds), batch "
            f"{case.equal.batches[OURS]}; {_share(case.equal.outcomes[OURS].steps[-1])}",
        ))  # fmt: skip
    return found


def planned_steps(case: Case) -> dict[str, tuple[float, float]]:
    """Return planned and median measured seconds of a step, per way of ours that was planned."""
    found = {}
    for way in (OURS, EIGHT):
        outcome = case.largest.outcomes.get(way)
        if outcome is not None and (steps := outcome.planned):
            planned = statistics.median(taken.planned_s or 0.0 for taken in steps)
            found[way] = planned, statistics.median(taken.within_s for taken in steps)
    return found


def _prediction(case: Case) -> list[Record]:
    return [
        compared(
            f"{case.network.name}: planned step, {'8 x' if way == EIGHT else 'largest'} batch",
            "s", ours=planned, basis=Basis.ESTIMATED, source=_OURS, judge="measured",
            judge_value=measured, tolerance=_PREDICTED,
        )
        for way, (planned, measured) in planned_steps(case).items()
    ]  # fmt: skip


def _losses(case: Case) -> Record:
    other = case.other_losses
    ways = len(case.equal.outcomes)
    said = f"{ways} ways, the same batches from the same seed, every step's loss to the last bit"
    return Record(
        name=f"{case.network.name}: ways with other losses", unit="", published=None,
        ours=float(len(other)), basis=Basis.MEASURED, source=_OURS, judge="plain training",
        judge_value=0.0, status="differs" if other else "match",
        note=f"{said}: not so with {', '.join(other)}" if other else said,
    )  # fmt: skip
