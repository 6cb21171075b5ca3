"""Stages are checked before they run, and what ends one of them ends nothing else."""

from __future__ import annotations

import os
import time

import pytest

from orrery.decompile._frame import Records, Stage, StageReport, check_stages, run_stages
from orrery.decompile._limits import RecoverLimits
from orrery.decompile._worker import _HEAD, Ended, _Listener, run_in_child
from orrery.errors import CancelledError, OrreryError, SpecError
from orrery.progress import SILENT, Progress, Step

from . import toy_stages as toy


def _run(second: object, *, progress: Progress = SILENT, time_s: float = 120.0) -> Ended:
    limits = RecoverLimits(time_s=time_s, memory_bytes=1 << 29)
    return run_in_child(
        toy.stages(second), [toy.Given(21)], pack=toy.pack, limits=limits, progress=progress
    )


def test_a_stage_that_lacks_something_is_found_before_any_runs() -> None:
    first, second = toy.stages(toy.honest)
    with pytest.raises(SpecError, match=r"stage second: found 'no Half; only Given by then'"):
        check_stages([second, first], [toy.Given])
    again = Stage(name="again", summary="", needs=(), gives=toy.Half, run=toy.half)
    with pytest.raises(SpecError, match="a second Half"):
        check_stages([first, again], [toy.Given])


def test_a_stage_that_gives_something_else_is_a_defect() -> None:
    wrong = Stage(name="wrong", summary="", needs=(toy.Given,), gives=toy.Whole, run=toy.half)
    with pytest.raises(TypeError, match="stage wrong gave a Half, not a Whole"):
        run_stages([wrong], Records([toy.Given(1)]))


def test_all_is_well() -> None:
    steps: list[Step] = []
    ended = _run(toy.honest, progress=Progress(report=steps.append))
    assert ended.done
    assert ended.kept == b"Whole(value=42)"
    assert [one.status for one in ended.reports] == ["done", "done"]
    assert ended.reports[0].detail == "a half"
    assert all(one.peak_bytes > 1 << 20 for one in ended.reports)
    assert "halving" in {one.task for one in steps}


@pytest.mark.parametrize(
    ("second", "status", "text"),
    [
        (toy.hungry, "failed", "MemoryError"),
        (toy.crashes, "stopped", "crashed (SIGSEGV)"),
        (toy.breaks, "stopped", "ZeroDivisionError: a defect"),
        (toy.refuses, "failed", "wanted black; repaint it"),
    ],
)
def test_what_was_finished_is_kept(second: object, status: str, text: str) -> None:
    ended = _run(second)
    assert not ended.done
    assert ended.kept == b"Half(value=21, found='a half')"
    first, last = ended.reports
    assert first.status == "done"
    assert last.status == status
    assert text in last.detail
    if second is toy.refuses:
        assert "toy: found" in ended.error
        assert "\x1b" not in ended.error + last.detail


def test_what_was_finished_is_kept_when_time_is_up() -> None:
    for time_s in (3.0, 12.0, 48.0, 192.0):  # a busy machine is longer about beginning
        ended = _run(toy.loops, time_s=time_s)
        if ended.reports and ended.reports[0].status == "done":
            break
    assert not ended.done
    assert ended.kept == b"Half(value=21, found='a half')"
    first, last = ended.reports
    assert (first.status, last.status) == ("done", "stopped")
    assert last.detail == f"out of time: the whole may take {time_s:g} s"


@pytest.mark.parametrize("body", [b"{]", b"7", b'{"name": "x"}', b"[]", b"\xff"])
@pytest.mark.parametrize("kind", [b"e", b"p"])
def test_what_a_process_that_was_taken_over_says_is_not_believed(kind: bytes, body: bytes) -> None:
    hearing, saying = os.pipe()
    os.write(saying, _HEAD.pack(kind, len(body)) + body)
    os.close(saying)
    listener = _Listener(hearing, {"x": StageReport(name="x", status="not run")}, SILENT,
                         time.monotonic() + 60)  # fmt: skip
    with pytest.raises(OrreryError, match="do not trust the file"):
        listener.listen()
    os.close(hearing)


def test_a_user_may_stop_it() -> None:
    asked = iter([False, False, True])
    progress = Progress(cancelled=lambda: next(asked, True))
    with pytest.raises(CancelledError):
        _run(toy.loops, progress=progress)
