"""The circuit's clock, and what goes into it and comes out: beats, answers, cycles.

Models:  the circuit of `circuit.ProcessingElement` with inputs always offered and results always
         taken. Group g's first beat is taken as soon as alignment leaves room for it; its lanes
         start when it is complete and the lanes of group g − 1 are in their last cycle; its result
         comes a fixed number of cycles after its slowest lane ends.
Ignores: stalls on either side, which change when but not what.
Judge:   both simulation engines, group by group (tests/accel/bitlet/test_circuit.py). The answers
         are `Engine`'s, the lanes' lengths `lane_cycles`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from orrery.errors import SpecError, check_choice

from ._bits import lane_cycles
from ._digits import (
    DIGITS,
    Digits,
    digit_lanes,
    lane_places,
    lane_words,
    running_lanes,
)
from ._engine import MOST_QUANT, PACKED_BITS, Array, Engine
from ._format import FixedFormat, FloatFormat, Mode, NumberFormat

_TYPES: dict[str, Any] = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
#: Groups in a set of the bench.
_GROUPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The stages of one processing element.

    Attributes
    ----------
    format : of its operands
    lanes : bits that are kept, the highest ones: a lane each
    group, window : weights of a group, bits that a lane looks at
    beat, align : weights that arrive and that are aligned in one cycle
    digits : what the lanes pop; other than ``plain`` adds lanes

    Raises
    ------
    SpecError : sizes that make no circuit
    """

    format: NumberFormat
    lanes: int = 24
    group: int = 64
    window: int = 8
    beat: int = 16
    align: int = 8
    digits: Digits = "plain"

    def __post_init__(self) -> None:
        check_choice("bitlet circuit: digits", self.digits, DIGITS)
        whole = all(
            isinstance(size, int) and not isinstance(size, bool)
            for size in (self.lanes, self.group, self.window, self.beat, self.align)
        )
        if not whole:
            raise SpecError("bitlet circuit: sizes", found=self, wanted="whole numbers",
                            fix="correct the value")  # fmt: skip
        most = self.format.lanes
        if not 1 <= self.lanes <= most:
            raise SpecError("bitlet circuit: lanes", found=self.lanes, wanted=f"1 to {most} lanes",
                            fix=f"{self.format.name} has {most} bits, one a lane")  # fmt: skip
        if not 4 <= self.group <= 1024:
            raise SpecError("bitlet circuit: group", found=self.group, wanted="4 to 1024 weights",
                            fix="the released engine has 64")  # fmt: skip
        for name in ("beat", "align"):
            size = getattr(self, name)
            if size < 1 or self.group % size:
                raise SpecError(
                    f"bitlet circuit: {name}", found=size,
                    wanted=f"a divisor of the group, {self.group}",
                    fix="take one of " + ", ".join(
                        str(n) for n in range(1, self.group + 1) if self.group % n == 0),
                )  # fmt: skip
        if not 2 <= self.window <= self.align:
            raise SpecError(
                "bitlet circuit: window", found=self.window,
                wanted=f"2 bits to {self.align}, the weights aligned in a cycle",
                fix="a wider window would look at weights that are not aligned yet; widen align",
            )  # fmt: skip

    @property
    def beats(self) -> int:
        """Beats of a group."""
        return self.group // self.beat

    @property
    def popping(self) -> int:
        """Lanes that are built."""
        return digit_lanes(self.lanes, self.digits)

    @property
    def places(self) -> tuple[int, ...]:
        """The significance of each lane."""
        return lane_places(self.format.lanes - self.lanes, self.lanes, self.digits)

    @property
    def search(self) -> int:
        """Registers in the tree that finds a beat's largest exponent."""
        if isinstance(self.format, FixedFormat):
            return 0
        return min(2, (self.beat - 1).bit_length())

    @property
    def compress(self) -> int:
        """Registers in the adder tree over the lanes."""
        return (self.popping - 1).bit_length()

    @property
    def pack(self) -> int:
        """Registers of the packer, the last of which holds the result."""
        return 1 if isinstance(self.format, FixedFormat) else 4

    @property
    def drain(self) -> int:
        """Cycles from the slowest lane's last one to the result's offer.

        A register for the popped indices, one for the selected activations, the tree, the
        accumulator, the packer.
        """
        return 3 + self.compress + self.pack

    def taken(self, lengths: Array) -> Array:
        """Return the cycle in which each beat is taken, shape (groups, beats)."""
        return self._run(lengths)[0]

    def given(self, lengths: Array) -> Array:
        """Return the cycle in which each result is handed over, shape (groups,).

        Parameters
        ----------
        lengths : cycles of the slowest lane of each group (groups,)
        """
        return self._run(lengths)[1]

    def _run(self, lengths: Array) -> tuple[Array, Array]:
        taken = np.empty((len(lengths), self.beats), np.int64)
        given = np.empty(len(lengths), np.int64)
        started, ended = -self.group, 0  # long ago: everything is aligned, no lane runs
        for g, length in enumerate(map(int, lengths)):
            cycle = started
            for k in range(self.beats):
                # The weights that this beat replaces have been aligned, or are in this cycle.
                room = started - 1 + -(-(k + 1) * self.beat // self.align)
                cycle = max(cycle + 1, room, 0)
                taken[g, k] = cycle
            started = max(cycle + 1 + self.search, ended)
            ended = started + length
            given[g] = ended + self.drain
        return taken, given


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What goes into the streams and what comes out.

    Attributes
    ----------
    items : port of stream ``i`` -> array over beats, as `Simulation.stream` takes them
    expected : port of stream ``o`` -> array over groups
    lengths : cycles of each group's slowest lane
    given : cycle in which each result comes when nothing stalls
    """

    items: dict[str, Array]
    expected: dict[str, Array]
    lengths: Array
    given: Array


def vectors(
    stages: Pipeline, mode: Mode, weights: Any, activations: Any, *, last: Any = None,
    quant: int = 0,
) -> Vectors:  # fmt: skip
    """Return beats and answers for groups of operands.

    Parameters
    ----------
    weights, activations : (groups, group); words of the format where it is floating, else integers
    last : number of each group's last weight (groups,); None: all of them. Weights beyond it must
        be zero
    quant : fixed point: the accumulator bit that becomes the result's lowest
    """
    form = stages.format
    w, a = np.asarray(weights), np.asarray(activations)
    groups = len(w)
    ends = np.full(groups, stages.group - 1) if last is None else np.asarray(last)
    top = form.lanes - stages.lanes
    engine = Engine(format=form, mode=mode, group=stages.group,
                    enabled=((1 << form.lanes) - 1) & ~((1 << top) - 1))  # fmt: skip
    items: dict[str, Array] = {}
    if isinstance(form, FloatFormat):
        # Viewed, not converted: a conversion would make a signalling NaN quiet.
        kind = _TYPES[form.name]
        run = engine.run(w.view(kind), a.view(kind))
        left, right = engine.fields(w), engine.fields(a)
        sums = left.exponent.astype(np.int64) + right.exponent
        shift = np.minimum(run.exponent[:, None] - sums, 31)
        aligned = left.magnitude >> np.where(shift < 0, 31, shift)
        # The circuit is given split weights; their fraction tells infinities and NaN apart.
        bits = w.astype(np.int64)
        fraction = bits & ((1 << form.fraction_bits) - 1)
        stored = (bits >> form.fraction_bits) & ((1 << form.exponent_bits) - 1)
        hidden = (stored != 0) | ((fraction != 0) & (mode == "faithful"))
        split = fraction | hidden.astype(np.int64) << form.fraction_bits
        exponent = np.where(stored == 0, fraction != 0, stored)
        items["i__w_exponent"] = _packed(exponent, form.exponent_bits, stages)
        items["i__w_sign"] = _packed(bits >> (form.storage_bits - 1), 1, stages)
        items["i__w_magnitude"] = _packed(split, form.lanes, stages)
        items["i__a"] = _packed(a.astype(np.int64), form.storage_bits, stages)
        expected = {"o__result": run.result, "o__largest": run.exponent}
    else:
        run = engine.run(w, a, quant=quant)
        aligned = np.abs(w.astype(np.int64))
        items["i__w_sign"] = _packed(w < 0, 1, stages)
        items["i__w_magnitude"] = _packed(aligned, form.lanes, stages)
        items["i__a"] = _packed(a.astype(np.int64), form.bits + 1, stages)
        expected = {"o__result": run.result}
    expected["o__accumulator"] = run.accumulator
    # Read with a group's last beat: in the others it is noise, which must not matter.
    noise = (ends[:, None] + np.arange(1, stages.beats)) * 5 % stages.group
    items["i__last"] = np.concatenate([noise, ends[:, None]], axis=1).reshape(-1)
    words = lane_words(aligned, engine.mask, form.lanes, stages.digits, stages.group)
    running = running_lanes(engine.mask, form.lanes, stages.digits)
    lanes = np.array([k for k in range(running.bit_length()) if running >> k & 1])
    lengths = np.array([
        lane_cycles((row[None, : end + 1] >> lanes[:, None]) & 1, stages.window).max()
        for row, end in zip(words, ends)
    ])  # fmt: skip
    return Vectors(items=items, expected=expected, lengths=lengths, given=stages.given(lengths))


def shipped(stages: Pipeline, mode: Mode) -> Iterator[dict[str, Any]]:
    """Yield the sets of vectors of the element's bench, as fields of `StreamVectors`.

    Each set is a row of groups back to back: groups of edges (`_fixed_edges`; `_float_edges` and,
    in the third set, `_float_sums`), then groups that run as long as they can, each before one
    cut short, whose end is known while the long one runs; then random operands of several sizes
    cut short, at and beside the ends of windows and anywhere. Sets differ in their draw and, in
    fixed point, in the cut of the result.
    """
    form = stages.format
    for seed, quant in enumerate(
        (0, 2, MOST_QUANT) if isinstance(form, FixedFormat) else (0, 0, 0)
    ):
        draw = np.random.default_rng(seed)
        shape = _GROUPS, stages.group
        cut = ""
        if isinstance(form, FixedFormat):
            w, a = _fixed_operands(form, shape, draw)
            edges = _fixed_edges(form, stages, quant, draw)
            cut = f", result from bit {quant} on"
        else:
            w, a = _float_operands(form, shape, draw)
            made = _float_edges if seed < 2 else _float_sums
            edges = made(form, stages.group, draw)
        w[: len(edges)], a[: len(edges)] = zip(*edges)
        last = draw.integers(0, stages.group, _GROUPS)
        last[: len(edges)] = stages.group - 1
        near = [k * stages.window + d for k in (1, 2) for d in (-1, 0, 1)]
        ends = [0, *(min(n, stages.group - 1) for n in near)]
        for end in (0, min(stages.window, stages.group - 1), stages.group // 2):
            long = len(edges) + len(ends)
            w[long], a[long] = _longest(form, a[long])
            ends += [stages.group - 1, end]
        last[len(edges) : len(edges) + len(ends)] = ends
        beyond = np.arange(stages.group) > last[:, None]
        w[beyond], a[beyond] = 0, 0
        found = vectors(stages, mode, w, a, last=last, quant=quant)
        expected = dict(found.expected)
        if isinstance(form, FloatFormat) and mode == "correct":
            # The engine's NaN has the sign and payload that NumPy gives it, the circuit's is one.
            infinity = (form.largest_exponent + 1) << form.fraction_bits
            size = expected["o__result"] & ((1 << (form.storage_bits - 1)) - 1)
            one = infinity | 1 << (form.fraction_bits - 1)
            expected["o__result"] = np.where(size > infinity, one, expected["o__result"])
        yield {
            "items": {"i": dict(found.items)}, "expected": {"o": expected},
            "held": {"quant": quant} if isinstance(form, FixedFormat) else {},
            "given": {"o": found.given},
            "taken": {"i": stages.taken(found.lengths).reshape(-1)},
            "about": f"{_GROUPS} groups: {len(edges)} of edges ({_about(form, seed)}), long groups "
            f"before short ones, random operands of several sizes, cut short{cut}",
        }  # fmt: skip


def _about(form: NumberFormat, seed: int) -> str:
    """Return what the groups of edges are."""
    if isinstance(form, FloatFormat) and seed == 2:
        return "sums with every highest bit, with and without the next one"
    known = "all zeros, the greatest and the least, single bits, sums at the ends of the range"
    special = "" if isinstance(form, FixedFormat) else ", infinities, NaN, subnormal numbers"
    return known + special


def _longest(form: NumberFormat, activations: Array) -> tuple[int, Array]:
    """Return operands of a group that takes the longest: every bit of each weight is a one.

    Activations keep what does not change that: all but their exponents.
    """
    if isinstance(form, FixedFormat):
        return form.weight_limit, activations
    unit = form.bias << form.fraction_bits
    kept = activations & ~activations.dtype.type(form.largest_exponent + 1 << form.fraction_bits)
    return unit | ((1 << form.fraction_bits) - 1), kept | activations.dtype.type(unit)


def _fixed_operands(
    form: FixedFormat, shape: tuple[int, int], draw: np.random.Generator
) -> tuple[Array, Array]:
    """Return random weights and activations, every second group of small ones."""
    limit, (least, most) = form.weight_limit, form.activation_limits
    w, a = draw.integers(-limit, limit + 1, shape), draw.integers(least + 1, most + 1, shape)
    down = draw.integers(0, form.bits + 1, (shape[0], 1))
    down[::2] = 0
    w[draw.random(shape) < 0.4] = 0
    return w, a >> down


def _fixed_edges(
    form: FixedFormat, stages: Pipeline, quant: int, draw: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Return groups of edges: operands at their ends, and sums that are chosen.

    The chosen sums stand on both sides of both ends of the packed result, and on single bits.
    """
    group = stages.group
    limit, (least, most) = form.weight_limit, form.activation_limits
    least += 1  # the least one's negative is no activation of 24 bits
    edges = [
        (np.full(group, w), np.full(group, a))
        for w, a in ((0, most), (limit, most), (-limit, most), (limit, least), (-limit, least),
                     (limit, 0))
    ]  # fmt: skip
    # Each weight has one bit and each activation is another: a wrong index is another sum.
    one = 1 << (np.arange(group) + draw.integers(form.lanes)) % form.lanes
    edges += [(one, draw.integers(least, most + 1, group)), (-one, np.arange(group) % most + 1)]
    end = 1 << (PACKED_BITS + quant)
    sums = [end - 1, end, -end, -end - 1]
    top = (group * limit * most).bit_length() - 1
    sums += [sign << int(k) for sign, k in zip((1, -1, 1, -1), draw.integers(0, top, 4))]
    sums += [(1 << top) - 1, -(1 << top)]
    for wanted in sums:
        made = _with_sum(wanted, group, limit, most)
        if made is not None:
            edges.append(made)
    return edges


def _with_sum(wanted: int, group: int, limit: int, most: int) -> tuple[Array, Array] | None:
    """Return a group whose sum of products is `wanted`; None where no group's is."""
    size, sign = abs(wanted), 1 if wanted >= 0 else -1
    whole, rest = divmod(size, limit * most)
    if whole + 2 > group:
        return None
    pairs = [(limit, most)] * whole + [(rest // most, most), (1, rest % most)]
    w, a = np.zeros(group, np.int64), np.zeros(group, np.int64)
    w[: len(pairs)], a[: len(pairs)] = np.array(pairs).T
    return sign * w, a


def _float_operands(
    form: FloatFormat, shape: tuple[int, int], draw: np.random.Generator
) -> tuple[Array, Array]:
    """Return words of random numbers, most of exponents that are near one another."""
    pair = []
    for _ in range(2):
        near = draw.integers(form.bias - 9, form.bias + 9, shape)
        far = draw.integers(0, form.largest_exponent, shape)
        exponent = np.where(np.arange(shape[0])[:, None] % 4 == 0, far, near)
        words = draw.integers(0, 1 << form.fraction_bits, shape) | exponent << form.fraction_bits
        words |= draw.integers(0, 2, shape) << (form.storage_bits - 1)
        words[draw.random(shape) < 0.2] = 0
        pair.append(words.astype(np.uint32 if form.storage_bits == 32 else np.uint16))
    return pair[0], pair[1]


def _float_edges(
    form: FloatFormat, group: int, draw: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Return groups of edges: zeros, special values, ends of the exponents, every shift."""
    places, ones = np.arange(group), (1 << form.fraction_bits) - 1
    minus, top = 1 << (form.storage_bits - 1), form.largest_exponent
    unit = form.bias << form.fraction_bits
    infinity, greatest = (top + 1) << form.fraction_bits, top << form.fraction_bits | ones

    def random(exponent: Any) -> Array:
        words = draw.integers(0, ones + 1, group) | np.asarray(exponent) << form.fraction_bits
        return words | draw.integers(0, 2, group) << (form.storage_bits - 1)

    def alone(w: int, a: int, place: int) -> tuple[Array, Array]:
        """Return one pair between ordinary ones."""
        left, right = random(np.full(group, form.bias - 2)), random(np.full(group, form.bias))
        left[place], right[place] = w, a
        return left, right

    at = [int(k) for k in draw.integers(0, group, 8)]
    zeros = np.zeros(group, np.int64)
    edges = [
        (zeros, random(np.full(group, top))),
        (random(np.full(group, top)), zeros),
        (np.full(group, greatest), np.full(group, greatest)),  # too large
        (np.full(group, greatest | minus), np.full(group, greatest)),
        alone(infinity, unit, at[0]), alone(unit, infinity | minus, at[1]),
        alone(infinity, 0, at[2]), alone(0, infinity, at[3]),
        alone(infinity | 1, unit, at[4]), alone(unit, infinity | ones, at[5]),
        # Two reasons at once for what a product is.
        alone(infinity | 1, infinity | ones, at[0]), alone(infinity | 1, 0, at[1]),
        alone(0, infinity | 1, at[2]), alone(infinity, infinity | minus, at[3]),
    ]  # fmt: skip
    w, a = alone(infinity, unit, at[6])
    w[at[6] - 1], a[at[6] - 1] = infinity | minus, unit  # opposed infinities
    edges.append((w, a))
    for others in ((unit,), (unit | minus,), (unit, unit | minus)):  # infinities beside NaN
        w, a = alone(infinity | 1, unit, 0)
        w[1 : 1 + len(others)], a[1 : 1 + len(others)] = infinity, others
        edges.append((w, a))
    # Every distance from the largest exponent, which comes first, last, or anywhere.
    distance = places % (form.lanes + 3)
    for order in (distance, distance[::-1], draw.permutation(distance)):
        edges.append((random(form.bias + 3 - np.minimum(order, form.bias)),
                      np.full(group, unit | ones)))  # fmt: skip
    # Sums that cancel: to nothing, and to the last bit.
    w = random(np.full(group, form.bias))
    w[1::2] = w[: group // 2 * 2 : 2] ^ minus
    w[-1:] = 0 if group % 2 else w[-1:]
    edges += [(w, np.full(group, unit)), (w ^ (places == 0), np.full(group, unit))]
    # Results whose stored exponent is about 0 (subnormal ones) and about the largest.
    for stored in (-form.fraction_bits, -1, 0, 1, top - 1, top, top + 1):
        w, a = zeros.copy(), zeros.copy()
        place, left = int(draw.integers(group)), int(np.clip(stored, 1, top))
        right = int(np.clip(form.bias + stored - left, 1, top))
        w[place] = random(np.full(group, left))[0]
        a[place] = right << form.fraction_bits
        edges.append((w, a))
    small = draw.integers(1, ones + 1, group)
    edges += [(small, np.full(group, unit)), (np.full(group, unit | minus), small)]
    # Products of subnormal numbers: far below the least result, from one bit to a few below it.
    for power in (0, 1, form.fraction_bits // 2, form.fraction_bits - 1):
        tiny, place = zeros.copy(), int(draw.integers(group))
        tiny[place] = 1 << power
        edges += [(tiny, tiny), (tiny | minus, np.full(group, draw.integers(1, 4) << power))]
    kind = np.uint32 if form.storage_bits == 32 else np.uint16
    return [(w.astype(kind), a.astype(kind)) for w, a in edges]


def _float_sums(
    form: FloatFormat, group: int, draw: np.random.Generator
) -> list[tuple[Array, Array]]:
    """Return groups whose sums have every highest bit that there can be.

    First with the bit below it, then without, as many as there is room for.
    """
    most = (2 << form.fraction_bits) - 1
    tops = range(((group - 3) * most**2).bit_length() - 1)
    greatest = (form.bias + 4 << form.fraction_bits) - 1
    kind = np.uint32 if form.storage_bits == 32 else np.uint16
    edges = [(np.full(group, greatest, kind), np.full(group, greatest, kind))]
    for second in (1, 0):
        for top in tops:
            low = int(draw.integers(1 << max(top - 1, 0)))
            made = _float_with_sum(form, group, (2 | second) << top >> 1 | low, draw)
            if made is not None:
                edges.append(made)
    return edges[: _GROUPS - 13]


def _float_with_sum(
    form: FloatFormat, group: int, wanted: int, draw: np.random.Generator
) -> tuple[Array, Array] | None:
    """Return a group whose accumulator ends at `wanted` or its negative; None where it is full.

    Activations share an exponent, so that a weight is aligned to any number that it can hold.
    """
    one, most = 1 << form.fraction_bits, (2 << form.fraction_bits) - 1
    pairs: list[tuple[int, int]] = []  # aligned weight with its sign, activation
    rest = wanted
    while rest >= one:
        factor = most if rest >= most**2 else int(draw.integers(one, most + 1))
        pairs.append((1, rest) if rest <= most else (min(rest // factor, most), factor))
        rest -= pairs[-1][0] * pairs[-1][1]
    if rest:
        pairs += [(1, one + rest), (-1, one)]
    if max(size for size, _ in pairs) < one:  # what all is aligned to adds nothing
        pairs += [(most, one), (-most, one)]
    if len(pairs) > group:
        return None
    w, a = np.zeros(group, np.int64), np.zeros(group, np.int64)
    negative = bool(draw.integers(2))
    for place, (size, factor) in zip(draw.permutation(group), pairs):
        down = form.lanes - abs(size).bit_length()
        minus = (size < 0) != negative
        w[place] = (form.bias + 3 - down << form.fraction_bits) + (abs(size) << down) - one
        w[place] |= int(minus) << (form.storage_bits - 1)
        a[place] = (form.bias + 3 << form.fraction_bits) + factor - one
    kind = np.uint32 if form.storage_bits == 32 else np.uint16
    return w.astype(kind), a.astype(kind)


def _packed(values: Array, bits: int, stages: Pipeline) -> Array:
    """Return beats of `beat` fields of `bits` bits: (beats,) to 64 bits, else (beats, words)."""
    fields = np.asarray(values).astype(np.int64).reshape(-1, stages.beat)
    flat = ((fields[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8)
    flat = flat.reshape(len(fields), -1)
    words = -(-flat.shape[1] // 64)
    padded = np.zeros((len(fields), 64 * words), np.uint8)
    padded[:, : flat.shape[1]] = flat
    packed = np.packbits(padded, axis=1, bitorder="little").view("<u8")
    return packed[:, 0] if words == 1 else packed
