"""What a person at a real terminal sees: results that fit, and no bar beside them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from orrery.cli import main
from orrery.progress import Step

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _on_a_terminal(code: str, columns: int, cwd: Path) -> str:
    """Run Python code on a terminal of some columns; return everything it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
        env={**environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the child has closed its end
            break
        if not part:
            break
        written += part
    os.close(ours)
    child.wait(timeout=300)
    return written.decode()


@pytest.mark.parametrize("columns", [60, 80])
def test_the_card_fits_the_terminal_and_no_bar_stays(columns: int, tmp_path: Path) -> None:
    more = "'--need', 'latency<1us', '--set-sizes', '1', '--set-sizes', '8', '--out', 'out'"
    text = _on_a_terminal(
        f"from orrery.cli import main\nmain(['map', 'alexnet', '--on', 'aws-f1', {more}])",
        columns,
        tmp_path,
    )
    drawn, shown = text.split("── Scorecard", 1)
    assert "greedy mapping" in drawn  # there was a bar
    assert drawn.rstrip().endswith("\x1b[2K")  # and its last line was erased before the result
    assert "\x1b" not in shown
    lines = ("── Scorecard" + shown).replace("\r", "").splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert "report: out/report.html" in lines
    assert lines[-1].endswith("in out")


def test_a_bar_that_never_fills_is_gone_when_its_block_ends(tmp_path: Path) -> None:
    text = _on_a_terminal(
        "from orrery.cli._terminal import progress_bar\n"
        "with progress_bar() as progress:\n"
        "    progress.step('searching', 3, 7, best=2.0, bound=1.0)\n"
        "print('the result')",
        80,
        tmp_path,
    )
    assert "searching" in text
    assert _ESCAPE.sub("", text.rsplit("\x1b[2K", 1)[1]).strip() == "the result"


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    from orrery.cli._terminal import progress_bar

    with progress_bar() as progress:
        progress.report(Step(task="searching", done=1, total=2))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_name_longer_than_the_terminal_is_wrapped_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from orrery.graph import build_model, write_onnx

    name = " ".join(f"part{n}" for n in range(30))
    graph = replace(build_model("squeezenet1_1", image=64, width=0.125), name=name)
    write_onnx(graph, tmp_path / "n.onnx")
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["map", str(tmp_path / "n.onnx"), "--on", "a100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert name in " ".join(" ".join(lines).replace("─", "").split())
