"""A netlist is believed only after simulation: what a tool breaks or drops is caught."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, Stream, simulation
from orrery.rtl.synthesis import MiscompiledError, synthesise, verify_netlist
from orrery.rtl.synthesis._aiger import from_bits, to_bits
from orrery.rtl.synthesis._netlist import and_graph
from orrery.rtl.synthesis._stimulus import own

from .synthesis_cases import (
    accumulator,
    accumulator_values,
    circuit,
    nand,
    nand_values,
    product,
    product_values,
)

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]


def _swapped(netlist: Circuit, one: str, other: str) -> Circuit:
    """Return the netlist with the first cell of one kind made another, of the same pins."""
    head, found, tail = netlist.rtlil.rpartition(f"  cell \\{one} ")
    assert found
    return dataclasses.replace(netlist, rtlil=f"{head}  cell \\{other} {tail}")


def test_a_wrong_cell_is_caught() -> None:
    """One XOR of a 4x4 multiplier becomes an XNOR."""
    design = product(4)
    netlist = synthesise(design, reference=product_values).netlist
    verify_netlist(design, netlist, reference=product_values)
    with pytest.raises(
        MiscompiledError, match=r"output y differs in \d+ of 256 rows of every input"
    ):
        verify_netlist(design, _swapped(netlist, "XOR2", "XNOR2"), reference=product_values)


def test_a_wrong_cell_of_a_clocked_circuit_is_caught() -> None:
    design = accumulator()
    netlist = synthesise(design, reference=accumulator_values).netlist
    with pytest.raises(MiscompiledError, match="output y differs"):
        verify_netlist(design, _swapped(netlist, "XOR2", "XNOR2"), reference=accumulator_values)


def test_a_dropped_input_bit_is_named_though_its_effect_is_rare() -> None:
    """Bit 3 of a is taken for 0: the netlist of the same circuit with three bits of a."""
    design = product(4)
    text = "module product(input [3:0] a, b, output [7:0] y); assign y = a[2:0] * b; endmodule"
    broken = circuit(text, "a:4 b:4 > y:8")
    with pytest.raises(MiscompiledError, match=r"reach no output: a\[3\] \(1 of 4 bits\)"):
        verify_netlist(design, broken, reference=product_values)


def test_bits_that_are_ignored_are_declared_with_a_reason() -> None:
    text = "module low(input [7:0] a, input u, output [3:0] y); assign y = ~a[3:0]; endmodule"
    design = circuit(text, "a:8 u:1 > y:4")

    def values(inputs):  # type: ignore[no-untyped-def]
        return {"y": ~inputs["a"] & np.uint64(15)}

    with pytest.raises(MiscompiledError, match=r"a\[7:4\] \(4 of 8 bits\), u\[0\] \(1 of 1 bits\)"):
        synthesise(design, reference=values)
    done = synthesise(design, reference=values, unused={"a[7:4]": "reserved", "u": "for later"})
    assert done.cells == {"INV": 4}
    for wrong, message in {
        "a[7:3]": r"a\[3\], which reaches an output", "a[8]": r"within 7:0", "y": "an input",
        "a[4:7]": "higher bit first", "b": "one of a, u, y", "a b": "the reason",
    }.items():  # fmt: skip
        with pytest.raises(SpecError, match=message):
            synthesise(design, reference=values, unused={wrong: "why"})
    with pytest.raises(SpecError, match="the reason"):
        synthesise(design, reference=values, unused={"u": " "})


def test_given_vectors_are_compared_and_checked() -> None:
    design = accumulator()
    netlist = synthesise(design, reference=accumulator_values).netlist
    run = {"en": np.ones(5, np.uint64), "a": np.arange(5, dtype=np.uint64)}
    found = verify_netlist(design, netlist, [run, run], reference=accumulator_values)
    assert found.stimuli[:2] == ("the given vectors",) * 2
    for wrong, message in (
        ({"en": run["en"]}, "no 'a'"), ({**run, "b": run["a"]}, "name its inputs"),
        ({**run, "a": run["a"][:2]}, r"lengths \[2, 5\]"),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=message):
            verify_netlist(design, netlist, wrong, reference=accumulator_values)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("wire g = clk & en; always @(posedge g) y <= a;", "not clocked by the rising edge of clk"),
        ("always @(negedge clk) if (en) y <= a;", "not clocked by the rising edge of clk"),
        ("always @* if (en) y = a;", "reset|latch|not clocked|exit status"),
    ],
)
def test_other_clocks_and_latches_are_refused(body: str, message: str) -> None:
    text = f"module odd(input clk, rst, en, a, output reg y); {body} endmodule"
    design = circuit(text, "en:1 a:1 > y:1", clocked=True)
    with pytest.raises(MiscompiledError, match=message):
        verify_netlist(design, design, reference=lambda inputs: {"y": inputs["a"]})


def test_first_values_and_synchronous_reset_are_kept() -> None:
    """A counter from 5, and a flip-flop that starts at 1 and that no reset touches."""
    text = """
    module count(input clk, rst, step, output reg [2:0] y, output reg first);
      initial begin y = 5; first = 1; end
      always @(posedge clk) begin first <= 0; if (rst) y <= 5; else y <= y + step; end
    endmodule"""
    design = circuit(text, "step:1 > y:3 first:1", clocked=True)
    graph = and_graph(design, doing="a test")
    step = np.array([[1, 1, 0, 1]], np.uint8)[:, :, None]
    found = graph.simulate({"step": step}, held={"rst": [1, 0, 0, 0]})
    assert from_bits(found["y"][0], signed=False).tolist() == [5, 5, 6, 6]
    assert from_bits(found["first"][0], signed=False).tolist() == [1, 0, 0, 0]


@pytest.mark.needs("iverilog")
def test_icarus_simulates_the_netlist_alike(tmp_path: Path) -> None:
    """An independent simulator on the netlist's Verilog, with our models of the cells."""
    design = accumulator()
    netlist = synthesise(design, reference=accumulator_values).netlist
    bits = own(design, runs=1, cycles=64, seed=3)[0].bits
    a, en = (from_bits(bits[name][0], signed=False) for name in ("a", "en"))
    bench = f"""
    module bench;
      reg clk = 0, rst = 1, en = 0; reg [7:0] a = 0; wire [7:0] y;
      accumulator dut(.clk(clk), .rst(rst), .en(en), .a(a), .y(y));
      reg [8:0] rows [0:{len(a) - 1}]; integer k;
      initial begin
        $readmemh("rows.hex", rows);
        #1 clk = 1; #1 clk = 0; rst = 0;
        for (k = 0; k < {len(a)}; k = k + 1) begin
          {{en, a}} = rows[k]; #1 $display("%0d", y); clk = 1; #1 clk = 0;
        end
      end
    endmodule"""
    rows = "".join(f"{int(e) << 8 | int(v):x}\n" for e, v in zip(en, a, strict=True))
    (tmp_path / "rows.hex").write_text(rows)
    (tmp_path / "n.v").write_text(netlist.verilog + bench)
    subprocess.run(["iverilog", "-s", "bench", "-o", "n", "n.v"], cwd=tmp_path, check=True)
    said = subprocess.run(["vvp", "n"], cwd=tmp_path, check=True, capture_output=True, text=True)
    wanted = accumulator_values({"a": a, "en": en})["y"].tolist()
    assert [int(line) for line in said.stdout.split()] == wanted
    graph = and_graph(netlist, doing="a test")
    started = {k: np.concatenate([0 * v[:, :1], v], axis=1) for k, v in bits.items()}
    ours = graph.simulate(started, held={"rst": [1] + [0] * len(a)})
    assert from_bits(ours["y"][0], signed=False)[1:].tolist() == wanted


def test_bits_and_values() -> None:
    wide = np.array([[1, 2], [2**64 - 1, 3]], np.uint64)
    assert from_bits(to_bits(wide, 66), signed=False).tolist() == wide.tolist()
    negative = np.array([-3, 2], np.int64)
    assert to_bits(negative, 4).tolist() == [[1, 0, 1, 1], [0, 1, 0, 0]]
    assert from_bits(to_bits(negative, 4), signed=True).tolist() == [-3, 2]
    assert from_bits(to_bits(negative, 64), signed=True).tolist() == [-3, 2]


def test_a_circuit_without_inputs_is_refused() -> None:
    design = circuit("module one(output y); assign y = 1; endmodule", " > y:1")
    with pytest.raises(SpecError, match=r"found .no inputs., wanted at least one input"):
        verify_netlist(design, design)


def test_outputs_that_are_constant_are_compared_too() -> None:
    """Yosys leaves constant outputs out of its map; a wrong constant is wrong all the same."""
    text = """module c(input a, output [2:0] y, output z, same);
      assign y = {a, 2'b10}; assign z = 1; assign same = a; endmodule"""
    ports = "a:1 > y:3 z:1 same:1"
    design = circuit(text, ports)

    def values(inputs):  # type: ignore[no-untyped-def]
        a = inputs["a"]
        return {"y": a * np.uint64(4) + np.uint64(2), "z": 0 * a + np.uint64(1), "same": a}

    assert synthesise(design, reference=values).area == 0
    wrong = circuit(text.replace("2'b10", "2'b11"), ports)
    with pytest.raises(MiscompiledError, match="the circuit gives 0x2, the netlist 0x3"):
        verify_netlist(design, wrong, reference=values)


def test_stimuli_reach_every_bit_and_move_handshakes() -> None:
    stream = Stream(name="i", direction="in", payload=("i__payload",))
    text = """module w(input clk, rst, i__valid, input [69:0] i__payload, output y);
      assign y = i__valid & ^i__payload; endmodule"""
    design = circuit(text, "i__valid:1 i__payload:70 > y:1", clocked=True, streams=[stream])
    random, extremes, alone = own(design, runs=8, cycles=50, seed=0)
    assert random.bits["i__payload"].shape == (8, 50, 70)
    valid = random.bits["i__valid"].mean(axis=(1, 2))
    assert valid.max() == 1 and 0 < valid.min() < 0.5
    assert not extremes.bits["i__payload"][0].any() and extremes.bits["i__payload"][1].all()
    sums = alone.bits["i__payload"].sum(axis=2)
    assert sorted(set(sums[0].tolist())) == [0, 1] and alone.bits["i__valid"].all()


def test_the_default_reference_is_a_simulation_engine() -> None:
    """The one test here that compiles the RTL."""
    design = nand()
    netlist = synthesise(design, reference=nand_values).netlist
    assert verify_netlist(design, netlist).exhaustive
    with pytest.raises(MiscompiledError):
        verify_netlist(design, _swapped(netlist, "NAND2", "NOR2"))


def test_the_netlist_runs_in_the_circuits_engines() -> None:
    """What synthesis returns is a circuit like any other: same ports, same answers."""
    design = accumulator()
    netlist = synthesise(design, reference=accumulator_values).netlist
    assert (netlist.name, netlist.ports, netlist.clock) == (design.name, design.ports, "clk")
    random = np.random.default_rng(1)
    inputs = {"en": random.integers(0, 2, 300), "a": random.integers(0, 256, 300)}
    found = simulation(netlist, "cxxrtl").cycles(inputs)["y"]
    wanted = accumulator_values({k: v.astype(np.uint64) for k, v in inputs.items()})["y"]
    assert found.tolist() == wanted.tolist()


def test_outputs_that_no_reset_defines_are_named() -> None:
    """q is a register without reset; valid has one, so that its payload is right when offered."""
    text = """
    module part(input clk, rst, i__valid, input [3:0] i__payload, input o__ready,
        output reg i__ready, output reg o__valid, output reg [3:0] o__payload, output reg q);
      initial begin o__valid = 0; o__payload = 0; q = 0; end
      always @* i__ready = 1;
      always @(posedge clk) begin
        if (rst) o__valid <= 0; else o__valid <= i__valid;
        if (i__valid) o__payload <= i__payload;
        q <= q ^ i__valid;
      end
    endmodule"""
    streams = [
        Stream(name=name, direction=way, payload=(f"{name}__payload",))  # type: ignore[arg-type]
        for name, way in (("i", "in"), ("o", "out"))
    ]
    ports = "i__valid:1 i__payload:4 o__ready:1 > i__ready:1 o__valid:1 o__payload:4 q:1"
    design = circuit(text, ports, clocked=True, streams=streams)

    def values(inputs):  # type: ignore[no-untyped-def]
        valid, payload = inputs["i__valid"], inputs["i__payload"]
        late, held = np.concatenate([[0], valid[:-1]]), [0]
        for offered, item in zip(valid, payload, strict=True):
            held.append(int(item) if offered else held[-1])
        parity = np.concatenate([[0], np.cumsum(valid)[:-1]]).astype(np.uint64) % np.uint64(2)
        payloads = np.array(held[:-1], np.uint64)
        return {"i__ready": 0 * valid + 1, "o__valid": late, "o__payload": payloads, "q": parity}

    unused = {"o__ready": "the result is always taken"}
    found = verify_netlist(design, design, reference=values, unused=unused)
    assert found.unreset == ("q",)
    bare = dataclasses.replace(design, streams=())
    found = verify_netlist(bare, bare, reference=values, unused=unused)
    assert found.unreset == ("o__payload", "q")
