"""FPGA resources that are known by construction, and a mapping that Yosys gets wrong."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.errors import UnknownNameError
from orrery.rtl import Circuit
from orrery.rtl.synthesis import MiscompiledError, resources

from .synthesis_cases import (
    Values,
    accumulator,
    accumulator_values,
    circuit,
    product,
    product_values,
    register,
    register_values,
)

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]


def _signed(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint16).view(np.int16).astype(np.int64)


def two_products() -> Circuit:
    """Return the sum of two registered signed products."""
    text = """
    module sums(input clk, rst, input signed [15:0] a, b, c, d, output reg signed [32:0] y);
      reg signed [31:0] p, q; initial begin p = 0; q = 0; y = 0; end
      always @(posedge clk) begin p <= a * b; q <= c * d; y <= p + q; end
    endmodule"""
    return circuit(text, "a:16 b:16 c:16 d:16 > y:33", clocked=True)


def two_products_values(inputs: Values) -> Values:
    a, b, c, d = (_signed(inputs[name]) for name in "abcd")
    late = np.concatenate([[0, 0], (a * b + c * d)[:-2]]).astype(np.int64)
    return {"y": late.view(np.uint64) & np.uint64(2**33 - 1)}


def test_ultrascale_multiplies_in_one_dsp() -> None:
    """The one test of this family: its mapping takes seconds whatever the circuit."""
    found = resources(product(16), reference=product_values)
    assert (found.family, found.dsp, found.flip_flop, found.bram) == ("xcup", 1, 0, 0)
    assert found.lut + found.lut_memory == 0 and found.cells == {"DSP48E2": 1}
    assert found.verified is not None and found.verified.compared > 1000


def test_ecp5_takes_a_multiplier_for_each_product() -> None:
    found = resources(two_products(), "ecp5", reference=two_products_values)
    assert (found.dsp, found.flip_flop, found.lut) == (2, 32 + 32 + 33, 2 * found.carry)
    assert found.verified is not None


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_a_register_is_its_flip_flops(family: str) -> None:
    found = resources(register(8), family, reference=register_values)
    assert (found.flip_flop, found.lut, found.dsp, found.bram) == (8, 0, 0, 0)


def test_ice40_adds_with_a_carry_cell_a_bit() -> None:
    found = resources(accumulator(), "ice40", reference=accumulator_values)
    assert found.flip_flop == 8 and 8 <= found.lut <= 9 and found.carry in (7, 8)


def test_the_known_miscompile_of_ice40_dsp_is_caught() -> None:
    """Yosys 0.70 ends with status 0, one multiplier and half of the input bits."""
    with pytest.raises(MiscompiledError, match=r"input bits that reach no output: .*16 of 16 bits"):
        resources(two_products(), "ice40", dsp=True, reference=two_products_values)


def test_a_block_memory_is_counted_and_not_simulated() -> None:
    text = """
    module store(input clk, rst, we, input [10:0] at, input [7:0] d, output reg [7:0] q);
      reg [7:0] words [0:2047];
      always @(posedge clk) begin if (we) words[at] <= d; q <= words[at]; end
    endmodule"""
    found = resources(circuit(text, "we:1 at:11 d:8 > q:8", clocked=True), "ecp5")
    assert found.bram >= 1 and found.verified is None
    assert any("there is no model of DP16KD" in note for note in found.notes)


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ecp5'"):
        resources(register(1), "ecp")
