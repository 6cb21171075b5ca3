"""The two published phases on worked examples, with the reason for which each stops."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from orrery.mapping.offload import OffloadSearch, plan_offload, write_delays
from orrery.mapping.offload._mend import mend
from orrery.mapping.offload._problem import KEEP, PACK, WRITE, columns_of
from orrery.mapping.offload._select import Selection, two_phases
from orrery.offload_plan import OffloadPlan, StepProfile

from .cases import equal, step, steps, tensor


def selected(profile: StepProfile, **settings: object) -> tuple[list[Selection], tuple[str, ...]]:
    options = {"least_bytes": 0, "usable_share": 1.0, "pack_at_once": False} | settings
    made, log = two_phases(columns_of(profile), **options)
    return list(made), log


def chain(
    packed: list[int | None], *, limit: int, rate: float = 4.0, forward: float = 0
) -> StepProfile:
    """Tensors of 8 bytes, one made per second; some travel in fewer bytes."""
    count = len(packed)
    tensors = [tensor(n, 8, n, count - 1 - n, packed=p) for n, p in enumerate(packed)]
    return step(tensors, forward=forward or count, backward=count, limit=limit, write=rate,
                read=rate, pack=1e9)  # fmt: skip


def test_the_first_tensors_leave_until_the_rest_fits() -> None:
    [first], log = selected(equal(6, 4, limit=16, rate=8.0))
    assert first.choices == (WRITE, WRITE, KEEP, KEEP, KEEP, KEEP)
    assert log == ("first phase: 8 B have to leave; the first 2 of 6 candidates, written 3.50 s "
                   "before the forward's end",)  # fmt: skip
    # Of a room of 16 the published program fills 60 %.
    [less], _ = selected(equal(6, 4, limit=16, rate=8.0), usable_share=0.6)
    assert less.choices.count(WRITE) == 4
    [large], log = selected(step([tensor(0, 2, 0, 4), tensor(1, 9, 1, 3)], forward=20, backward=9,
                                 limit=9), least_bytes=3)  # fmt: skip
    assert large.choices == (KEEP, WRITE)


def test_late_writes_give_way_to_what_packs() -> None:
    """Six of eight leave; 2 s each, 12 s from 0 on, late by 4; exchanges end it in time."""
    profile = chain([None, None, None, None, None, None, 2, 1], limit=16)
    made, log = selected(profile)
    assert made[0].choices == (WRITE,) * 6 + (KEEP,) * 2
    assert "written 4.00 s after" in log[0]
    # The last that does not pack goes, the best ratio comes.
    assert made[1].choices == (WRITE,) * 5 + (KEEP, KEEP, PACK)
    assert "t5 (ratio 1) for t7, written 2.25 s after the forward's end" in log[1]
    assert log[-1] == "second phase: stopped, nothing that packs is left to add"


def test_it_stops_when_the_writes_end_in_time() -> None:
    profile = chain([None, None, None, None, 1, 1, 1, 1], limit=32, forward=7.5)
    made, log = selected(profile)
    assert made[-1].choices == (WRITE, WRITE, WRITE, KEEP, PACK, KEEP, KEEP, KEEP)
    assert log[-1] == "second phase: stopped, the writes end within the forward"


def test_it_stops_when_nothing_is_left_to_drop() -> None:
    # All that is selected packs as well as what could come.
    profile = chain([4, 4, 4, 4, 4], limit=16, rate=1.0)
    made, log = selected(profile)
    assert log[-1] == "second phase: stopped, nothing is left to drop"
    assert made[0].choices == (WRITE, WRITE, WRITE, KEEP, KEEP)
    assert made[-1].choices == (PACK, PACK, PACK, KEEP, KEEP)


def test_what_packs_less_well_is_dropped_when_all_packs() -> None:
    profile = chain([4, 4, 4, 4, 1], limit=16, rate=1.0)
    made, log = selected(profile)
    assert made[-1].choices == (PACK, PACK, KEEP, KEEP, PACK)
    assert "t2 (ratio 2) for t4" in log[-2]


def test_memory_decides_over_time() -> None:
    """What is dropped is larger than all that comes: what is missing leaves, if late."""
    tensors = [tensor(0, 8, 0, 9), tensor(1, 8, 1, 8), tensor(2, 2, 2, 7, packed=1),
               tensor(3, 8, 3, 6)]  # fmt: skip
    profile = step(tensors, forward=5, backward=12, limit=10, write=1, pack=1e9)
    made, log = selected(profile)
    assert made[1].choices == (WRITE, KEEP, PACK, KEEP)
    assert "cleared up: bytes were missing, so t1 as well" in log[-1]
    assert made[-1].choices == (WRITE, WRITE, PACK, KEEP)


def test_the_program_counts_packed_from_the_beginning() -> None:
    profile = chain([1] * 8, limit=16)
    [at_once], _ = selected(profile, pack_at_once=True)
    assert at_once.choices == (PACK,) * 6 + (KEEP,) * 2
    made, _ = selected(profile)
    assert [made[0].choices[0], made[-1].choices] == [WRITE, at_once.choices]


def test_packing_that_takes_longer_than_it_saves_is_none() -> None:
    profile = replace(chain([1] * 4, limit=16, rate=1.0), pack_bytes_per_s=0.5)
    made, log = selected(profile)
    assert [s.choices for s in made] == [(WRITE, WRITE, KEEP, KEEP)]
    assert log[-1] == "second phase: stopped, nothing that packs is left to add"


@settings(max_examples=60, deadline=None)
@given(steps(most=8))
def test_both_phases_are_never_worse_than_the_first(profile: StepProfile) -> None:
    columns = columns_of(profile)
    made, log = selected(profile)
    plan = plan_offload(profile, OffloadSearch(method="two_phases", least_bytes=0))
    alone = mend(columns, made[0], least_bytes=0)
    if alone is not None:
        assert isinstance(plan, OffloadPlan)
        assert plan.step_s <= alone.timing.step_s
    may = sum(size for size, allowed in zip(columns.size, columns.allowed) if WRITE in allowed)
    missing = sum(columns.size) - columns.room
    left = [sum(size for size, choice in zip(columns.size, s.choices) if choice != KEEP)
            for s in made]  # fmt: skip
    # What is decided in the end frees enough, or all that may leave.
    assert left[-1] >= min(missing, may)
    gone = [n for n, choice in enumerate(made[0].choices) if choice != KEEP]
    _, end = write_delays([columns.made_s[n] for n in gone],
                          [columns.write_s[n][WRITE] for n in gone])  # fmt: skip
    stopped = [line for line in log if "stopped" in line]
    assert len(stopped) == (1 if end > columns.forward_s and missing > 0 else 0)
