"""Mutants: each does what it says, all in one is the same as each alone, and benches catch them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, Timing, ToolError, build
from orrery.rtl.bench import (
    PlainVectors,
    StreamVectors,
    Vectors,
    circuit_files,
    circuit_record,
    mutant_circuit,
    mutants,
    mutation_score,
    run_bench,
)
from orrery.rtl.bench._mutants import _unseen
from orrery.rtl.parts import Fifo, part_circuit

from .part_benches import BENCHES

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++", "iverilog"),
    pytest.mark.rtl,
]


def passing(circuit: Circuit, items: int = 150) -> Vectors:
    """Return items that must come out as they went in."""
    width = circuit.port("i__payload").width
    numbers = np.random.default_rng(2).integers(0, 1 << width, items)
    return StreamVectors(
        items={"i": {"i__payload": numbers}}, expected={"o": {"o__payload": numbers}}
    )


def operators() -> Circuit:
    """Return one circuit with an output for each kind of operator."""
    from amaranth import Module, Mux, Signal
    from amaranth.hdl import signed
    from amaranth.lib import wiring
    from amaranth.lib.wiring import In, Out

    class Operators(wiring.Component):
        """Plain operators of two numbers."""

        def __init__(self) -> None:
            super().__init__(
                {
                    "a": In(4), "b": In(4), "s": In(signed(4)),
                    "total": Out(5), "less": Out(1), "other": Out(4), "same": Out(4),
                    "shifted": Out(8), "chosen": Out(4), "wide": Out(signed(8)), "held": Out(4),
                }
            )  # fmt: skip

        def elaborate(self, platform: object) -> Module:
            m = Module()
            held = Signal(4, init=5)
            m.d.comb += [
                self.total.eq(self.a + self.b),
                self.less.eq(self.a < self.b),
                self.other.eq(self.a & self.b),
                self.same.eq(self.a & self.a),
                self.shifted.eq(self.a << self.b[:2]),
                self.chosen.eq(Mux(self.b[3], self.a, 6)),
                self.wide.eq(self.s * 3),
                self.held.eq(held),
            ]
            with m.If(self.b[0]):
                m.d.sync += held.eq(self.a)
            return m

    timing = Timing(latency=None, interval=1, rule="as each output says")
    return build(Operators(), name="operators", parameters={}, timing=timing, summary="A test.")


def answers(rows: int = 64) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs of `operators` and what it must answer."""
    rng = np.random.default_rng(11)
    a, b = rng.integers(0, 16, (2, rows))
    s = rng.integers(-8, 8, rows)
    held, now = [], 5
    for x, take in zip(a, b & 1):
        held.append(now)
        now = x if take else now
    return {"a": a, "b": b, "s": s}, {
        "total": a + b, "less": (a < b) * 1, "other": a & b, "same": a,
        "shifted": a << (b & 3), "chosen": np.where(b >> 3, a, 6), "wide": s * 3,
        "held": np.array(held),
    }  # fmt: skip


def test_each_change_does_what_it_says() -> None:
    circuit = operators()
    inputs, right = answers()
    a, b, s = inputs["a"], inputs["b"], inputs["s"]
    good = PlainVectors(inputs=inputs, expected=right)
    assert run_bench(circuit, good).passed
    held, now = [], 5  # with the enable inverted
    for x, take in zip(a, b & 1):
        held.append(now)
        now = now if take else x
    wanted = {
        "add to sub at total": ("total", (a - b) & 31),
        "lt to le at less": ("less", (a <= b) * 1),
        "lt to gt at less": ("less", (a > b) * 1),
        "and to or at other": ("other", a | b),
        "and to xor at other": ("other", a ^ b),
        "shift by one more at shifted": ("shifted", (a << ((b & 3) + 1)) & 127),
        "arms swapped at chosen": ("chosen", np.where(b >> 3, 6, a)),
        "constant 6 to 4 at chosen": ("chosen", np.where(b >> 3, a, 4)),
        "constant 3 to 2 at wide": ("wide", s * 2),
        "enable inverted at held": ("held", np.array(held)),
        "reset value 5 to 7 at held": ("held", np.where(right["held"] == 5, 5, right["held"])),
    }
    every = mutants(circuit, 300)
    said = {mutant.said.removeprefix("operators: "): mutant for mutant in every}
    for sentence, (port, changed) in wanted.items():
        mutant = next(m for text, m in said.items() if text.startswith(sentence))
        expected = {**right, port: changed}
        if sentence.startswith("reset value"):
            expected[port] = np.where(np.cumsum(b & 1) - (b & 1) == 0, 7, right["held"])
        spoilt = mutant_circuit(circuit, mutant)
        run = run_bench(spoilt, dataclasses.replace(good, expected=expected))
        assert run.passed, (sentence, run.said)
        assert not run_bench(spoilt, good).passed


def test_what_changes_nothing_is_proved_and_what_is_not_looked_at_survives() -> None:
    circuit = operators()
    inputs, right = answers()
    some = [
        m for m in mutants(circuit, 300)
        if m.kind in ("and to or", "and to xor", "add to sub", "lt to le")
    ]  # fmt: skip
    good = PlainVectors(inputs=inputs, expected={k: right[k] for k in right if k != "less"})
    report = mutation_score(circuit, good, some)
    assert [m.said for m in report.equivalent] == ["operators: and to or at same"]
    assert [m.kind for m in report.survivors] == ["lt to le"]
    assert len(report.caught) == len(some) - 2
    assert report.score == len(report.caught) / (len(report.caught) + 1)
    assert "1 more are proved to change nothing" in report.sentence
    assert report.share == len(report.caught) / len(some)
    files = circuit_files(circuit, good, mutation=report)
    record = circuit_record(files)
    assert record is not None and record.mutation is not None
    assert record.mutation.survivors == tuple(m.said for m in report.survivors)
    assert (record.mutation.score, record.mutation.equivalent) == (report.score, 1)
    assert report.sentence in files["README.md"]
    assert f"- {report.survivors[0].said}" in files["README.md"]


def test_what_is_proved_unseen_is_never_caught() -> None:
    circuit = operators()
    inputs, right = answers()
    report = mutation_score(
        circuit,
        PlainVectors(inputs=inputs, expected=right),
        mutants(circuit, 24, seed=4),
        proof_s=0.0,
    )
    assert len(report.caught) > 15
    for mutant in report.caught:
        assert not any(_unseen(circuit, mutant, whole, 10.0) for whole in (False, True)), mutant


def test_what_nobody_reads_is_proved_unseen_in_the_whole() -> None:
    """Which row has the address of a write that is not enabled."""
    circuit, _ = BENCHES["MemoryWrapper of 5 rows"]()
    some = [m for m in mutants(circuit, 100) if m.kind == "constant" and "write__addr" in m.said]
    assert len(some) == 3
    for mutant in some:
        assert not _unseen(circuit, mutant, False, 10.0)
        assert _unseen(circuit, mutant, True, 10.0)
    other = next(m for m in mutants(circuit, 100) if m.said.endswith("constant 5 to 4 at readable"))
    assert not _unseen(circuit, other, True, 10.0)


def test_the_choice_is_seeded_and_spread() -> None:
    circuit = part_circuit(Fifo(8, depth=5))
    few = mutants(circuit, 12, seed=1)
    assert few == mutants(circuit, 12, seed=1)
    assert few != mutants(circuit, 12, seed=2)
    assert len({m.kind for m in few}) >= 8
    every = mutants(circuit, 1000)
    assert len({(m.module, m.cell, m.kind, m.choice) for m in every}) == len(every)
    assert [m.number for m in every] == list(range(1, len(every) + 1))
    with pytest.raises(SpecError, match="found 0"):
        mutants(circuit, 0)


def test_alone_and_all_in_one_a_mutant_has_the_same_fate() -> None:
    circuit = part_circuit(Fifo(4, depth=3))
    vectors = passing(circuit, 3)  # so few that some survive
    some = mutants(circuit, 14, seed=3)
    report = mutation_score(circuit, vectors, some, proof_s=1.0)
    assert report.caught
    assert report.survivors or report.equivalent
    caught = {m.number for m in report.caught}
    for mutant in some:
        alone = run_bench(mutant_circuit(circuit, mutant), vectors)
        assert alone.passed == (mutant.number not in caught), mutant


@pytest.mark.parametrize("part", ["Fifo", "ComparatorTree", "CompressorTree", "FloatMultiply"])
def test_the_benches_of_parts_catch_mutants(part: str) -> None:
    circuit, vectors = BENCHES[part]()
    some = mutants(circuit, 60, seed=1)
    assert len(some) >= 50
    report = mutation_score(circuit, vectors, some, proof_s=10.0)
    assert report.score >= 0.95, [m.said for m in report.survivors]


@pytest.mark.parametrize("part", BENCHES)
def test_the_benches_of_parts_pass(part: str) -> None:
    circuit, vectors = BENCHES[part]()
    run = run_bench(circuit, vectors)
    assert run.passed, run.said


def test_a_bench_that_the_circuit_fails_says_nothing_of_mutants() -> None:
    circuit = part_circuit(Fifo(8, depth=2))
    numbers = np.arange(5)
    wrong = StreamVectors(
        items={"i": {"i__payload": numbers}}, expected={"o": {"o__payload": numbers + 1}}
    )
    with pytest.raises(ToolError, match="the circuit itself does not pass"):
        mutation_score(circuit, wrong, mutants(circuit, 3))
