"""The program as a process: closed and full streams, being told to end, exact numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.store import whole_folder, write_text


def _shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -c 'import sys; from orrery.cli import main; sys.exit(main())'"
    return subprocess.run(
        ["sh", "-c", command.replace("orrery", program)], cwd=cwd, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip


def test_a_closed_standard_output_is_no_defect(tmp_path: Path) -> None:
    done = _shell("orrery models >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = _shell("orrery show none.onnx >&-", tmp_path)
    assert done.returncode == 2
    assert "none.onnx" in done.stderr
    assert _shell("orrery models <&- >&- 2>&-", tmp_path).returncode == 0


def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    done = _shell("orrery map alexnet --on a100 --out out >&-", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/plan.json").read_text().startswith("{")
    assert "Scorecard" not in "".join(p.read_text() for p in tmp_path.glob("out/*.json"))


def test_a_full_standard_output_is_named(tmp_path: Path) -> None:
    for command in ("models", "models --json"):
        done = _shell(f"orrery {command} > /dev/full", tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("orrery: standard output: No space left on device")
        assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_named_by_the_path_under_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on file sizes fails in write(), as a full disk does, and names no file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code = main(["map", "alexnet", "--on", "a100", "--out", str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 2
    said = capsys.readouterr().err
    assert f"orrery: {tmp_path}/out/" in said
    assert "File too large" in said
    assert "standard output" not in said
    assert ".writing-" not in said
    assert not (tmp_path / "out").exists()


def test_sigterm_leaves_nothing_and_exits_143(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stop(*_: object, **__: object) -> None:
        with whole_folder(out) as fresh:
            write_text(fresh / "plan.json", "half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    monkeypatch.setattr(api, "models", stop, raising=False)
    assert main(["models"]) == 143
    assert "told to end" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "alexnet", "--batch", "1.5"],
        ["show", "llama-7b", "--context", "100.9"],
        ["run", "alexnet", "--repeats", "2.9"],
        ["run", "alexnet", "--seed", "1.5"],
    ],
    ids=lambda arguments: arguments[2],
)
def test_a_fraction_is_no_whole_number(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert arguments[2] in said
    assert arguments[3] in said
    assert "whole number" in said


def test_a_whole_number_may_have_a_point(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "alexnet", "--batch", "2.0"]) == 0
    assert "2×" in capsys.readouterr().out
