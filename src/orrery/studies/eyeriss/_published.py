"""What the papers print: facts to hold ours against, and inputs where said so."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ALEXNET_MEASURED",
    "BARS",
    "FIGURE_10",
    "TABLE_5",
    "TPU",
    "TPU_PEAK_TOPS",
    "V2_PEAK_GOPS",
    "VGG_MEASURED",
    "VGG_TOTAL_MS",
    "Measured",
]

FIGURE_10 = "Chen et al., ISCA 2016, fig. 10, as encoded in nn_dataflow's test"
TABLE_5 = "Chen et al., JSSC 2017, tables V and VI, as transcribed in cucapra/fodlam"

#: layer -> (ALU, DRAM, RF) in 1e9 multiplications' energy, batch 16
BARS = {
    "conv1": (1.69, 2.46, 6.75), "conv2": (3.58, 2.27, 14.33), "conv3": (2.39, 2.02, 9.57),
    "conv4": (1.79, 1.57, 7.18), "conv5": (1.20, 1.05, 4.78), "fc1": (0.60, 7.78, 2.42),
    "fc2": (0.27, 3.39, 1.07), "fc3": (0.07, 0.84, 0.26),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A layer on the chip at 200 MHz and 1 V, for the whole batch.

    Attributes
    ----------
    zeros : share of zeros in the image, in percent
    unsure : what of it is doubtful in the transcription
    """

    total_ms: float
    ms: float
    active: int
    zeros: float
    buffer_mb: float
    dram_mb: float
    unsure: str = ""


def _rows(table: str) -> dict[str, Measured]:
    found = {}
    for line in table.strip().splitlines():
        name, *numbers = line.split()
        total, ms, active, zeros, buffer, dram = (float(n.strip("?")) for n in numbers)
        fields = ("total", "processing", "active elements", "zeros", "buffer", "DRAM")
        doubts = [f for f, n in zip(fields, numbers, strict=True) if n.endswith("?")]
        found[name] = Measured(total_ms=total, ms=ms, active=int(active), zeros=zeros,
                               buffer_mb=buffer, dram_mb=dram,
                               unsure=", ".join(doubts))  # fmt: skip
    return found


#: AlexNet, 4 images: total ms, processing ms, active elements, zeros %, buffer MB, DRAM MB
ALEXNET_MEASURED = _rows("""
conv1 20.9 16.5 154 0.01 18.5 5.0
conv2 41.9 39.2 135 38.7 77.6 4.0
conv3 23.6 21.8 156 72.5 50.2 3.0
conv4 18.4 16.0 156 79.3 37.4 2.1
conv5 10.5 10.0 156 77.6 24.9 1.3
""")

#: VGG-16, 3 images; a question mark where the transcription may be off
VGG_MEASURED = _rows("""
conv1-1 76.2 38.0 156 1.6 112.6 15.4
conv1-2 910.3 810.6 156 47.7 2402.8 54.0
conv2-1 470.3 405.3 156 24.8 1201.4 33.4
conv2-2 894.3 810.8 156 38.7 2402.8 48.5
conv3-1 241.1 204.0 156 39.7 607.4 20.2
conv3-2 460.9 408.1 156 58.1 1214.8 32.2
conv3-3 457.7 408.1 156 58.7 1214.8 30.8
conv4-1 135.8 105.1 168 64.3? 321.8 17.8
conv4-2 254.8 210.0 168 74.7 643.7 28.6
conv4-3 246.3 210.0 168 85.4 643.7 22.8
conv5-1 54.3 48.3 163? 79.4 90.0 6.3
conv5-2 53.7 48.5 168 87.4 90.0 5.7
conv5-3 53.7 48.5 168 88.5 90.0 5.6
""")
VGG_TOTAL_MS = 3755.2

#: the TPU's networks: MACs per byte of weights, published TOPS (from memory, unconfirmed)
TPU = {"MLP0": (200, 12.3), "MLP1": (168, 9.7), "LSTM0": (64, 3.7), "LSTM1": (96, 2.8)}
TPU_PEAK_TOPS = 92.0
#: 384 multipliers, two operations each, at 200 MHz
V2_PEAK_GOPS = 153.6
