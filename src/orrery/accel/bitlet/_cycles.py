"""How many cycles a layer takes on an array of bit-interleaving engines, counted from its values.

Models:  the exact window rule per lane (`_bits`), a group as long as its slowest running lane, the
         last group of a sum stopping at its last weight; elements that each hold one filter's
         group (weight-stationary) while one group of activations after another is broadcast to
         all; two memory channels, one for weights and one for activations and results; the
         weights of the next tile fetched while this one computes.
         Fixed point: cycles depend on weights alone. Floating point: on the exponents of every
         group of activations, so all positions are counted, or a sample of them, drawn by how far
         the least and the most that each can take lie apart (`sampling`), with a 95 % interval.
Ambiguity: the paper does not say whether elements wait for one another before the next
         broadcast, so `broadcast` is ``lockstep`` (they do: a step takes as long as the slowest
         element) or ``buffered`` (each runs ahead within a tile of filters; the tile ends with the
         slowest). Filters of different groups of a convolution need different activations; 16
         arrive a cycle, so a step takes at least as long as its activations take to arrive.
         Published figures of frames per second follow from cycles per group at full occupancy of
         all elements and an unlimited memory; this model fills neither up.
Ignores: refresh and page misses of the memory, control; the buffer's size is not published
         (`buffer_bytes` is assumed): activations that fit are read once, others once a tile.
Judge:   the window rule cycle by cycle, sums over elements in Python, the interval's coverage
         (tests/accel/bitlet/test_cycles.py).
Source:  Bitlet, MICRO 2021, §4.2, §5.1; the released Verilog for beats and pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from orrery.errors import SpecError, check_choice
from orrery.graph import Region
from orrery.timeline import PS_PER_S, Span, Timeline

from .._products import Layer, Matrices, matrices, require_layer
from .._record import Tensors
from ._bits import MOST_WINDOW, Walk, counter, walk
from ._digits import digit_lanes, lane_words
from ._engine import Array, Engine
from ._format import (
    ABSENT,
    Fields,
    FixedFormat,
    FloatFormat,
    check_whole,
    exponents,
    to_bits,
)
from ._function import check_terms, check_weights, grid_step, on_grid
from .columns import STORAGES, Coded, Storage, constant_rows, store_weights, tile_bytes
from .sampling import Outline, counted, draw_sample

Broadcast = Literal["lockstep", "buffered"]
BROADCASTS: tuple[Broadcast, ...] = ("lockstep", "buffered")

#: Activations that arrive in one cycle, in the released engine.
BEAT = 16
#: Channel of a DDR3 memory as published: 12.8 GB/s each, 25.6 GB/s to the array.
CHANNEL_BYTES_PER_S = 12.8e9
#: Elements of an array; more than any chip holds.
MOST_ELEMENTS = 1 << 20
#: Elements of weights or exponents worked on at once.
_BLOCK = 1 << 21
#: So many positions are counted in any case.
_FEW = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletArray:
    """An array of engines with its memory.

    Attributes
    ----------
    engine : one processing element
    elements : of the array; each holds the weights of one filter
    window : bits that a lane looks at in a cycle
    distil : False: every lane takes every weight in turn, ones and zeros (the paper's ablation)
    broadcast : ``lockstep`` or ``buffered``, see the module's head
    clock_hz : of the array
    channel_bytes_per_s : of each of the two memory channels
    buffer_bytes : on-chip memory for activations (assumed: not published)
    storage : of constant weights off chip: ``plain``, or as bit ``columns`` (`columns`), four
        decoders for the array

    Raises
    ------
    SpecError : a size or a rate that is none
    """

    engine: Engine
    elements: int = 32
    window: int = 8
    distil: bool = True
    broadcast: Broadcast = "lockstep"
    clock_hz: float = 1e9
    channel_bytes_per_s: float = CHANNEL_BYTES_PER_S
    buffer_bytes: int = 256 * 1024
    storage: Storage = "plain"

    def __post_init__(self) -> None:
        check_choice("bitlet: storage", self.storage, STORAGES)
        check_choice("bitlet: broadcast", self.broadcast, BROADCASTS)
        check_whole("bitlet: window", self.window, 1, MOST_WINDOW,
                    fix="the released engine looks at 8 bits")  # fmt: skip
        check_whole("bitlet: elements", self.elements, 1, MOST_ELEMENTS,
                    fix="the published array has 32")  # fmt: skip
        for name in ("clock_hz", "channel_bytes_per_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise SpecError(f"bitlet: {name}", found=value, wanted="a positive number",
                                fix="correct the value")  # fmt: skip
        if self.buffer_bytes < 0:
            raise SpecError("bitlet: buffer_bytes", found=self.buffer_bytes,
                            wanted="zero or more bytes", fix="correct the value")  # fmt: skip


def pipeline_cycles(engine: Engine) -> int:
    """Return cycles from a group's first activation to its result, its passes left out.

    Beats of activations, their register, the tree for the largest exponent (a level a cycle, and
    its register), the first aligned weights, index and selection, the compressor tree (a level of
    four-to-two a cycle, and the adder), the accumulator, and the packer.
    """
    beats = -(-engine.group // BEAT)
    tree = math.ceil(math.log2(BEAT)) + 1
    lanes = digit_lanes(engine.format.lanes, engine.digits)
    compress = max(1, math.ceil(math.log2(max(lanes, 2))) - 1) + 1
    pack = 1 if isinstance(engine.format, FixedFormat) else 4
    return beats + 1 + tree + 1 + 2 + compress + 1 + pack


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCycles:
    """What one layer takes on the array.

    Attributes
    ----------
    macs : MACs of the layer, padding included
    groups : groups of weights times positions: runs of one element
    element_cycles : cycles over all elements' runs
    steps : cycles of each tile of filters on the array, float64 (tiles,)
    half_width : of the 95 % interval of the sum of `steps`; 0 when every position was counted
    positions, sampled : of the layer, and known: counted, or like one that was
    weight_bytes, activation_bytes : of each tile, through its channel (tiles,)
    decode_cycles : of each tile's slowest decoder of weights (tiles,); None: they come plain
    """

    macs: int
    groups: int
    element_cycles: float
    steps: Array = field(repr=False)
    half_width: float
    positions: int
    sampled: int
    weight_bytes: Array = field(repr=False)
    activation_bytes: Array = field(repr=False)
    decode_cycles: Array | None = field(default=None, repr=False)

    @property
    def array_cycles(self) -> float:
        """Cycles of the array without waiting for memory."""
        return float(self.steps.sum())

    @property
    def relative_error(self) -> float:
        """Half the 95 % interval as a share of the array's cycles."""
        return self.half_width / self.array_cycles

    @property
    def cycles_per_group(self) -> float:
        """Mean cycles of one element for one group."""
        return self.element_cycles / self.groups

    @property
    def cycles_per_64_macs(self) -> float:
        """Mean cycles of one element for 64 MACs, the unit of the published table."""
        return 64 * self.element_cycles / self.macs

    @property
    def offchip_bytes(self) -> int:
        """Bytes through both channels."""
        return int(self.weight_bytes.sum() + self.activation_bytes.sum())


def count_layer(
    region: Region,
    inputs: Tensors,
    array: BitletArray,
    *,
    exact_macs: int = 1 << 28,
    error: float = 0.01,
    seed: int = 0,
    weights: int | None = None,
) -> LayerCycles:
    """Count the cycles of a product.

    Parameters
    ----------
    exact_macs : floating point: layers of more MACs are sampled
    error : half the 95 % interval wanted, as a share of the cycles; positions are drawn until it
        is reached or all are counted
    seed : of the draw
    weights : the input whose bits are distilled, 0 or 1; None: the usual one

    Raises
    ------
    SpecError : a region that the engine does not run, weights that are not finite; an error that
        is no positive share
    """
    layer = require_layer(region, weights)
    given = matrices(region, inputs, layer)
    check_weights(region, layer, given, array.engine)
    return count_matrices(layer, given, array, exact_macs=exact_macs, error=error, seed=seed,
                          stored=stored_weights(region, layer, array))  # fmt: skip


def stored_weights(region: Region, layer: Layer | None, array: BitletArray) -> Coded | None:
    """Return a layer's constant weights as columns; None where they lie plain.

    Parameters
    ----------
    layer : None: with the usual operand as weights
    """
    if array.storage == "plain":
        return None
    layer = require_layer(region) if layer is None else layer
    rows = constant_rows(region, layer)
    return None if rows is None else store_weights(rows, layer, array.engine, array.elements)


def count_matrices(
    layer: Layer, given: Matrices, array: BitletArray, *, exact_macs: int, error: float, seed: int,
    stored: Coded | None = None,
) -> LayerCycles:  # fmt: skip
    """Count a layer whose values are at hand, as `count_layer` does.

    Parameters
    ----------
    stored : its weights as they lie off chip (`stored_weights`); None: plain
    """
    if not 0 < error < 1:
        raise SpecError("bitlet: error", found=error, wanted="a share between 0 and 1",
                        fix="0.01 asks for one per cent")  # fmt: skip
    if isinstance(array.engine.format, FixedFormat):
        return count_fixed(given.weights, layer, array, stored=stored)
    tiles = -(-layer.batches * layer.filters // array.elements)
    traffic = tile_traffic(layer, array, tiles, stored)
    everything = layer.macs <= exact_macs or layer.positions <= _FEW
    count = _Counter(layer, given, array, tiles, array.engine.format)
    places, buffered = np.arange(layer.positions), array.broadcast == "buffered"
    if everything or not array.distil:
        copies, some = (1, places) if array.distil else (layer.positions, places[:1])
        found = counted(*count(some), copies, count.arrival, array.elements, buffered=buffered)
    else:
        found = draw_sample(count, count.outline(), count.arrival, array.elements, error,
                            np.random.default_rng(seed), buffered=buffered)  # fmt: skip
    return LayerCycles(
        macs=layer.macs, groups=layer.batches * layer.filters * layer.positions * count.groups,
        element_cycles=found.element_cycles, steps=found.steps, half_width=found.half,
        positions=layer.positions, sampled=found.size, **traffic,
    )  # fmt: skip


def count_fixed(
    weights: Array, layer: Layer, array: BitletArray, *, stored: Coded | None = None
) -> LayerCycles:
    """Count a fixed-point layer from its weights (batches, filters, terms) alone.

    Parameters
    ----------
    stored : the weights as they lie off chip (`stored_weights`); None: plain
    """
    form = array.engine.format
    if not isinstance(form, FixedFormat):
        raise TypeError("not a fixed-point engine")
    check_terms(layer.terms, form)
    tiles = -(-layer.batches * layer.filters // array.elements)
    step = grid_step(weights, form, (2,), what="weights of a layer")
    rows = np.abs(on_grid(weights, step, form))
    runs = weight_cycles(rows.reshape(-1, layer.terms), array)
    return LayerCycles(
        macs=layer.macs, groups=runs.size * layer.positions, half_width=0.0,
        steps=_fixed_steps(runs, layer, array, tiles) * layer.positions,
        element_cycles=float(runs.sum(dtype=np.int64)) * layer.positions,
        positions=layer.positions, sampled=layer.positions,
        **tile_traffic(layer, array, tiles, stored),
    )  # fmt: skip


def _scratch(engine: Engine) -> tuple[Array, Array]:
    lanes = digit_lanes(engine.format.lanes, engine.digits)
    planes = np.zeros((-(-lanes // 8), -(-engine.group // 8) * 8), np.uint8)
    return planes, planes.view("<u8")


def weight_cycles(magnitudes: Array, array: BitletArray) -> Array:
    """Return the cycles of every group of fixed-point weights: (rows, terms) -> (rows, groups)."""
    rows, terms = magnitudes.shape
    group = array.engine.group
    out = np.empty((rows, -(-terms // group)), np.int32)
    if not array.distil:
        out[:] = group
        out[:, -1] = terms - (out.shape[1] - 1) * group
        return out
    rule = walk(array.window, group, terms)
    engine = array.engine
    held = np.ascontiguousarray(magnitudes, np.int32)
    if engine.digits != "plain":
        held = lane_words(held, engine.mask, engine.format.lanes, engine.digits, group)
    counter("fixed_cycles")(held, group, engine.running, rule.step, rule.last, rule.first,
                            *_scratch(engine), out)  # fmt: skip
    return out


def tile_beats(layer: Layer, array: BitletArray, tiles: int) -> Array:
    """Return the cycles in which a tile's activations arrive: (full and last group, tiles)."""
    row = np.arange(tiles * array.elements).reshape(tiles, -1)
    batch = np.minimum(row, layer.batches * layer.filters - 1) // layer.filters
    distinct = batch[:, -1] - batch[:, 0] + 1
    group = min(array.engine.group, layer.terms)
    rest = layer.terms % group or group
    return np.stack([-(-size // BEAT) * distinct for size in (group, rest)])


def _fixed_steps(runs: Array, layer: Layer, array: BitletArray, tiles: int) -> Array:
    """Return the cycles of each tile for one position."""
    beats = tile_beats(layer, array, tiles)
    wanted = np.repeat(beats[:1].T, runs.shape[1], 1)
    wanted[:, -1] = beats[1]
    padded = np.zeros((tiles * array.elements, runs.shape[1]), np.int64)
    padded[: len(runs)] = runs
    side = padded.reshape(tiles, array.elements, -1)
    if array.broadcast == "lockstep":
        steps: Array = np.maximum(side.max(1), wanted).sum(1)
    else:
        steps = np.maximum(side.sum(2).max(1), wanted.sum(1))
    return steps.astype(np.float64)


def tile_traffic(
    layer: Layer, array: BitletArray, tiles: int, coded: Coded | None = None
) -> dict[str, Any]:
    """Return the bytes of each tile: weights with biases, and activations with results.

    Parameters
    ----------
    coded : the weights as they lie off chip, where not plain; the first tile reads the header
    """
    rows = layer.batches * layer.filters
    side = np.diff(np.minimum(np.arange(tiles + 1) * array.elements, rows))
    bits = array.engine.format.storage_bits
    weights = side * (layer.weight_elements * bits / 8 + layer.bias_elements * 4) / rows
    first = np.arange(tiles) * array.elements // layer.filters
    final = np.minimum(np.arange(1, tiles + 1) * array.elements, rows)
    batches = (final - 1) // layer.filters + 1 - first
    own = layer.activation_elements * bits / 8 / layer.batches
    read = batches * own
    # Activations of a batch that stays on chip are read by the first of its tiles only.
    again = (np.arange(tiles) * array.elements % layer.filters != 0) & (own <= array.buffer_bytes)
    read = read - np.where(again, own, 0.0)
    written = side * (layer.output_elements * bits / 8) / rows
    decode = None
    if coded is not None:
        weights, decode = tile_bytes(coded, rows, side, array.elements)
        weights = weights + side * (layer.bias_elements * 4) / rows
    return {"weight_bytes": weights, "activation_bytes": read + written, "decode_cycles": decode}


# -- floating point -------------------------------------------------------------------------------


class _Counter:
    """Counts positions of a floating-point layer: (n,) -> cycles (n, rows) and (n, tiles)."""

    def __init__(
        self, layer: Layer, given: Matrices, array: BitletArray, tiles: int, form: FloatFormat
    ) -> None:
        self.layer, self.given, self.array, self.form = layer, given, array, form
        rows = given.weights.reshape(-1, layer.terms)
        self.weights: Fields = array.engine.fields(to_bits(rows, form))
        self.batch = np.repeat(np.arange(layer.batches), layer.filters)
        self.groups = -(-layer.terms // array.engine.group)
        self.tiles, self.beats = tiles, tile_beats(layer, array, tiles).astype(np.int64)
        self.arrival = self.beats[0] * (self.groups - 1) + self.beats[1]
        self.rule: Walk = walk(array.window, array.engine.group, layer.terms)

    def outline(self) -> Outline:
        """Return the least and the most that positions can take, and what goes with it.

        A lane of n weights with k ones takes at least n / window cycles and at most k more for
        its ones and (n − k) / window for what lies between. No lane has more ones than there are
        weights of which alignment leaves a bit, in any filter of the batch.
        """
        layer, engine = self.layer, self.array.engine
        group, window = min(engine.group, layer.terms), self.array.window
        sizes = np.full(self.groups, group, np.int64)
        sizes[-1] = layer.terms - group * (self.groups - 1)
        least = -(-sizes // window)
        beats = np.repeat(self.beats[:1], self.groups, 0)
        beats[-1] = self.beats[1]
        known = np.zeros(layer.positions, np.int64)
        alike = np.full(layer.positions, True)
        width = np.zeros(layer.positions, np.int64)
        one = np.zeros(layer.positions, np.int64)
        last = np.minimum(np.arange(1, self.tiles + 1) * self.array.elements, len(self.batch)) - 1
        spans = np.stack([self.batch[:: self.array.elements], self.batch[last]], 1)
        most: dict[int, Array] = {}
        for first, final in np.unique(spans, axis=0).tolist():
            for batch in range(first, final + 1):
                if batch not in most:
                    most[batch] = self._most(batch, sizes, known, alike)
            top = np.maximum.reduce([most[batch] for batch in range(first, final + 1)])
            most = {final: most[final]}  # tiles go through batches in order
            mine = (spans == (first, final)).all(1)
            low, high = least, top
            if self.array.broadcast == "lockstep":
                arriving = beats[:, np.flatnonzero(mine)[0]]
                low, high = np.maximum(low, arriving), np.maximum(high, arriving)
            more = (high - low).sum(1)
            width += int(mine.sum()) * more
            one = np.maximum(one, more)
        return Outline(
            least=np.maximum(least[:, None], beats).sum(0), least_row=int(least.sum()),
            width=width, one=float((one / np.maximum(width, 1)).max()), known=known, alike=alike,
        )  # fmt: skip

    def _most(self, batch: int, sizes: Array, known: Array, alike: Array) -> Array:
        """Return the most cycles of each group in a batch (positions, groups).

        Bits left of weights that have the mean exponent of their term's are added to `known`;
        `alike` stays true where activations are nothing but zeros.
        """
        layer, engine, form = self.layer, self.array.engine, self.form
        window, begins = self.array.window, np.cumsum(sizes) - sizes
        rows = slice(batch * layer.filters, (batch + 1) * layer.filters)
        held = self.weights.exponent[rows].astype(np.int32)
        there = self.weights.magnitude[rows] != 0
        least, most = held.min(0), np.where(there, held, ABSENT).max(0)
        total = np.where(there, held, 0).sum(0, dtype=np.int64)
        mean = np.where(there.any(0), total // np.maximum(there.sum(0), 1), ABSENT)
        found = np.empty((layer.positions, len(sizes)), np.int64)
        block = max(1, _BLOCK // layer.terms)
        for first in range(0, layer.positions, block):
            places = np.arange(first, min(first + block, layer.positions))
            words = to_bits(self.given.take(batch, places), form)
            own = exponents(words, form, engine.mode).astype(np.int32)
            tops = np.maximum(np.maximum.reduceat(own + least, begins, axis=1), 0)
            left = form.lanes + own + most - np.repeat(tops, sizes, axis=1)
            ones = np.add.reduceat(left > 0, begins, axis=1, dtype=np.int64)
            found[places] = np.minimum(ones + -(-(sizes - ones) // window), sizes)
            sums = own + mean.astype(np.int32)
            tops = np.maximum(np.maximum.reduceat(sums, begins, axis=1), 0)
            kept = form.lanes + sums - np.repeat(tops, sizes, axis=1)
            known[places] += np.maximum(kept, 0).sum(1, dtype=np.int64)
            alike[places] &= (own <= 0).all(1)
        return found

    def __call__(self, positions: Array) -> tuple[Array, Array]:
        each = np.empty((len(positions), self.layer.batches * self.layer.filters), np.int64)
        steps = np.empty((len(positions), self.tiles), np.int64)
        if not self.array.distil:
            each[:] = self.layer.terms
            group = min(self.array.engine.group, self.layer.terms)
            rest = self.layer.terms % group or group
            full = np.maximum(self.beats[0], group) * (self.groups - 1)
            steps[:] = full + np.maximum(self.beats[1], rest)
            return each, steps
        engine, rule = self.array.engine, self.rule
        kept = 0 if engine.digits == "plain" else engine.mask
        spare = 1 << (engine.format.lanes + 1) if engine.digits == "split" else 0
        block = max(1, _BLOCK // (self.layer.batches * self.layer.terms))
        for first in range(0, len(positions), block):
            part = slice(first, first + block)
            places = positions[part]
            values = [self.given.take(b, places) for b in range(self.layer.batches)]
            words = to_bits(values[0][None] if len(values) == 1 else np.stack(values), self.form)
            counter("float_cycles")(
                self.weights.exponent, self.weights.magnitude, self.batch,
                exponents(words, self.form, engine.mode), engine.group, self.array.elements,
                self.beats, engine.running, kept, spare, rule.step, rule.last, rule.first,
                *_scratch(engine), each[part], steps[part],
            )  # fmt: skip
        return each, steps


# -- with memory ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One tile in time, in seconds: its weights' transfer, and its computation."""

    load_start: float
    load_end: float
    start: float
    end: float
    compute_s: float


def schedule(found: LayerCycles, array: BitletArray) -> Iterator[Stage]:
    """Play the tiles: weights are fetched one tile ahead, activations stream while it computes.

    Each tile fills the pipeline anew, since its weights replace those of the tile before. Weights
    stored as columns come no faster than their decoders go.
    """
    rate = array.channel_bytes_per_s
    fill_s = pipeline_cycles(array.engine) / array.clock_hz
    load_end, ends = 0.0, [0.0, 0.0]  # a tile's weights may overwrite those of the last but one
    decode = np.zeros(len(found.steps)) if found.decode_cycles is None else found.decode_cycles
    for cycles, weights, activations, decoding in zip(
        found.steps, found.weight_bytes, found.activation_bytes, decode
    ):
        load_start = max(load_end, ends[-2])
        load_end = load_start + max(weights / rate, decoding / array.clock_hz)
        start = max(load_end, ends[-1])
        compute_s = cycles / array.clock_hz + fill_s
        end = start + max(compute_s, activations / rate)
        ends.append(end)
        yield Stage(load_start=load_start, load_end=load_end, start=start, end=end,
                    compute_s=compute_s)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletSimulator:
    """Says what happens when: the array and its two memory channels, tile by tile.

    Layers of more than `exact_macs` MACs in floating point are sampled; their spans carry the half
    width of the interval.
    """

    array: BitletArray
    exact_macs: int = 1 << 28
    error: float = 0.01

    def __call__(self, region: Region, inputs: Tensors) -> Timeline:
        found = count_layer(region, inputs, self.array, exact_macs=self.exact_macs,
                            error=self.error)  # fmt: skip
        rate = self.array.channel_bytes_per_s
        spans: list[tuple[float, float, str, str, dict[str, Any]]] = []
        for k, stage in enumerate(schedule(found, self.array)):
            weights, others = found.weight_bytes[k], found.activation_bytes[k]
            spans.append((stage.load_start, stage.load_end, "weight channel", "transfer",
                          {"bytes": round(weights)}))  # fmt: skip
            spans.append((stage.start, stage.start + stage.compute_s, "array", "compute",
                          {"cycles": round(found.steps[k], 1)}))  # fmt: skip
            spans.append((stage.start, stage.start + others / rate, "activation channel",
                          "transfer", {"bytes": round(others)}))  # fmt: skip
        spans.sort(key=lambda s: s[0])
        detail: dict[str, str | int | float] = {}
        if found.half_width:
            detail = {"half_width_share": found.relative_error}
        return Timeline(
            name=f"{region.name} on bitlet",
            spans=tuple(
                Span(resource=where, name=region.name, kind=kind, details={**more, **detail},
                     start_ps=round(start * PS_PER_S), end_ps=round(end * PS_PER_S))
                for start, end, where, kind, more in spans
            ),
        )  # fmt: skip
