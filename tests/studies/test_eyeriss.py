"""The Eyeriss study: its space against all of it, its mappings against the papers' shares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.cost.nest import LOOPS, NestMapping, check_mapping, nest_cost
from orrery.hardware import Architecture, load_architecture
from orrery.progress import SILENT
from orrery.studies import StudyResult
from orrery.studies.eyeriss import eyeriss_study
from orrery.studies.eyeriss._chip import ALEXNET_HOW, run_layer, vgg_how
from orrery.studies.eyeriss._dataflows import rival, with_array
from orrery.studies.eyeriss._energy import all_mappings, energy_j, least, price
from orrery.studies.eyeriss._layers import ALEXNET, ALEXNET_FC, MOBILENET, VGG16, Conv, conv_problem
from orrery.studies.eyeriss._reuse import reuse_records
from orrery.studies.eyeriss._rows import row_nest


@pytest.fixture(scope="module")
def chip() -> Architecture:
    return load_architecture("eyeriss-v1", loops=tuple(LOOPS))


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return eyeriss_study(0.01, SILENT)


def _small() -> Architecture:
    machine = load_architecture("row-stationary-256", loops=tuple(LOOPS))
    dram, buffer, pads = machine.levels
    return replace(
        machine,
        axes=tuple(replace(axis, size=4) for axis in machine.axes),
        levels=(
            dram,
            replace(buffer, capacity_bits=120 * 16),
            replace(pads, capacity_bits=24 * 16),
        ),
    )


@pytest.mark.parametrize(
    ("layer", "batch"),
    [
        (Conv(name="conv", made=4, read=4, size=5, kernel=3, pad=1), 2),
        (Conv(name="strided", made=8, read=8, size=3, kernel=2, stride=2, groups=2), 2),
        (Conv(name="dense", made=4, read=6, size=1, kernel=1), 1),
        (Conv(name="dense", made=4, read=4, size=1, kernel=2), 4),
    ],
)
def test_least_is_the_least_of_all_mappings(layer: Conv, batch: int) -> None:
    machine, problem = _small(), conv_problem(layer, batch)
    costs = [price(problem, layer, batch, how, machine)
             for how in all_mappings(layer, batch, machine)]  # fmt: skip
    energies = [energy_j(cost) for cost in costs if cost is not None]
    found = least(layer, batch, machine)
    assert len(energies) > 10
    assert energy_j(found.cost) == min(energies)
    assert found.cost.operations.nominal == layer.macs * batch


def test_published_multiplications() -> None:
    millions = [round(layer.macs * 4 / 1e6, 1) for layer in ALEXNET]
    assert millions == [421.7, 895.8, 598.1, 448.6, 299.0]
    assert round(sum(layer.macs * 3 for layer in VGG16) / 1e9, 2) == 46.04
    assert round(sum(layer.macs for layer in MOBILENET) / 1e6, 1) == 49.2
    assert round(sum(layer.macs for layer in (*ALEXNET, *ALEXNET_FC)) / 1e6, 1) == 724.4


@pytest.mark.parametrize(
    ("name", "images_kib", "sums_kib"),
    [("conv1", 15.5, 72.1), ("conv2", 3.8, 91.1), ("conv3", 7.0, 84.5)],
)
def test_shares_of_the_buffer_are_those_of_the_paper(
    chip: Architecture, name: str, images_kib: float, sums_kib: float
) -> None:
    layer = next(layer for layer in ALEXNET if layer.name == name)
    cost = run_layer(layer, ALEXNET_HOW[name], 4, chip, zeros_in=0, zeros_out=None).cost
    tile = cost.counts.tiles[1]
    assert tile["image"] * 2 / 1024 == pytest.approx(images_kib, abs=0.06)
    assert tile["sums"] * 2 / 1024 == pytest.approx(sums_kib, abs=0.1)


@pytest.mark.parametrize("layer", VGG16, ids=lambda layer: layer.name)
def test_inferred_mappings_fit_the_chip(chip: Architecture, layer: Conv) -> None:
    nest = row_nest(layer, 3, vgg_how(layer), filters_apart=True)
    assert check_mapping(conv_problem(layer, 3), nest, chip) is None


def test_elements_and_times_are_the_chips(result: StudyResult) -> None:
    records = {record.name: record for record in result.records}
    differing = {name for name, record in records.items() if record.status == "differs"}
    powers = {name for name in differing if name.endswith(": power")}
    assert all(0.4 < (records[name].ratio or 0) < 0.8 for name in powers)
    assert differing - powers == {
        "AlexNet conv1: in all", "AlexNet conv4: in all", "VGG-16 conv3-1: in all",
        "VGG-16 conv4-1: in all", "VGG-16 conv4-2: in all", "VGG-16 conv4-3: in all",
        "VGG-16 conv5-1: in all", "VGG-16 conv5-2: in all", "VGG-16 conv5-3: in all",
        "TPU v1 CNN1: 10^12 operations/s",
        "conv1: DRAM energy (10^9 MACs)", "AlexNet conv1: DRAM", "AlexNet conv2: processing",
        "AlexNet conv2: DRAM", "AlexNet conv3: buffer", "VGG-16 conv1-2: DRAM",
        "TPU v1 LSTM1: 10^12 operations/s",
    }  # fmt: skip
    assert records["VGG-16: processing, all layers"].ratio == pytest.approx(1, abs=0.06)
    assert records["VGG-16: in all, all layers"].ratio == pytest.approx(1, abs=0.06)
    assert records["AlexNet: in all, all layers"].ratio == pytest.approx(1, abs=0.03)
    unsure = records["VGG-16 conv5-1: active elements"]
    assert "unsure" in unsure.note


def test_without_reuse_every_multiplication_moves_four_words() -> None:
    layers = (*ALEXNET, *ALEXNET_FC)
    macs = sum(layer.macs for layer in layers)
    made = sum(layer.made * layer.size**2 for layer in layers)
    filters = sum(layer.macs // layer.size**2 for layer in layers)
    read = sum(layer.read * ((layer.size - 1) * layer.stride + layer.kernel) ** 2
               for layer in layers)  # fmt: skip
    bare, whole = (record.ours for record in reuse_records())
    assert bare == 4 * macs - made  # a sum that starts from zero is not read
    assert whole == made + filters + read


@pytest.mark.parametrize(
    ("flow", "rows", "loops", "words"),
    [  # 16 multiplications: 4 filters, 8 images and 8 sums, two of each at a time
        ("no local reuse", "Cin", ((), (("H", 2), ("W", 2))), 3 * 16),
        ("weight-stationary", "Cin", ((), (("H", 2), ("W", 2)), ()), 2 * 16 + 4),
        ("output-stationary", "H", ((), (("W", 2),), (("Cin", 2),)), 2 * 16 + 8),
    ],
)
def test_words_that_elements_receive_or_pass_on(
    flow: str, rows: str, loops: tuple[tuple[tuple[str, int], ...], ...], words: int
) -> None:
    machine = load_architecture("row-stationary-256", loops=tuple(LOOPS))
    array = rival(machine, flow)
    bits = sum((level.capacity_bits or 0) * array.instances(level) for level in array.levels[1:])
    assert bits == (128 + 256 / 2) * 1024 * 8  # the buffer and 256 times 512 B
    layer = Conv(name="small", made=2, read=2, size=2, kernel=1)
    nest = NestMapping(temporal=loops, spatial={"rows": ((rows, 2),), "cols": (("Cout", 2),)})
    cost = nest_cost(conv_problem(layer, 1), nest, array)
    assert with_array(cost, array) - energy_j(cost) == pytest.approx(words * 2e-12)


def test_sets_are_made_of_the_records(result: StudyResult) -> None:
    sets = {one.name: one for one in result.sets}
    records = {record.name: record for record in result.records}
    row = sets["eyeriss-silicon-processing"].rows[1]
    record = records[f"{row.name}: processing"]
    assert (row.reference, row.ours) == (record.published, record.ours)
    given = sets["eyeriss-silicon-own-mappings"]
    assert (given.count, given.architecture) == (18, "eyeriss-v1")
    assert given.median < 0.1 and given.worst < 0.3  # the catalogue's chip, nothing changed
    assert sets["eyeriss-silicon-latency"].count == 2  # one layer of a network at this scale
    energy = sets["eyeriss-silicon-energy"].rows[0]
    assert energy.reference == pytest.approx(0.332 * 20.9e-3)  # power times time
    assert not sets["eyeriss-silicon-latency"].adapted
    assert sets["eyeriss-silicon-processing"].adapted
    assert sets["eyeriss-silicon-on-chip-traffic"].count == 5  # VGG-16's is no check
    assert sets["tpu-silicon-latency"].rows[0].error == pytest.approx(12.3 / 13.34 - 1, abs=0.01)


def test_all_records_say_where_the_published_value_stands(result: StudyResult) -> None:
    for record in result.records:
        assert record.source
        assert record.published is not None
        # A roofline bounds what is published.
        if record.judge_value is not None:
            assert record.ours is not None
            assert record.published < record.judge_value
            assert record.ours <= record.judge_value


def test_what_a_mapping_was_inferred_from_is_no_estimate(result: StudyResult) -> None:
    for record in result.records:
        inferred = record.name.startswith("VGG-16 conv") and record.name.endswith(
            ("active elements", "buffer")
        )
        assert (record.basis.value == "assumed") is inferred
        assert ("no independent check" in record.note) is inferred
        assert (record.status == "not reproducible") is inferred
