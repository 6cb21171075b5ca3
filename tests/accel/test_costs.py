"""Cycles, MACs and traffic against loops that count."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.accel._convolution import Convolution, read_convolution
from orrery.accel.systolic._cost import SystolicArray
from orrery.accel.tiled._cost import TiledLoops
from orrery.accel.winograd._cost import WinogradArray
from tests.conformance.kit import conv_region

from . import loop_nests

few = st.integers(1, 3)


@st.composite
def sizes(draw: st.DrawFn) -> Convolution:
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    groups, channels, filters = draw(few), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    batch, output = draw(few), draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    image = (40, 40)
    return Convolution(
        batch=batch, groups=groups, channels=channels, filters=filters, image=image, output=output,
        kernel=kernel, stride=draw(st.tuples(few, few)), dilation=draw(st.tuples(few, few)),
        pads=(0, 0), input_bytes=4 * batch * groups * channels * 1600,
        weight_bytes=4 * groups * channels * filters * kernel[0] * kernel[1],
        output_bytes=4 * batch * groups * filters * output[0] * output[1],
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    conv=sizes(), tile=st.tuples(*[st.integers(1, 5)] * 4),
    port=st.sampled_from([16, 32, 64, 96, 512]), overlap=st.booleans(), clip=st.booleans(),
)  # fmt: skip
def test_tiled(
    conv: Convolution, tile: tuple[int, ...], port: int, overlap: bool, clip: bool
) -> None:
    tm, tn, tr, tc = tile
    design = {"tm": tm, "tn": tn, "tr": tr, "tc": tc, "port_bits": port, "overlap": overlap,
              "clip": clip}  # fmt: skip
    work = TiledLoops(**design, buffer_bytes=2**30).work(conv)  # type: ignore[arg-type]
    count = loop_nests.tiled(
        batch=conv.batch, groups=conv.groups, filters=conv.filters, channels=conv.channels,
        rows=conv.output[0], columns=conv.output[1], kernel=conv.kernel, stride=conv.stride,
        dilation=conv.dilation, **design,  # type: ignore[arg-type]
    )  # fmt: skip
    assert (work.cycles, work.macs_performed) == (count.cycles, count.macs)
    assert work.offchip_bytes == 4 * count.words


@settings(max_examples=40, deadline=None)
@given(conv=sizes(), array=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
def test_systolic(conv: Convolution, array: tuple[int, int, int]) -> None:
    rows, cols, vector = array
    work = SystolicArray(rows=rows, cols=cols, vector=vector, buffer_bytes=2**20, fixed=True).work(
        conv
    )
    depth = sum(1 for _tap in range(conv.taps) for _ in range(0, conv.channels, vector))
    count = loop_nests.systolic(
        pixels=conv.batch * conv.pixels, filters=conv.filters, groups=conv.groups, depth=depth,
        rows=rows, cols=cols, vector=vector,
    )  # fmt: skip
    assert (work.cycles, work.macs_performed) == (count.cycles, count.macs)


@settings(max_examples=60, deadline=None)
@given(conv=sizes(), tile=st.sampled_from([2, 4]), lanes=st.tuples(few, few))
def test_winograd(conv: Convolution, tile: int, lanes: tuple[int, int]) -> None:
    work = WinogradArray(tile=tile, pm=lanes[0], pn=lanes[1], buffer_bytes=2**20, fixed=True).work(
        conv
    )
    count = loop_nests.winograd(
        batch=conv.batch, groups=conv.groups, filters=conv.filters, channels=conv.channels,
        rows=conv.output[0], columns=conv.output[1], kernel=conv.kernel, stride=conv.stride,
        tile=tile, pm=lanes[0], pn=lanes[1],
    )  # fmt: skip
    assert (work.cycles, work.macs_performed) == (count.cycles, count.macs)


def _traffic(design: object, **shape: object) -> int:
    read = read_convolution(conv_region(**shape))  # type: ignore[arg-type]
    assert isinstance(read, Convolution)
    return design.work(read).offchip_bytes  # type: ignore[attr-defined, no-any-return]


def test_systolic_traffic_by_hand() -> None:
    # Image 8×6×6, kernel 1×1, 10 filters: 1152 B in, 320 B of weights + 40 of bias, 1440 B out.
    shape = {"channels": 8, "filters": 10, "height": 6, "width": 6, "kernel": (1, 1),
             "pads": (0, 0, 0, 0)}  # fmt: skip
    array = SystolicArray(rows=9, cols=4, vector=1, buffer_bytes=4096, fixed=True)
    assert _traffic(array, **shape) == 1152 + 360 + 1440
    # Image no longer fits half the buffer: once per block of columns, ⌈10/4⌉ = 3 times.
    array = dataclasses.replace(array, buffer_bytes=2302)
    assert _traffic(array, **shape) == 3 * 1152 + 360 + 1440
    # Nor do the 4·8·4 = 128 B of a block: once per row block, 36/9 = 4 times.
    array = dataclasses.replace(array, buffer_bytes=254)
    assert _traffic(array, **shape) == 3 * 1152 + 4 * 360 + 1440


def test_winograd_traffic_by_hand() -> None:
    # Image 2×4×4 (128 B), 6 filters of 3×3: 16 words each, 6·2·64 = 768 B; out 6·16·4 = 384 B.
    shape = {"channels": 2, "filters": 6, "height": 4, "width": 4, "bias": False}
    array = WinogradArray(tile=2, pm=4, pn=1, buffer_bytes=1024, fixed=True)
    assert _traffic(array, **shape) == 128 + 768 + 384
    # A block's 4·128 = 512 B no longer fits half: once per row of tiles, twice.
    array = dataclasses.replace(array, buffer_bytes=1022)
    assert _traffic(array, **shape) == 128 + 2 * 768 + 384


def test_the_published_formula_by_hand() -> None:
    """Tm=64, Tn=7, Tr=Tc=13, 512-bit port on AlexNet's third layer, the sheet's formula in digits.

    K=3, N=256, M=384, R=C=13: t_comp = 1521; t_ifm = 7·15·15·32/512 → 99; t_wei = 252; t_ofm = 676;
    L1 = 1521, L2 = 37·1521 = 56277, cycles = 6·56277 + 676 + 1521.
    """
    region = conv_region(channels=256, filters=384, height=13, width=13)
    design = resolve("tiled")
    cost = design.cost.cost(region, design.device)
    assert cost.latency_s == pytest.approx((6 * 56277 + 676 + 1521) / 100e6, rel=1e-12)


#: AlexNet's convolutions: channels, filters, kernel, stride, groups, image, padding.
ALEXNET = (
    (3, 96, 11, 4, 1, 227, 0), (96, 256, 5, 1, 2, 27, 2), (256, 384, 3, 1, 1, 13, 1),
    (384, 384, 3, 1, 2, 13, 1), (384, 256, 3, 1, 2, 13, 1),
)  # fmt: skip


def test_the_published_throughput_on_alexnet() -> None:
    """Zhang et al., FPGA 2015, measured 61.62 GOP/s; ours ignores fill and the memory's latency."""
    design, seconds, macs = resolve("tiled"), 0.0, 0
    for channels, filters, kernel, stride, groups, size, pad in ALEXNET:
        region = conv_region(
            channels=channels, filters=filters, kernel=(kernel, kernel), stride=(stride, stride),
            groups=groups, height=size, width=size, pads=(pad, pad, pad, pad),
        )  # fmt: skip
        cost = design.cost.cost(region, design.device)
        seconds, macs = seconds + cost.latency_s, macs + cost.macs_nominal
    assert 2 * macs / seconds / 1e9 == pytest.approx(61.62, rel=0.05)


def test_winograd_needs_fewer_multiplications_only_on_its_own_ground() -> None:
    design = resolve("winograd(tile=4, pn=8)")
    native = conv_region(channels=64, filters=64, height=56, width=56)
    cost = design.cost.cost(native, design.device)
    assert cost.macs_nominal == 4 * cost.macs_performed  # 144 products against 36
    pointwise = conv_region(channels=64, filters=64, height=56, width=56, kernel=(1, 1),
                            pads=(0, 0, 0, 0))  # fmt: skip
    cost = design.cost.cost(pointwise, design.device)
    assert cost.macs_performed > 2 * cost.macs_nominal


def test_another_kind_of_device_is_refused() -> None:
    design = resolve("systolic")
    gpu = dataclasses.replace(design.device, name="gpu0", kind="gpu")
    refusal = design.cost.refuses(conv_region(), gpu)
    assert refusal is not None and refusal.reason.endswith("configures an fpga; gpu0 is gpu")


def test_a_slow_port_waits_for_the_output() -> None:
    """Tm=4, one channel: a tile of 2·2 pixels computes 4 cycles and stores 16 beats."""
    loops = TiledLoops(tm=4, tn=1, tr=2, tc=2, port_bits=32, overlap=True, clip=True,
                       buffer_bytes=2**20)  # fmt: skip
    shape = {"channels": 1, "filters": 4, "height": 4, "width": 2, "kernel": (1, 1),
             "pads": (0, 0, 0, 0), "bias": False}  # fmt: skip
    read = read_convolution(conv_region(**shape))
    assert isinstance(read, Convolution)
    # Two tiles wait 16 beats each; nothing hides the first step (4) and the last store (16).
    assert loops.work(read).cycles == 2 * 16 + 4 + 16


@pytest.mark.parametrize(("overlap", "copies"), [(True, 2), (False, 1)])
def test_double_buffers_take_twice_the_memory(overlap: bool, copies: int) -> None:
    """3×3 taps on 2·2 pixels: 4·4 image words, 2·9 weights, 2·4 outputs: 42 words."""
    read = read_convolution(conv_region())
    assert isinstance(read, Convolution)
    loops = TiledLoops(tm=2, tn=1, tr=2, tc=2, port_bits=32, overlap=overlap, clip=True,
                       buffer_bytes=168 * copies)  # fmt: skip
    assert loops.limits(read) is None
    smaller = dataclasses.replace(loops, buffer_bytes=168 * copies - 1)
    assert f"tile buffers of {168 * copies} bytes" in str(smaller.limits(read))


def test_rows_that_a_stride_skips_are_streamed_all_the_same() -> None:
    """Tiles of one pixel touch 256 of 4096 image words; whole rows cross the port."""
    thin = conv_region(channels=1, height=64, width=64, kernel=(1, 1), stride=(4, 4),
                       pads=(0, 0, 0, 0), filters=1, bias=False)  # fmt: skip
    small = resolve("tiled(tm=1, tn=1, tr=1, tc=1)")
    assert small.cost.cost(thin, small.device).offchip_bytes == 4 * (64 * 64 + 1 + 16 * 16)


def test_buffers_larger_than_the_chip_are_refused() -> None:
    design = resolve("tiled(tr=200, tc=200)")
    refusal = design.cost.refuses(conv_region(), design.device)
    assert refusal is not None and "tile buffers" in refusal.reason
