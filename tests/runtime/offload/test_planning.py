"""When rates that a step showed lead to another plan, and when they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orrery.offload_plan import OffloadPlan, SavedTensor, StepProfile
from orrery.plan import Infeasible
from orrery.runtime.offload import OffloadSettings, TransferCounts
from orrery.runtime.offload._passes import Pass
from orrery.runtime.offload._planning import PlanBook

from .planners import everything

SIZE = 64 << 20


def told(tmp_path: Path, *rates: float, read: float = 1.0) -> list[float | None]:
    """Return the write rate that is planned with after each step, None where nothing changes.

    Rates are multiples of the first profile's; a step without transfers is 0.
    """
    settings = OffloadSettings(folders=(tmp_path,))
    book = PlanBook(settings, lambda profile: None, (), None, "book")  # type: ignore[arg-type, return-value]
    profile = StepProfile(
        name="book", tensors=(), forward_s=1, backward_s=1, other_bytes=0, limit_bytes=1,
        write_bytes_per_s=SIZE, read_bytes_per_s=SIZE,
    )  # fmt: skip
    book._profiles[0] = profile
    found: list[float | None] = []
    for rate in rates:
        moved = TransferCounts(
            written_bytes=SIZE if rate else 0, write_s=1 / rate if rate else 0,
            read_bytes=SIZE, read_s=1 / read,
        )  # fmt: skip
        new = book._other_rates(0, moved)
        found.append(new["write_bytes_per_s"] / SIZE if new else None)
    return found


def test_one_step_is_not_enough_and_two_are(tmp_path: Path) -> None:
    assert told(tmp_path, 0.25, 1, 0.25, 0.6, 3, 0) == [None] * 6
    assert told(tmp_path, 0.25, 0.25) == [None, 0.25]
    # Up and down is no other rate; twice down, after it, is. Bytes by time is the mean.
    assert told(tmp_path, 4, 0.25, 4, 0.25, 0.125) == [None, None, None, None, 2 / 12]


def test_each_time_twice_as_many_steps_are_asked_for(tmp_path: Path) -> None:
    found = told(tmp_path, *[0.25] * 70)
    assert [n + 1 for n, rate in enumerate(found) if rate] == [2, 6, 14, 30, 46, 62]


def test_rates_that_nothing_shows_do_not_count(tmp_path: Path) -> None:
    assert told(tmp_path, 0, 0, 0) == [None, None, None]


def test_a_step_above_its_limit_is_planned_with_less_room(tmp_path: Path) -> None:
    mib, asked = 1 << 20, list[int]()

    def planner(profile: StepProfile) -> OffloadPlan | Infeasible:
        asked.append(profile.other_bytes // mib)
        if asked[-1] > 20:
            return Infeasible(what="memory", need=1, have=0, unit="bytes", remedies=())
        return everything()(profile)

    settings = OffloadSettings(folders=(tmp_path,))
    book = PlanBook(settings, planner, (), None, "book")  # type: ignore[arg-type]
    profile = StepProfile(
        name="book", tensors=(), forward_s=1, backward_s=1, other_bytes=0, limit_bytes=100 * mib,
        write_bytes_per_s=SIZE, read_bytes_per_s=SIZE,
    )  # fmt: skip
    begun = Pass(index=0, began_s=0.0, plan=None)
    assert book._ask(profile, begun)
    found = Pass(index=0, began_s=0.0, plan=book.plans[0])
    # Of the last, there is no plan for less: the one in force stays, and nobody asks again.
    for peak in (110, 100, 105, 100.5, 120, 120, 119):
        book.settle(found, 0.0, TransferCounts(), peak_bytes=round(peak * mib))
    assert asked == [0, 10, 15, 35]
    assert book.profiles[0].other_bytes == 15 * mib
    (said,) = book.remarks
    assert "20 MiB more than its limit" in said and "no plan for less" in said
    assert "10 MiB" in book.plans[0].log[0] or "5 MiB" in book.plans[0].log[0]


def test_a_plan_that_makes_other_tensors_again_is_compared_with_its_step(tmp_path: Path) -> None:
    """What that takes shows when it is done: there is another plan then, three times at most."""
    profile = StepProfile(
        name="book", forward_s=1, backward_s=1, other_bytes=0, limit_bytes=1,
        write_bytes_per_s=SIZE, read_bytes_per_s=SIZE,
        tensors=tuple(SavedTensor(name=name, size_bytes=1, stored_bytes=1, made_s=0, last_use_s=0,
                                  needed_s=0, recompute_s=1.0) for name in "abcd"),
    )  # fmt: skip
    plan = everything()(profile)
    assert isinstance(plan, OffloadPlan)
    settings = OffloadSettings(folders=(tmp_path,))
    book = PlanBook(settings, everything(), (), None, "book")  # type: ignore[arg-type]
    compared = []
    for names in ("", "", "a", "a", "ab", "b", "abcd"):
        tensors = tuple(replace(t, action="recompute") if t.name in names else t
                        for t in plan.tensors)  # fmt: skip
        book._plans[0] = (replace(plan, tensors=tensors), ())
        compared.append(book._shows_more(0))
    assert compared == [True, False, True, False, True, False, False]
