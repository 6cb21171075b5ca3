"""Circuits written by hand in Verilog, for the tests of synthesis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.rtl import Circuit, Port, Stream, Timing, run_yosys

Values = Mapping[str, NDArray[Any]]


def circuit(
    verilog: str, ports: str, *, clocked: bool = False, streams: Sequence[Stream] = ()
) -> Circuit:
    """Return a circuit of a text whose last module is the top; ports as ``a:8 b:8 > y:16``."""
    modules = re.findall(r"module (\w+)", verilog)
    name = modules[-1]
    passes = ["read_verilog a.v", f"hierarchy -check -top {name}", "proc", "write_rtlil a.il"]
    made = run_yosys(passes, doing=f"reading {name}", inputs={"a.v": verilog}, outputs=["a.il"])
    ins, outs = (side.split() for side in ports.split(">"))
    listed = [(text, "in") for text in ins] + [(text, "out") for text in outs]
    return Circuit(
        name=name, parameters={}, streams=tuple(streams),
        ports=tuple(
            Port(name=text.split(":")[0], direction=way, width=int(text.split(":")[1]))
            for text, way in listed
        ),
        timing=Timing(latency=0, interval=1, rule="at once"), summary="A test.",
        verilog=verilog, rtlil=made["a.il"], modules=dict.fromkeys(modules, 1),
        clock="clk" if clocked else "", reset="rst" if clocked else "",
    )  # fmt: skip


def nand() -> Circuit:
    return circuit(
        "module nand2(input a, b, output y); assign y = ~(a & b); endmodule", "a:1 b:1 > y:1"
    )


def nand_values(inputs: Values) -> Values:
    return {"y": 1 - (inputs["a"] & inputs["b"])}


def product(width: int) -> Circuit:
    text = (
        f"module product(input [{width - 1}:0] a, b, output [{2 * width - 1}:0] y);"
        " assign y = a * b; endmodule"
    )
    return circuit(text, f"a:{width} b:{width} > y:{2 * width}")


def product_values(inputs: Values) -> Values:
    return {"y": inputs["a"] * inputs["b"]}


def register(width: int = 8) -> Circuit:
    """Return a register of `width` bits that no reset touches."""
    text = (
        f"module register(input clk, rst, input [{width - 1}:0] d, output reg [{width - 1}:0] q);"
        f" initial q = 0; always @(posedge clk) q <= d; endmodule"
    )
    return circuit(text, f"d:{width} > q:{width}", clocked=True)


def register_values(inputs: Values) -> Values:
    d = inputs["d"]
    return {"q": np.concatenate([np.zeros_like(d[:1]), d[:-1]])}


def accumulator() -> Circuit:
    """Return y, the sum of a over the cycles in which en was 1, modulo 256."""
    text = """
    module accumulator(input clk, rst, en, input [7:0] a, output reg [7:0] y);
      always @(posedge clk) if (rst) y <= 0; else if (en) y <= y + a;
    endmodule"""
    return circuit(text, "en:1 a:8 > y:8", clocked=True)


def accumulator_values(inputs: Values) -> Values:
    total = np.cumsum(inputs["a"] * inputs["en"], dtype=np.uint64) & np.uint64(255)
    return {"y": np.concatenate([np.zeros(1, np.uint64), total[:-1]])}
