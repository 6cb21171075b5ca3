"""Changed descriptions equal the file that a person would have edited."""

from __future__ import annotations

import pytest

from orrery.errors import SpecError
from orrery.hardware import (
    Description,
    architecture_names,
    architecture_text,
    load_architecture,
    load_system,
    read_description,
    read_system_text,
    system_names,
    write_system,
)
from orrery.hardware.spatial import read_architecture_text
from orrery.provenance import Basis


def array(name: str = "tpu-like-32") -> Description:
    return read_description(architecture_text(name), name)


@pytest.mark.parametrize("name", architecture_names())
def test_an_array_reads_and_writes_as_its_file(name: str) -> None:
    given = array(name)
    assert given.kind == "array"
    assert given.architecture() == load_architecture(name)
    assert read_architecture_text(given.text) == load_architecture(name)


@pytest.mark.parametrize("name", system_names())
def test_a_system_reads_and_writes_as_its_file(name: str) -> None:
    system = load_system(name)
    given = read_description(write_system(system), name)
    assert given.kind == "system"
    assert given.system() == system
    assert read_system_text(given.text) == system


EDITS = {
    ("array.rows", "64"): ("axis: rows, size: 32", "axis: rows, size: 64"),
    ("array.rows.size", "64"): ("axis: rows, size: 32", "axis: rows, size: 64"),
    ("array.rows.fixed.Cout", "16"): ("fixed: {Cout: 32}", "fixed: {Cout: 16}"),
    ("levels.sram.size", "1 MiB"): ('size: "2 MiB"', 'size: "1 MiB"'),
    ("levels.sram.multicast", "[rows]"): ("multicast: [rows, cols]", "multicast: [rows]"),
    ("clock", "1 GHz"): ('value: "200 MHz"', 'value: "1 GHz"'),
    ("area", "2 mm2"): ("name: tpu", 'area: "2 mm2"\nname: tpu'),
    ("levels.dram.read", "{table: eyeriss-16-bit, row: dram}"): (
        'read: "700 pJ"', "read: {table: eyeriss-16-bit, row: dram}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "edit"), EDITS.items(), ids=str)
def test_a_change_is_the_edit_of_the_file(change: tuple[str, str], edit: tuple[str, str]) -> None:
    path, value = change
    text = architecture_text("tpu-like-32")
    assert text.count(edit[0]) == 1
    changed = array().changed(path, value)
    assert changed.architecture() == read_architecture_text(text.replace(*edit))
    assert changed.value(path) == value
    assert changed.content != array().content
    # back again it is what it was, but for a key that was new
    before = array().value(path)
    if before is not None:
        assert changed.changed(path, before).content == array().content


def test_a_row_of_a_table_gives_way_to_a_quantity() -> None:
    changed = array("eyeriss-v1").changed("levels.dram.read", "3 pJ")
    assert changed.architecture().levels[0].read_energy_j == pytest.approx(3e-12)


def test_paths_of_systems_go_by_the_names_of_devices_and_links() -> None:
    given = read_description(write_system(load_system("a100")), "a100")
    changed = given.changed("devices.gpu0.compute.macs.float16", "200 TMAC/s")
    changed = changed.changed("links.pcie.bandwidth", "64 GB/s").system()
    assert changed.devices[0].compute.macs_per_s["float16"] == 200e12
    assert changed.links[0].bandwidth_bytes_per_s == 64e9
    same = given.changed("links.pcie.bandwidth", "32 GB/s").system()
    assert same == load_system("a100") != changed


def test_a_new_number_says_that_it_was_varied() -> None:
    given = read_description(write_system(load_system("desktop-cpu")), "desktop-cpu")
    device = given.changed("devices.cpu.idle_power", "7 W").system().devices[0]
    assert device.idle_power_w == 7 and device.sources["idle_power_w"].basis is Basis.ASSUMED
    assert device.sources["idle_power_w"].where == "a sweep"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("levels.srm.size", "1 MiB", "did you mean 'sram'"),
        ("level.sram.size", "1 MiB", "did you mean 'levels'"),
        ("levels.sram.sise", "1 MiB", "did you mean 'size'"),
        ("clocks", "1 GHz", "did you mean 'clock'"),
        ("levels.sram.size.x", "1 MiB", "nothing inside a value"),
        ("array.rows.fixed", "16", "for a whole table"),
        ("levels.sram.size", "1", "a width with a unit"),
        ("levels.sram.size", "[", "valid YAML"),
        ("array.rows", "16", "at most 16"),
    ],
)
def test_what_leads_nowhere_is_refused_with_the_nearest(
    path: str, value: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        array().changed(path, value).architecture()


def test_a_text_that_is_neither_is_refused() -> None:
    with pytest.raises(SpecError, match="`array:` and `levels:`, or `devices:`"):
        read_description("name: x\n", "x.yaml")
