"""Commands as a user types them: exit codes, one JSON document, no traceback, no half files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery.cli import main
from orrery.graph import build_model, onnx_bytes, write_onnx

COMMANDS = (
    "models", "systems", "accelerators", "arrays", "show", "nest", "map", "simulate", "run",
    "score", "study", "calibrate", "timeloop", "chakra",
)  # fmt: skip

#: sizes of sets, so that a search has less to list
FEW = ["--set-sizes", "1", "--set-sizes", "4"]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    write_onnx(build_model("resnet18", image=32, batch="batch"), path)
    return path


def _json(capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    return json.loads(capsys.readouterr().out)  # fails when there is anything beside the document


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert command in text


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "completion"],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "Usage: orrery" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["models", "systems", "accelerators"])
def test_catalogues_are_one_json_document(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--json"]) == 0
    table = _json(capsys)["report"]["sections"][0]
    assert len(table["rows"]) >= 3


def test_a_catalogue_system_prints_as_yaml_that_reads_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["systems", "aws-f1"]) == 0
    path = tmp_path / "mine.yaml"
    path.write_text(capsys.readouterr().out)
    assert main(["map", "alexnet", "--on", str(path), "--search", "greedy"]) == 0


def test_show_binds_dimensions(onnx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(onnx_file), "--shape", "batch=2", "--json"]) == 0
    sections = {s["title"]: s for s in _json(capsys)["report"]["sections"]}
    conv1 = next(r for r in sections["Layers"]["rows"] if r[0] == "conv1")
    assert conv1[2] == "2×64×16×16"
    assert conv1[3] == 2 * 64 * 16 * 16 * 3 * 49  # every kernel position of every output


def test_map_writes_whole_files_and_replays_to_the_same(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["map", str(onnx_file), "--shape", "batch=1", "--on", "aws-f1", *FEW]
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    first = _json(capsys)
    assert set(first["files"]) >= {"plan", "timeline", "evidence", "report"}
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    json.loads((out / "timeline.json").read_text())
    assert main(["simulate", str(out / "plan.json"), "--json"]) == 0
    again = _json(capsys)
    assert again["report"]["scorecard"] == first["report"]["scorecard"]
    assert main(["score", str(out / "evidence.json"), "--json"]) == 0
    card = _json(capsys)["report"]["scorecard"]
    known = {m["name"] for m in card["metrics"] if m["known"]}
    assert {"latency", "throughput"} <= known


@pytest.mark.needs("onnxruntime")
def test_run_equals_the_reference_alone_and_by_plan(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--shape", "batch=1"]
    assert main(["run", str(onnx_file), *shape, "--check", "--repeats", "2"]) == 0
    main(["map", str(onnx_file), *shape, "--on", "aws-f1", "--out", str(tmp_path), *FEW])
    assert main(["run", str(tmp_path / "plan.json"), "--check"]) == 0
    assert "largest difference" in capsys.readouterr().out


def test_needs_decide_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["map", "alexnet", "--on", "aws-f1", "--search", "greedy"]
    assert main([*common, "--need", "latency<10s"]) == 0
    assert "PASS" in capsys.readouterr().out
    assert main([*common, "--need", "latency<1ns"]) == 1
    assert "FAIL" in capsys.readouterr().out
    assert main([*common, "--need", "accuracy>50%"]) == 1
    assert "not known" in capsys.readouterr().out


def test_several_networks_share_a_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "alexnet", "squeezenet1_1", "--on", "aws-f1", "--json", *FEW]) == 0
    sections = {s["title"]: s for s in _json(capsys)["report"]["sections"]}
    prefixes = {row[0].split("/")[0] for row in sections["Layers"]["rows"]}
    assert prefixes == {"alexnet", "squeezenet1_1"}


def test_same_seed_same_plan(tmp_path: Path) -> None:
    search = ["--search", "two-level", "--generations", "5", *FEW]
    write_onnx(build_model("alexnet", image=64, width=0.25), tmp_path / "n.onnx")
    for name in ("a", "b"):
        command = ["map", str(tmp_path / "n.onnx"), "--on", "aws-f1", *search]
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a/plan.json").read_bytes() == (tmp_path / "b/plan.json").read_bytes()


BAD = {
    "nothing": (["map"], "requires an argument"),
    "no such network": (["map", "resnet19", "--on", "aws-f1"], "did you mean 'resnet1"),
    "no such file": (["map", "none.onnx", "--on", "aws-f1"], "no such file"),
    "no such system": (["map", "resnet18", "--on", "aws-f2"], "did you mean 'aws-f1'"),
    "no system": (["map", "resnet18"], "--on"),
    "need without unit": (["map", "resnet18", "--on", "aws-f1", "--need", "latency<3"], "unit"),
    "need of nothing": (["map", "resnet18", "--on", "aws-f1", "--need", "latncy<3s"], "latency"),
    "unknown option": (["map", "resnet18", "--on", "aws-f1", "--sede", "3"], "--sede"),
    "unknown command": (["mop", "resnet18"], "mop"),
    "shape without size": (["show", "resnet18", "--shape", "batch"], "NAME=SIZE"),
    "shape of nothing": (["show", "resnet18", "--shape", "batch=2"], "no dimension 'batch'"),
    "phase of a CNN": (["show", "resnet18", "--phase", "decode"], "phase"),
    "negative batch": (["show", "resnet18", "--batch", "-1"], "batch"),
    "too large": (["map", "llama-7b", "--on", "aws-f1", "--search", "greedy"], "there is"),
    "no plan file": (["simulate", "none.json"], "no such file"),
    "no model": (["show"], "no model"),
    "score without system": (["score", "resnet18"], "--on"),
    "no evidence": (["score", "none.json"], "no such file"),
    "no such study": (["study", "nothing-like-it"], "no study named"),
    "study of no size": (["study", "--all", "x"], "one of the two"),
    "inputs are no archive": (["run", "squeezenet1_1", "--inputs", "none.npz"], "none.npz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    said = " ".join((captured.err + captured.out).split()).lower()
    assert message.lower() in said
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "system"])
def test_files_of_the_wrong_kind(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = onnx_bytes(build_model("squeezenet1_1", image=64, width=0.125))
    text = {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2], "system": b"a: [1"}
    path = tmp_path / ("bad.yaml" if damage == "system" else "bad.onnx")
    path.write_bytes(text[damage])
    arguments = ["show", str(path)] if damage != "system" else ["map", "alexnet", "--on", str(path)]
    assert main(arguments) == 2
    assert path.name in capsys.readouterr().err


def test_a_changed_network_is_refused_by_its_plan(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greedy = ["--search", "greedy", "--out", str(tmp_path)]
    assert main(["map", str(onnx_file), "--shape", "batch=1", "--on", "aws-f1", *greedy]) == 0
    write_onnx(build_model("resnet18", image=32, batch="batch", classes=10), onnx_file)
    assert main(["simulate", str(tmp_path / "plan.json")]) == 2
    assert "make the plan again" in capsys.readouterr().err


def test_what_nobody_can_price_is_named_and_refused_when_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many elements are not zero, only running can tell."""
    from orrery.graph import Graph, Node, TensorType

    matrix = TensorType(dtype="float32", shape=(8, 8))
    graph = Graph(
        name="dynamic",
        nodes=(
            Node(name="where", op="NonZero", inputs=("x",), outputs=("indices",)),
            Node(name="product", op="MatMul", inputs=("x", "x"), outputs=("y",)),
            Node(name="count", op="Shape", inputs=("indices",), outputs=("n",)),
        ),
        inputs=("x",),
        outputs=("y", "n"),
        types={"x": matrix},
    ).infer()
    path = tmp_path / "dynamic.onnx"
    write_onnx(graph, path)
    assert main(["map", str(path), "--on", "a100"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Coverage: priced 1 of 3 operators" in text or "priced 2 of 3 operators" in text
    assert "where" in text
    assert main(["score", str(path), "--on", "a100"]) == 0
    assert "Coverage: priced" in " ".join(capsys.readouterr().out.split())
    for command in ("map", "score"):
        assert main([command, str(path), "--on", "a100", "--strict"]) == 2
        assert "where" in capsys.readouterr().err
    assert main(["show", str(path)]) == 0


def test_precision_opens_integer_machines(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["map", "alexnet", "--on", "tpu-v1"]
    assert main(common) == 2
    assert main([*common, "--precision", "int8", "--json"]) == 0
    capsys.readouterr()
    assert main([*common, "--precision", "int7"]) == 2
    assert "did you mean 'int" in capsys.readouterr().err


@pytest.mark.parametrize(
    "out", ["/dev/null/x", "/proc/nothing", "x" * 300], ids=["device", "proc", "long"]
)
def test_a_folder_that_cannot_be_written_is_the_users_matter(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "alexnet", "--on", "v100", "--out", out]) == 2
    assert "defect" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "alexnet", "--shape", "a=²"],
        ["show", "alexnet", "--shape", "a=" + "9" * 5000],
        ["show", "alexnet", "--rows", "-5"],
        ["show", "alexnet", "--operators"],
        ["run", "alexnet", "--seed", "-1"],
        ["run", "alexnet", "--repeats", "0"],
        ["run", "alexnet", "--plan-model", "x"],
        ["score", "none.json", "--on", "v100"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "defect" not in capsys.readouterr().err


def test_names_cannot_reach_the_terminal_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from orrery.graph import Graph, Node, TensorType

    graph = Graph(
        name="g\x1b[31m",
        nodes=(Node(name="n\x1b]0;owned\x07", op="Relu", inputs=("x",), outputs=("y",)),),
        inputs=("x",),
        outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(2,))},
    ).infer()
    write_onnx(graph, tmp_path / "g.onnx")
    assert main(["show", str(tmp_path / "g.onnx")]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_interrupt_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orrery import api

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "models", stop, raising=False)
    assert main(["models"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_not_installed(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    assert "orrery" in capsys.readouterr().out


def test_one_system_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems", "v100", "--json"]) == 0
    assert _json(capsys)["name"] == "v100"
