"""The twelve accelerators, and what a layer costs on one, as the released code has it.

Models:  a convolution in tiles (weights and activations of a tile loaded, then computed, output
         stored once per output tile, nothing overlapped); a fully connected layer and an LSTM step
         as the longest of load, compute and store; every tensor once over the accelerator's link.
Ignores: stride (a convolution's input always counts as twice its output's rows and columns),
         overlap of link and compute, contention; an LSTM's activations cross the link once, not
         once per step.
Judge:   the totals that were measured by running the released code (``_published``).

Equations: released mapper of Zhang et al., DAC 2022 (github xyzxinyizhang/H2H); catalogue: files of
its follow-up (github dkgzc/MARCH). Throughputs divided by ten, clocks below the boards' comments
and the 282 GOP/s whose comment says 28.2 stand as they do there: they are the published problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from orrery.provenance import Basis, Source

CATALOGUE_SOURCE = Source(
    basis=Basis.PUBLISHED,
    where="github dkgzc/MARCH, accelerator/*.py; equations as in github xyzxinyizhang/H2H",
    note="defaults of the files; reserved ratio and link bandwidth are set per run",
)

BITS_PER_WORD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccelerator:
    """One entry of the catalogue.

    Attributes
    ----------
    board : as the file's comment names it
    kind : ``CNN``, ``FC`` or ``LSTM``
    gop_per_s : throughput in 10⁹ operations/s, a multiply-accumulate counting two
    clock_hz, port_bits : together the rate of its memory port
    memory_bytes, power_w : off-chip memory and board power
    """

    name: str
    board: str
    kind: str
    gop_per_s: float
    clock_hz: float
    memory_bytes: float
    power_w: float
    port_bits: int = 512


def _entry(
    name: str, board: str, gop_per_s: float, mhz: float, gigabytes: float, watts: float,
    port_bits: int = 512,
) -> ListedAccelerator:  # fmt: skip
    return ListedAccelerator(
        name=name, board=board, kind=name.split("_")[0].upper(),
        gop_per_s=gop_per_s, clock_hz=mhz * 1e6, memory_bytes=gigabytes * 1e9,
        power_w=watts, port_bits=port_bits,
    )  # fmt: skip


#: In the order of the files; among equals the published flow takes the first.
ACCELERATORS = (
    _entry("cnn_1", "Arria10 GX1150", 86.6, 370, 2, 37.46),
    _entry("cnn_2", "VC707", 61.62, 100, 1, 18.6),
    _entry("cnn_3", "ZCU102", 75, 100, 0.5, 27),
    _entry("cnn_4", "ZC706", 28, 100, 1, 10),
    _entry("cnn_6", "Stratix-V GSMD5", 73, 100, 2, 25),
    _entry("cnn_7", "GX1150", 130, 150, 4, 21.2),
    _entry("cnn_8", "GX1150", 44, 200, 1, 8),
    _entry("cnn_9", "GT1150", 36, 200, 1, 30),
    _entry("fc_10", "XCKU060 (ESE)", 282, 150, 1, 41),
    _entry("fc_11", "XCKU060 (goDeeper)", 1.2, 150, 1, 9),
    _entry("lstm_12", "PYNQ-Z1", 0.8, 150, 0.256, 2.29, port_bits=256),
    _entry("lstm_13", "VC707", 10, 150, 1, 19.63),
)

#: Tile of every convolution accelerator: output and input channels, rows, columns, and the rows
#: and columns of input that a tile loads.
_TM, _TN, _TR, _TC, _TR_IN, _TC_IN = 32, 32, 16, 14, 16, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLayer:
    """One layer of a workload as the cost functions see it.

    Attributes
    ----------
    kind : ``CNN``, ``FC`` or ``LSTM``
    gives, takes : output and input features (LSTM: hidden size and input size)
    rows, columns : of a convolution's output
    kernel : of a square convolution kernel
    steps : of an LSTM
    """

    name: str
    kind: str
    gives: int
    takes: int
    rows: int = 1
    columns: int = 1
    kernel: int = 1
    steps: int = 1

    @property
    def weight_words(self) -> int:
        """Words of weights, biases not counted."""
        if self.kind == "LSTM":
            return 4 * self.gives * (self.gives + self.takes)
        return self.gives * self.takes * self.kernel**2

    @property
    def input_words(self) -> int:
        """Words that the cost functions charge for the input."""
        return self.takes * (4 * self.rows * self.columns if self.kind == "CNN" else 1)

    @property
    def output_words(self) -> int:
        """Words that the cost functions charge for the output."""
        return self.gives * (self.rows * self.columns if self.kind == "CNN" else 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.weight_words * self.steps * (self.rows * self.columns)


def costs_s(
    layer: ListedLayer, accelerator: ListedAccelerator, link_bytes_per_s: float
) -> tuple[float, float, float, float]:
    """Return seconds of compute, weights in, activations in and activations out.

    Compute is infinite where the accelerator is of another kind.
    """
    compute = _compute_s(layer, accelerator) if layer.kind == accelerator.kind else float("inf")
    words = (layer.weight_words, layer.input_words, layer.output_words)
    weights, inputs, outputs = (n * BITS_PER_WORD / (link_bytes_per_s * 8) for n in words)
    return compute, weights, inputs, outputs


def _compute_s(layer: ListedLayer, accelerator: ListedAccelerator) -> float:
    # The order of the operations is the released code's: where two moves are equally good, its
    # search is decided by the last bit.
    port_bits_per_s = accelerator.port_bits * accelerator.clock_hz
    if layer.kind == "CNN":
        area = layer.kernel**2
        weights = _TM * _TN * area * BITS_PER_WORD / port_bits_per_s
        inputs = _TN * _TR_IN * _TC_IN * BITS_PER_WORD / port_bits_per_s
        compute = 2 * _TR * _TC * _TM * _TN * area / 1e9 / accelerator.gop_per_s
        store = _TM * _TR * _TC * BITS_PER_WORD / port_bits_per_s
        tiles = ceil(layer.rows / _TR) * ceil(layer.columns / _TC) * ceil(layer.gives / _TM)
        return tiles * (ceil(layer.takes / _TN) * (weights + inputs + compute) + store)
    load = (layer.weight_words * BITS_PER_WORD / port_bits_per_s) + (
        layer.takes * BITS_PER_WORD / port_bits_per_s
    )
    store = layer.gives * BITS_PER_WORD / port_bits_per_s
    return layer.steps * max(load, 2 * layer.weight_words / 1e9 / accelerator.gop_per_s, store)
