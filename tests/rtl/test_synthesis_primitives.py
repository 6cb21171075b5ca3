"""An FPGA's primitives as we tell them, beside Yosys' models of the same cells."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from orrery.rtl import run_yosys
from orrery.rtl.synthesis._gates import netlist_graph
from orrery.rtl.synthesis._netlist import MiscompiledError, and_graph
from orrery.rtl.synthesis._primitives import xilinx_meaning

from .synthesis_cases import circuit

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]

#: Every primitive once, its address or data from `a`, its state moved by `en`.
TEXT = """
module all(input clk, rst, en, input [7:0] a, b, output [28:0] y);
  wire [3:0] c4, o4; wire [7:0] c8, o8;
  LUT1 #(.INIT(2'h1)) l1(.I0(a[0]), .O(y[0]));
  LUT3 #(.INIT(8'h96)) l3(.I0(a[0]), .I1(a[1]), .I2(b[0]), .O(y[1]));
  LUT6 #(.INIT(64'h8421_1248_f00f_9669)) l6(.I0(a[0]), .I1(a[1]), .I2(a[2]), .I3(b[3]), .I4(b[4]),
    .I5(b[5]), .O(y[2]));
  INV i(.I(b[7]), .O(y[3]));
  MUXF7 m(.I0(a[3]), .I1(b[2]), .S(a[4]), .O(y[4]));
  CARRY4 k4(.CI(1'b0), .CYINIT(b[1]), .DI(a[3:0]), .S(b[3:0]), .O(o4), .CO(c4));
  CARRY8 #(.CARRY_TYPE("SINGLE_CY8")) k8(.CI(a[5]), .CI_TOP(1'b0), .DI(a), .S(b), .O(o8), .CO(c8));
  assign y[12:5] = {o4, c4}; assign y[22:13] = {o8, c8[7], c8[3]};
  FDRE #(.INIT(1'b1)) f1(.C(clk), .CE(en), .D(a[6]), .R(b[6]), .Q(y[23]));
  FDSE #(.INIT(1'b0)) f2(.C(clk), .CE(a[7]), .D(b[7]), .S(en), .Q(y[24]));
  SRL16E #(.INIT(16'h5a3c)) s1(.CLK(clk), .CE(en), .D(a[0]), .A0(b[0]), .A1(b[1]), .A2(b[2]),
    .A3(b[3]), .Q(y[25]));
  SRLC32E #(.INIT(32'hdeadbeef)) s2(.CLK(clk), .CE(a[1]), .D(b[2]), .A(a[7:3]), .Q(y[26]),
    .Q31(y[27]));
  LUT2 #(.INIT(4'h0)) l2(.I0(a[0]), .I1(b[0]), .O(y[28]));
endmodule"""


def test_each_primitive_answers_as_yosys_model_of_it() -> None:
    read = ["read_verilog -lib +/xilinx/cells_sim.v", "read_verilog n.v", "hierarchy -top all"]
    made = run_yosys(
        [*read, "select all", "write_json -selected n.json", "write_rtlil -selected n.il"],
        doing="a test", inputs={"n.v": TEXT}, outputs=["n.json", "n.il"],
    )  # fmt: skip
    stand_in = "module all(input clk, rst, en, input [7:0] a, b, output [28:0] y); endmodule"
    design = circuit(stand_in, "en:1 a:8 b:8 > y:29", clocked=True)
    module = json.loads(made["n.json"])["modules"]["all"]
    ours = netlist_graph(design, module, xilinx_meaning, of="xcup", doing="a test")
    theirs = and_graph(
        dataclasses.replace(design, rtlil=made["n.il"]), doing="a test",
        prepare=["read_verilog -defer +/xilinx/cells_sim.v"],
    )  # fmt: skip
    random = np.random.default_rng(0)
    shape = (100, 40)
    bits = {name: random.integers(0, 2, (*shape, width)).astype(np.uint8)
            for name, width in (("en", 1), ("a", 8), ("b", 8))}  # fmt: skip
    one, other = ours.simulate(bits)["y"], theirs.simulate(bits)["y"]
    differs = np.flatnonzero((one != other).any(axis=(0, 1)))
    assert not len(differs), differs
    assert len(ours.latches) == 2 + 16 + 32
    assert len(ours.gates) < len(theirs.gates)


def test_what_is_not_told_is_refused_or_left_to_yosys() -> None:
    def cell(kind: str, **parameters: str) -> dict[str, object]:
        return {"type": kind, "parameters": parameters}

    assert xilinx_meaning(cell("FDRE", INIT="x", IS_C_INVERTED="1")) is None
    assert xilinx_meaning(cell("FDRE", INIT="x", IS_C_INVERTED="0")) is not None
    for kind in ("FDCE", "DSP48E2", "RAM32M16", "LUT6_2", "LUT7"):
        assert xilinx_meaning(cell(kind, INIT="0")) is None
    assert xilinx_meaning(cell("CARRY8", CARRY_TYPE="DUAL_CY4")) is None
    design = circuit("module one(input a, output y); assign y = a; endmodule", "a:1 > y:1")
    module = {
        "ports": {"a": {"direction": "input", "bits": [2]},
                  "y": {"direction": "output", "bits": [3]}},
        "cells": {"d": {"type": "DSP48E2", "parameters": {}, "connections": {}}},
    }  # fmt: skip
    with pytest.raises(MiscompiledError, match="cell d is a DSP48E2, which xcup has not"):
        netlist_graph(design, module, xilinx_meaning, of="xcup", doing="a test")
