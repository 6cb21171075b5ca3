"""Messages of bad input: where, what was found, and nothing of Python's or NumPy's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import orrery
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, build_model, onnx_bytes, write_onnx


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "Errno" not in said
    assert "defect" not in said
    return said


@pytest.mark.parametrize("command", ["show", "map", "run --inputs", "simulate", "certify"])
def test_a_folder_is_called_a_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "show": ["show", str(tmp_path)],
        "map": ["map", str(tmp_path), "--on", "a100"],
        "run --inputs": ["run", "squeezenet1_1", "--inputs", str(tmp_path)],
        "simulate": ["simulate", str(tmp_path)],
        "certify": ["certify", str(tmp_path)],
    }[command]
    wanted = "no such file" if command == "certify" else "a folder"
    assert wanted in refusal(given, capsys)


def test_inputs_that_are_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.npz"
    common = ["run", "squeezenet1_1", "--inputs", str(path)]
    assert "no such file" in refusal(common, capsys)
    path.write_text("hello")
    assert "another kind of file" in refusal(common, capsys)
    np.savez(path, data=np.array([{}], dtype=object))
    said = refusal(common, capsys)
    assert "Python objects" in said
    assert "allow_pickle" not in said


def test_an_evidence_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "an evidence file" in refusal(["score", str(tmp_path / "none.json")], capsys)


def test_open_dimensions_are_named_with_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.onnx"
    write_onnx(build_model("squeezenet1_1", image=64, width=0.125, batch="batch"), path)
    assert f"{path}: inputs: found" in refusal(["show", str(path)], capsys)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ("systolic(rows=-16, cols=8)", "rows: found -16, wanted a number above zero"),
        ("systolic(rows=-'a')", "wanted name=literal"),
        ("systolik(rows=16)", "did you mean 'systolic'?"),
        ("tiled(tn=1, td=2)", "unknown parameter 'td'"),
    ],
)
def test_a_design_that_is_none_is_named_with_file_and_line(
    design: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["systems", "aws-f1"])
    lines = capsys.readouterr().out.splitlines()
    number = next(n for n, line in enumerate(lines) if "designs:" in line)
    before, _, _ = lines[number].partition("designs:")
    lines[number] = f'{before}designs: ["tiled(tm=64, tn=7)", "{design}"]'
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines))
    said = refusal(["map", "alexnet", "--on", str(path)], capsys)
    assert f"{path}:{number + 1}: devices[0].designs[1]" in said
    assert message in said


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
def test_scales_that_no_image_can_have(
    scale: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Graph(
        name="resize",
        nodes=(Node(name="r", op="Resize", inputs=("x", "", "s"), outputs=("y",)),),
        inputs=("x",),
        outputs=("y",),
        constants={"s": ArrayConstant(np.array([1, 1, scale, 2], np.float32))},
        types={"x": TensorType(dtype="float32", shape=(1, 1, 4, 4)),
               "y": TensorType(dtype="float32", shape=(1, 1, 8, 8))},
    )  # fmt: skip
    path = tmp_path / "r.onnx"
    path.write_bytes(onnx_bytes(graph))
    assert f"a scale of {scale}" in refusal(["show", str(path)], capsys)


@pytest.mark.parametrize("model", [None, 3, {"a": 1}])
def test_what_is_no_network_says_what_one_is(model: object) -> None:
    with pytest.raises(SpecError, match=r"a library name, a Graph or a torch\.nn\.Module"):
        orrery.map(model, on="a100")


def test_one_need_and_one_network_need_no_list() -> None:
    result = orrery.map("alexnet", on="a100", needs="latency<10s")
    assert [v.status for v in result.verdicts] == ["pass"]
    assert orrery.score("alexnet", on="a100").title == "alexnet on a100"
    with pytest.raises(SpecError, match="needs: found 3"):
        orrery.map("alexnet", on="a100", needs=[3])  # type: ignore[list-item]


def test_evidence_without_a_figure_and_strict_without_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from orrery.store import write_record

    path = tmp_path / "evidence.json"
    write_record(path, "evidence", 1, ())
    assert "no figure" in refusal(["score", str(path)], capsys)
    assert main(["map", "alexnet", "--on", "a100", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert "--strict" in refusal(["score", str(path), "--strict"], capsys)
    with pytest.raises(SpecError, match="found 'nothing'"):
        orrery.score()


def test_one_thing_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph(
        name="one",
        nodes=(Node(name="n", op="Relu", inputs=("x",), outputs=("y",)),),
        inputs=("x",),
        outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(4,))},
    ).infer()
    write_onnx(graph, tmp_path / "one.onnx")
    assert main(["show", str(tmp_path / "one.onnx")]) == 0
    assert "1 node, 0 constants" in capsys.readouterr().out
    result = orrery.map(graph, on="a100")
    assert result.page.subtitle.startswith("1 region, ")


def test_a_device_may_have_a_name_of_any_alphabet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["systems", "a100"])
    text = capsys.readouterr().out.replace("gpu0", "karte-für-später")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    arguments = ["map", "alexnet", "--on", str(tmp_path / "mine.yaml"), "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "karte-für-später" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert main(["simulate", str(tmp_path / "plan.json")]) == 0
