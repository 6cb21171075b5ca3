"""What the papers print: facts to hold ours against, and inputs where said so."""

from __future__ import annotations

from dataclasses import dataclass

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
    mw : power of the chip, without its off-chip memory
    total_ms, ms : with and without configuration and transfers that are waited for
    zeros : share of zeros in the image, in percent
    unsure : what of it is doubtful in the transcription
    """

    mw: float
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
        power, total, ms, active, zeros, buffer, dram = (float(n.strip("?")) for n in numbers)
        fields = ("power", "total", "processing", "active elements", "zeros", "buffer", "DRAM")
        doubts = [f for f, n in zip(fields, numbers, strict=True) if n.endswith("?")]
        found[name] = Measured(mw=power, total_ms=total, ms=ms, active=int(active), zeros=zeros,
                               buffer_mb=buffer, dram_mb=dram,
                               unsure=", ".join(doubts))  # fmt: skip
    return found


#: AlexNet, 4 images: mW, total ms, processing ms, active elements, zeros %, buffer MB, DRAM MB
ALEXNET_MEASURED = _rows("""
conv1 332 20.9 16.5 154 0.01 18.5 5.0
conv2 288 41.9 39.2 135 38.7 77.6 4.0
conv3 266 23.6 21.8 156 72.5 50.2 3.0
conv4 235 18.4 16.0 156 79.3 37.4 2.1
conv5 236 10.5 10.0 156 77.6 24.9 1.3
""")

#: VGG-16, 3 images; a question mark where the transcription may be off
VGG_MEASURED = _rows("""
conv1-1 247 76.2 38.0 156 1.6 112.6 15.4
conv1-2 218 910.3 810.6 156 47.7 2402.8 54.0
conv2-1 242 470.3 405.3 156 24.8 1201.4 33.4
conv2-2 231 894.3 810.8 156 38.7 2402.8 48.5
conv3-1 254 241.1 204.0 156 39.7 607.4 20.2
conv3-2 235 460.9 408.1 156 58.1 1214.8 32.2
conv3-3 233 457.7 408.1 156 58.7 1214.8 30.8
conv4-1 278 135.8 105.1 168 64.3? 321.8 17.8
conv4-2 261 254.8 210.0 168 74.7 643.7 28.6
conv4-3 240 246.3 210.0 168 85.4 643.7 22.8
conv5-1 258 54.3 48.3 163? 79.4 90.0 6.3
conv5-2 236 53.7 48.5 168 87.4 90.0 5.7
conv5-3 230 53.7 48.5 168 88.5 90.0 5.6
""")
VGG_TOTAL_MS = 3755.2
#: of all layers, with what is waited for
ALEXNET_ALL_MS, VGG_ALL_MS = 115.3, 4309.5

#: the TPU's networks: MACs per byte of weights, published TOPS (from memory, unconfirmed)
TPU = {"MLP0": (200, 12.3), "MLP1": (168, 9.7), "LSTM0": (64, 3.7), "LSTM1": (96, 2.8)}
#: the convolutional ones, with intensities from memory, unconfirmed
TPU_CNN = {"CNN0": (2888, 86.0), "CNN1": (1750, 14.1)}
TPU_PEAK_TOPS = 92.0
TPU_RIDGE = 1350.0
#: accesses of off-chip memory by one image of AlexNet: four for every multiplication; with reuse
WORST_ACCESSES, BEST_ACCESSES = 2896e6, 61e6
#: 384 multipliers, two operations each, at 200 MHz
V2_PEAK_GOPS = 153.6
V2_TABLE = "Chen et al., JETCAS 2019 (Eyeriss v2), post-layout"
V2_MEMORY = f"{V2_TABLE}, from memory, unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMesh:
    """A dense network on Eyeriss v2, batch 1; MB of convolutions and per layer where published.

    Attributes
    ----------
    per_layer : layer -> 10^9 operations per joule, two a multiplication
    """

    per_s: float
    per_j: float
    dram_mb: float
    conv_mb: float | None
    per_layer: dict[str, float]


V2_NETWORKS = {
    "AlexNet": OnMesh(per_s=102.2, per_j=174.8, dram_mb=71.9, conv_mb=7.1,
                      per_layer={"conv1": 148.1, "conv3": 392.0}),
    "MobileNet": OnMesh(per_s=1282.1, per_j=1969.8, dram_mb=4.1, conv_mb=None,
                        per_layer={"conv13 depthwise": 77.7}),
}  # fmt: skip
