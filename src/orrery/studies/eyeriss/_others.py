"""Points of two other chips: the TPU's rooflines, and the peaks of their descriptions.

Models:  a product so wide that its images are 2 % of what moves off chip (the TPU's images do not
         come from the memory of weights), as many rows as the paper's intensity: every byte of
         weights is used once a row.
Ignores: the networks' own layers, their vector operations and the host (not published here).
Judge:   2 · bandwidth · intensity, the roofline.
"""

from __future__ import annotations

from orrery.cost.nest import (
    LOOPS,
    Index,
    NestMapping,
    NestProblem,
    NestTensor,
    nest_cost,
)
from orrery.hardware import Architecture, load_architecture
from orrery.provenance import Basis

from .._frame import Record, compared
from ._published import (
    TPU,
    TPU_CNN,
    TPU_PEAK_TOPS,
    TPU_RIDGE,
    V2_PEAK_GOPS,
)

WIDTH = 16384
BANDWIDTH = 34e9
JOUPPI = "Jouppi et al., ISCA 2017"


def tpu_tops(rows: int, chip: Architecture) -> float:
    """Return tera-operations per second of a product of so many rows with weights from off chip."""
    size = {"N": rows, "Cout": WIDTH, "Cin": WIDTH}

    def tensor(name: str, role: str, *loops: str) -> NestTensor:
        axes = tuple(Index(size=size[loop], terms=((loop, 1),)) for loop in loops)
        return NestTensor(name=name, role=role, axes=axes)

    problem = NestProblem(loops=tuple(size.items()), tensors=(
        tensor("x", "input", "N", "Cin"), tensor("w", "weight", "Cin", "Cout"),
        tensor("y", "output", "N", "Cout"),
    ))  # fmt: skip
    high, wide = (axis.size for axis in chip.axes)
    # Sums stay in the accumulators while the summed axis goes by; images stay in the buffer.
    nest = NestMapping(
        temporal=((), (("Cout", WIDTH // wide), ("Cin", WIDTH // high)), (("N", rows),), ()),
        spatial={"rows": (("Cin", high),), "cols": (("Cout", wide),)},
    )
    cost = nest_cost(problem, nest, chip)
    return 2 * problem.operations / cost.latency_s / 1e12


def _peak(chip: Architecture) -> float:
    return 2 * chip.elements * chip.macs_per_cycle * chip.clock_hz


def other_records() -> tuple[Record, ...]:
    """Return the points of Eyeriss v2 and of the first TPU."""
    tpu, v2 = (load_architecture(name, loops=tuple(LOOPS)) for name in ("tpu-v1", "eyeriss-v2"))
    peaks = (
        compared("TPU v1: peak (10^12 operations/s)", "", published=TPU_PEAK_TOPS,
                 ours=_peak(tpu) / 1e12, basis=Basis.ESTIMATED, source=JOUPPI),
        compared("Eyeriss v2: peak (10^9 operations/s)", "", published=V2_PEAK_GOPS,
                 ours=_peak(v2) / 1e9, basis=Basis.ESTIMATED,
                 source="Chen et al., JETCAS 2019; 384 multipliers at 200 MHz"),
    )  # fmt: skip
    points = tuple(
        compared(
            f"TPU v1 {name}: 10^12 operations/s", "", published=tops, ours=tpu_tops(rows, tpu),
            basis=Basis.ESTIMATED, source=f"{JOUPPI}, from memory, unconfirmed",
            judge="roofline, 2 x 34 GB/s x intensity",
            judge_value=2 * BANDWIDTH * rows / 1e12, tolerance=0.2,
            note="a bound by the bandwidth of weights; the rest is lost outside of products",
        )
        for name, (rows, tops) in TPU.items()
    )  # fmt: skip
    return peaks + points + (_ridge(tpu), *_cnns(tpu))


def _bandwidth(chip: Architecture) -> float:
    return (chip.levels[0].read_bits_per_cycle or 0.0) / 8 * chip.clock_hz


def _ridge(chip: Architecture) -> Record:
    return compared(
        "TPU v1: ridge (multiplications per byte of weights)", "", published=TPU_RIDGE,
        ours=_peak(chip) / 2 / _bandwidth(chip), basis=Basis.ESTIMATED, source=JOUPPI,
    )  # fmt: skip


def _cnns(chip: Architecture) -> tuple[Record, ...]:
    """Return the convolutional networks, which lie right of the ridge: their roofline.

    A product of their intensity would need images that the buffer does not hold.
    """
    return tuple(
        compared(
            f"TPU v1 {name}: 10^12 operations/s", "", published=tops, tolerance=0.2,
            ours=min(_peak(chip), 2 * _bandwidth(chip) * rows) / 1e12,
            basis=Basis.ESTIMATED, source=JOUPPI,
            note="the roofline; intensity from memory, unconfirmed, right of the ridge; what a "
            "network's own layers lose (shallow convolutions that fill half of the array, dense "
            "layers at the intensity of the batch) is not published by layer",
        )
        for name, (rows, tops) in TPU_CNN.items()
    )  # fmt: skip
