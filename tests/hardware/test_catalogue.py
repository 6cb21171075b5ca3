"""Judges: fact-sheet and data-sheet figures, typed again from the sources."""

from __future__ import annotations

from dataclasses import fields

import pytest

from orrery.errors import UnknownNameError
from orrery.hardware import (
    Device,
    Link,
    Memory,
    catalogue,
    load_system,
    read_system_text,
    system_names,
    write_system,
)
from orrery.provenance import Basis

NAMES = (
    "a100",
    "aws-f1",
    "bitlet-x4",
    "desktop-cpu",
    "eyeriss-v1",
    "h200",
    "h2h",
    "tpu-v1",
    "u280-ring",
    "v100",
)


def test_the_catalogue_holds_what_it_must() -> None:
    assert system_names() == NAMES
    entries = {entry.name: entry for entry in catalogue()}
    assert [entries[n].devices for n in NAMES] == [1, 8, 4, 1, 1, 1, 12, 1, 4, 1]
    assert all(entry.description for entry in entries.values())
    assert "default 0.125 GB/s" in entries["h2h"].options["link_bandwidth"]


@pytest.mark.parametrize("name", NAMES)
def test_each_entry_survives_writing_and_reading(name: str) -> None:
    system = load_system(name)
    assert read_system_text(write_system(system)) == system


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_and_no_guess_poses_as_fact(name: str) -> None:
    system = load_system(name)
    for device in system.devices:
        for record in (device, device.compute, *device.memories, *device.flash):
            for key in record.sources:
                assert key in {field.name for field in fields(record)}
        for record in (device.compute, *device.memories):
            for source in record.sources.values():
                recalled = "from memory" in source.note or "unconfirmed" in source.note
                assert source.where.strip()
                assert not recalled or source.basis is Basis.ASSUMED
    for link in system.links:
        assert set(link.sources) >= {"bandwidth_bytes_per_s", "latency_s"}


def gpu(name: str) -> Device:
    return load_system(name).devices[0]


# (system, element type, operations per second in the data sheet, bytes per second, watts)
@pytest.mark.parametrize(
    ("name", "dtype", "peak", "bandwidth", "power"),
    [
        ("v100", "float32", 15.7e12, 900e9, 300), ("v100", "float16", 125e12, 900e9, 300),
        ("a100", "float32", 19.5e12, 2039e9, 400), ("a100", "bfloat16", 312e12, 2039e9, 400),
        ("a100", "int8", 624e12, 2039e9, 400), ("h200", "float32", 67e12, 4.8e12, 700),
        ("h200", "float16", 989e12, 4.8e12, 700), ("tpu-v1", "int8", 92e12, 34e9, 75),
    ],
)  # fmt: skip
def test_data_sheet_peaks(name: str, dtype: str, peak: float, bandwidth: float, power: float):
    device = gpu(name)
    assert device.compute.macs_per_s[dtype] == pytest.approx(peak / 2, rel=0.003)
    assert device.offchip.bandwidth_bytes_per_s == bandwidth
    assert device.max_power_w == power


def test_tpu_ridge_is_the_published_one() -> None:
    # Jouppi et al.: about 1350 operations per weight byte.
    device = gpu("tpu-v1")
    ridge = device.compute.macs_per_s["int8"] / device.offchip.bandwidth_bytes_per_s
    assert ridge == pytest.approx(1350, rel=0.005)


def test_eyeriss_peak_is_pes_times_clock() -> None:
    compute = gpu("eyeriss-v1").compute
    assert compute.macs_per_s["int16"] == 168 * compute.clock_hz == 33.6e9
    memory: Memory = gpu("eyeriss-v1").offchip
    assert memory.energy_j_per_byte * 2 == pytest.approx(460e-12)


def test_f1_has_two_groups_joined_by_the_host() -> None:
    system = load_system("aws-f1")
    groups = [device.group for device in system.devices]
    assert groups == ["group0"] * 4 + ["group1"] * 4
    near: tuple[Link, ...] = system.route("fpga1", "fpga3")
    far: tuple[Link, ...] = system.route("fpga1", "fpga6")
    assert [link.bandwidth_bytes_per_s for link in near] == [1e9]
    assert [link.bandwidth_bytes_per_s for link in far] == [250e6, 250e6]
    assert all("host" in link.ends for link in far)
    for link in system.links:
        assert link.sources["bandwidth_bytes_per_s"].basis is Basis.ASSUMED
    assert load_system("aws-f1(dram=64 GiB)").devices[0].offchip.size_bytes == 64 * 2**30


def test_h2h_has_twelve_accelerators_of_three_kinds() -> None:
    system = load_system("h2h")
    assert [d.group for d in system.devices] == ["cnn"] * 8 + ["fc"] * 2 + ["lstm"] * 2
    rate = {d.name: d.compute.macs_per_s["float32"] * 2 / 1e9 for d in system.devices}
    assert (rate["cnn_2"], rate["fc_10"], rate["lstm_12"]) == pytest.approx((61.62, 282, 0.8))
    assert system.device("lstm_12").offchip.bandwidth_bytes_per_s == 32 * 150e6
    assert "Conv" not in system.device("fc_10").operators
    assert "Conv" in system.device("cnn_9").operators
    assert system.device("cnn_1").compute.mac_energy_j == {}


def test_u280_ring_has_a_ring_and_a_host() -> None:
    system = load_system("u280-ring")
    assert len(system.route("fpga0", "fpga1")) == len(system.route("fpga0", "fpga3")) == 1
    assert len(system.route("fpga0", "fpga2")) == 2
    total = sum(d.compute.macs_per_s["float16"] for d in system.devices)
    assert 2 * total == pytest.approx(1.64e12, rel=0.01)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'v100'"):
        load_system("v1000")
    with pytest.raises(UnknownNameError, match="known: a100, aws-f1"):
        load_system("")


def test_a_probe_answers_its_name() -> None:
    mine = load_system("desktop-cpu")
    assert load_system("this-machine", probes={"this-machine": lambda: mine}) is mine
    with pytest.raises(UnknownNameError):
        load_system("this-machine")
