"""The window rule cycle by cycle, sums over elements in Python, intervals, and the memory."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel.bitlet import _bits as bits
from orrery.accel.bitlet._bits import lane_cycles, lane_passes
from orrery.accel.bitlet._cycles import (
    BitletArray,
    BitletSimulator,
    LayerCycles,
    count_layer,
    pipeline_cycles,
    schedule,
    weight_cycles,
)
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import FLOATS, FixedFormat, Mode, number_format, to_bits
from orrery.errors import SpecError
from tests.conformance.kit import conv_region

from . import slow
from .test_engine import SIX
from .test_function import draw_inputs, product_region


def array(precision: str = "fixed8", **change: Any) -> BitletArray:
    parts = {k: change.pop(k) for k in ("group", "mode", "enabled") if k in change}
    return BitletArray(engine=Engine(format=number_format(precision), **parts), **change)


# -- the rule -------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(1, 12))
def test_a_lane_emits_every_one_once_in_as_many_cycles_as_counted(
    ones: list[bool], window: int
) -> None:
    emitted = slow.window_cycles(ones, len(ones), window)
    assert [i for i in emitted if i is not None] == [i for i, one in enumerate(ones) if one]
    assert lane_cycles(np.array([ones]), window)[0] == len(emitted)
    (passes,) = lane_passes(np.array([ones]), window)
    assert passes == [-1 if i is None else i for i in emitted]
    assert max(sum(ones), -(-len(ones) // window)) <= len(emitted) <= len(ones)


@given(st.data())
@settings(max_examples=150)
def test_compiled_groups_take_as_long_as_the_slowest_lane(data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 24))
    group = data.draw(st.sampled_from([1, 5, 8, 9, 16, 64, 70]))
    window = data.draw(st.sampled_from([8, 8, 1, 3, 16, 64]))
    thin = data.draw(st.integers(0, 2))
    mask = data.draw(st.just(-1) | st.integers(1, 2**bits - 1))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    rows = draw.integers(0, 2**bits, (2, data.draw(st.integers(1, 150))))
    for _ in range(thin):
        rows &= draw.integers(0, 2**bits, rows.shape)
    engine = Engine(format=FixedFormat(bits=bits), group=group, enabled=mask)
    got = weight_cycles(rows, BitletArray(engine=engine, window=window))
    lanes = [b for b in range(bits) if mask >> b & 1]
    for row, g in np.ndindex(*got.shape):
        part = [int(v) for v in rows[row, g * group : (g + 1) * group]]
        assert got[row, g] == slow.group_cycles(part, lanes, window)


def test_the_least_the_most_and_the_usual() -> None:
    design = array("fixed24")
    assert weight_cycles(np.zeros((1, 64), int), design)[0, 0] == 8
    assert weight_cycles(np.full((1, 64), 2**24 - 1), design)[0, 0] == 64
    halves = np.random.default_rng(0).random((2000, 64)) < 0.5
    assert 1 <= lane_cycles(halves).mean() / halves.sum(1).mean() < 1.01  # published sketch: 31.8


@given(st.sampled_from(tuple(FLOATS)), st.integers(0, 2**20), st.integers(1, 40))
@settings(max_examples=40)
def test_what_the_lanes_select_adds_up_to_the_engines_accumulator(
    kind: str, seed: int, size: int
) -> None:
    """Function and cycles agree: pass by pass over as many cycles as are counted."""
    w, a = np.random.default_rng(seed).standard_normal((2, 1, size))
    words = [[int(x) for x in to_bits(v[0], FLOATS[kind])] for v in (w, a)]
    shifted, folded, _ = slow.aligned(*words, kind, faithful=False)
    lanes = FLOATS[kind].lanes
    passes = lane_passes(np.array([[m >> b & 1 for m in shifted] for b in range(lanes)]))
    longest = max(map(len, passes))
    total = 0
    for cycle in range(longest):
        chosen = [(p[cycle], b) for b, p in enumerate(passes) if cycle < len(p)]
        total += sum(folded[place] << b for place, b in chosen if place >= 0)
    design = array(kind)
    assert int(design.engine.run(w, a).accumulator[0]) == total
    region = product_region("MatMul", (1, size), (size, 1), constant="")
    inputs = {"a": a.astype(np.float32), "b": w.astype(np.float32).T}
    if kind == "fp32":  # binary64 draws are rounded once
        assert count_layer(region, inputs, design).element_cycles == longest


def test_cycles_are_a_witness_of_their_own() -> None:
    """What counts cycles imports nothing that prices."""
    folder = Path(bits.__file__).parent
    for name in ("_bits.py", "_cycles.py", "_network.py"):
        tree = ast.parse((folder / name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert "cost" not in (node.module or "").split("."), name
                assert (node.module or "") not in ("_cost", "_model"), name


def test_golden_six_weights_take_three_passes() -> None:
    aligned = np.array([[int(w * 2**17) for w in SIX]])
    assert weight_cycles(aligned, array("fixed24", group=6))[0, 0] == 3
    region = product_region("MatMul", (1, 6), (6, 1), constant="")
    inputs = {"a": np.array([[1.5, 1.25, 1.0, 1.75, 1.125, 1.375]], np.float32),
              "b": np.array(SIX, np.float32)[:, None]}  # fmt: skip
    found = count_layer(region, inputs, array("fp32", group=6))
    assert (found.element_cycles, found.groups) == (3, 1)
    assert count_layer(region, inputs, array("fp32", group=6, distil=False)).element_cycles == 6


# -- layers ---------------------------------------------------------------------------------------


def _tiles(runs: np.ndarray, beats: np.ndarray, elements: int, broadcast: str) -> list[int]:
    """Cycles of each tile: runs (positions, rows, groups), beats (tiles, groups)."""
    found = []
    for t, first in enumerate(range(0, runs.shape[1], elements)):
        total = 0
        side = range(first, min(first + elements, runs.shape[1]))
        if broadcast == "lockstep":
            for p, g in np.ndindex(runs.shape[0], runs.shape[2]):
                total += max(int(beats[t, g]), *(int(runs[p, m, g]) for m in side))
        else:
            arrival = runs.shape[0] * int(beats[t].sum())
            total = max(arrival, *(int(runs[:, m].sum()) for m in side))
        found.append(total)
    return found


@pytest.mark.parametrize("broadcast", ["lockstep", "buffered"])
def test_fixed_point_layers_count_weights_once_a_position(broadcast: Any) -> None:
    region = conv_region(channels=6, filters=7, height=4, width=3)
    design = array("fixed5", group=16, elements=3, broadcast=broadcast)
    found = count_layer(region, draw_inputs(region), design)
    weights = region.graph.constants["w"].array().reshape(7, -1)
    runs = np.empty((1, 7, 4), int)
    for m in range(7):
        step = float(np.abs(weights[m]).max()) / 15
        magnitudes = [abs(round(float(v) / step)) for v in weights[m]]
        for g in range(4):
            part = magnitudes[16 * g : 16 * g + 16]
            runs[0, m, g] = slow.group_cycles(part, range(5), 8)
    assert found.element_cycles == 12 * runs.sum()
    assert found.groups == 12 * 7 * 4
    want = _tiles(runs, np.ones((3, 4)), 3, broadcast)
    assert list(found.steps) == [12 * t for t in want]
    assert found.half_width == 0
    assert found.cycles_per_group == runs.mean()
    assert found.cycles_per_64_macs == 64 * 12 * runs.sum() / region.operations.macs


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("mode", ["correct", "faithful"])
@pytest.mark.parametrize("broadcast", ["lockstep", "buffered"])
def test_float_layers_follow_every_group_of_activations(
    kind: str, mode: Mode, broadcast: Any
) -> None:
    region = product_region("MatMul", (2, 21), (21, 5))
    inputs = draw_inputs(region)
    inputs["a"] *= np.exp(3 * draw_inputs(region, 9)["a"])
    inputs["a"][0, :3] = [0, 1e-40, 3e-5]
    design = array(kind, group=8, mode=mode, elements=2, broadcast=broadcast)
    found = count_layer(region, inputs, design)
    a = to_bits(inputs["a"], FLOATS[kind])
    b = to_bits(region.graph.constants["b"].array(), FLOATS[kind])
    runs = np.empty((2, 5, 3), int)
    for p, m, g in np.ndindex(2, 5, 3):
        span = slice(8 * g, 8 * g + 8)
        words = [int(v) for v in b[span, m]], [int(v) for v in a[p, span]]
        shifted, _, _ = slow.aligned(*words, kind, faithful=mode == "faithful")
        runs[p, m, g] = slow.group_cycles(shifted, range(FLOATS[kind].lanes), 8)
    assert found.element_cycles == runs.sum()
    assert list(found.steps) == _tiles(runs, np.ones((3, 3)), 2, broadcast)
    assert (found.positions, found.sampled, found.half_width) == (2, 2, 0)


def test_different_activations_for_each_element_must_arrive_first() -> None:
    """Depthwise: nine weights want 2 to 9 cycles, 16 filters' activations 16 beats."""
    region = conv_region(channels=16, filters=16, groups=16, height=3, width=3)
    for precision in ("fixed8", "fp32"):
        design = array(precision, elements=16)
        found = count_layer(region, draw_inputs(region), design)
        assert found.cycles_per_group < 10
        assert list(found.steps) == [9 * 16]
        ahead = count_layer(region, draw_inputs(region), replace(design, broadcast="buffered"))
        assert list(ahead.steps) == [9 * 16]  # running ahead brings no activations sooner
        two = count_layer(region, draw_inputs(region), replace(design, elements=8))
        assert list(two.steps) != [9 * 16, 9 * 16]
        assert all(9 * 8 <= s <= 9 * 9 for s in two.steps)


def test_without_distillation_every_weight_takes_a_cycle() -> None:
    region = conv_region(channels=9, filters=3)  # sums of 81: groups of 64 and 17
    for precision in ("fixed8", "fp32"):
        found = count_layer(region, draw_inputs(region), array(precision, distil=False))
        assert found.element_cycles == region.operations.macs
        assert list(found.steps) == [64 * 81]


def test_resting_lanes_are_not_waited_for() -> None:
    region = conv_region(channels=16)
    full, top = (count_layer(region, draw_inputs(region), array("fp32", enabled=mask))
                 for mask in (-1, 0xFF0000))  # fmt: skip
    assert top.element_cycles < full.element_cycles


# -- sampling -------------------------------------------------------------------------------------


def test_the_interval_covers_the_truth_and_is_as_narrow_as_asked() -> None:
    region = conv_region(channels=8, filters=4, height=24, width=24)
    image = draw_inputs(region)["x"] * np.linspace(0.01, 4, 24, dtype=np.float32)
    image[:, :, :8] = np.maximum(image[:, :, :8], 0)
    design = array("fp32", elements=2)
    exact = count_layer(region, {"x": image}, design)
    assert exact.sampled == exact.positions == 576
    for broadcast, error in (("lockstep", 0.02), ("buffered", 0.02), ("lockstep", 0.005)):
        own = replace(design, broadcast=broadcast)
        truth = count_layer(region, {"x": image}, own).array_cycles
        covered = 0
        for seed in range(25):
            found = count_layer(region, {"x": image}, own, exact_macs=0, error=error, seed=seed)
            covered += abs(found.array_cycles - truth) <= found.half_width
            assert found.relative_error <= error
            assert found.sampled < 576 or found.half_width == 0
            assert found.element_cycles == pytest.approx(exact.element_cycles, rel=2 * error)
        assert covered >= 21


def test_the_same_seed_draws_the_same_positions() -> None:
    region = conv_region(channels=8, filters=4, height=24, width=24)
    inputs, design = draw_inputs(region), array("fp32")
    pair = [count_layer(region, inputs, design, exact_macs=0, error=0.02, seed=3) for _ in "ab"]
    assert pair[0].array_cycles == pair[1].array_cycles
    assert pair[0].sampled < pair[0].positions


def test_an_error_that_cannot_be_had_counts_everything() -> None:
    region = conv_region(channels=8, filters=4, height=12, width=12)
    tight = count_layer(region, draw_inputs(region), array("fp32"), exact_macs=0, error=1e-9)
    exact = count_layer(region, draw_inputs(region), array("fp32"))
    assert (tight.sampled, tight.half_width) == (144, 0)
    assert tight.array_cycles == pytest.approx(exact.array_cycles, rel=1e-12)


# -- memory ---------------------------------------------------------------------------------------


def test_traffic_reads_weights_once_and_activations_once_a_tile_unless_they_stay() -> None:
    region = conv_region(channels=4, filters=8, height=8, width=8)
    design = array("fixed8", elements=3)
    inputs = draw_inputs(region)
    found = count_layer(region, inputs, design)
    assert found.weight_bytes.sum() == 8 * 36 + 8 * 4  # a byte a weight, biases of four
    assert list(found.activation_bytes) == [256 + 3 * 64, 3 * 64, 2 * 64]
    spilt = count_layer(region, inputs, replace(design, buffer_bytes=100))
    assert list(spilt.activation_bytes) == [256 + 3 * 64, 256 + 3 * 64, 256 + 2 * 64]
    assert count_layer(region, inputs, array("fp32")).offchip_bytes == 4 * (288 + 8 + 256 + 512)
    groups = conv_region(channels=6, filters=9, groups=3)
    found = count_layer(groups, draw_inputs(groups), array("fixed8", elements=4))
    own = 2 * 64  # of one group; tiles: filters 0-3, 4-7, 8 meet groups 0-1, 1-2, 2
    assert list(found.activation_bytes) == [2 * own + 256, own + 256, 64]


def _found(steps: list[float], weights: list[float], activations: list[float]) -> LayerCycles:
    return LayerCycles(macs=1, groups=1, element_cycles=1, steps=np.array(steps), half_width=0,
                       positions=1, sampled=1, weight_bytes=np.array(weights),
                       activation_bytes=np.array(activations))  # fmt: skip


def test_weights_are_fetched_one_tile_ahead() -> None:
    design = array("fixed8", clock_hz=1.0, channel_bytes_per_s=1.0)
    fill = pipeline_cycles(design.engine)
    stages = list(schedule(_found([100, 100, 100], [50, 30, 400], [10, 1000, 10]), design))
    busy = 100 + fill
    assert [s.load_start for s in stages] == [0, 50, 50 + busy]
    assert [s.start for s in stages] == [50, 50 + busy, 50 + busy + 1000]
    assert stages[1].end == 50 + busy + 1000  # its activations are what it waits for
    assert stages[2].load_end == 50 + busy + 400
    assert stages[2].end == 50 + busy + 1000 + busy


def test_the_pipeline_of_the_release() -> None:
    # 4 beats and their register, 4 levels and a register, align, index and selection,
    # 4 levels and an adder, accumulator, 4 stages of packing.
    assert pipeline_cycles(Engine(format=FLOATS["fp32"])) == 4 + 1 + 5 + 1 + 2 + 5 + 1 + 4


def test_the_simulator_tells_what_the_array_and_both_channels_do() -> None:
    region = conv_region(channels=16, filters=40, height=10, width=10)
    for precision in ("fixed8", "fp32"):
        design = array(precision)
        line = BitletSimulator(array=design)(region, draw_inputs(region))
        found = count_layer(region, draw_inputs(region), design)
        assert set(line.resources()) == {"array", "weight channel", "activation channel"}
        assert [s.start_ps for s in line.spans] == sorted(s.start_ps for s in line.spans)
        *_, last = schedule(found, design)
        assert line.makespan_s == pytest.approx(last.end, abs=1e-11)
        compute = found.array_cycles + 2 * pipeline_cycles(design.engine)
        assert line.busy_s()["array"] == pytest.approx(compute / 1e9, abs=1e-11)
        assert line.makespan_s >= compute / 1e9
        moved = sum(int(s.details["bytes"]) for s in line.spans if "bytes" in s.details)
        assert moved == pytest.approx(found.offchip_bytes, abs=4)


def test_a_sampled_timeline_says_so() -> None:
    region = conv_region(channels=8, filters=4, height=24, width=24)
    line = BitletSimulator(array=array("fp32"), exact_macs=0, error=0.02)(
        region, draw_inputs(region)
    )
    assert all(0 < float(s.details["half_width_share"]) <= 0.02 for s in line.spans)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"window": 0}, "window: found 0, wanted a whole number, 1 to 64"),
        ({"window": 65}, "window: found 65"),
        ({"broadcast": "lock-step"}, "did you mean 'lockstep'"),
        ({"elements": 0}, "elements: found 0"),
        ({"elements": 2.5}, "elements: found 2.5, wanted a whole number"),
        ({"group": True}, "group: found True, wanted a whole number, 1 to 4096"),
        ({"group": 2.5}, "group: found 2.5"),
        ({"clock_hz": math.inf}, "clock_hz: found inf"),
        ({"channel_bytes_per_s": 0.0}, "channel_bytes_per_s"),
        ({"buffer_bytes": -1}, "buffer_bytes"),
    ],
)
def test_arrays_that_cannot_be_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        array(**change)


def test_weights_that_are_not_finite_are_refused() -> None:
    weights = np.full((8, 4, 3, 3), np.nan, np.float32)
    region = conv_region(weights=weights)
    for precision in ("fp32", "fixed8"):
        with pytest.raises(SpecError, match="not finite"):
            count_layer(region, draw_inputs(region), array(precision))


@pytest.mark.parametrize("error", [0.0, 1.0, math.nan])
def test_an_error_that_is_no_share_is_refused(error: float) -> None:
    region = conv_region()
    with pytest.raises(SpecError, match="a share between 0 and 1"):
        count_layer(region, draw_inputs(region), array("fp32"), error=error)


def test_a_group_of_zero_activations_takes_the_least() -> None:
    region = product_region("MatMul", (3, 64), (64, 2))
    array = BitletArray(engine=Engine(format=FLOATS["fp32"]))
    found = count_layer(region, {"a": np.zeros((3, 64), np.float32)}, array)
    assert found.cycles_per_group == 8
