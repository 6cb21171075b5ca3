"""What a step took, by made-up clocks and counters, and what a plan should be made from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.offload_plan import OffloadPlan, SavedTensor, StepProfile, step_digest
from orrery.runtime.moving import TransferCounts
from orrery.runtime.offload._passes import Moment, Pass
from orrery.runtime.offload._rates import calibrated, computed_s, first_rates, first_times

MIB = 1 << 20
NOTHING = TransferCounts()


def moment(clock: float, waited: float = 0.0, remade: float = 0.0, **counts: float) -> Moment:
    return Moment(clock, waited, remade, TransferCounts(**counts))  # type: ignore[arg-type]


def measured(*, drained: tuple[int, float] = (64 * MIB, 0.5)) -> tuple[Pass, TransferCounts]:
    """1 s of forward beside 100 MiB at 100 MiB/s, 0.5 s more for 64 MiB that are waited for."""
    turned = moment(1.0, 0.5, written_bytes=164 * MIB, write_s=1.5, cpu_s=0.82)
    ended = moment(3.0, 1.5, written_bytes=164 * MIB, write_s=1.5, read_bytes=164 * MIB, read_s=1.0,
                   cpu_s=1.64)  # fmt: skip
    found = Pass(index=0, began_s=0.0, plan=None, began=moment(0.0), turned=turned, ended=ended,
                 drained=drained)  # fmt: skip
    return found, ended.counts


def test_beside_the_step_and_while_it_waits_are_two_rates() -> None:
    found, moved = measured()
    rates = first_rates(found, moved, cores=2, computing=2)
    assert rates.write_bytes_per_s == pytest.approx(100 * MIB)
    assert rates.waiting_speed == pytest.approx(1.28)  # 128 MiB/s while it waited
    assert rates.read_bytes_per_s == pytest.approx(164 * MIB / 1.28)
    # 5 ms of processors a MiB: half a processor at that rate, of two that compute.
    assert rates.write_drag == pytest.approx(0.25)
    assert rates.read_drag == pytest.approx(0.005 * 164 / 1.28 / 2)


def test_processors_to_spare_slow_nothing() -> None:
    found, moved = measured()
    assert first_rates(found, moved, cores=3, computing=2).write_drag == 0.0
    assert first_rates(found, moved, cores=2, computing=0).write_drag == 0.0
    assert first_rates(found, moved, cores=1, computing=1).write_drag == pytest.approx(0.5)


def test_without_a_wait_to_tell_there_is_one_rate() -> None:
    found, moved = measured(drained=(MIB, 0.01))
    found.turned = replace(found.turned or found.ended, waited_s=0.0)  # type: ignore[type-var]
    rates = first_rates(found, moved, cores=2, computing=2)
    assert rates.waiting_speed == 1.0
    assert rates.write_bytes_per_s == pytest.approx(164 * MIB / 1.5)


def profile() -> StepProfile:
    return StepProfile(
        name="case", forward_s=2.0, backward_s=4.0, other_bytes=0, limit_bytes=1,
        write_bytes_per_s=100.0 * MIB, read_bytes_per_s=100.0 * MIB, write_drag=0.25,
        read_drag=0.25,
        tensors=(SavedTensor(name="a", size_bytes=MIB, stored_bytes=MIB, made_s=1.0,
                             last_use_s=2.0, needed_s=1.0, released_s=4.0, recompute_s=0.5),),
    )  # fmt: skip


def plan(of: StepProfile, again_s: float = 0.0) -> OffloadPlan:
    return OffloadPlan(
        step=step_digest(of), name="case", tensors=(), reads=(), ahead_bytes=0, ahead_tensors=0,
        limit_bytes=1, peak_bytes=0, moved_bytes=0, plain_s=6.0, step_s=6.0, write_end_s=0.0,
        forward_stall_s=0.0, drain_s=0.0, backward_stall_s=0.0, recompute_s=again_s, io_s=0.0,
        hidden_share=None, method="made up",
    )  # fmt: skip


def test_a_planned_step_says_what_it_takes_without_what_is_moved_beside_it() -> None:
    before = profile()
    # 100 MiB each way in 1 s, of the reads half a second waited for; 5 ms of processors a MiB.
    found = Pass(
        index=0, began_s=0.0, plan=None, began=moment(10.0),
        turned=moment(11.25, written_bytes=100 * MIB, write_s=1.0),
        ended=moment(14.375, 0.5, 0.75, written_bytes=100 * MIB, write_s=1.0,
                     read_bytes=100 * MIB, read_s=1.0, cpu_s=1.0),
    )  # fmt: skip
    shown = calibrated(before, plan(before, again_s=0.5), found, cores=2, computing=2)
    assert shown is not None
    after, said = shown
    assert after.forward_s == pytest.approx(1.25 - 0.25)
    assert after.backward_s == pytest.approx(3.125 - 0.5 * 0.25)
    (tensor,) = after.tensors
    assert (tensor.made_s, tensor.last_use_s) == (pytest.approx(0.5), pytest.approx(1.0))
    assert (tensor.needed_s, tensor.released_s) == (pytest.approx(0.75), pytest.approx(3.0))
    assert tensor.recompute_s == pytest.approx(0.75)
    assert "forward 1.00 s (2.00 s in the measured step)" in said
    assert "1.50 times as long" in said


def test_the_measured_forward_is_shorter_without_its_writes() -> None:
    found, _ = measured()
    # A second beside writes, at three quarters of the speed.
    after = first_times(profile(), found)
    assert after.forward_s == pytest.approx(2.0 * 0.75)
    assert after.backward_s == 4.0
    assert after.tensors[0].made_s == pytest.approx(0.75)
    assert after.tensors[0].recompute_s == pytest.approx(0.5 * 0.75)


def test_making_again_was_not_tried_on_fresh_pages() -> None:
    """Half of the forward was in the system; of the rest writing took a quarter."""
    found, _ = measured()
    assert found.turned is not None
    found.turned = replace(found.turned, fresh_s=0.5)
    after = first_times(profile(), found)
    assert after.forward_s == pytest.approx(2.0 * (0.5 - 0.5 * 0.25))
    assert after.tensors[0].recompute_s == pytest.approx(0.5 * 0.75)


def test_nothing_moved_shows_nothing() -> None:
    before = profile()
    found = Pass(index=0, began_s=0.0, plan=None, began=moment(0.0), turned=moment(1.0),
                 ended=moment(2.0))  # fmt: skip
    assert calibrated(before, plan(before), found, cores=2, computing=2) is None
    assert calibrated(before, plan(before), Pass(index=0, began_s=0.0, plan=None), cores=2,
                      computing=2) is None  # fmt: skip


def test_waiting_is_no_computing() -> None:
    assert computed_s(moment(0.0, 1.0), moment(2.0, 4.0), busy_s=4.0, drag=0.5) == 1.5
    assert computed_s(moment(0.0), moment(2.0, 4.0), busy_s=1.0, drag=0.5) == 2.0
