"""Netlists of cells as graphs: Yosys' own graph of the same netlist, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, run_yosys
from orrery.rtl.synthesis import MiscompiledError, read_library, synthesise, verify_netlist
from orrery.rtl.synthesis._gates import gate_graph
from orrery.rtl.synthesis._liberty import parse_library
from orrery.rtl.synthesis._models import cell_models
from orrery.rtl.synthesis._netlist import and_graph

from .synthesis_cases import accumulator, accumulator_values, circuit, product, product_values

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]
LIBRARY = read_library()


def cells(text: str, ports: str, *, clocked: bool = True) -> tuple[Circuit, dict[str, Any]]:
    """Return a netlist of library cells written by hand, and its module as Yosys' JSON."""
    names = [c.name for c in LIBRARY.cells.values() if c.outputs]
    design = circuit(cell_models(LIBRARY, names) + text, ports, clocked=clocked)
    passes = ["read_verilog -lib c.v", "read_verilog n.v", f"hierarchy -top {design.name}",
              "write_json n.json"]  # fmt: skip
    made = run_yosys(
        passes, doing="a test", inputs={"c.v": cell_models(LIBRARY, names), "n.v": text},
        outputs=["n.json"],
    )  # fmt: skip
    return design, json.loads(made["n.json"])["modules"][design.name]


MIXED = """
module mixed(input clk, rst, en, input [2:0] a, output [2:0] y, output z);
  (* init = 1'b1 *) wire q; wire r, s, t;
  DFFE one(.CK(clk), .D(s), .E(en), .Q(q));
  DFF two(.CK(clk), .D(q), .Q(r));
  XOR2 three(.A(a[0]), .B(q), .Y(s));
  MUX2 four(.A(a[1]), .B(a[2]), .S(r), .Y(t));
  assign y = {t, r, q}; assign z = 1'b0;
endmodule"""


def test_the_graph_answers_as_yosys_graph_of_the_same_cells() -> None:
    """Enables, a first value of 1, a constant output, an input that stands in no gate (rst)."""
    design, module = cells(MIXED, "en:1 a:3 > y:3 z:1")
    ours = gate_graph(design, module, LIBRARY, doing="a test")
    theirs = and_graph(design, doing="a test")
    random = np.random.default_rng(0)
    bits = {"en": random.integers(0, 2, (70, 30, 1)).astype(np.uint8),
            "a": random.integers(0, 2, (70, 30, 3)).astype(np.uint8)}  # fmt: skip
    one, other = (graph.simulate(bits) for graph in (ours, theirs))
    for port in ("y", "z"):
        assert np.array_equal(one[port], other[port]), port
    assert one["y"][:, 0, 0].all()
    assert ours.reaching() == {("en", 0), ("a", 0), ("a", 1), ("a", 2)}


def test_every_run_may_start_otherwise() -> None:
    design, module = cells(MIXED.replace("MUX2 four(.A(a[1]), .B(a[2]), .S(r), .Y(t));",
                                         "AND2 four(.A(a[1]), .B(a[2]), .Y(t));"),
                           "en:1 a:3 > y:3 z:1")  # fmt: skip
    graph = gate_graph(design, module, LIBRARY, doing="a test")
    bits = {"en": np.zeros((3, 2, 1), np.uint8), "a": np.zeros((3, 2, 3), np.uint8)}
    found = graph.simulate(bits, first=np.array([[0, 0], [0, 1], [1, 0]]))["y"]
    assert sorted(found[:, 0, :2].tolist()) == [[0, 0], [0, 1], [1, 0]]
    assert np.array_equal(found[:, 1, 1], found[:, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("two(.CK(clk)", "two(.CK(en)"), "two .DFF. is not clocked by the rising edge of clk"),
        (("XOR2 three(.A(a[0])", "XOR2 three(.A(s)"), "gate three stands in a loop"),
        (("XOR2 three(.A(a[0]), .B(q), .Y(s));", ""), "pin D of one has no driver"),
        (("XOR2 three(.A(a[0])", "XOR2 three(.A(clk)"), "pin A of three reads the clock"),
        (("{t, r, q}", "{rst, r, q} ^ 0"), "cell .* is a .xor, which orrery_nand2 has not"),
        (("DFF two(.CK(clk), .D(q), .Q(r))", "DFFR two(.CK(clk), .RN(en), .D(q), .Q(r))"),
         "has a clear that is not tied off"),
        ((".Y(s));", ".Y(s)); INV five(.A(a[0]), .Y(s));"), "is driven by (three|five) and"),
    ],
)  # fmt: skip
def test_netlists_that_are_none_are_refused(change: tuple[str, str], message: str) -> None:
    text = MIXED.replace("MUX2 four(.A(a[1]), .B(a[2]), .S(r), .Y(t));",
                         "AND2 four(.A(a[1]), .B(a[2]), .Y(t));")  # fmt: skip
    design, module = cells(text.replace(*change), "en:1 a:3 > y:3 z:1")
    with pytest.raises(MiscompiledError, match=message):
        gate_graph(design, module, LIBRARY, doing="a test")


def test_a_port_that_was_lost_is_named() -> None:
    design, module = _lost()
    with pytest.raises(MiscompiledError, match="no port z of the circuit's width"):
        gate_graph(design, module, LIBRARY, doing="a test")


def _lost() -> tuple[Circuit, dict[str, Any]]:
    design, module = cells("module inv(input a, output y); INV i(.A(a), .Y(y)); endmodule",
                           "a:1 > y:1", clocked=False)  # fmt: skip
    wider = dataclasses.replace(design.ports[1], name="z")
    return dataclasses.replace(design, ports=(*design.ports, wider)), module


@pytest.mark.parametrize(
    ("make", "values"), [(lambda: product(6), product_values), (accumulator, accumulator_values)]
)
def test_what_was_returned_is_what_was_compared(make: Callable[[], Circuit], values: Any) -> None:
    """The netlist in the result passes Yosys' own reading of it too, on the same vectors."""
    design = make()
    done = synthesise(design, reference=values)
    again = verify_netlist(design, done.netlist, reference=values)
    assert again == done.verified


def test_a_circuit_without_outputs_is_refused() -> None:
    design = circuit("module sink(input a); endmodule", "a:1 >")
    with pytest.raises(SpecError, match=r"found .no outputs., wanted at least one output"):
        synthesise(design)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area : 5.666667;", "", "DFF: area.*wanted a number"),
        ("cell (INV) {", "cell (BUF) {", "two cells .BUF."),
    ],
)
def test_a_library_that_would_miscount_is_refused(old: str, new: str, message: str) -> None:
    """A cell without area would count as nothing."""
    with pytest.raises(SpecError, match=message):
        parse_library(LIBRARY.text.replace(old, new), where="a test")
