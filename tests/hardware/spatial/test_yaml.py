"""Reading spatial accelerators: what is there, and what is refused with file, line and fix."""

from __future__ import annotations

import pytest

from orrery.cost.nest import LOOPS
from orrery.errors import SpecError
from orrery.hardware.spatial import (
    architecture_names,
    doubts,
    energy_table,
    energy_tables,
    load_architecture,
    read_architecture_text,
)
from orrery.hardware.spatial._doubts import BANDS
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


def test_streams_networks_and_systolic_axes_are_read() -> None:
    text = GOOD.replace("double_buffered: [input]", 'streams: [input], networks: '
                        '{input: "16 bit/cycle", output: "8 B/cycle"}')  # fmt: skip
    text = text.replace("name: pads,", "name: pads, loops: [Cout, Cin],")
    _, buffer, pads = read_architecture_text(text).levels
    assert (buffer.loops, pads.loops) == (None, ("Cout", "Cin"))
    assert buffer.streams == ("input",) and buffer.hides("input") and not buffer.hides("output")
    assert buffer.network_bits_per_cycle == {"input": 16, "output": 64}
    assert buffer.sources["network_bits_per_cycle"].where == "sketch"
    text = GOOD.replace("size: 12}", "size: 12, systolic: true}").replace(
        'read: "1 pJ"', 'streams: [input, weight, output], read: "1 pJ"'
    )
    array = read_architecture_text(text)
    assert [axis.systolic for axis in array.axes] == [True, False]
    assert array.wavefront_cycles == 11


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
        ("name: pads,", "name: pads, loops: [Cuot],", ["Cuot", "Cout"]),
        ("loops: [Cout, H]", "loops: [Cout], fixed: {H: 2}", ["loops that `loops:` allows"]),
        ("loops: [Cout, H]", "fixed: {H: 15}", ["15 positions", "at most 14"]),
        ("axis: cols", "axis: rows", ["'rows' twice"]),
        ("name: pads", "name: rows", ["'rows' twice", "one meaning"]),
        ("per: [rows, cols]", "per: [row, cols]", ["an axis of `array:`: rows, cols"]),
        ("name: dram, holds: [input, weight, output]", "name: dram, holds: [input]",
         ["outermost level that holds all roles"]),
        ("row: dram", "row: drum", ["drum", "dram"]),
        ("energy: {mac: {table: eyeriss-16-bit, row: mac}}", "energy: {}", ["energy of a MAC"]),
        ("double_buffered: [input]", "double_buffered: [inputs]", ["one of input, weight"]),
        ("double_buffered: [input]", 'networks: {input: 16}', ["unit", "networks"]),
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


DRAM = GOOD[GOOD.index("  - {name: dram") : GOOD.index("  - {name: buffer")]


@pytest.mark.parametrize(("before", "after", "said"), [
    (DRAM, "", [":9: levels[0]", "buffer of input, output as the outermost", "before the others"]),
    (DRAM, DRAM.replace("dram,", 'dram, size: "4 MiB",'),
     ["levels[0].size", "dram of 4 MiB as the outermost", "leave out its `size:`"]),
    (GOOD[GOOD.index("levels:"):], "levels: []\n", [":8: levels", "no level", "off-chip memory"]),
    ("array: [{axis: rows, size: 12}, {axis: cols, size: 14, loops: [Cout, H]}]", "array: []",
     [":14: levels[2].per[0]", "found 'rows'", "it has none"]),
    ("per: [rows, cols]", "per: [rows, clos]", ["levels[2].per[1]", "did you mean 'cols'"]),
    ("double_buffered: [input]}", "multicast: [row]}",
     ["levels[1].multicast[0]", "found 'row'", "did you mean 'rows'"]),
    ("108 KiB\",", "108 KiB\", per: [rows, cols],", []),
    ("name: pads, per: [rows, cols]", "name: pads, per: [cols]", []),
    ("energy: {mac", "energy: {idle_mac: 3, mac", ["an energy with a unit"]),
])  # fmt: skip
def test_levels_lie_within_each_other(before: str, after: str, said: list[str]) -> None:
    assert before in GOOD
    text = GOOD.replace(before, after)
    if not said:
        read_architecture_text(text)
        return
    with pytest.raises(SpecError) as error:
        read_architecture_text(text)
    for part in said:
        assert part in str(error.value)


def test_an_order_that_fans_in_is_refused_at_its_line() -> None:
    text = GOOD.replace("108 KiB\",", "108 KiB\", per: [rows, cols],").replace(
        "pads, per: [rows, cols],", "pads,")  # fmt: skip
    with pytest.raises(SpecError, match=r":14: levels\[2\]: found 'pads per no axis, inside of"):
        read_architecture_text(text)
    with pytest.raises(SpecError, match=r"description of an array; see `orrery arrays`"):
        read_architecture_text("")


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


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("holds: [input, weight, output], size", "holds: [input, output], size",
         ["weight bypasses every level on chip (buffer, pads)"]),
        ("holds: [input, output], size", "holds: [], size", ["holds nothing"]),
        ("holds: [input, output], size", "holds: [input, input], size", ["each name once"]),
        ("double_buffered: [input]", "double_buffered: [weight]", ["weight, which passes by"]),
        ("double_buffered: [input]", "streams: [weight]", ["streams for weight, which passes by"]),
        ("double_buffered: [input]", "double_buffered: [input], streams: [input]",
         ["input, which is double_buffered too"]),
        ("double_buffered: [input]", 'networks: {weight: "8 bit/cycle"}',
         ["networks for weight, which passes by"]),
        ("size: 12}", "size: 12, systolic: true}",
         ["level 'pads'", "input is waited for inside of systolic rows"]),
        ('size: "512 B"', 'size: "512 B", multicast: [rows]', ["multicast along rows"]),
        ('size: "512 B"', 'size: "512 B", shares: {weight: "513 B"}', ["4104 bits in 4096"]),
        ('"8 B/cycle"', '"8 B/cycle", one_port: true, write_bandwidth: "1 B/cycle"',
         ["`one_port: true`"]),
        ("partial_sum: 24", "partial_sum: 8", ["sums of 8 bits, results of 16"]),
        ("double_buffered: [input]", "loops: [Cout, Cout]",
         ["loops: Cout, Cout", "each name once"]),
        ("double_buffered: [input]", "loops: []", ["no loop"]),
        ("double_buffered: [input]", "networks: {}", ["no role"]),
        ("- {name: dram, ", "- {name: dram, streams: [input], ",
         ["`streams:` of dram, the outermost level"]),
    ],
)  # fmt: skip
def test_what_a_file_says_against_itself_is_refused(
    before: str, after: str, said: list[str]
) -> None:
    text = GOOD.replace(before, after)
    assert text != GOOD
    with pytest.raises(SpecError) as caught:
        read_architecture_text(text, "a.yaml")
    for piece in ("a.yaml", *said):
        assert piece in str(caught.value)


@pytest.mark.parametrize("name", architecture_names())
def test_static_idle_and_wire_energy_are_in_every_record(name: str) -> None:
    array = load_architecture(name, loops=tuple(LOOPS))
    for field in ("static_power_w", "idle_mac_energy_j", "hop_energy_j_per_bit"):
        assert getattr(array, field) is not None
        assert array.sources[field].note
    zero = {field for field in ("static_power_w", "hop_energy_j_per_bit")
            if not getattr(array, field)}  # fmt: skip
    assert not zero or name in ("tpu-like-32", "row-stationary-256")  # as their sources count


@pytest.mark.parametrize("name", architecture_names())
def test_catalogue_energies_are_physical(name: str) -> None:
    architecture = load_architecture(name, loops=tuple(LOOPS))
    assert doubts(architecture) == ()
    assert architecture.elements * architecture.macs_per_cycle == {
        "eyeriss-v1": 168, "eyeriss-v2": 384, "gemmini-16": 256, "nvdla-like": 2048,
        "row-stationary-256": 256, "tpu-v1": 65536,
    }.get(name, 1024)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('write: "460 pJ"', 'write: "460 nJ"', ["dram: write: 7.19 nJ/bit", "off-chip memory"]),
        ('"512 B",\n     word: "16 bit", read: "1 pJ"',
         '"512 B",\n     word: "16 bit", read: "40 pJ"',
         ["pads: read: 2.50 pJ/bit; a register takes 0.900 fJ to 1.20 pJ/bit", "more than"]),
        ("energy: {mac: {table: eyeriss-16-bit, row: mac}}", 'energy: {mac: "1 nJ"}',
         ["small: MAC: 1.00 nJ"]),
    ],
)  # fmt: skip
def test_doubts_name_the_row_its_value_and_the_band(
    before: str, after: str, said: list[str]
) -> None:
    text = GOOD.replace(before, after)
    assert text != GOOD
    found = "\n".join(doubts(read_architecture_text(text)))
    for piece in said:
        assert piece in found


def test_rows_of_the_shipped_tables_lie_within_the_bands() -> None:
    kinds = {"register": "register", "register file": "register", "sram": "buffer",
             "global": "buffer", "dram": "off-chip memory"}  # fmt: skip
    for name in energy_tables():
        if energy_table(name).relative:
            continue
        for row in energy_table(name).rows.values():
            kind = next((k for start, k in kinds.items() if row.name.startswith(start)), None)
            if kind is None and name == "dram":
                kind = "off-chip memory"
            if kind is not None:
                least, most = BANDS[kind]
                assert least <= row.at(1) <= most, (name, row.name)


@pytest.mark.parametrize("name", architecture_names())
def test_catalogue_arrays_have_a_price_for_every_action(name: str) -> None:
    a = load_architecture(name, loops=tuple(LOOPS))
    chip = ("mac_energy_j", "idle_mac_energy_j", "hop_energy_j_per_bit", "static_power_w")
    assert [field for field in chip if getattr(a, field) is None] == []
    for level in a.levels:
        for field in ("read_energy_j", "write_energy_j"):
            assert getattr(level, field) is not None, (level.name, field)
            assert level.sources[field].where
