"""The longest path, by hand: chains, forks, edges, trees of buffers, flip-flops."""

from __future__ import annotations

import pytest

from orrery.rtl import Circuit, Timing
from orrery.rtl.synthesis import TimingPath, read_library
from orrery.rtl.synthesis._liberty import parse_library
from orrery.rtl.synthesis._library import Library
from orrery.rtl.synthesis._timing import longest_paths

#: The time unit of our library: one tau is 4 ps.
TAU = 4e-12
CLOCKED = Circuit(
    name="top", parameters={}, ports=(), streams=(), summary="", verilog="", rtlil="",
    timing=Timing(latency=0, interval=1, rule=""),
)  # fmt: skip


def _paths(
    cells: dict[str, tuple[str, dict[str, object]]], ports: dict[str, tuple[str, list[object]]],
    library: Library | None = None,
) -> dict[str, TimingPath]:  # fmt: skip
    """Return the longest path of each kind of a netlist written as Yosys writes it."""
    module = {
        "ports": {k: {"direction": way, "bits": bits} for k, (way, bits) in ports.items()},
        "cells": {
            name: {"type": kind, "connections": {pin: [bit] for pin, bit in pins.items()}}
            for name, (kind, pins) in cells.items()
        },
    }
    found = longest_paths(CLOCKED, module, library or read_library())
    assert list(found) == sorted(found, key=lambda path: -path.delay_s)
    return {path.kind: path for path in found}


def test_a_chain_of_inverters() -> None:
    """Each drives the next one, so 1 + 1 tau, and the last drives nothing, 1 tau."""
    cells = {f"i{k}": ("INV", {"A": 10 + k, "Y": 11 + k}) for k in range(5)}
    path = _paths(cells, {"a": ("input", [10]), "y": ("output", [15])})["input to output"]
    assert path.delay_s == pytest.approx((4 * 2 + 1) * TAU)
    assert [step.instance for step in path.steps] == ["i0", "i1", "i2", "i3", "i4"]
    assert (path.start, path.end, path.setup_s, path.buffered) == ("a[0]", "y[0]", 0, 0)
    assert [step.rising for step in path.steps] in (
        [True, False] * 2 + [True], [False, True] * 2 + [False]
    )  # fmt: skip


def test_a_ripple_carry_chain() -> None:
    """Carry by AND2 and OR2 in turn: p = 4 each, g = 4/3 and 5/3 of the one it drives."""
    cells: dict[str, tuple[str, dict[str, object]]] = {}
    for k in range(3):
        cells[f"and{k}"] = ("AND2", {"A": 10 + 2 * k, "B": 50, "Y": 11 + 2 * k})
        cells[f"or{k}"] = ("OR2", {"A": 11 + 2 * k, "B": 51, "Y": 12 + 2 * k})
    ports = {
        "c": ("input", [10]),
        "u": ("input", [50]),
        "v": ("input", [51]),
        "y": ("output", [16]),
    }
    path = _paths(cells, ports)["input to output"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx((3 * (4 + 5 / 3) + 2 * (4 + 4 / 3) + 4) * TAU, rel=1e-5)
    assert path.start == "c[0]"


def test_the_slower_of_two_ways_counts_and_pins_differ() -> None:
    """From S the multiplexer takes 9 tau, from A 6; A has an inverter before it, 1 + 2."""
    cells = {
        "i": ("INV", {"A": 2, "Y": 3}),
        "m": ("MUX2", {"A": 3, "B": 4, "S": 5, "Y": 6}),
    }
    ports = {"a": ("input", [2]), "b": ("input", [4]), "s": ("input", [5]), "y": ("output", [6])}
    path = _paths(cells, ports)["input to output"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx(9 * TAU) and path.start == "a[0]"
    slower = {**cells, "j": ("INV", {"A": 2, "Y": 7}), "i": ("INV", {"A": 7, "Y": 3})}
    path = _paths(slower, ports)["input to output"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx((1 + 1 + 1 + 2 + 6) * TAU)
    assert [step.instance for step in path.steps] == ["j", "i", "m"]


def test_flip_flops_begin_and_end_paths() -> None:
    """10 tau clock to output and g = 4/3; NAND2 2 tau and g = 2 of the next D; 5 tau of setup."""
    cells = {
        "one": ("DFF", {"CK": 2, "D": 3, "Q": 4}), "two": ("DFF", {"CK": 2, "D": 5, "Q": 6}),
        "n": ("NAND2", {"A": 4, "B": 7, "Y": 5}),
    }  # fmt: skip
    ports = {
        "clk": ("input", [2]), "d": ("input", [3]), "e": ("input", [7]), "q": ("output", [6])
    }  # fmt: skip
    found = _paths(cells, ports)  # type: ignore[arg-type]
    between = found["register to register"]
    assert between.delay_s == pytest.approx((10 + 4 / 3 + 2 + 2 + 5) * TAU, rel=1e-5)
    assert between.setup_s == pytest.approx(5 * TAU)
    assert (between.start, between.end) == ("one", "two at D")
    assert found["input to register"].delay_s == pytest.approx((2 + 2 + 5) * TAU)
    assert found["register to output"].delay_s == pytest.approx(10 * TAU)
    assert "input to output" not in found


def test_a_great_fanout_goes_through_a_tree_of_buffers() -> None:
    """64 inverters: alone 1 + 64 tau; as a tree 1 + 4, then two stages of 3 + 4."""
    cells = {"i": ("INV", {"A": 2, "Y": 3})}
    cells |= {f"s{k}": ("INV", {"A": 3, "Y": 100 + k}) for k in range(64)}
    ports = {"a": ("input", [2]), "y": ("output", [100 + k for k in range(64)])}
    path = _paths(cells, ports)["input to output"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx((1 + 4 + 2 * (3 + 4) + 1) * TAU)
    assert path.buffered == 1 and path.steps[0].fanout == 64
    few = {k: v for k, v in cells.items() if k == "i" or int(k[1:]) < 8}
    path = _paths(few, {"a": ("input", [2]), "y": ("output", [100])})["input to output"]
    assert path.delay_s == pytest.approx((1 + 8 + 1) * TAU) and path.buffered == 0


EDGES = """library (edges) { time_unit : "1ps"; capacitive_load_unit (1, ff);
  lu_table_template (s) { variable_1 : input_net_transition; index_1 ("0, 10"); }
  cell (NA) { area : 1; pin (A, B) { direction : input; capacitance : 1; }
    pin (Y) { direction : output; function : "!(A & B)";
      timing () { related_pin : "A B"; timing_sense : negative_unate;
        cell_rise (s) { values ("3, 13"); } cell_fall (s) { values ("5, 5"); }
        rise_transition (s) { values ("4, 4"); } fall_transition (s) { values ("7, 7"); } } } }
  cell (IN) { area : 1; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "!A"; } }
  cell (BU) { area : 1; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A"; } }
  cell (FF) { area : 1; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
    pin (C) { direction : input; clock : true; }
    pin (D) { direction : input; timing () { related_pin : "C"; timing_type : setup_rising;
      rise_constraint (scalar) { values ("20"); } fall_constraint (scalar) { values ("1"); } } }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : "C"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (scalar) { values ("2"); } cell_fall (scalar) { values ("1"); } } } }
}"""


def test_rising_and_falling_edges_and_slopes_are_apart() -> None:
    """NAND after NAND: rise 3 then fall 5; or fall 5 (slope 7), then rise 3 + 7 = 10: 15 in all."""
    library = parse_library(EDGES, where="edges")
    cells = {"p": ("NA", {"A": 2, "B": 9, "Y": 3}), "q": ("NA", {"A": 3, "B": 9, "Y": 4})}
    ports = {"a": ("input", [2]), "b": ("input", [9]), "y": ("output", [4])}
    path = _paths(cells, ports, library)["input to output"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx(15e-12)
    assert [step.rising for step in path.steps] == [False, True]
    assert [step.delay_s for step in path.steps] == pytest.approx([5e-12, 10e-12])


def test_setup_can_make_the_earlier_edge_the_slower_one() -> None:
    """At D the falling edge comes at 2 + 5 with 1 of setup, the rising at 1 + 3 with 20: 24."""
    library = parse_library(EDGES, where="edges")
    cells = {
        "f": ("FF", {"C": 2, "D": 3, "Q": 4}), "n": ("NA", {"A": 4, "B": 9, "Y": 3}),
    }  # fmt: skip
    ports = {"clk": ("input", [2]), "b": ("input", [9])}
    path = _paths(cells, ports, library)["register to register"]  # type: ignore[arg-type]
    assert path.delay_s == pytest.approx(24e-12) and path.setup_s == pytest.approx(20e-12)


def test_a_netlist_without_cells_has_no_path() -> None:
    assert _paths({}, {"a": ("input", [2]), "y": ("output", [2])}) == {}
