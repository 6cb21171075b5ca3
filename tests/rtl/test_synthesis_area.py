"""Areas known by counting, modules and macros, libraries of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import ToolError
from orrery.rtl.synthesis import Macro, MiscompiledError, synthesise

from .synthesis_cases import (
    Values,
    accumulator,
    accumulator_values,
    circuit,
    nand,
    nand_values,
    product,
    product_values,
    register,
    register_values,
)

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]

#: Area of a flip-flop of our library.
DFF = 17 / 3


def test_one_nand_is_one() -> None:
    found = synthesise(nand(), reference=nand_values)
    assert (found.area, found.nand2_equivalents, found.sequential_share) == (1.0, 1.0, 0.0)
    assert found.cells == {"NAND2": 1} and found.verified.exhaustive
    assert found.area_unit == "NAND2" and found.tool.startswith("Yosys ")
    assert len(found.script) == 12 and found.library.startswith("orrery_nand2 ")
    assert found.clock_hz is None and found.longest is not None


def test_a_register_is_its_flip_flops() -> None:
    found = synthesise(register(8), reference=register_values)
    assert found.cells == {"DFF": 8}
    assert found.area == pytest.approx(8 * DFF, abs=1e-4)
    assert found.sequential_share == 1.0


def test_an_enable_takes_the_flip_flop_that_has_one() -> None:
    text = """module held(input clk, rst, en, input [3:0] d, output reg [3:0] q);
      initial q = 0; always @(posedge clk) if (en) q <= d; endmodule"""

    def values(inputs: Values) -> Values:
        kept = [0]
        for en, d in zip(inputs["en"], inputs["d"], strict=True):
            kept.append(int(d) if en else kept[-1])
        return {"q": np.array(kept[:-1], np.uint64)}

    found = synthesise(circuit(text, "en:1 d:4 > q:4", clocked=True), reference=values)
    assert found.cells == {"DFFE": 4}
    assert found.area == pytest.approx(4 * 23 / 3, abs=1e-4)


@pytest.mark.parametrize("booth", [True, False])
def test_a_multiplier_is_right_on_every_input(booth: bool) -> None:
    found = synthesise(product(8), booth=booth, reference=product_values)
    assert found.verified.compared == 65536 and found.verified.exhaustive
    # 64 ANDs and 56 adders of two XORs, no less can do it without Booth; a bound, not a figure.
    assert 64 < found.area < 64 * 4 / 3 + 56 * 9
    assert found.booth is booth


PAIR = """
module cell_a(input a, b, output y); assign y = ~(a & b); endmodule
module cell_b(input clk, d, output reg q); initial q = 0; always @(posedge clk) q <= d; endmodule
module pair(input clk, rst, a, b, c, output [1:0] y);
  wire u, v;
  cell_a one(.a(a), .b(b), .y(u));
  cell_a two(.a(b), .b(c), .y(v));
  cell_b kept(.clk(clk), .d(u), .q(y[0]));
  assign y[1] = v;
endmodule"""


def _pair_values(inputs: Values) -> Values:
    u, v = 1 - (inputs["a"] & inputs["b"]), 1 - (inputs["b"] & inputs["c"])
    # The cycle of reset, in which the inputs are 0, leaves a 1 in the flip-flop.
    return {"y": np.concatenate([[1], u[:-1]]).astype(np.uint64) | v << np.uint64(1)}


@pytest.mark.parametrize("flatten", [True, False])
def test_areas_by_module(flatten: bool) -> None:
    design = circuit(PAIR, "a:1 b:1 c:1 > y:2", clocked=True)
    found = synthesise(design, flatten=flatten, reference=_pair_values)
    assert found.area == pytest.approx(2 + DFF, abs=1e-5)
    top = found.modules[0]
    assert (top.name, top.instances, top.area) == ("pair", 1, 0)
    assert top.total == pytest.approx(2 + DFF, abs=1e-5)
    one, kept = found.module("cell_a"), found.module("cell_b")
    assert (one.instances, one.area, one.sequential, one.cells) == (2, 1.0, 0, {"NAND2": 1})
    assert (kept.instances, kept.sequential) == (1, pytest.approx(DFF, abs=1e-6))
    assert sum(m.area * m.instances for m in found.modules) == pytest.approx(top.total)
    assert found.sequential == pytest.approx(DFF, abs=1e-6) and found.flattened is flatten
    if flatten:
        alone = synthesise(design, by_module=False, reference=_pair_values)
        assert len(alone.modules) == 1 and alone.modules[0].area == pytest.approx(2 + DFF, abs=1e-5)


def test_a_macro_counts_as_declared() -> None:
    design = circuit(PAIR, "a:1 b:1 c:1 > y:2", clocked=True)
    macro = Macro(area=100.0, source="a data sheet")
    found = synthesise(design, macros={"cell_b": macro}, reference=_pair_values)
    assert found.area == pytest.approx(102) and found.sequential == 0
    assert found.module("cell_b").macro and found.cells == {"NAND2": 2}
    assert any("cell_b: area 100 as declared, a data sheet" in note for note in found.notes)
    for wrong, message in (
        ({"cell_c": macro}, "did you mean 'cell_"), ({"pair": macro}, "a module below pair"),
        ({"cell_b": Macro(area=0, source="x")}, "above 0"),
        ({"cell_b": Macro(area=1, source="")}, "where it comes from"),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=message):
            synthesise(design, macros=wrong, reference=_pair_values)


def test_a_memory_becomes_flip_flops_and_says_so() -> None:
    text = """
    module keep(input clk, rst, we, input [1:0] at, input [2:0] d, output [2:0] q);
      reg [2:0] words [0:3]; assign q = words[at];
      always @(posedge clk) if (we) words[at] <= d;
    endmodule"""

    def values(inputs: Values) -> Values:
        words, read = [0] * 4, []
        for we, at, d in zip(inputs["we"], inputs["at"], inputs["d"], strict=True):
            read.append(words[int(at)])
            if we:
                words[int(at)] = int(d)
        return {"q": np.array(read, np.uint64)}

    design = circuit(text, "we:1 at:2 d:3 > q:3", clocked=True)
    found = synthesise(design, reference=values)
    assert [(m.name, m.words, m.width, m.written) for m in found.memories] == [
        ("words", 4, 3, True)
    ]
    assert found.cells["DFFE"] == 12
    assert "memory words, 4 x 3 bit, became flip-flops" in found.notes


#: Only what any circuit needs; areas in a unit of its own, the NAND at 4; no delays.
SMALL = """library (tiny) {
  cell (NA) { area : 4; pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A&B)"; } }
  cell (NOT) { area : 2; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A'"; } }
  cell (BU) { area : 3; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A"; } }
  cell (FF) { area : 20; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; @ASYNC@ }
    pin (C) { direction : input; clock : true; } pin (D) { direction : input; } @PIN@
    pin (Q) { direction : output; function : "IQ"; } }
}
"""


def test_the_users_own_library(tmp_path: Path) -> None:
    path = tmp_path / "tiny.lib"
    path.write_text(SMALL.replace("@ASYNC@", "").replace("@PIN@", ""))
    found = synthesise(register(3), liberty=path, reference=register_values)
    assert (found.area, found.nand2_equivalents) == (60, 15)
    assert found.paths == () and any("no delays" in note for note in found.notes)
    gates = synthesise(product(3), liberty=path, reference=product_values)
    assert set(gates.cells) == {"NA", "NOT"}
    assert gates.area == 4 * gates.cells["NA"] + 2 * gates.cells["NOT"]
    assert gates.area_unit == "the library's area unit"


def test_paths_name_the_registers_of_the_circuit() -> None:
    found = synthesise(accumulator(), reference=accumulator_values)
    between = next(path for path in found.paths if path.kind == "register to register")
    assert between.start.startswith("y[") and between.end.startswith("y[")
    assert found.clock_hz == pytest.approx(1 / between.delay_s)
    assert found.longest == max(found.paths, key=lambda path: path.delay_s)
    assert sum(step.delay_s for step in between.steps) + between.setup_s == pytest.approx(
        between.delay_s
    )


def test_a_library_whose_flip_flop_has_a_reset_only(tmp_path: Path) -> None:
    """Yosys ties the reset off; the netlist is the circuit all the same."""
    path = tmp_path / "reset.lib"
    text = SMALL.replace("@ASYNC@", 'clear : "RN\'";')
    path.write_text(text.replace("@PIN@", "pin (RN) { direction : input; }"))
    found = synthesise(accumulator(), liberty=path, reference=accumulator_values)
    assert found.cells["FF"] == 8


def test_what_a_library_cannot_build_is_named(tmp_path: Path) -> None:
    """Its one flip-flop cannot be set to 1 at once, as this circuit's asynchronous reset wants."""
    path = tmp_path / "tiny.lib"
    path.write_text(SMALL.replace("@ASYNC@", "").replace("@PIN@", ""))
    text = """module set(input clk, rst, d, output reg q);
      always @(posedge clk, posedge rst) if (rst) q <= 1; else q <= d; endmodule"""
    design = circuit(text, "d:1 > q:1", clocked=True)
    with pytest.raises(ToolError, match="async set or reset are not supported"):
        synthesise(design, liberty=path, reference=register_values)


def test_asking_again_gives_the_same() -> None:
    one, two = (synthesise(product(4), reference=product_values) for _ in range(2))
    assert one == two


def test_a_wrong_reference_is_not_believed() -> None:
    """The comparison can fail: a product that forgets its lowest bit."""
    with pytest.raises(MiscompiledError, match="first in run 0, row 17"):
        synthesise(product(4), reference=lambda i: {"y": i["a"] * i["b"] & ~np.uint64(1)})
