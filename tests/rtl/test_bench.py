"""The bench that ships: it passes where the circuit is right, in two simulators, and fails else.

The judge of what must come out is a deque, or NumPy; the circuit is spoilt by hand.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, ToolError, pack_words
from orrery.rtl.bench import (
    BenchTool,
    PlainVectors,
    StreamVectors,
    bench_files,
    circuit_files,
    read_circuit_record,
    run_bench,
    write_circuit,
)
from orrery.rtl.parts import CompressorTree, Fifo, SkidBuffer, part_circuit
from orrery.store import content_hash

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++", "iverilog"),
    pytest.mark.rtl,
]


def queue(items: int = 60) -> tuple[Circuit, StreamVectors]:
    """Return a queue of wide items and what must come out of it."""
    numbers = [int.from_bytes(np.random.default_rng(k).bytes(12), "little") for k in range(items)]
    words = pack_words([n >> 1 for n in numbers], 95)
    vectors = StreamVectors(
        items={"i": {"i__payload": words}}, expected={"o": {"o__payload": words}},
        about="random items",
    )  # fmt: skip
    return part_circuit(Fifo(95, depth=3)), vectors


def spoilt(circuit: Circuit, old: str, new: str) -> Circuit:
    assert circuit.verilog.count(old) == 1
    return dataclasses.replace(circuit, verilog=circuit.verilog.replace(old, new))


@pytest.mark.parametrize("tool", ["icarus", "verilator"])
def test_a_right_circuit_passes_and_a_wrong_value_does_not(tool: BenchTool) -> None:
    circuit, good = queue()
    run = run_bench(circuit, good, tool=tool)
    assert run.passed
    assert "PASS 60 vectors" in run.said
    if tool == "verilator":
        return  # its compiler takes long; what fails is compared below
    wrong = np.array(good.expected["o"]["o__payload"])
    wrong[41, 1] ^= np.uint64(1 << 30)
    run = run_bench(circuit, dataclasses.replace(good, expected={"o": {"o__payload": wrong}}))
    assert not run.passed
    assert any("vector 41: o__payload, expected" in line for line in run.said)
    assert sum(line.startswith("MISMATCH") for line in run.said) <= 10


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("level <= level + 2'd1;", "level <= level;", "nothing moves any more; i 60 of 60"),
        ("assign r_rdy = level != 2'd0;", "assign r_rdy = level > 2'd1;", "cycle of o, expected 1"),
        ("assign w_rdy = level != 2'd3;", "assign w_rdy = 1'b1;", "o__payload, expected"),
        ("level <= level - 2'd1;", "level <= level;", "MISMATCH"),
        ("if (rst) begin", "if (1'b0) begin", "MISMATCH"),
    ],
)  # fmt: skip
def test_a_wrong_circuit_is_told(old: str, new: str, said: str) -> None:
    circuit, vectors = queue()
    run = run_bench(spoilt(circuit, old, new), vectors)
    assert not run.passed
    assert not run.timed_out
    assert any(said in line for line in run.said), run.said


RULES = {
    "right": ("valid", "ready", ""),
    "o__valid depends on o__ready": ("valid && o__ready", "ready", ""),
    "o__valid before the item is taken": (
        "valid && !wait_",
        "ready",
        "wait_ <= valid && !o__ready",
    ),
    "o__valid after the last item": (
        "valid || (count == 50)",
        "ready",
        "count <= rst ? 0 : count + (i__valid && ready)",
    ),
    "cycle of i, expected 1, got 2": (
        "valid",
        "ready && !wait_",
        "wait_ <= !rst && valid && !wait_",
    ),
}


@pytest.mark.parametrize("said", RULES)
def test_the_rules_of_the_handshake_and_its_cycles_are_checked(said: str) -> None:
    right = part_circuit(SkidBuffer(8))
    valid, ready, state = RULES[said]
    # A module of the same name around the right one, which spoils its handshake.
    around = f"""
module {right.name} (input clk, input rst, input [7:0] i__payload, input i__valid,
  output i__ready, output [7:0] o__payload, output o__valid, input o__ready);
  wire valid, ready;
  reg wait_ = 0; reg [6:0] count = 0;
  inner same (clk, rst, i__payload, i__valid && i__ready, ready, o__payload, valid, o__ready);
  assign o__valid = {valid};
  assign i__ready = {ready};
  always @(posedge clk) begin {state}; end
endmodule
"""
    text = right.verilog.replace(f"module {right.name}", "module inner") + around
    items = np.arange(50) * 5
    vectors = StreamVectors(
        items={"i": {"i__payload": items}}, expected={"o": {"o__payload": items}}
    )
    run = run_bench(dataclasses.replace(right, verilog=text), vectors)
    if said == "right":
        assert run.passed
    else:
        assert any(said in line for line in run.said), run.said


def test_cycles_that_are_given_count() -> None:
    circuit, vectors = queue(50)
    assert run_bench(circuit, dataclasses.replace(vectors, given={"o": np.arange(50) + 1})).passed
    run = run_bench(circuit, dataclasses.replace(vectors, given={"o": np.arange(50) + 2}))
    assert any("cycle of o, expected 2, got 1" in line for line in run.said)


def test_rows_of_plain_ports_are_compared_where_they_matter() -> None:
    tree = CompressorTree([6, 6, 6], registers=1)
    circuit = part_circuit(tree)
    rng = np.random.default_rng(3)
    terms = rng.integers(0, 64, (3, 80))
    enable = np.ones(80, np.int64)
    total = np.concatenate([[0], terms.sum(axis=0)[:-1]])
    total[0] = 77  # nothing has come out yet: not compared
    vectors = PlainVectors(
        inputs={f"term{k}": terms[k] for k in range(3)} | {"enable": enable},
        expected={"total": total}, care={"total": np.arange(80) > 0},
    )  # fmt: skip
    assert "PASS 80 vectors" in run_bench(circuit, vectors).said
    total[70] += 1
    run = run_bench(circuit, vectors)
    assert any("vector 70: total, expected" in line for line in run.said)


def test_a_combinational_circuit_needs_no_clock() -> None:
    circuit = part_circuit(CompressorTree([5, 5, 5], registers=0))
    terms = np.random.default_rng(4).integers(0, 32, (3, 40))
    inputs = {f"term{k}": terms[k] for k in range(3)}
    good = PlainVectors(inputs=inputs, expected={"total": terms.sum(axis=0)})
    assert run_bench(circuit, good).passed
    assert not run_bench(circuit, dataclasses.replace(good, expected={"total": terms[0]})).passed


def test_the_folder_has_everything_and_its_record_reads_back(tmp_path: Path) -> None:
    circuit, vectors = queue(20)
    other = dataclasses.replace(vectors, about="the same again")
    written = write_circuit(circuit, tmp_path, vectors=[vectors, other], checked=["By hand."])
    assert set(written) == {path.name for path in tmp_path.iterdir()}
    record = read_circuit_record(tmp_path / "circuit.json")
    assert record.vectors == (("random items", 20), ("the same again", 20))
    assert record.ports == circuit.ports
    assert {block.name: block.instances for block in record.blocks} == circuit.modules
    assert record.blocks[-1].inside == {record.blocks[0].name: 1}
    for name, digest in record.files.items():
        assert content_hash((tmp_path / name).read_text()) == digest
    readme = (tmp_path / "README.md").read_text()
    assert "PASS 40 vectors" in readme
    assert "- By hand." in readme
    for port in circuit.ports:
        assert f"| `{port.name}` | {port.direction} |" in readme
    text = json.loads((tmp_path / "circuit.json").read_text())
    assert text["orrery"]["kind"] == "circuit"


def test_files_of_a_circuit_that_does_something_else_are_refused() -> None:
    circuit, vectors = queue(20)
    broken = spoilt(circuit, "assign w_rdy = level != 2'd3;", "assign w_rdy = 1'b1;")
    with pytest.raises(ToolError, match="does not do what the vectors say"):
        circuit_files(broken, vectors)


def test_without_icarus_the_files_say_that_nothing_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit, vectors = queue(5)
    have = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "iverilog" else have(name))
    assert "The bench was not run" in circuit_files(circuit, vectors)["README.md"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": {}}, "nothing for i"),
        ({"items": {"j": {}}}, "found 'j'"),
        ({"expected": {}}, "nothing to compare"),
        ({"expected": {"o": {"o__payload": np.arange(60)}}}, "shape"),
        ({"expected": {"o": {"o__payload": np.full((60, 2), 2**64 - 1, np.uint64)}}}, "above bit"),
        ({"given": {"o": np.arange(59)}}, "59 cycles"),
        ({"given": {"o": np.zeros(60, int)}}, "each larger"),
        ({"held": {"quant": 1}}, "found 'quant'"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_refused(change: dict[str, object], said: str) -> None:
    circuit, vectors = queue()
    with pytest.raises(SpecError, match=said):
        bench_files(circuit, dataclasses.replace(vectors, **change))  # type: ignore[arg-type]


def test_rows_that_do_not_fit_are_refused() -> None:
    circuit = part_circuit(CompressorTree([5, 5], registers=0))
    rows = {"term0": np.arange(4), "term1": np.arange(4)}
    good = PlainVectors(inputs=rows, expected={"total": np.arange(4) * 2})
    for change, said in (
        ({"inputs": {**rows, "term0": np.arange(3)}}, "lengths 3, 4"),
        ({"inputs": {**rows, "term0": np.array([0, 1, 2, 32])}}, "found 32"),
        ({"inputs": {**rows, "term0": np.array([0, 1, 2, 0.5])}}, "float64"),
        ({"expected": {"sum": np.arange(4)}}, "found 'sum'"),
        ({"care": {"total": np.array([0, 1, 2, 3])}}, "found 3"),
    ):
        with pytest.raises(SpecError, match=said):
            bench_files(circuit, dataclasses.replace(good, **change))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="found 'none'"):
        bench_files(circuit, [])
    stream = StreamVectors(items={}, expected={})
    with pytest.raises(SpecError, match="give PlainVectors"):
        bench_files(circuit, stream)
