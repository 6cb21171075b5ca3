"""``generate``: the files of an accelerator's circuit, and its page; a toy stands for one."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from orrery import accel, api
from orrery.accel import Accelerator, resolve
from orrery.cli import main
from orrery.errors import SpecError, UnknownNameError
from orrery.report import Diagram, Table


def toy(files: Mapping[str, str]) -> Accelerator:
    """Return an accelerator whose circuit is these files."""
    return dataclasses.replace(resolve("systolic"), name="toy()", generate=lambda: files)


def test_files_without_a_record_are_written_as_they_are(tmp_path: Path) -> None:
    result = api.generate(toy({"toy.v": "module toy; endmodule\n"}))
    written = result.write(tmp_path / "build")
    assert (tmp_path / "build" / "toy.v").read_text() == "module toy; endmodule\n"
    assert set(written) == {"toy.v", "report.html", "report.json", "report.txt"}
    assert [section.title for section in result.page.sections] == ["1 file"]
    result.write(tmp_path / "build")  # the same again
    with pytest.raises(SpecError, match=r"toy\.v.*found 'a file that no circuit\.json"):
        api.generate(toy({"toy.v": "module other; endmodule\n"})).write(tmp_path / "build")


def test_an_accelerator_without_circuit_is_refused_and_others_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError, match=r"systolic\(.*without circuit.*wanted one with a circuit"):
        api.generate("systolic")
    monkeypatch.setitem(accel.ACCELERATORS._places, "toy", "tests.api.test_generate:_toy")
    with pytest.raises(SpecError, match="toy"):
        api.generate("tiled(tm=8)")
    assert main(["generate", "systolic"]) == 2
    assert "without circuit" in capsys.readouterr().err
    with pytest.raises(UnknownNameError, match="systolic"):
        api.generate("sistolic")


def _toy() -> Accelerator:
    return toy({"toy.v": ""})


def test_a_damaged_record_is_refused() -> None:
    with pytest.raises(SpecError, match=r"circuit\.json"):
        api.generate(toy({"circuit.json": "{}"}))


@pytest.mark.rtl
@pytest.mark.needs("amaranth", "pyosys", "verilator", "g++", "iverilog")
def test_the_page_shows_blocks_area_and_what_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orrery.rtl import Resources, Synthesis
    from orrery.rtl.bench import StreamVectors, circuit_files
    from orrery.rtl.parts import Fifo, part_circuit
    from orrery.rtl.synthesis._record import ModuleArea, TimingPath, Verified

    circuit = part_circuit(Fifo(4, depth=2))
    numbers = np.arange(16)
    vectors = StreamVectors(
        items={"i": {"i__payload": numbers}}, expected={"o": {"o__payload": numbers}}
    )
    top, queue = reversed(circuit.modules)
    areas = {top: 0.0, queue: 30.0}
    synthesis = Synthesis(
        circuit=top,
        area=28.0,
        area_unit="NAND2",
        nand2_equivalents=28.0,
        sequential=10.0,
        cells={},
        modules=tuple(
            ModuleArea(name=name, instances=1, area=area, total=30.0, sequential=10.0, cells={})
            for name, area in areas.items()
        ),
        paths=(
            TimingPath(
                kind="input to output", start="a", end="b", delay_s=2.5e-9, setup_s=0.0, steps=()
            ),
        ),
        memories=(),
        flattened=True,
        booth=True,
        tool="a tool",
        script="",
        library="own",
        netlist=circuit,
        verified=Verified(stimuli=(), compared=1, exhaustive=False),
        notes=("cells",),
    )
    resources = Resources(
        family="xcup",
        lut=7,
        lut_memory=4,
        flip_flop=9,
        dsp=0,
        bram=0.5,
        carry=0,
        cells={},
        tool="a tool",
        script="",
        verified=None,
        notes=("counted",),
    )
    files = circuit_files(circuit, vectors, synthesis=synthesis, resources=resources)
    result = api.generate(toy(files))
    sections = {section.title: section for section in result.page.sections}
    diagram = sections["Block diagram"]
    assert isinstance(diagram, Diagram)
    assert [box.name for box in diagram.boxes] == list(reversed(circuit.modules))
    assert [(a.source, a.label, a.target) for a in diagram.arrows] == [
        (circuit.name, "1 x", f"{circuit.name}_queue")
    ]
    table = sections["Area by block"]
    assert isinstance(table, Table)
    assert [row[:5] for row in table.rows] == [
        (top, 1, 0.0, 0.0, 0.0), (queue, 1, 30.0, 30.0, 100.0)
    ]  # fmt: skip
    assert (
        "dissolved into one, the design takes 28 NAND2. Its longest path takes 2.50 ns."
        in table.caption
    )
    assert isinstance(sections["FPGA resources"], Table)
    readme = files["README.md"]
    assert "28 NAND2, 35.7 % of it flip-flops" in readme
    assert "## FPGA (xcup)" in readme

    monkeypatch.setattr(accel, "resolve", lambda text: toy(files))
    assert main(["generate", "toy", "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["title"] == f"Circuit {circuit.name}"
    assert document["report"]["subtitle"] == "of toy()"
    assert "Block diagram" in (tmp_path / "report.html").read_text()
    assert (tmp_path / f"{circuit.name}_bench.v").is_file()


def test_areas_and_mutants_are_asked_for_by_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[bool, int]] = []

    def files(*, area: bool = False, mutate: int = 0) -> Mapping[str, str]:
        asked.append((area, mutate))
        return {"toy.v": ""}

    made = dataclasses.replace(toy({}), generate=files)
    api.generate(made)
    api.generate(made, area=True)
    monkeypatch.setattr(accel, "resolve", lambda text: made)
    assert main(["generate", "toy", "--mutate", "60"]) == 0
    assert "60 changed designs" in capsys.readouterr().err
    assert main(["generate", "toy"]) == 0
    assert "changed designs" not in capsys.readouterr().err
    assert asked == [(False, 0), (True, 0), (False, 60), (False, 0)]
    assert main(["generate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--area" in said and "--mutate" in said


def test_without_amaranth_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.startswith("orrery.accel.bitlet.circuit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amaranth", None)
    assert main(["generate", "bitlet(group=8)"]) == 2
    assert "orrery[rtl]" in capsys.readouterr().err
