"""The records between whoever measures a step, whoever plans it and whoever obeys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orrery.errors import PlanMismatchError, SpecError
from orrery.offload_plan import (
    OffloadPlan,
    PlannedRead,
    PlannedTensor,
    SavedTensor,
    StepProfile,
    check_offload_plan,
    read_offload_plan,
    read_step_profile,
    step_digest,
    write_offload_plan,
    write_step_profile,
)

A = SavedTensor(name="a", size_bytes=4000, stored_bytes=4096, made_s=0.1, last_use_s=0.2,
                needed_s=0.5, packed_bytes=1000)  # fmt: skip
B = SavedTensor(name="b", size_bytes=8000, stored_bytes=8192, made_s=0.3, last_use_s=0.3,
                needed_s=0.1, released_s=0.2, recompute_s=0.01)  # fmt: skip
STEP = StepProfile(name="net", tensors=(A, B), forward_s=0.4, backward_s=0.6, other_bytes=1000,
                   limit_bytes=10000, write_bytes_per_s=4096.0, read_bytes_per_s=8192.0,
                   pack_bytes_per_s=4e4, unpack_bytes_per_s=8e4, request_s=0.5)  # fmt: skip
PLAN = OffloadPlan(
    step=step_digest(STEP), name="net",
    tensors=(PlannedTensor(name="a", size_bytes=4000, action="offload", moved_bytes=4096,
                           reason="first"),
             PlannedTensor(name="b", size_bytes=8000, action="keep")),
    reads=(PlannedRead(name="a", after="b"),), ahead_bytes=4000, ahead_tensors=1,
    limit_bytes=10000, peak_bytes=9000,
    moved_bytes=4096, plain_s=1.0, step_s=1.034, write_end_s=0.3, forward_stall_s=0.0, drain_s=0.0,
    backward_stall_s=0.034, recompute_s=0.0, io_s=1.0, hidden_share=0.966, method="by hand",
)  # fmt: skip


def test_transfers_take_bytes_over_rate_and_packing_before() -> None:
    assert STEP.write_s(A) == 0.5 + 1.0
    assert STEP.read_s(B) == 0.5 + 1.0
    assert STEP.write_s(A, packed=True) == pytest.approx(0.5 + 0.1 + 1000 / 4096)
    assert STEP.read_s(A, packed=True) == pytest.approx(0.5 + 0.05 + 1000 / 8192)
    assert (STEP.saved_bytes, STEP.room_bytes) == (12000, 9000)
    with pytest.raises(SpecError, match="'b': packed_bytes: found 'none'"):
        STEP.write_s(B, packed=True)


def test_files_give_back_what_was_written(tmp_path: Path) -> None:
    write_step_profile(tmp_path / "p.json", STEP)
    write_offload_plan(tmp_path / "o.json", PLAN)
    assert read_step_profile(tmp_path / "p.json") == STEP
    assert read_offload_plan(tmp_path / "o.json") == PLAN
    document = json.loads((tmp_path / "o.json").read_text())
    document["offload_plan"]["ahead_byte"] = 1
    (tmp_path / "o.json").write_text(json.dumps(document))
    with pytest.raises(SpecError, match=r"unknown key 'ahead_byte'.*did you mean 'ahead_bytes'"):
        read_offload_plan(tmp_path / "o.json")
    document = json.loads((tmp_path / "p.json").read_text())
    document["step_profile"]["tensors"][1]["made_s"] = 0.05
    (tmp_path / "p.json").write_text(json.dumps(document))
    with pytest.raises(SpecError, match="no less than that of the one before"):
        read_step_profile(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"write_bytes_per_s": 0.0}, "write_bytes_per_s: found 0.0, wanted a finite number, above"),
        ({"read_bytes_per_s": float("nan")}, "read_bytes_per_s"),
        ({"pack_bytes_per_s": None}, "pack_bytes_per_s: found None"),
        ({"forward_s": 0.25}, "'b': last_use_s: found 0.3, wanted at most 0.25"),
        ({"backward_s": 0.3}, "'a': let_go_s: found 0.5, wanted at most 0.3"),
        ({"tensors": (A, A)}, "found 'a twice'"),
        ({"other_bytes": -1}, "other_bytes: found -1, wanted a finite number, zero or more"),
    ],
)
def test_a_step_that_cannot_be_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        replace(STEP, **change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"last_use_s": 0.05}, "'a': last_use_s: found 0.05, wanted no less than made_s, 0.1"),
        ({"released_s": 0.4}, "released_s: found 0.4, wanted no less than needed_s, 0.5"),
        ({"size_bytes": -4}, "size_bytes: found -4"),
        ({"recompute_s": float("inf")}, "recompute_s: found inf"),
    ],
)
def test_a_tensor_that_cannot_be_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        replace(A, **change)


def test_a_plan_is_for_one_step_however_long_it_takes() -> None:
    check_offload_plan(PLAN, STEP)
    check_offload_plan(PLAN, replace(STEP, forward_s=0.5, write_bytes_per_s=1.0, limit_bytes=1))
    for others in (
        (B, replace(A, made_s=0.3, last_use_s=0.3)),
        (A,),
        (replace(A, size_bytes=1), B),
    ):
        changed = replace(STEP, tensors=tuple(replace(t, made_s=0.1) for t in others))
        with pytest.raises(PlanMismatchError, match="step 'net'"):
            check_offload_plan(PLAN, changed)


def test_a_plan_says_itself_in_a_line() -> None:
    assert PLAN.summary == "1 tensor, 4 KiB, 96 % hidden, step +3.4 %"
    nothing = replace(PLAN, tensors=(PlannedTensor(name="b", size_bytes=8000, action="keep"),))
    assert nothing.summary == "all saved tensors stay in memory"
    again = replace(PLAN.tensors[0], action="recompute", moved_bytes=0)
    dropped = replace(PLAN, tensors=(again,), moved_bytes=0, hidden_share=None, recompute_s=0.003)
    assert dropped.summary == "1 recomputed (3.91 KiB, 3.00 ms), step +3.4 %"
