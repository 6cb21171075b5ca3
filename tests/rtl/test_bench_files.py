"""The files a bench reads and the folder they are written into: cut, mixed, or somebody else's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit
from orrery.rtl.bench import (
    StreamVectors,
    bench_files,
    read_circuit_record,
    write_circuit,
)
from orrery.rtl.bench._run import compile_bench

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "verilator", "iverilog"), pytest.mark.rtl]


def _slice(width: int = 8) -> tuple[Circuit, StreamVectors]:
    from orrery.rtl.parts import RegisterSlice, part_circuit

    items = np.arange(20) % (1 << width)
    return part_circuit(RegisterSlice(width)), StreamVectors(
        items={"i": {"i__payload": items}}, expected={"o": {"o__payload": items}}
    )


def test_a_vector_file_that_is_missing_or_cut_is_a_failure(tmp_path: Path) -> None:
    circuit, vectors = _slice()
    files = {f"{circuit.name}.v": circuit.verilog, **bench_files(circuit, vectors)}
    vector_files = [name for name in files if name.endswith(".hex")]
    assert len(vector_files) == 4  # items and cycles of both streams
    made = compile_bench(files, top=f"{circuit.name}_bench", folder=tmp_path, tool="icarus")
    assert made.run().passed
    for name in vector_files:
        whole = (tmp_path / name).read_text()
        for text in (None, "", whole[: len(whole) // 2], whole.rstrip()[:-1]):
            (tmp_path / name).unlink(missing_ok=True)
            if text is not None:
                (tmp_path / name).write_text(text)
            run = made.run()
            assert not run.passed and not any(line.startswith("PASS") for line in run.said)
        (tmp_path / name).write_text(whole)
    assert made.run().passed


def test_a_folder_is_kept_for_one_circuit_and_for_what_others_wrote(tmp_path: Path) -> None:
    circuit, vectors = _slice()
    written = write_circuit(circuit, tmp_path, vectors=vectors)
    assert all(
        name in {"README.md", "circuit.json"} or name.startswith(circuit.name) for name in written
    )
    record = read_circuit_record(tmp_path / "circuit.json")
    assert "icarus" in record.tools
    write_circuit(circuit, tmp_path, vectors=vectors)  # the same again
    other, others = _slice(3)
    with pytest.raises(SpecError, match=f"the circuit {circuit.name}"):
        write_circuit(other, tmp_path, vectors=others)
    assert read_circuit_record(tmp_path / "circuit.json") == record
    with (tmp_path / "README.md").open("a") as handle:
        handle.write("My own notes.\n")
    with pytest.raises(SpecError, match=r"README\.md"):
        write_circuit(circuit, tmp_path, vectors=vectors)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("Mine.\n")
    with pytest.raises(SpecError, match=r"README\.md"):
        write_circuit(other, mine, vectors=others)
    assert [path.name for path in mine.iterdir()] == ["README.md"]
