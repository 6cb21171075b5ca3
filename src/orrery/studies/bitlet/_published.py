"""What the papers print of the bit-interleaving array, and what their numbers say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPER = "Lu et al., Bitlet, MICRO 2021"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network of tables 2 and 8 and figure 7; `cycles` of table 4.

    Attributes
    ----------
    zeros : share of zero bits of the weights
    fps : on the FPGA, distilled; `plain_fps` not distilled (groups of 64 both)
    """

    name: str
    bits: int
    gflops: float
    zeros: float
    cycles: float
    fps: float
    plain_fps: float


CASES = (
    Case(name="lapSRN", bits=16, gflops=736.73, zeros=0.7431, cycles=29.51, fps=0.046,
         plain_fps=0.038),
    Case(name="DCPDNet", bits=16, gflops=254.37, zeros=0.75, cycles=16.45, fps=0.239,
         plain_fps=0.109),
    Case(name="DenseNet-161", bits=16, gflops=15.56, zeros=0.6892, cycles=22.85, fps=2.812,
         plain_fps=1.779),
    Case(name="FCOS", bits=16, gflops=80.14, zeros=0.7083, cycles=22.44, fps=0.556,
         plain_fps=0.345),
    Case(name="ResNet-50", bits=8, gflops=8.21, zeros=0.7015, cycles=21.03, fps=5.793,
         plain_fps=3.371),
    Case(name="MobileNetV2", bits=8, gflops=0.615, zeros=0.7685, cycles=22.22, fps=73.189,
         plain_fps=45.001),
    Case(name="YoloV3", bits=8, gflops=25.42, zeros=0.7778, cycles=19.04, fps=2.066,
         plain_fps=1.089),
    Case(name="Multi-Pose", bits=8, gflops=97.55, zeros=0.6633, cycles=24.64, fps=0.416,
         plain_fps=0.284),
)  # fmt: skip

#: precision -> published peak, GOPs at 1 GHz, and cycles of 64 MACs that it stands for
PEAKS: Mapping[str, tuple[float, float]] = {
    "fp32": (204.8, 20.0), "fixed16": (372.35, 11.0), "fixed8": (744.7, 5.5),
}  # fmt: skip

#: (precision, process in nm) -> published GOPs/W
EFFICIENCY: Mapping[tuple[str, int], float] = {
    ("fp32", 28): 359.15, ("fixed16", 28): 667.97, ("fixed8", 28): 1335.93,
    ("fp32", 65): 111.97, ("fixed16", 65): 267.87, ("fixed8", 65): 621.10,
}  # fmt: skip

#: library network -> case, published speed-ups of 16 and 32 elements over 8
SCALING: Mapping[str, tuple[str, float, float]] = {
    "mobilenet_v2": ("MobileNetV2", 1.76, 3.27), "resnet50": ("ResNet-50", 1.95, 3.85),
    "densenet161": ("DenseNet-161", 1.77, 3.30),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A headline, and the two published figures whose quotient it is."""

    name: str
    printed: float
    over: float
    under: float
    means: str


HEADLINES = (
    Headline(name="15x", printed=15.0, over=343.68, under=22.85,
             means="cycles of 64 MACs, Eyeriss over Bitlet, DenseNet-161 (DCPDNet would be 21.7)"),
    Headline(name="8x", printed=8.0, over=236.82, under=29.60,
             means="GOPs/W, Bitlet over Laconic, ResNet-50 at 8 bits"),
    Headline(name="81x", printed=81.0, over=4.87, under=0.06,
             means="GOPs/W in training, Bitlet over Titan V, D3DNet; forward pass alone is faster"),
    Headline(name="21x", printed=21.0, over=67.29, under=3.19,
             means="GOPs/W in inference, Bitlet over Titan V, CartoonGAN"),
)  # fmt: skip
