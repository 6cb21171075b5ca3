"""What a session did, in sentences."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from orrery.offload_plan import OffloadPlan
from orrery.plan import Infeasible
from orrery.units import counted, format_quantity

if TYPE_CHECKING:
    from ._session import TrainingSession

#: As the log of a plan says it.
_SHOWN = "with what the first planned step showed"


def explained(session: TrainingSession) -> list[str]:
    """Return what is planned, what was measured since, and what a user should know."""
    if not session.reports:
        return ["No step yet. The first is measured, with every tensor of that size written."]
    lines = []
    for number, plan in enumerate(session.plans, start=1):
        which = f"pass {number}: " if len(session.plans) > 1 else ""
        lines.append(which + planned_line(plan))
    if not lines:
        lines.append(_unplanned(session))
    elif (plain := plain_peak_bytes(session)) is not None:
        lines.append(f"With everything in memory the peak would be about {_bytes(plain)}.")
    lines += _measured(session)
    if (again := session.engine.times_planned - len(session.profiles)) > 0:
        shown = any(_SHOWN in line for plan in session.plans for line in plan.log)
        why = _SHOWN if shown else "the folders' rates or the saved tensors were others"
        lines.append(f"Planned {counted(again, 'more time')}, last after step "
                     f"{session.plannings[-1].step}: {why}.")  # fmt: skip
    return lines + remarks_of(session)


def planned_line(plan: OffloadPlan) -> str:
    """Return e.g. ``41 tensors, 2.9 GiB, 97 % hidden, step +3 %; planned peak 3.8 of 4 GiB``."""
    return (
        f"{plan.summary}; planned peak {_bytes(plan.peak_bytes)} of {_bytes(plan.limit_bytes)}"
    )  # fmt: skip


def plain_peak_bytes(session: TrainingSession) -> int | None:
    """Return about how much memory the step takes when nothing leaves; None when not measured.

    All that is saved, and the most that anything else took: not always at the same moment, so that
    it can be too high, never too low.
    """
    return max((found.other_bytes + found.saved_bytes for found in session.profiles), default=None)


def written_bytes(session: TrainingSession) -> int:
    """Return what all steps together wrote to the folders."""
    return sum(report.moved.written_bytes for report in session.reports)


def remarks_of(session: TrainingSession) -> list[str]:
    """Return what a user should know: of the folders, and of the last steps, each once."""
    said = list(session.engine.remarks)
    said += [f"step {r.step}: {remark}" for r in session.reports[-10:] for remark in r.remarks]
    elsewhere = {
        reason: count for reason, count in session.reports[-1:][0].passed_over.items()
        if reason.startswith(("on ", "in memory "))
    } if session.reports else {}  # fmt: skip
    said += [f"{counted(n, 'saved tensor')} {why} stayed there" for why, n in elsewhere.items()]
    return list(dict.fromkeys(said))


def _unplanned(session: TrainingSession) -> str:
    last = session.reports[-1]
    answer = session.plannings[-1].answer if session.plannings else None
    if isinstance(answer, Infeasible):
        return f"There is no plan{'' if answer.proved else ' that was found'}: {answer}."
    if not last.offloaded and not last.kept:
        least = _bytes(session.engine.settings.least_bytes)
        where = "CPU" if session.engine.settings.device == "cpu" else session.engine.settings.device
        return f"Nothing is planned: no saved tensor on the {where} has {least} or more."
    return f"No plan is in force: {last.summary}."


def _measured(session: TrainingSession) -> list[str]:
    lines = []
    planned = [report for report in session.reports if not report.measured]
    first = session.reports[0]
    lines.append(
        f"Step 1, with everything written, took {format_quantity(first.step_s, 's')} and "
        f"{_bytes(first.peak_bytes)}."
    )
    if planned:
        took = statistics.median(report.step_s for report in planned)
        line = f"{counted(len(planned), 'planned step')} since: median {format_quantity(took, 's')}"
        if session.plans:
            expected = sum(plan.step_s for plan in session.plans)
            line += f" ({format_quantity(expected, 's')} was planned, {took / expected - 1:+.0%})"
        busy = sum(report.moved.busy_s for report in planned)
        line += f", peak {_bytes(max(report.peak_bytes for report in planned))}"
        if busy:
            waited = sum(report.waited_s for report in planned)
            line += f", {math.floor(100 * max(0.0, 1 - waited / busy))} % of transfers hidden"
        lines.append(f"{line}.")
    if again := [report.recompute_s for report in planned if report.recomputed]:
        lines.append(f"Making tensors again took {format_quantity(statistics.median(again), 's')} "
                     "of a step.")  # fmt: skip
    if session.engine.settings.storage == "fp16":
        lines.append(_halved(session))
    line = f"Written in all: {_bytes(written_bytes(session))}; {session.engine.engine}"
    moved = sum(r.moved.written_bytes + r.moved.read_bytes for r in session.reports)
    if moved:
        cpu_s = sum(r.moved.cpu_s for r in session.reports)
        line += f", {cpu_s / (moved / 2**30):.2f} processor seconds per GiB moved"
    lines.append(f"{line}.")
    return lines


def _halved(session: TrainingSession) -> str:
    last = session.reports[-1]
    off = max(report.off for report in session.reports)
    return (
        f"Stored as fp16, so gradients are not exact: {last.halved} of "
        f"{counted(last.offloaded, 'tensor')} in the last step; no element was off by more than "
        f"{off:.2%} of the largest of its tensor. The others, and where that would be more than "
        "0.05 %, are stored exactly."
    )


def _bytes(size: float) -> str:
    return format_quantity(size, "bytes")
