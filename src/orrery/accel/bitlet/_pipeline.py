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

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from orrery.errors import SpecError

from ._bits import lane_cycles
from ._engine import Array, Engine
from ._format import FixedFormat, FloatFormat, Mode, NumberFormat

__all__ = ["Pipeline", "Vectors", "vectors"]

_TYPES: dict[str, Any] = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The stages of one processing element.

    Attributes
    ----------
    format : of its operands
    lanes : that are built, the highest ones
    group, window : weights of a group, bits that a lane looks at
    beat, align : weights that arrive and that are aligned in one cycle

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

    def __post_init__(self) -> None:
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
                    fix=f"take one of {', '.join(map(str, _divisors(self.group)))}",
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
    def search(self) -> int:
        """Registers in the tree that finds a beat's largest exponent."""
        if isinstance(self.format, FixedFormat):
            return 0
        return min(2, (self.beat - 1).bit_length())

    @property
    def compress(self) -> int:
        """Registers in the adder tree over the lanes."""
        return (self.lanes - 1).bit_length()

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
    items["i__last"] = np.repeat(ends, stages.beats)
    lanes = np.arange(top, form.lanes)
    lengths = np.array([
        lane_cycles((row[None, : end + 1] >> lanes[:, None]) & 1, stages.window).max()
        for row, end in zip(aligned, ends)
    ])  # fmt: skip
    return Vectors(items=items, expected=expected, lengths=lengths, given=stages.given(lengths))


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


def _divisors(size: int) -> list[int]:
    return [n for n in range(1, size + 1) if size % n == 0]
