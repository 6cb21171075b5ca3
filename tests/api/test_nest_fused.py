"""`orrery nest --fuse`: tails, tensors that stay on chip, ceilings over the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.api.nests import read_nests
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import write_onnx
from orrery.report import Table
from tests.api.test_nest import SMALL
from tests.cost.nest.test_fused import made


@pytest.fixture
def array(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


@pytest.fixture
def network() -> object:
    return made(("a", "Conv", ("image", "w")), ("r", "Relu", ("a",)), ("c", "Conv", ("r", "w")),
                ("f", "Add", ("c", "r")), ("p", "GlobalAveragePool", ("f",)),
                outputs=("p",))  # fmt: skip


def figure(result: api.NestResult, metric: str) -> float:
    return next(one.value for one in result.evidence if one.metric == metric)


def test_each_step_of_fusing_takes_no_more(array: str, network: object, tmp_path: Path) -> None:
    found = {
        fuse: api.nest(network, on=array, objective="energy", fuse=fuse, need=("latency<=1h",))
        for fuse in ("none", "tails", "on-chip")
    }
    plain = api.nest(network, on=array, objective="energy")
    assert figure(found["none"], "energy") == pytest.approx(figure(plain, "energy"))
    assert figure(found["none"], "latency") == pytest.approx(figure(plain, "latency"))
    assert [len(one.layers) for one in found.values()] == [5, 3, 3]
    for metric in ("energy", "off-chip traffic"):
        none, tails, kept = (figure(one, metric) for one in found.values())
        assert kept < tails < none
    chip = found["on-chip"]
    assert [layer.fused for layer in chip.layers] == [("r",), ("f",), ()]
    assert {kept.tensor for kept in chip.file.kept} == {"r", "f"}
    assert sum(layer.energy_j for layer in chip.layers) == pytest.approx(figure(chip, "energy"))
    assert sum(layer.cycles for layer in chip.layers) / 1e8 == pytest.approx(
        figure(chip, "latency")
    )
    paths = chip.write(tmp_path / "out")
    assert read_nests(paths["nests"]) == chip.file
    bill = api.nest(network, on=array, fuse="on-chip", objective="energy", bill=True).page
    charges = next(s for s in bill.sections if isinstance(s, Table) and s.title.startswith("Bill"))
    assert sum(row[4] for row in charges.rows) == pytest.approx(figure(chip, "energy"))
    assert ("post-processor", "Relu", 48) in {row[:3] for row in charges.rows}


def test_ceilings_hold_or_are_told(
    array: str, network: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = api.nest(network, on=array, fuse="on-chip")
    frugal = api.nest(network, on=array, fuse="on-chip", objective="energy")
    cycles = [sum(layer.cycles for layer in one.layers) for one in (fast, frugal)]
    assert cycles[0] <= cycles[1]
    within = api.nest(network, on=array, fuse="on-chip", objective="energy",
                      need=(f"cycles <= {cycles[0]:,}",))  # fmt: skip
    assert within.needs_met and sum(layer.cycles for layer in within.layers) == cycles[0]
    write_onnx(network, tmp_path / "made.onnx")  # type: ignore[arg-type]
    command = ["nest", str(tmp_path / "made.onnx"), "--on", array, "--fuse", "on-chip"]
    assert main([*command, "--need", f"cycles<{cycles[0]}"]) == 1
    said = capsys.readouterr().out
    assert f"Not within cycles<{cycles[0]}" in said and f"{cycles[0]:,} cycles" in said
    assert main([*command, "--macs-only", "--need", "energy<1J"]) == 0
    assert "left to another unit" in capsys.readouterr().out


def test_what_cannot_be_asked_for(array: str, network: object) -> None:
    with pytest.raises(SpecError, match="did you mean 'tails'"):
        api.nest(network, on=array, fuse="tail")
    with pytest.raises(SpecError, match="a ceiling of cycles, latency or energy"):
        api.nest(network, on=array, need=("throughput>3/s",))
    with pytest.raises(SpecError, match="--fuse"):
        api.nest(network, on=array, fuse="tails", layer="a")
    assert main(["nest", "resnet18", "--on", array, "--fuse", "tails",
                 "--export", "zigzag:x"]) == 2  # fmt: skip


def test_an_array_that_can_keep_nothing_says_so(network: object) -> None:
    found = api.nest(network, on="gemmini-16", fuse="on-chip")
    assert "Nothing stays on chip" in found.text and not found.file.kept
