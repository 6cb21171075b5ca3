"""`orrery nest --fuse`: tails, tensors that stay on chip, ceilings over the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orrery import api
from orrery.api.nests import read_nests
from orrery.cli import main
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import write_onnx
from orrery.report import Table, Waterfall
from orrery.units import format_si
from tests.api.arrays import SMALL
from tests.cost.nest.test_fused import made


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
    loose = api.nest(network, on=array, fuse="on-chip", need=("cycles<4e6", "cycles<=4_000.5e3"))
    assert loose.needs_met
    command = ["nest", str(tmp_path / "made.onnx"), "--on", array, "--fuse", "on-chip"]
    assert main([*command, "--need", f"cycles<{cycles[0]}"]) == 1
    said = capsys.readouterr().out
    assert f"Not within cycles<{cycles[0]}" in said and f"{cycles[0]:,} cycles" in said
    assert main([*command, "--macs-only", "--need", "energy<1J"]) == 0
    assert "left to another unit" in capsys.readouterr().out


def test_what_falls_short_alone_is_sought_alone(array: str, network: object) -> None:
    frugal = api.nest(network, on=array, fuse="tails", objective="energy")
    fast = api.nest(network, on=array, fuse="tails")
    joules, cycles = figure(frugal, "energy"), sum(layer.cycles for layer in fast.layers)
    poor = api.nest(network, on=array, fuse="tails", need=(f"energy<={joules * 0.9} J",))
    assert not poor.needs_met and poor.objective == poor.file.objective == "energy"
    assert figure(poor, "energy") == joules and "objective energy" in poor.text
    assert "loop nests, energy" in poor.evidence[0].context["searcher"]
    late = api.nest(network, on=array, fuse="tails", objective="energy",
                    need=(f"cycles<{cycles}", f"energy<={joules * 0.9} J"))  # fmt: skip
    assert not late.needs_met and late.objective == "latency"
    assert sum(layer.cycles for layer in late.layers) == cycles
    both = api.nest(network, on=array, fuse="tails",
                    need=(f"cycles<={cycles}", f"energy<={joules} J"))  # fmt: skip
    # Neither is short alone: the least energy within the cycles.
    assert not both.needs_met and both.objective == "energy"
    assert sum(layer.cycles for layer in both.layers) == cycles
    assert f"need {format_si(figure(both, 'energy'), 'J')}, have" in " ".join(both.text.split())


def test_a_part_of_the_network_keeps_no_ceiling(
    array: str, network: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers without a nest are in no sum: a lower bound, which can only miss a ceiling."""
    small = tmp_path / "less.yaml"
    small.write_text(SMALL.replace("4 KiB", "5 B"))
    free = api.nest(network, on=str(small), fuse="tails")
    assert free.needs_met and free.file.left_out
    assert "of the layers mapped has less latency" in free.text
    part = api.nest(network, on=str(small), fuse="tails", need=("energy<1J",))
    assert not part.needs_met and "Within" not in part.text
    assert "Not known whether within energy<1J" in part.text and "in no sum" in part.text
    short = api.nest(network, on=str(small), fuse="tails", need=("energy<1nJ",))
    assert not short.needs_met and "Not within energy<1nJ" in short.text
    write_onnx(network, tmp_path / "made.onnx")  # type: ignore[arg-type]
    command = ["nest", str(tmp_path / "made.onnx"), "--need", "energy<1J", "--on"]
    assert main([*command, str(small)]) == 1
    capsys.readouterr()
    assert main([*command, array, "--macs-only"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Within energy<1J, of the layers mapped." in said and "Layers mapped, one" in said


def test_a_latency_counts_what_runs_take_beside(network: object, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(SMALL.replace("static_power:", 'run_overhead: "1 ms"\nstatic_power:'))
    found = api.nest(network, on=str(slow), fuse="tails", need=("latency<3.5ms",))
    assert found.needs_met and figure(found, "latency") > 3e-3
    assert "1.00 ms beside them for each of 3 runs: 3." in " ".join(found.text.split())
    late = api.nest(network, on=str(slow), fuse="none", need=("latency<3.5ms",))
    assert not late.needs_met and figure(late, "latency") > 5e-3
    assert "latency of all loop nests: need 5." in " ".join(late.text.split())
    with pytest.raises(SpecError, match="a ceiling of latency, which counts both"):
        api.nest(network, on=str(slow), need=("cycles<1e9",))


def test_the_levels_tried_are_named(network: object, tmp_path: Path) -> None:
    outer = """\
  - {name: outer, holds: [input, weight, output], size: "8 KiB", word: "16 bit", read: "50 pJ",
     write: "50 pJ", double_buffered: [input, weight], multicast: [], reduces: []}
  - {name: buffer"""
    two = tmp_path / "two.yaml"
    two.write_text(SMALL.replace("  - {name: buffer", outer))
    found = api.nest(network, on=str(two), fuse="on-chip", objective="energy")
    assert "Kept in buffer" in found.text
    assert "whole tensors in outer or in buffer alone" in " ".join(found.text.split())


def test_errors_and_doubts_are_those_of_layers_one_by_one(network: object) -> None:
    plain = api.nest(network, on="eyeriss-v1", objective="energy")
    apart = api.nest(network, on="eyeriss-v1", objective="energy", need=("energy<1J",))
    titles = [[s.title for s in one.page.sections] for one in (plain, apart)]
    assert "How far off such figures were" in titles[1]
    assert {"Doubtful energies", "How far off such figures were"} & set(titles[0]) <= set(titles[1])
    assert [x.validation_error for x in plain.evidence] == [
        x.validation_error for x in apart.evidence
    ]
    chip = api.nest(network, on="eyeriss-v1", objective="energy", fuse="on-chip")
    table = chip.page.sections[-1]
    assert isinstance(table, Table) and any("fused" in str(row[-1]) for row in table.rows)
    assert [layer.stage for layer in chip.layers] == [x.layer for x in chip.layers]


def test_what_cannot_be_asked_for(array: str, network: object, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'tails'"):
        api.nest(network, on=array, fuse="tail")
    for need in ("throughput>3/s", "cycles>=10", "latency>1s"):
        with pytest.raises(SpecError, match="a ceiling of cycles, latency or energy"):
            api.nest(network, on=array, need=(need,))
    (tmp_path / "tiny.yaml").write_text(SMALL.replace("4 KiB", "1 B"))
    with pytest.raises(SpecError, match=r"tiles in buffer .*need .* have 1 B.* \(\d layers\)"):
        api.nest(network, on=str(tmp_path / "tiny.yaml"), fuse="tails")
    with pytest.raises(SpecError, match="show a, or leave out --fuse"):
        api.nest(network, on=array, fuse="tails", layer="r")
    with pytest.raises(SpecError, match="left to another unit"):
        api.nest(network, on=array, macs_only=True, layer="p")
    with pytest.raises(UnknownNameError, match="layer with a loop nest"):
        api.nest(network, on=array, fuse="tails", layer="b")
    assert main(["nest", "resnet18", "--on", array, "--fuse", "tails",
                 "--export", "zigzag:x"]) == 2  # fmt: skip


def test_one_layer_of_a_network_together(array: str, network: object) -> None:
    """Its waterfall ends at the cycles of the nest with what stays, its tail beside it."""
    chip = api.nest(network, on=array, fuse="on-chip", objective="energy", layer="c")
    (taken,) = [one for one in chip.layers if one.layer == "c"]
    (fall,) = [s for s in chip.page.sections if isinstance(s, Waterfall)]
    alone = taken.operations / fall.steps[-1].value
    said = " ".join(chip.text.split())
    assert "Its input and output stay in buffer." in said
    (tail,) = re.findall(r"then pass f: ([\d,]+) cycles a run more", said)
    assert round(alone) + int(tail.replace(",", "")) == taken.cycles
    assert "What would help c" in said and "Traffic per memory" not in said
    table = chip.page.sections[-1]
    assert isinstance(table, Table) and table.rows[0][2] == 1


def test_zeros_of_a_network_together(array: str, network: object) -> None:
    half = api.ZeroOptions(skip=("input",), density=("input=0.5", "weight=1"))
    dense = api.nest(network, on=array, fuse="on-chip")
    found = api.nest(network, on=array, fuse="on-chip", zeros=half)
    assert figure(found, "latency") < figure(dense, "latency")
    (table,) = [s for s in found.page.sections
                if isinstance(s, Table) and s.title == "Effectual operations"]  # fmt: skip
    assert [row[0] for row in table.rows] == ["a", "c", "all"]
    assert all(row[2] * 2 == row[1] for row in table.rows)
    alone = api.nest(network, on=array, zeros=half)
    apart = api.nest(network, on=array, need=("latency<1h",), zeros=half)
    assert figure(alone, "latency") == pytest.approx(figure(apart, "latency"))


def test_an_array_that_can_keep_nothing_says_so(network: object) -> None:
    found = api.nest(network, on="gemmini-16", fuse="on-chip")
    assert "Nothing stays on chip" in found.text and not found.file.kept
