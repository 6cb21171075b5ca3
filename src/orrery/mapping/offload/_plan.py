"""Which saved tensors leave memory, and when they come back: the whole planner."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from orrery.offload_plan import (
    OffloadPlan,
    PlannedMove,
    PlannedRead,
    PlannedTensor,
    StepProfile,
    step_digest,
)
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.settings import to_record
from orrery.units import counted, format_quantity, format_si

from ._improve import improve
from ._mend import Standing, least_disk, least_room, mend
from ._orders import other_selections
from ._problem import ACTIONS, DROP, KEEP, PACK, Columns, columns_of
from ._select import Selection, packs, ratio, two_phases
from ._settings import OffloadSearch
from ._timing import Move, Timing, time_step, waiting_bytes


def plan_offload(
    profile: StepProfile, search: OffloadSearch | None = None, progress: Progress = SILENT
) -> OffloadPlan | Infeasible:
    """Return what becomes of each saved tensor, or why no choice can be within the limit.

    Parameters
    ----------
    profile : a step as it runs when nothing has to be moved
    search : settings; None is `OffloadSearch()`
    progress : told of the best step so far

    Returns
    -------
    OffloadPlan or Infeasible
        A plan never has a higher peak than `StepProfile.limit_bytes`, and never writes more than
        `StepProfile.disk_bytes`. Nothing is moved where everything fits.

    Raises
    ------
    MissingExtraError : the method is ``exact`` and OR-Tools is not installed
    CancelledError : the user asked to stop
    """
    search = search or OffloadSearch()
    columns = columns_of(profile, recompute=search.recompute, pack=search.pack)
    short = _too_little(profile, columns)
    if short is not None:
        return short
    selections, log = two_phases(
        columns, least_bytes=search.least_bytes, usable_share=search.usable_share,
        pack_at_once=search.pack_at_once,
    )  # fmt: skip
    lines = list(log)
    best = _best(columns, selections, search.least_bytes)
    lower_bound = None
    if search.method != "two_phases" or best is None:
        more = other_selections(columns, least_bytes=search.least_bytes)
        best = _better(best, _best(columns, more, search.least_bytes))
        # Nothing is spared: small tensors as well.
        best = best or _best(columns, other_selections(columns, least_bytes=1), 1)
    if best is not None and search.method != "two_phases":
        before, most = best, search.effort // max(1, len(columns.size))
        best, spent = improve(columns, best, least_bytes=search.least_bytes,
                              evaluations=most, progress=progress)  # fmt: skip
        if spent:
            lines.append(_improved(before, best, spent))
    if search.method == "exact":
        from ._exact import prove

        proof = prove(columns, best, least_bytes=search.least_bytes, search=search,
                      progress=progress)  # fmt: skip
        best, lower_bound = proof.best, proof.lower_bound_s
        lines.append(proof.said)
    if best is None:
        return _no_disk(profile, columns)
    return _written(profile, columns, best, search, lines, lower_bound)


def _best(columns: Columns, selections: Iterable[Selection], least_bytes: int) -> Standing | None:
    best = None
    for selection in selections:
        best = _better(best, mend(columns, selection, least_bytes=least_bytes))
    return best


def _better(one: Standing | None, other: Standing | None) -> Standing | None:
    return other if other is not None and other.better_than(one) else one


def _improved(before: Standing, best: Standing, spent: int) -> str:
    start = f"best selection: {before.label}, step {format_si(before.timing.step_s, 's')}"
    if not best.better_than(before):
        return f"{start}; {counted(spent, 'change')} tried, none is better"
    return (
        f"{start}; {counted(spent, 'change')} tried, then {format_si(best.timing.step_s, 's')} "
        f"with {format_quantity(best.moved_bytes, 'bytes')} written"
    )


def _too_little(profile: StepProfile, columns: Columns) -> Infeasible | None:
    need, tensor, phase = least_room(columns)
    if need > profile.room_bytes:
        where = f" at {columns.names[tensor]} in the {phase}" if columns.names else ""
        stuck = sum(allowed == (KEEP,) for allowed in columns.allowed)
        remedies = [f"allow {_no_less(profile.other_bytes + need)}",
                    "take a smaller batch, or accumulate gradients over smaller ones"]  # fmt: skip
        if stuck:
            remedies.append(f"let more tensors move: {stuck} of {len(columns.size)} may not")
        return Infeasible(what=f"memory of step {profile.name!r}{where}, everything else moved",
                          need=profile.other_bytes + need, have=profile.limit_bytes, unit="bytes",
                          remedies=tuple(remedies))  # fmt: skip
    least = least_disk(columns)
    if columns.disk is not None and least > columns.disk:
        return _no_disk(profile, columns)
    return None


def _no_less(size: int) -> str:
    """Return a size to give as a limit: rounded to the nearest it might be too little."""
    return f"{-(-size // 2**20)} MiB" if size > 2**20 else f"{size} B"


def _no_disk(profile: StepProfile, columns: Columns) -> Infeasible:
    """What the folders lack; proved where even the fewest bytes are too many."""
    least, have = least_disk(columns), columns.disk or 0
    endless = replace(columns, disk=None)
    found = _best(endless, other_selections(endless, least_bytes=1), 1)
    proved = least > have or found is None
    return Infeasible(
        what=f"room in the folders for what step {profile.name!r} writes",
        need=least if proved or found is None else found.moved_bytes,
        have=have, unit="bytes", proved=proved,
        remedies=("give folders with more room", "allow more memory", "take a smaller batch"),
    )  # fmt: skip


def _written(
    profile: StepProfile, columns: Columns, best: Standing, search: OffloadSearch,
    lines: list[str], lower_bound: float | None,
) -> OffloadPlan:  # fmt: skip
    timing = _distance(columns, best, search.slack)
    if timing.reads:
        lines.append(
            f"reads: at most {format_quantity(timing.ahead_bytes, 'bytes')} ahead of their need, "
            f"in {counted(timing.ahead_tensors, 'tensor')}"
            if timing.ahead_tensors
            else "reads: each at its own need, there is no room ahead of it"
        )
    if timing.slowed_s or timing.recompute_s:
        lines.append(f"of the computation transfers take {format_si(timing.slowed_s, 's')}, "
                     f"making again {format_si(timing.recompute_s, 's')}")  # fmt: skip
    moves: list[Move] = []
    time_step(columns, best.choices, ahead_bytes=timing.ahead_bytes, moves=moves)
    waiting = [max(0, left) for left in waiting_bytes(columns, best.choices)]
    plan = OffloadPlan(
        step=step_digest(profile), name=profile.name, machine=profile.machine,
        tensors=tuple(_planned(columns, best, n, waiting[n]) for n in range(len(columns.size))),
        reads=tuple(PlannedRead(name=columns.names[n],
                                after=columns.names[after] if after >= 0 else None)
                    for n, after in timing.reads),
        ahead_bytes=timing.ahead_bytes, ahead_tensors=timing.ahead_tensors,
        limit_bytes=profile.limit_bytes, peak_bytes=profile.other_bytes + timing.peak_bytes,
        moved_bytes=best.moved_bytes, plain_s=columns.plain_s, step_s=timing.step_s,
        write_end_s=timing.write_end_s, forward_stall_s=timing.forward_stall_s,
        drain_s=timing.drain_s, backward_stall_s=timing.backward_stall_s,
        recompute_s=timing.recompute_s, slowed_s=timing.slowed_s, io_s=timing.io_s,
        hidden_share=timing.hidden_share,
        method=search.method, settings=to_record(search), lower_bound_s=lower_bound,
        moves=tuple(PlannedMove(name=columns.names[n], write=write, begin_s=begin, end_s=end)
                    for n, write, begin, end in moves),
    )  # fmt: skip
    lines.append(
        f"{plan.summary}; peak {format_quantity(plan.peak_bytes, 'bytes')} of "
        f"{format_quantity(plan.limit_bytes, 'bytes')}"
    )
    return replace(plan, log=tuple(lines))


def _distance(columns: Columns, best: Standing, slack: float) -> Timing:
    """Read ahead no further than makes the step as short, times `slack`, and return the timing."""
    within = best.timing.step_s * (1 + 1e-12)

    def timed(ahead: int) -> Timing | None:
        timing = time_step(columns, best.choices, ahead_bytes=ahead)
        return timing if isinstance(timing, Timing) and timing.step_s <= within else None

    low, high = 0, best.timing.ahead_bytes  # the step is as short with `high`
    least = best.timing
    while low < high:
        middle = (low + high) // 2
        timing = timed(middle)
        if timing is None:
            low = middle + 1
        else:
            least, high = timing, middle
    # One tensor is read ahead whatever the limit, so it may be more than the limit.
    return timed(math.ceil(max(high, least.ahead_bytes) * slack)) or best.timing


def _planned(columns: Columns, best: Standing, n: int, waiting: int) -> PlannedTensor:
    choice = best.choices[n]
    return PlannedTensor(
        name=columns.names[n], size_bytes=columns.size[n], action=ACTIONS[choice],
        packed=choice == PACK, moved_bytes=columns.moved[n][choice], waiting_bytes=waiting,
        reason=_reason(columns, n, choice),
    )  # fmt: skip


def _reason(columns: Columns, n: int, choice: int) -> str:
    idle = max(0.0, columns.forward_s - columns.last_s[n]) + columns.need_s[n]
    if choice == KEEP:
        return "may not move" if columns.allowed[n] == (KEEP,) else (
            f"there is room; idle {format_si(idle, 's')}")  # fmt: skip
    seconds = columns.write_s[n][choice] + columns.read_s[n][choice]
    if choice == DROP:
        names = ", ".join(columns.names[m] for m in columns.again_from[n]) or "what stays anyway"
        return f"made again in {format_si(columns.again_s[n], 's')} from {names}"
    text = f"idle {format_si(idle, 's')}, moved in {format_si(seconds, 's')}"
    if choice == PACK:
        return f"{text}, {ratio(columns, n):.3g} times smaller packed"
    return text if not packs(columns, n) else f"{text}, unpacked"
