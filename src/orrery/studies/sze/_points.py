"""Published points of the accelerators, and the same layers under the best nests found here.

Models:  the layers that the chips ran, at their batch, each under the fastest nest of the search;
         power is that of the chip, off-chip memory left out, where the paper's is.
Ignores: runs of zeros on the way off chip, gating on zeros, configuration between layers.
Judge:   the chips' figures; nothing here is fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from orrery.api.flexing import Run, run_layers
from orrery.cost.nest import LOOPS
from orrery.hardware import Architecture, load_architecture
from orrery.progress import Progress
from orrery.provenance import Basis

from .._frame import Record, compared
from ..eyeriss._chip import overlapped
from ..eyeriss._layers import ALEXNET, ALEXNET_FC, Conv, conv_problem

JSSC = "Chen et al., JSSC 2017 (Eyeriss)"
JETCAS = "Chen et al., JETCAS 2019 (Eyeriss v2), table VI, from memory, unconfirmed"
TPU = "Jouppi et al., ISCA 2017, section 7"
V1_BATCH = 4
#: times the usual budget: the freedom of this array takes long to search, and five layers are few
V1_SEARCH = 60


def array(name: str) -> Architecture:
    """Return an array of the catalogue."""
    return load_architecture(name, loops=tuple(LOOPS))


def offchip_bytes(runs: Mapping[str, Run]) -> float:
    """Return what layers move off chip."""
    return sum(one.cost.cost.offchip_bytes or 0 for run in runs.values() for one in run.found)


def point_records(most: int, progress: Progress) -> Iterator[Record]:
    """Yield the points of Eyeriss v1 and v2 on AlexNet, and what the TPU's authors say of sizes."""
    yield from _eyeriss_v1(most, progress)
    yield from _eyeriss_v2(most, progress)
    yield from _tpu(most, progress)


def _run(
    layers: tuple[Conv, ...], batch: int, chip: Architecture, most: int, progress: Progress
) -> dict[str, Run]:
    problems = {layer.name: (conv_problem(layer, batch),) for layer in layers}
    return run_layers(problems, chip, most=most, progress=progress)


def _gap(runs: Mapping[str, Run]) -> str:
    least = sum(run.cycles * (1 - run.gap) for run in runs.values())
    share = 1 - least / sum(run.cycles for run in runs.values())
    return f"one in {100 * share:.3g} % less time may exist"


def _chip_energy_j(runs: Mapping[str, Run], chip: Architecture) -> float:
    """Return the joules spent on the chip, its off-chip memory left out."""
    outside = chip.levels[0].name
    charges = [c for run in runs.values() for one in run.found for c in one.cost.charges]
    return sum(charge.energy_j for charge in charges if charge.resource != outside)


def _eyeriss_v1(most: int, progress: Progress) -> Iterator[Record]:
    """Yield the chip with off-chip data there in time, and as described: it waits for them."""
    chip = array("eyeriss-v1")
    most *= V1_SEARCH
    runs = _run(ALEXNET, V1_BATCH, overlapped(chip), most, progress)
    cycles = sum(run.cycles for run in runs.values())
    watts = _chip_energy_j(runs, chip) * chip.clock_hz / cycles
    active = sum(one.cost.active_share * run.cycles for run in runs.values() for one in run.found)
    waits = _run(ALEXNET, V1_BATCH, chip, most, progress)
    seconds = sum(run.cycles for run in waits.values()) / chip.clock_hz
    theirs = "not the authors' row-stationary one (study eyeriss prices that)"
    nest = f"the fastest nest found ({_gap(runs)}), {theirs}"
    late = (
        f"the fastest nest found ({_gap(waits)}), {theirs}; images and results are waited "
        "for off chip, filters come meanwhile"
    )
    for what, unit, published, ours, note in (
        ("processing, data there in time", "s", 0.1035, cycles / chip.clock_hz, nest),
        ("power of the chip", "W", 0.278, watts, f"{nest}; its clock network is not described"),
        ("active elements", "%", 88.0, 100 * active / cycles, f"{nest}; weighted by time"),
        ("latency", "s", 0.1153, seconds, late),
        ("frames per second", "", 34.7, V1_BATCH / seconds, late),
        ("off-chip traffic", "bytes", 15.4e6, offchip_bytes(waits),
         f"{late}; the chip stores runs of zeros"),
    ):  # fmt: skip
        yield compared(f"eyeriss-v1: AlexNet CONV, batch {V1_BATCH}: {what}", unit, ours=ours,
                       published=published, note=note, basis=Basis.ESTIMATED, source=JSSC,
                       tolerance=0.1)  # fmt: skip


def _eyeriss_v2(most: int, progress: Progress) -> Iterator[Record]:
    chip = array("eyeriss-v2")
    runs = _run((*ALEXNET, *ALEXNET_FC), 1, chip, most, progress)
    seconds = sum(run.cycles for run in runs.values()) / chip.clock_hz
    joules = _chip_energy_j(runs, chip)
    note = "dense; mesh and sizes of the description are partly from memory"
    for what, unit, published, ours in (
        ("inferences per second", "", 102.2, 1 / seconds),
        ("inferences per joule of the chip", "", 174.8, 1 / joules),
        ("off-chip traffic", "bytes", 71.9e6, offchip_bytes(runs)),
    ):
        yield compared(f"eyeriss-v2: AlexNet: {what}", unit, ours=ours, published=published,
                       note=note, basis=Basis.ESTIMATED, source=JETCAS, tolerance=0.1)  # fmt: skip


def _tpu(most: int, progress: Progress) -> Iterator[Record]:
    """Yield how much four times the bandwidth brings where weights come from off chip."""
    chip = array("tpu-v1")
    memory = chip.levels[0]
    wide = replace(chip, name="tpu-v1 x 4 bandwidth", levels=(
        replace(memory, read_bits_per_cycle=4 * (memory.read_bits_per_cycle or 0)),
        *chip.levels[1:],
    ))  # fmt: skip
    before, after = (
        sum(run.cycles for run in _run(ALEXNET_FC, 128, one, most, progress).values())
        for one in (chip, wide)
    )
    yield compared(
        "tpu-v1: four times the off-chip bandwidth: speed-up", "x", ours=before / after,
        published=3.0, basis=Basis.ESTIMATED, source=TPU, tolerance=0.1,
        note="theirs is a mean over six applications, of which some are held up by the array; ours "
        "dense layers of AlexNet alone, at batch 128",
    )  # fmt: skip
