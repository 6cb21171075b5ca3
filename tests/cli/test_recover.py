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
        (["LIBRARY", "--output", "LIBRARY"], "the binary itself"),
        (["LIBRARY", "--harden", "LIBRARY"], "which is the file itself"),
        (["LIBRARY", "--entry", "absent", "--leaks"], "no function named 'absent'"),
        (["LIBRARY", "--arch", "aarch64"], "an ELF file for x86-64"),
        (["LIBRARY", "--base", "0x1000"], "the file says itself where it lies"),
        (["LIBRARY", "--limit-memory", "64 MiB"], "too little memory"),
        (["/dev/null"], "a device or a pipe"),
    ],
)
def test_bad_input(
    words: list[str], text: str, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = library.read_bytes()
    given = [str(library) if word == "LIBRARY" else word for word in words]
    assert main(["recover", *given]) == 2
    assert text in capsys.readouterr().err
    assert library.read_bytes() == whole


def test_an_archive_is_not_hardened_and_said_so_at_once(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = library.with_suffix(".a")
    subprocess.run(["ar", "rcs", archive, library], check=True)
    assert main(["recover", str(archive), "--harden", str(library.with_suffix(".b"))]) == 2
    assert "a static archive" in capsys.readouterr().err


def test_a_copy_that_cannot_be_made_does_not_lose_the_network(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    copy = library.with_suffix(".hard")
    assert main(["recover", str(library), "--entry", "layer", "--harden", str(copy)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "it could not be made or read" in said and "A network was recovered" in said


_APART = """
extern const float w[12];
void layer(const float *in, float *out) {
    for (int i = 0; i < 3; i++) {
        float sum = 0;
        for (int j = 0; j < 4; j++) sum += in[j] * w[i * 4 + j];
        out[i] = sum > 0 ? sum : 0;
    }
}
"""


@pytest.mark.needs("unicorn")
def test_weights_of_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.c").write_text(_APART)
    rows = ", ".join(str(0.5 + k * k % 7) for k in range(12))
    (tmp_path / "w.c").write_text(f"const float w[12] = {{{rows}}};")
    subprocess.run(["gcc", "-O1", "-fPIC", "-c", "n.c", "w.c"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", "-shared", "n.o", "-o", "n.so"], cwd=tmp_path, check=True)
    words = ["recover", str(tmp_path / "n.so"), "--entry", "layer"]
    assert main(words) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "w of another file" in said and "--with" in said
    code = main([*words, "--with", str(tmp_path / "w.o"), "--check", "--inputs", "2"])
    said = " ".join(capsys.readouterr().out.split())
    assert code == 0, said
    assert "2 of 2 inputs" in said and "weights bit-exact" in said
    # What holds nothing of the network is not passed over in silence.
    assert main([*words, "--with", str(tmp_path / "n.c")]) == 1
    assert "nothing of n.c was used" in " ".join(capsys.readouterr().out.split())
