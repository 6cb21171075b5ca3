"""``orrery recover``: exit codes, files, and what a person reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orrery.cli import main
from orrery.graph import read_onnx

pytestmark = pytest.mark.needs("gcc", "pyvex", "capstone")

_SOURCE = """
static const float w[3 * 4] = {1, 2, 3, 4, -1, -2, -3, -4, 0.5f, 0.25f, 0.125f, 2};
void layer(const float *in, float *out) {
    for (int i = 0; i < 3; i++) {
        float sum = 0;
        for (int j = 0; j < 4; j++) sum += in[j] * w[i * 4 + j];
        out[i] = sum > 0 ? sum : 0;
    }
}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "a.c").write_text(_SOURCE)
    path = tmp_path / "layer.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, tmp_path / "a.c"], check=True)
    return path


def test_recover_and_check(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, report = tmp_path / "model.onnx", tmp_path / "report"
    code = main([
        "recover", str(library), "-o", str(model), "--check", "--inputs", "3", "--leaks",
        "--entry", "layer", "--report", str(report),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0, said
    graph = read_onnx(model)
    assert {node.op for node in graph.nodes} & {"Gemm", "MatMul"}
    assert "Relu" in {node.op for node in graph.nodes}
    assert graph.metadata["recovered"] == "whole"
    for text in ("3 of 3 inputs", "weights bit-exact", "What the file gives away", "0x"):
        assert text in said
    assert (report / "report.html").is_file()


def test_a_copy_without_names_gives_the_same_network(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "hard.so"
    assert main(["recover", str(library), "--entry", "layer", "--harden", str(copy)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert b"layer" not in copy.read_bytes()
    assert "symbol 2 → 0" in said
    assert "the copy gives the same network" in said


def test_json_and_no_network(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recover", str(library), "--json", "--entry", "_init"]) == 4
    document = json.loads(capsys.readouterr().out)
    titles = [section["title"] for section in document["report"]["sections"]]
    assert titles[0] == "Result"
    assert "Stages" in titles


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nothing-here.so"], "no such file"),
        (["LIBRARY", "--base", "12x"], "wanted an address"),
        (["LIBRARY", "--limit-time", "5"], "limit-time"),
        (["LIBRARY", "--inputs", "0"], "--inputs"),
    ],
)
def test_bad_input(
    words: list[str], text: str, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(library) if word == "LIBRARY" else word for word in words]
    assert main(["recover", *given]) == 2
    assert text in capsys.readouterr().err
