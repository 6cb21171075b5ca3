"""Boxes, cuts and changes of layout, judged by brute force over elements and by closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import Box, Layout, Resharding, phases_cost, reshard, resharding_seconds
from orrery.cost.sharding import cut
from orrery.cost.sharding._box import subtract, tiles
from orrery.errors import SpecError
from orrery.graph import TensorType
from orrery.hardware import System

from .small import device, full, link, ring

# -- cuts -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 8))
def test_no_other_cut_finishes_earlier(weights: list[int], more: int) -> None:
    extent = len(weights) + more
    spans = cut(extent, [float(w) for w in weights])
    assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])]
    assert spans[-1][1] == extent
    lengths = [b - a for a, b in spans]
    assert min(lengths) >= 1
    best = min(
        max(n / w for n, w in zip(parts, weights))
        for parts in itertools.product(range(1, extent + 1), repeat=len(weights))
        if sum(parts) == extent
    )
    assert max(n / w for n, w in zip(lengths, weights)) == pytest.approx(best, rel=1e-12)


@given(st.integers(1, 9), st.integers(0, 50))
def test_equal_parts_differ_by_at_most_one(count: int, more: int) -> None:
    lengths = [b - a for a, b in cut(count + more, [1.0] * count)]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("extent", "weights", "text"), [
    (2, [1.0] * 3, "found 'an extent of 2', wanted 3 or more"), (3, [], "extent of 3"),
    (3, [1.0, 0.0], "above zero"), (3, [1.0, math.inf], "finite"),
])  # fmt: skip
def test_bad_cuts_are_refused(extent: int, weights: list[float], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        cut(extent, weights)


# -- boxes ----------------------------------------------------------------------------------------

_SIZES = (4, 3, 5)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    spans = []
    for size in _SIZES:
        start = draw(st.integers(0, size))
        spans.append((start, draw(st.integers(start, size))))
    return Box(spans=tuple(spans))


def _mask(box: Box) -> np.ndarray:
    mask = np.zeros(_SIZES, int)
    mask[box.slices] = 1
    return mask


@given(boxes(), boxes())
def test_meeting_and_subtracting_are_those_of_sets(a: Box, b: Box) -> None:
    common = a.meet(b)
    assert (_mask(common) == _mask(a) * _mask(b)).all()
    rest = list(subtract(a, b))
    assert (sum((_mask(r) for r in rest), np.zeros(_SIZES, int)) == _mask(a) * (1 - _mask(b))).all()
    assert a.volume == _mask(a).sum()
    assert a.holds(b) == bool((_mask(a) >= _mask(b)).all())
    assert tiles([*rest, common], a)
    if a.volume:
        assert not tiles([*rest, common, a], a)
        assert not tiles(rest, a) or not common.volume


# -- changes of layout ----------------------------------------------------------------------------

_TYPE = TensorType(dtype="float32", shape=_SIZES)


def _play(change: Resharding, seed: int = 0) -> None:
    """Obey the messages on arrays; every party must end with the tensor's own numbers."""
    before, after = change.before, change.after
    rng = np.random.default_rng(seed)
    whole = rng.integers(1, 100, _SIZES)
    missing = -(10**6)
    held = []
    addends = {
        tuple(group): rng.integers(1, 100, (len(group), *_SIZES)) for group in before.groups()
    }
    for party, box in enumerate(before.boxes):
        array = np.full(_SIZES, missing)
        array[box.slices] = whole[box.slices]
        if before.partial:
            group = next((g for g in addends if party in g), None)
            if group is not None:
                values = addends[group]
                values[-1] = whole - values[:-1].sum(axis=0)
                array[box.slices] = values[group.index(party)][box.slices]
        held.append(array)
    for number, phase in enumerate(change.phases):
        if number and change.phases[number - 1].adds and not phase.adds:
            _forget(held, change, missing)
        sent = [(m, held[m.source][m.box.slices].copy()) for m in phase.messages]
        for m, values in sent:
            assert m.source != m.target
            assert m.size_bytes == 4 * m.box.volume > 0
            assert (values != missing).all(), "sends what it does not have"
            if phase.adds:
                held[m.target][m.box.slices] += values
            else:
                held[m.target][m.box.slices] = values
    if change.phases and change.phases[-1].adds:
        _forget(held, change, missing)
    for array, box in zip(held, after.boxes):
        assert (array[box.slices] == whole[box.slices]).all()


def _forget(held: list[np.ndarray], change: Resharding, missing: int) -> None:
    """Outside of the piece that a party has summed up, it holds nothing of use."""
    for array, box in zip(held, change.settled.boxes):
        keep = array[box.slices].copy()
        array[...] = missing
        array[box.slices] = keep


@st.composite
def layouts(draw: st.DrawFn, parties: int = 4) -> Layout:
    kind = draw(st.sampled_from(["replicated", "held", "one", "mesh", "halo"]))
    weights = draw(st.lists(st.floats(0.5, 4), min_size=parties, max_size=parties))
    if kind == "held":
        return Layout.held_by(_TYPE, parties, draw(st.integers(0, parties - 1)))
    if kind == "one":
        return Layout.split(_TYPE, {draw(st.sampled_from([0, 2])): parties}, weights)
    if kind in ("mesh", "halo"):
        axes = draw(st.permutations(range(3)))[:2]
        mesh = Layout.split(_TYPE, dict.fromkeys(axes, 2), weights)
        if kind == "mesh":
            return mesh
        wide = [
            Box(spans=tuple((max(a - 1, 0), min(b + 1, n)) for (a, b), n in zip(box.spans, _SIZES)))
            for box in mesh.boxes
        ]
        return Layout(type=_TYPE, boxes=tuple(wide))
    return Layout.replicated(_TYPE, parties)


@settings(max_examples=200, deadline=None)
@given(layouts(), layouts(), st.sampled_from(["ring", "direct"]))
def test_everybody_gets_what_it_needs_and_nothing_twice(
    before: Layout, after: Layout, algorithm: str
) -> None:
    change = reshard(before, after, "t", algorithm)
    _play(change)
    lacking = sum(
        need.volume - need.meet(held).volume for need, held in zip(after.boxes, before.boxes)
    )
    assert change.moved_bytes == 4 * lacking
    if algorithm == "direct":
        assert len(change.phases) <= 1


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([{}, {0: 2}, {2: 2}, {1: 2, 2: 2}]), layouts(), st.booleans())
def test_sums_reach_whoever_needs_them(split: dict[int, int], after: Layout, ring: bool) -> None:
    groups = 4 // math.prod(split.values())
    boxes = [
        b for b in Layout.split(_TYPE, split, [1.0] * (4 // groups)).boxes for _ in range(groups)
    ]
    partial = Layout(type=_TYPE, boxes=tuple(boxes), partial=groups > 1)
    _play(reshard(partial, after, "t", "ring" if ring else "direct"))


@given(layouts())
def test_a_layout_becomes_itself_for_nothing(layout: Layout) -> None:
    assert reshard(layout, layout, "t").phases == ()
    everywhere = Layout.replicated(_TYPE, 4)
    assert reshard(everywhere, layout, "t").phases == ()


# -- closed forms: V bytes, links of B bytes a second ---------------------------------------------

_BIG = TensorType(dtype="float32", shape=(16, 32, 64, 8))
_V, _B = 16 * 32 * 64 * 8 * 4, 1e9


def _seconds(before: Layout, after: Layout, parties: int) -> float:
    system = ring(parties, bandwidth=_B)
    devices = [device.name for device in system.devices]
    return phases_cost(system, devices, reshard(before, after, "t").phases).latency_s


@pytest.mark.parametrize("p", [2, 4, 8])
def test_times_on_a_ring_are_the_textbooks(p: int) -> None:
    whole = Layout.replicated(_BIG, p)
    rows = Layout.split(_BIG, {2: p}, [1.0] * p)
    addends = Layout(type=_BIG, boxes=whole.boxes, partial=True)
    gather = (p - 1) / p * _V / _B
    assert _seconds(rows, whole, p) == pytest.approx(gather)
    assert _seconds(addends, rows, p) == pytest.approx(gather)
    assert _seconds(addends, whole, p) == pytest.approx(2 * gather)
    halo = Layout(type=_BIG, boxes=tuple(
        box.with_span(2, (max(box.spans[2][0] - 1, 0), min(box.spans[2][1] + 1, 64)))
        for box in rows.boxes
    ))  # fmt: skip
    # The links are duplex: both directions of a border at once.
    assert _seconds(rows, halo, p) == pytest.approx(16 * 32 * 8 * 4 / _B)
    assert reshard(rows, halo, "t").moved_bytes == (p - 1) * 2 * 16 * 32 * 8 * 4
    # All-to-all: each of p sends 1/p² of V to each other one.
    columns = Layout.split(_BIG, {3: p}, [1.0] * p)
    assert reshard(rows, columns, "t").moved_bytes == _V * (p - 1) // p


def test_the_table_of_seconds_is_zero_where_nothing_changes() -> None:
    system = full(4, bandwidth=_B)
    names = [device.name for device in system.devices]
    options = [Layout.replicated(_BIG, 4),
               *(Layout.split(_BIG, {axis: 4}, [1.0] * 4) for axis in range(4))]  # fmt: skip
    table = resharding_seconds(options, options, "t", system, names)
    assert table.shape == (5, 5)
    assert (np.diag(table) == 0).all()
    assert (table[0] == 0).all(), "a replicated tensor is split for free"
    off = table[1:, 1:][~np.eye(4, dtype=bool)]
    assert off == pytest.approx([_V / 16 / _B] * 12)
    assert table[1:, 0] == pytest.approx([_V * 3 / 4 / _B] * 4)


def test_a_host_that_stores_and_forwards_takes_twice() -> None:
    """Two groups of two, each on a bus of its own; between groups everything goes over the host."""
    names = [f"d{i}" for i in range(4)]
    links = [link("d0", "d1", bandwidth=_B), link("d2", "d3", bandwidth=_B)]
    links += [link(name, "host", bandwidth=_B / 4) for name in names]
    system = System(name="groups", devices=tuple(device(n) for n in names), links=tuple(links),
                    host="host")  # fmt: skip
    first = Layout.split(_BIG, {0: 2}, [1.0] * 2).placed((0, 1), 4)
    second = Layout.split(_BIG, {0: 2}, [1.0] * 2).placed((2, 3), 4)
    change = reshard(first, second, "t")
    # Each sends its half, at the same time, up and then down.
    assert change.moved_bytes == _V
    staged = phases_cost(system, names, change.phases, staged=True)
    assert staged.latency_s == pytest.approx(2 * (_V / 2) / (_B / 4))
    assert phases_cost(system, names, change.phases).latency_s == pytest.approx(_V / 2 / (_B / 4))
    # Inside a group nothing passes the host.
    swap = reshard(first, Layout.split(_BIG, {1: 2}, [1.0] * 2).placed((0, 1), 4), "t")
    seconds = [phases_cost(system, names, swap.phases, staged=s).latency_s for s in (True, False)]
    assert seconds == pytest.approx([_V / 4 / _B] * 2)


# -- refusals and texts ---------------------------------------------------------------------------


def test_impossible_changes_are_refused() -> None:
    here, there = Layout.held_by(_TYPE, 4, 1), Layout.replicated(_TYPE, 4)
    with pytest.raises(SpecError, match=r"on 4 and .* on 3 parties"):
        reshard(here, Layout.replicated(_TYPE, 3), "t")
    with pytest.raises(SpecError, match="wanted one of ring, direct"):
        reshard(here, there, "t", "tree")
    half = Layout(type=_TYPE, boxes=(Box.whole((2, 3, 5)),) * 4)
    with pytest.raises(SpecError, match=r"elements \[2:4, 0:3, 0:5\] held by nobody"):
        reshard(half, there, "t")
    with pytest.raises(SpecError, match="not partial"):
        reshard(here, Layout(type=_TYPE, boxes=there.boxes, partial=True), "t")
    for places in ((0, 1, 2), (0, 1, 2, 2), (0, 1, 2, 5)):
        with pytest.raises(SpecError, match="4 different ones below 5"):
            there.placed(places, 5)
    with pytest.raises(SpecError, match="a scalar held by some"):
        Layout.replicated(TensorType(dtype="int64", shape=()), 1).placed((1,), 2)
    with pytest.raises(SpecError, match="a product of 4"):
        Layout.split(_TYPE, {0: 2}, [1.0] * 4)
    with pytest.raises(SpecError, match="a scalar held by one"):
        Layout.held_by(TensorType(dtype="int64", shape=()), 2, 0)


def test_layouts_say_what_they_are() -> None:
    assert str(Layout.replicated(_TYPE, 4)) == "replicated"
    assert str(Layout.split(_TYPE, {0: 2, 2: 2}, [1.0] * 4)) == "split 2×1×2"
    addends = Layout(type=_TYPE, boxes=(Box.whole(_SIZES),) * 4, partial=True)
    assert str(addends) == "partial whole"
