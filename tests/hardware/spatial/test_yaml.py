"""Reading spatial accelerators: what is there, and what is refused with file, line and fix."""

from __future__ import annotations

import pytest

from orrery.errors import SpecError
from orrery.hardware.spatial import energy_table, energy_tables, read_architecture_text
from orrery.provenance import Basis

GOOD = """\
name: small
clock: "200 MHz"
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "orders of magnitude"}}
array: [{axis: rows, size: 12}, {axis: cols, size: 14, loops: [Cout, H]}]
bits: {input: 16, weight: 16, output: 16, partial_sum: 24}
energy: {mac: {table: eyeriss-16-bit, row: mac}}
levels:
  - {name: dram, holds: [input, weight, output], word: "64 bit",
     read: {table: eyeriss-ratios, row: dram}, write: "460 pJ", read_bandwidth: "8 B/cycle"}
  - {name: buffer, holds: [input, output], size: "108 KiB", word: "16 bit",
     read: {table: horowitz-45nm, row: "sram 32 KB", scale_to: "65 nm"}, write: "15 pJ",
     double_buffered: [input]}
  - {name: pads, per: [rows, cols], holds: [input, weight, output], size: "512 B",
     word: "16 bit", read: "1 pJ", write: "1 pJ"}
"""


def test_levels_take_what_the_file_says() -> None:
    a = read_architecture_text(GOOD)
    dram, buffer, pads = a.levels
    assert (a.elements, a.clock_hz, a.partial_sum_bits) == (168, 200e6, 24)
    assert dram.read_bits_per_cycle == 64
    assert (buffer.capacity_bits, pads.capacity_bits) == (108 * 1024 * 8, 4096)
    assert a.chain("weight") == (0, 2)
    assert a.fans_out_below() == {"rows": 1, "cols": 1}
    assert a.instances(pads) == 168


def test_rows_of_tables_are_taken_to_the_width_of_the_word() -> None:
    dram, buffer, _ = read_architecture_text(GOOD).levels
    assert dram.read_energy_j == pytest.approx(200 * 2e-12 * 64 / 16)  # 200 MACs per 16 bits
    assert buffer.read_energy_j == pytest.approx(20e-12 * 16 / 64 * 65 / 45)
    source = buffer.sources["read_energy_j"]
    assert source.basis is Basis.ASSUMED
    assert "65/45" in source.note
    assert "sram 32 KB" in source.where


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('read: "1 pJ"', "read: 1", ["unit", "levels[2].read"]),
        ('"1 pJ", write', '"-1 pJ", write', ["levels[2].read"]),
        ("size: 12", "size: 0", ["whole number, 1 to"]),
        ("[Cout, H]", "[Cuot, H]", ["Cuot", "Cout"]),
        ("loops: [Cout, H]", "loops: [Cout], fixed: {H: 2}", ["loops that `loops:` allows"]),
        ("loops: [Cout, H]", "fixed: {H: 15}", ["15 positions", "at most 14"]),
        ("axis: cols", "axis: rows", ["'rows' twice"]),
        ("name: pads", "name: rows", ["'rows' twice", "one meaning"]),
        ("per: [rows, cols]", "per: [row, cols]", ["array axes among rows, cols"]),
        ("name: dram, holds: [input, weight, output]", "name: dram, holds: [input]",
         ["outermost level that holds all roles"]),
        ("row: dram", "row: drum", ["drum", "dram"]),
        ("energy: {mac: {table: eyeriss-16-bit, row: mac}}", "energy: {}", ["energy of a MAC"]),
        ("double_buffered: [input]", "double_buffered: [inputs]", ["one of input, weight"]),
        ('size: "512 B"', 'size: "0.3 bit"', ["whole number of bits"]),
        ("source: guess\n", "", ["source"]),
        ("holds: [input, output], size", "holds: [input, output], sise", ["unknown key 'sise'"]),
    ],
)  # fmt: skip
def test_slips_are_refused_where_they_stand(before: str, after: str, said: list[str]) -> None:
    text = GOOD.replace(before, after)
    assert text != GOOD
    with pytest.raises(SpecError) as caught:
        read_architecture_text(text, "a.yaml", loops=("Cout", "Cin", "H", "W"))
    for piece in ("a.yaml", *said):
        assert piece in str(caught.value)


def test_levels_must_fan_out_inwards() -> None:
    text = GOOD.replace("name: buffer,", "name: buffer, per: [cols],").replace(
        "per: [rows, cols]", "per: [rows]"
    )
    with pytest.raises(SpecError, match="outermost first"):
        read_architecture_text(text)


def test_every_table_names_its_sources() -> None:
    for name in energy_tables():
        table = energy_table(name)
        assert table.rows
        assert all(row.source.where for row in table.rows.values())
    assert energy_table("eyeriss-ratios").relative
    assert energy_table("horowitz-45nm").scaled(90).row("int add 8").at(16) == pytest.approx(
        0.03e-12 * 2 * 2
    )


def test_a_table_without_a_process_is_not_scaled() -> None:
    with pytest.raises(SpecError, match="process"):
        energy_table("dram").scaled(28)
