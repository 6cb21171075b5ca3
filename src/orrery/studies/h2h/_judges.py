"""What is known about the published flow: the paper's claims, and its released code's figures.

The claims are from the abstracts of arXiv 2204.13852 (H2H) and arXiv 2307.12234 (MARS). All else
was measured by running the released mapper on the twelve accelerators with half of each memory
reserved for weights (two typographical errors of the catalogue repaired, its knapsack replaced by
an equal one), and by a separate annealing search in plain Python of 6 s (VLocNet: 15 s) under the
same cost functions. These are judges of ours, not results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Latency reductions in per cent: MARS against H2H; H2H against computation first, least and most;
#: H2H's energy reduction, least and most.
CLAIMS = {"against": 59.4, "least": 15.0, "most": 74.0, "energy_least": 23.0, "energy_most": 64.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedRow:
    """One run of the released code, in seconds, to three or four digits after the point.

    Attributes
    ----------
    steps : makespan claimed after each step
    order, overlap : edges broken and layers overlapping after step 4
    one : best single accelerator per kind, serial
    annealed : makespan of the separate annealing search
    path : compute-only critical path on the fastest accelerators
    """

    steps: tuple[str, str, str, str]
    order: int
    overlap: int
    one: str
    annealed: str
    path: str


def _row(text: str) -> ReleasedRow:
    words = text.split()
    return ReleasedRow(
        steps=(words[0], words[1], words[2], words[3]), order=int(words[4]), overlap=int(words[5]),
        one=words[6], annealed=words[7], path=words[8],
    )  # fmt: skip


#: (model, GB/s) -> row; the figures are text because their digits say how exact they are.
RELEASED: Mapping[tuple[str, float], ReleasedRow] = {
    ("vlocnet", 0.125): _row("14.864 12.223 11.174 9.769 6 1 4.405 2.325 1.434"),
    ("vlocnet", 1.25): _row("3.149 2.885 2.763 2.660 8 1 4.260 2.087 1.434"),
    ("casia-surf", 0.125): _row("1.141 0.767 0.645 0.588 2 0 0.235 0.142 0.098"),
    ("casia-surf", 0.25): _row("0.629 0.442 0.380 0.339 3 0 0.217 0.137 0.098"),
    ("casia-surf", 0.5): _row("0.372 0.279 0.248 0.215 3 0 0.209 0.131 0.098"),
    ("casia-surf", 1.25): _row("0.218 0.181 0.168 0.163 2 0 0.204 0.126 0.098"),
    ("facebagnet", 0.125): _row("0.915 0.205 0.188 0.186 1 0 0.127 0.109 0.097"),
    ("facebagnet", 0.5): _row("0.304 0.127 0.123 0.122 1 0 0.119 0.105 0.097"),
    ("facebagnet", 1.25): _row("0.182 0.111 0.109 0.109 1 0 0.117 0.103 0.097"),
    ("cnn-lstm", 0.125): _row("0.678 0.343 0.083 0.0812 0 0 0.103 0.0812 0.072"),
    ("cnn-lstm", 0.5): _row("0.224 0.140 0.075 0.0748 0 0 0.092 0.0748 0.072"),
    ("cnn-lstm", 1.25): _row("0.133 0.099 0.073 0.0732 0 0 0.090 0.0732 0.072"),
}

#: At 0.125 GB/s without the edges between chains: step 4, edges broken, overlaps.
WITHOUT_CROSS_EDGES: Mapping[str, tuple[str, int, int]] = {
    "vlocnet": ("7.405", 4, 2), "casia-surf": ("0.367", 7, 4), "vfs": ("3.652", 2, 1),
    "facebagnet": ("0.152", 3, 1), "cnn-lstm": ("0.081", 0, 0), "mocap": ("2.888", 4, 0),
}  # fmt: skip

#: Layers, 10⁶ weights, 10⁹ multiply-accumulates of the published lists.
WORKLOAD_SIZES: Mapping[str, tuple[int, str, str]] = {
    "vlocnet": (141, "191.98", "130.2"), "casia-surf": (44, "13.24", "7.75"),
    "vfs": (49, "365.67", "31.6"), "facebagnet": (52, "24.74", "1.53"),
    "cnn-lstm": (20, "17.82", "1.61"), "mocap": (52, "31.01", "45.8"),
}  # fmt: skip
