"""The chip of 2017: AlexNet and VGG-16 layer by layer under the mapping that it ran.

Models:  the passes of `_rows` on the catalogue's chip, whose description says what streams, what
         is waited for and how wide the network of each operand is. AlexNet's letters are those of
         the paper's table of mappings (from memory; they give the shares of the buffer that the
         fact sheet has from it, and the published active elements). VGG-16's are published
         nowhere: strips of 13 rows (28 and 14 in the last blocks) follow from the active elements
         and from sums that fill 91 of 100 KB. Channels of a pass are the one whole number that
         explains the published traffic of the buffer, so that these two columns are no judges
         there. Time and DRAM are; of the time, most of the first four blocks is that traffic at
         the four words a cycle of the sums' network. The published time of processing is that
         with all off-chip traffic overlapped; in all, the array rests while images are loaded
         and results stored, and only filters come meanwhile: so the paper says. Power is that of
         the nest without off-chip memory, multipliers gated on zeros of the image, over this time.
Ignores: configuration (below 0.1 ms a layer), the way of runs through the codec, clock network and
         control beyond the static power of the description.
Judge:   the chip's measurements, which no number here is fitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from orrery.cost.nest import NestCost, Zeros, check_mapping, nest_cost
from orrery.errors import SpecError
from orrery.hardware import Architecture

from ._layers import Conv, conv_problem
from ._rows import RowStationary, Sets, row_nest

#: bits of a nonzero value (16) and the run of zeros before it (5): three such pairs in 64
RUN_BITS = 64 / 3

ALEXNET_HOW = {
    "conv1": RowStationary(sets=Sets(e=7, t_beside=2), p=16, q=1, m=96, n=1),
    "conv2": RowStationary(sets=Sets(e=14, fold=2), p=16, q=2, m=64, n=1),
    "conv3": RowStationary(sets=Sets(e=13, t=4), p=16, q=4, m=64, n=4),
    "conv4": RowStationary(sets=Sets(e=13, r=2, t=2), p=16, q=3, m=64, n=4),
    "conv5": RowStationary(sets=Sets(e=13, r=2, t=2), p=16, q=3, m=64, n=4),
}

_BLOCK_HOW = {
    "1": RowStationary(sets=Sets(e=13, t=4), p=4, q=1, m=16, n=1),
    "2": RowStationary(sets=Sets(e=13, t=4), p=8, q=1, m=32, n=1),
    "3": RowStationary(sets=Sets(e=13, t=4), p=16, q=2, m=64, n=1),
    "4": RowStationary(sets=Sets(e=14, fold=2, t=2), p=16, q=4, m=32, n=1),
    "5": RowStationary(sets=Sets(e=14, r=2, t=2), p=16, q=4, m=64, n=3),
}


def vgg_how(layer: Conv) -> RowStationary:
    """Return how a layer of VGG-16 ran, as far as it can be told."""
    return _BLOCK_HOW[layer.name.removeprefix("conv")[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLayer:
    """What the engine says of a layer.

    Attributes
    ----------
    ms : processing, with data there in time
    compute_ms, port_ms, filters_ms : of it, multiplications, waiting for the buffer's networks,
        and for the filters of passes
    buffer_bytes : what the array moves to and from it, and results on their way out
    dram_bytes : images and sums as runs of zeros where their zeros are published
    dram_dense_bytes : as 16-bit words
    link_ms : what waits for the link: images and results, which nothing hides, and what of the
        filters takes longer than processing
    power_w : of the chip over processing and link, multipliers gated on zeros
    plain_ms : of the catalogue's chip as it is, images and results stored whole
    """

    cost: NestCost
    ms: float
    compute_ms: float
    port_ms: float
    filters_ms: float
    buffer_bytes: float
    dram_bytes: float
    dram_dense_bytes: float
    link_ms: float
    power_w: float
    plain_ms: float

    @property
    def total_ms(self) -> float:
        """Processing and, after it, what crosses the link."""
        return self.ms + self.link_ms


def overlapped(chip: Architecture) -> Architecture:
    """Return the chip with all off-chip traffic overlapped, as its processing is printed."""
    dram, buffer, *rest = chip.levels
    return replace(chip, levels=(
        replace(dram, read_bits_per_cycle=None, write_bits_per_cycle=None, one_port=False),
        replace(buffer, streams=buffer.holds), *rest,
    ))  # fmt: skip


def run_layer(
    layer: Conv,
    how: RowStationary,
    batch: int,
    chip: Architecture,
    *,
    zeros_in: float,
    zeros_out: float | None,
) -> ChipLayer:
    """Say what a layer takes.

    Parameters
    ----------
    zeros_in, zeros_out : shares of zeros of image and result; None: stored whole

    Raises
    ------
    SpecError : a mapping that does not fit the chip
    """
    problem, nest = conv_problem(layer, batch), row_nest(layer, batch, how, filters_apart=True)
    refused = check_mapping(problem, nest, chip)
    if refused is not None:
        raise SpecError(f"{layer.name} on {chip.name}", found=str(refused),
                        wanted="a mapping that fits", fix="correct its letters")  # fmt: skip
    cost = nest_cost(problem, nest, overlapped(chip))
    # Off chip no padding is stored, so that none travels.
    bare = nest_cost(conv_problem(layer, batch, padded=False), nest, chip)
    offchip = {role: sum(moved) * bare.times / 8 for role, moved in bare.traffic["dram"].items()}
    shares = {"input": _coded(zeros_in) if layer.read > 3 else 1.0, "weight": 1.0,
              "output": _coded(zeros_out)}  # fmt: skip
    pads = len(chip.levels) - 1
    array = sum(f.outer.total + f.back for f in cost.counts.flows if f.child == pads)
    left = sum(f.outer.total for f in cost.counts.flows
               if f.tensor.role == "output" and f.child == 1)  # fmt: skip
    ms = 1e3 / chip.clock_hz * cost.times
    coded = {role: offchip[role] * shares[role] for role in offchip}
    each_ms = 8e3 / ((chip.levels[0].read_bits_per_cycle or math.inf) * chip.clock_hz)
    filters_ms = coded["weight"] * each_ms
    link_ms = (coded["input"] + coded["output"]) * each_ms
    link_ms += max(0.0, filters_ms - cost.time.cycles * ms)
    gated = nest_cost(problem, nest, overlapped(chip), counts=cost.counts,
                      zeros=Zeros(density={"input": 1 - zeros_in}, gates=("input",)))  # fmt: skip
    static_w = chip.static_power_w or 0.0
    inside_j = sum(c.energy_j for c in gated.charges if c.resource != "dram")
    inside_j += static_w * link_ms / 1e3
    return ChipLayer(
        link_ms=link_ms, power_w=1e3 * inside_j / (cost.time.cycles * ms + link_ms),
        plain_ms=1e3 * bare.latency_s, cost=cost, ms=cost.time.cycles * ms,
        compute_ms=cost.time.compute * ms,
        port_ms=float(sum(cost.time.stalls[:-1])) * ms, filters_ms=float(cost.time.stalls[-1]) * ms,
        buffer_bytes=(array + left) * cost.times * chip.bits["input"] / 8,
        dram_bytes=sum(coded.values()),
        dram_dense_bytes=sum(offchip.values()),
    )  # fmt: skip


def _coded(zeros: float | None) -> float:
    """Return bits as runs of zeros per bit of 16-bit words."""
    return 1.0 if zeros is None else (1 - zeros) * RUN_BITS / 16
