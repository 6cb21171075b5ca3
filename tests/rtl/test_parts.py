"""Every part builds as a circuit that says what it is, and lints clean."""

from __future__ import annotations

import pytest
from amaranth import signed
from amaranth.lib import data

from orrery.rtl import lint
from orrery.rtl.parts import (
    FP16,
    Arbiter,
    BarrelShifter,
    ComparatorTree,
    CompressorTree,
    Fifo,
    FloatAdd,
    FloatMultiply,
    LeadingOne,
    LookUpUnit,
    MemoryWrapper,
    Part,
    RegisterSlice,
    SkidBuffer,
    Streamed,
    part_circuit,
)

pytestmark = [pytest.mark.needs("amaranth", "pyosys"), pytest.mark.rtl]

PAIR = data.StructLayout({"value": signed(5), "last": 1})
PARTS: dict[str, Part] = {
    "fifo": Fifo(PAIR, depth=5),
    "fifo_block": Fifo(8, depth=4, buffered=True),
    "slice": RegisterSlice(PAIR),
    "skid": SkidBuffer(8),
    "skid_registered": SkidBuffer(8, registered=True),
    "arbiter": Arbiter(PAIR, inputs=3),
    "tree": CompressorTree([signed(8)] * 5, registers=2),
    "rows": CompressorTree([8] * 6, compressor="4:2", final=False),
    "leading": LeadingOne(7),
    "trailing": LeadingOne(8, lowest=True),
    "shift": BarrelShifter(8, direction="both", fill="sign", sticky=True),
    "best": ComparatorTree(signed(5), inputs=5, masked=True, registers=1),
    "memory": MemoryWrapper(8, depth=5, granularity=4, initial=[1, 2], forward=True),
    "line": LookUpUnit([0, 3, 9, 4, 1], input=6, output=4, interpolate=True, registers=3),
    "table": LookUpUnit([0, 3, 9, 4], input=signed(6), output=4),
    "add": FloatAdd(FP16),
    "multiply": Streamed(FloatMultiply(FP16, registers=2)),
}


#: Parts that leave bits unread, and which.
DROPPED = {"line": "those below the rounding", "table": "of the input, those within a segment"}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_builds_and_says_what_every_port_is(name: str) -> None:
    part = PARTS[name]
    circuit = part_circuit(part)
    assert circuit.name == part.title
    assert all(port.meaning for port in circuit.ports)
    assert circuit.parameters == part.parameters and circuit.timing == part.timing
    assert circuit.combinational == (not any("clk" in line for line in circuit.rtlil.splitlines()))
    assert circuit.combinational or part.timing.latency or circuit.streams


@pytest.mark.needs("verilator")
@pytest.mark.parametrize("name", PARTS)
def test_a_part_lints_clean(name: str) -> None:
    found = list(lint(part_circuit(PARTS[name])))
    if name in DROPPED:
        found = [finding for finding in found if finding.rule != "UNUSEDSIGNAL"]
    assert found == []


def test_a_floating_point_part_is_small_modules_with_names() -> None:
    assert part_circuit(FloatMultiply(FP16)).modules == {
        "fp16_multiply": 1,
        "fp16_round": 1,
        "leading_one_16": 2,
        "shift_right_23_by_23_sticky_to_13_largest_first": 1,
    }


def test_a_circuit_takes_the_name_it_is_given() -> None:
    circuit = part_circuit(Fifo(8, depth=2), name="input_queue")
    assert circuit.name == "input_queue" and "module input_queue" in circuit.verilog
