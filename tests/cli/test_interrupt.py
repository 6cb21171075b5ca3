"""Ctrl-C while a search is running: the best plan until then is kept, and judged."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orrery import api
from orrery.cli import main
from orrery.cli._process import stoppable
from orrery.errors import CancelledError
from orrery.progress import Progress, Step


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_real_ctrl_c_leaves_the_best_plan_with_bound_and_gap(tmp_path: Path) -> None:
    program = "import sys; from orrery.cli import main; sys.exit(main())"
    master, slave = os.openpty()
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", program, "map", "resnet18", "--on", "aws-f1", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=slave, text=True, env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    ) as child:  # fmt: skip
        os.close(slave)
        family: list[psutil.Process] = []
        shown, told, until = b"", False, time.monotonic() + 600
        while time.monotonic() < until:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    piece = os.read(master, 65536)
                except OSError:  # the child has closed its end
                    break
                if not piece:
                    break
                shown += piece
            if not told and b"listing ways to share" in shown:
                family = psutil.Process(child.pid).children(recursive=True)
                os.killpg(child.pid, signal.SIGINT)  # as a terminal does
                told = True
            if child.poll() is not None:
                break
        assert child.stdout is not None
        text = child.stdout.read()
    os.close(master)
    assert told, shown[-500:]
    assert b"Traceback" not in shown
    assert bool(family) == (len(os.sched_getaffinity(0)) > 1)
    assert not psutil.wait_procs(family, timeout=120)[1], "a worker outlives its search"
    assert child.returncode == 130
    assert b"interrupted; this is the best plan" in shown
    assert "gap" in text and "lower bound" in text and "certificate: holds" in text
    assert {path.name for path in out.iterdir()} >= {"plan.json", "certificate.json", "report.html"}
    certified = api.certify(out)
    assert certified.report.holds
    assert certified.certificate.lower_bound_ps > 0


def test_the_first_ctrl_c_asks_and_the_second_insists() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as cancelled:
        assert not cancelled()
        signal.raise_signal(signal.SIGINT)
        assert cancelled()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_before_there_is_any_plan_the_search_just_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    with stoppable() as cancelled:  # somebody else decides about SIGINT here
        assert not cancelled()
    monkeypatch.undo()
    stop = Progress(cancelled=lambda: True)
    with pytest.raises(CancelledError):
        api.map("alexnet", on="aws-f1", progress=stop)
    assert main(["map", "no-such-network", "--on", "aws-f1", "--out", str(tmp_path / "o")]) == 2
    assert not (tmp_path / "o").exists()
    assert "no-such-network" in capsys.readouterr().err


def test_a_stop_after_the_search_leaves_its_result_whole() -> None:
    told: list[str] = []
    stop = Progress(report=lambda step: told.append(step.task),
                    cancelled=lambda: "what other choices cost" in told)  # fmt: skip
    boards = Path(__file__).parents[1] / "api" / "four-boards.yaml"
    result = api.map("alexnet", on=str(boards), explain=True, progress=stop)
    assert "what other choices cost" in told and result.report.holds
    assert "What another choice would cost" not in {s.title for s in result.page.sections}
    assert not result.interrupted and {t.method for t in result.tried} >= {"greedy", "exact-sets"}


def test_the_result_of_a_stopped_search_says_how_good_it_is() -> None:
    seen: list[str] = []

    def report(step: Step) -> None:
        seen.append(step.task)

    stop = Progress(report=report, cancelled=lambda: "listing ways to share" in seen)
    result = api.map("alexnet", on="aws-f1", progress=stop)
    assert result.interrupted
    assert "interrupted" in result.plan.notes[-1]
    assert result.plan.lower_bound_s is not None
    assert result.plan.lower_bound_s <= result.timeline.makespan_s
    assert "whole layers" in result.plan.bound
    assert result.certificate.gap is not None
    assert not api.map("alexnet", on="a100").interrupted
