"""What a circuit shows before its first clock edge, in a simulator that knows unknown values."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from orrery.rtl import Timing, build, lint, simulation

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++", "iverilog"),
    pytest.mark.rtl,
]


def _chooser() -> Any:
    """Return a component with a case of five arms, a part of a word chosen, a signed choice."""
    from amaranth.hdl import Module, Mux, Signal, signed
    from amaranth.lib import wiring
    from amaranth.lib.wiring import In, Out

    class Chooser(wiring.Component):
        def __init__(self) -> None:
            super().__init__(
                {"a": In(8), "y": Out(8), "part": Out(8), "least": Out(signed(6))}
            )  # fmt: skip

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            state, offset = Signal(3, init=3), Signal(signed(6), init=-7)
            m.d.sync += [state.eq(Mux(state == 4, 0, state + 1)), offset.eq(offset + 1)]
            with m.Switch(state):
                for k in range(5):
                    with m.Case(k):
                        m.d.comb += self.y.eq(self.a + 17 * k)
                with m.Default():
                    m.d.comb += self.y.eq(~self.a)
            m.d.comb += self.part.word_select(state[:2], 2).eq(self.a[:2])
            with m.If(state == 1):
                m.d.comb += self.least.eq(offset)
            with m.Elif(state == 2):
                m.d.comb += self.least.eq(-offset)
            with m.Elif(offset < -3):
                m.d.comb += self.least.eq(offset >> 1)
            with m.Elif(self.a[7]):
                m.d.comb += self.least.eq(5)
            with m.Else():
                m.d.comb += self.least.eq(-1)
            return m

    return Chooser()


def test_nothing_is_unknown_at_power_up(tmp_path: Path) -> None:
    """Nothing that the outputs are chosen by changes before the first look at them."""
    timing = Timing(latency=0, interval=1, rule="as the test says")
    circuit = build(_chooser(), name="chooser", parameters={}, timing=timing, summary="A test.")
    assert "function" in circuit.verilog
    assert "always @*" not in circuit.verilog
    assert not lint(circuit)
    bench = """
    module bench;
      reg clk = 0, rst = 0; reg [7:0] a = 8'h2B; integer k;
      wire [7:0] y, part; wire signed [5:0] least;
      chooser dut(.clk(clk), .rst(rst), .a(a), .y(y), .part(part), .least(least));
      initial for (k = 0; k < 12; k = k + 1) begin
        #1 $display("%0d %0d %0d", y, part, least); clk = 1; #1 clk = 0;
      end
    endmodule"""
    (tmp_path / "b.v").write_text(circuit.verilog + bench)
    subprocess.run(
        ["iverilog", "-g2012", "-s", "bench", "-o", "b", "b.v"], cwd=tmp_path, check=True
    )
    said = subprocess.run(["vvp", "b"], cwd=tmp_path, check=True, capture_output=True, text=True)
    rows = [[int(word) for word in line.split()] for line in said.stdout.splitlines()]
    assert rows[0] == [0x2B + 17 * 3, 0b11 << 6, -4]
    run = simulation(circuit, "verilator").cycles({"a": [0x2B] * 12})  # begins with the same values
    assert [list(map(int, row)) for row in zip(run["y"], run["part"], run["least"])] == rows
