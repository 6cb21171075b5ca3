"""`orrery sweep` from a shell: what it prints and writes, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orrery.api.sweeping._kept import FILE
from orrery.cli import main

ARRAY = """\
name: small
clock: "100 MHz"
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "orders of magnitude"}}
array: [{axis: rows, size: 4, loops: [Cin, G]}, {axis: cols, size: 4, loops: [Cout]}]
bits: {input: 8, weight: 8, output: 8, partial_sum: 16}
levels:
  - {name: dram, holds: [input, weight, output], word: "64 bit", read_bandwidth: "16 bit/cycle",
     one_port: true}
  - {name: buffer, holds: [input, weight, output], size: "4 KiB", word: "16 bit"}
"""


@pytest.fixture
def array(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(ARRAY)
    return str(path)


def test_a_sweep_prints_and_writes(
    array: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    line = ["sweep", "resnet20", "--on", array, "--vary", "array.cols=2,4", "--vary",
            "levels.buffer.size=2KiB,4KiB", "--jobs", "1", "--out", str(out)]  # fmt: skip
    assert main(line) == 0
    text = capsys.readouterr().out
    assert "Which parameter matters most" in text and "best.yaml" in text
    # no energies in this file: that is said, and the rest is compared
    assert "energy (no price for" in text.replace("\n", " ")
    names = {path.name for path in out.iterdir()}
    assert names == {FILE, "sweep.json", "sweep.csv", "best.yaml", "report.html", "report.json",
                     "report.txt"}  # fmt: skip
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main([*line, "--objective", "edp"]) == 2
    assert "another sweep" in capsys.readouterr().err
    assert main(["sweep", "resnet20", "--on", array, "--vary", "levels.buffer.size=x"]) == 2
    assert "a width with a unit" in capsys.readouterr().err
    assert main(["sweep", "resnet20", "--on", array, "--vary", "levls.buffer.size=x"]) == 2
    assert "did you mean 'levels'" in capsys.readouterr().err


def test_ctrl_c_keeps_every_finished_point_and_no_process(array: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    program = "import sys; from orrery.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", program, "sweep", "resnet20", "--on", array, "--vary",
            "levels.buffer.size=1KiB..60KiB+1KiB", "--jobs", "2", "--out", str(out)]  # fmt: skip
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        until = time.monotonic() + 600
        while time.monotonic() < until and child.poll() is None:
            if (out / FILE).exists() and (out / FILE).read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.05)
        family = psutil.Process(child.pid).children(recursive=True)
        os.killpg(child.pid, signal.SIGINT)
        text, said = child.communicate(timeout=600)
    assert child.returncode == 130, said
    assert "the same command goes on from there" in said and "Traceback" not in said
    assert "Interrupted" in text
    assert family and not psutil.wait_procs(family, timeout=120)[1]
    rows = [json.loads(one) for one in (out / FILE).read_text().splitlines()][1:]
    assert 2 <= len(rows) < 60
    assert {
        row["key"] for row in json.loads((out / "sweep.json").read_text())["sweep"]["rows"]
    } == {row["key"] for row in rows}
