"""A bench for each part of the library: a circuit, and vectors from a model in plain Python.

The models are a deque, a list of rows, Python's integers, NumPy's float16 and exact rationals;
`mutation_score` says how much the vectors see (``scripts/mutation.py`` records it for all parts).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from amaranth import Shape, signed

from orrery.rtl import Circuit
from orrery.rtl.bench import PlainVectors, StreamVectors, Vectors
from orrery.rtl.parts import (
    FP16,
    Arbiter,
    BarrelShifter,
    ComparatorTree,
    CompressorTree,
    Fifo,
    FloatAdd,
    FloatMultiply,
    LeadingOne,
    LookUpUnit,
    MemoryWrapper,
    Part,
    RegisterSlice,
    SkidBuffer,
    part_circuit,
)

__all__ = ["BENCHES", "Bench"]

Bench = tuple[Circuit, tuple[Vectors, ...]]
Rows = np.ndarray[Any, Any]


def _delayed(
    part: Part, inputs: dict[str, Rows], wanted: dict[str, Sequence[int]], seed: int
) -> Bench:  # fmt: skip
    """Return the bench of a part whose results come after its registers, moved by `enable`."""
    count, registers = len(next(iter(inputs.values()))), int(part.parameters.get("registers", 0))
    if not registers:
        expected = {port: np.array(values) for port, values in wanted.items()}
        return part_circuit(part), (PlainVectors(inputs=inputs, expected=expected),)
    enable = (np.random.default_rng(seed).random(count) < 0.8).astype(np.int64)
    shown: dict[str, list[int]] = {port: [] for port in wanted}
    care: list[bool] = []
    inside: deque[int | None] = deque([None] * registers)
    for row in range(count):
        care.append(inside[0] is not None)
        for port, values in wanted.items():
            shown[port].append(0 if inside[0] is None else int(values[inside[0]]))
        if enable[row]:
            inside.popleft()
            inside.append(row)
    plain = PlainVectors(
        inputs={**inputs, "enable": enable},
        expected={port: np.array(values) for port, values in shown.items()},
        care={port: np.array(care) for port in wanted},
    )  # fmt: skip
    return part_circuit(part), (plain,)


def _carried(part: Part, *, capacity: int, at_once: bool, level: bool = False) -> Bench:
    """Return the bench of what passes items on: items in a row, and cycle by cycle a deque.

    Parameters
    ----------
    at_once : what is full takes an item in the cycle in which one leaves
    level : it tells how many items it holds
    """
    draw = np.random.default_rng(21)
    numbers = draw.integers(0, 256, 150)
    whole = StreamVectors(
        items={"i": {"i__payload": numbers}}, expected={"o": {"o__payload": numbers}}
    )
    count = 400
    came = draw.integers(0, 256, count)
    often = np.repeat(draw.choice([0.1, 0.5, 0.9], count // 20), 20)
    offers, takes = draw.random(count) < often, draw.random(count) < np.roll(often, 30)[::-1]
    held: deque[int] = deque()
    rows: dict[str, list[int]] = {"i__ready": [], "o__valid": [], "o__payload": [], "level": []}
    for row in range(count):
        room = len(held) < capacity or (at_once and bool(takes[row]))
        rows["i__ready"].append(int(room))
        rows["o__valid"].append(int(bool(held)))
        rows["o__payload"].append(held[0] if held else 0)
        rows["level"].append(len(held))
        if held and takes[row]:
            held.popleft()
        if room and offers[row]:
            held.append(int(came[row]))
    if not level:
        del rows["level"]
    every = PlainVectors(
        inputs={"i__payload": came, "i__valid": offers * 1, "o__ready": takes * 1},
        expected={port: np.array(values) for port, values in rows.items()},
        care={"o__payload": np.array(rows["o__valid"])},
    )  # fmt: skip
    return part_circuit(part), (whole, every)


def fifo() -> Bench:
    """Return a queue's bench; a deque says which items wait, and how many."""
    return _carried(Fifo(8, depth=5), capacity=5, at_once=False, level=True)


def register_slice() -> Bench:
    """Return the bench of a register with a handshake."""
    return _carried(RegisterSlice(8), capacity=1, at_once=True)


def skid_buffer() -> Bench:
    """Return a skid buffer's bench: two places, and ready is a register."""
    return _carried(SkidBuffer(8, registered=True), capacity=2, at_once=False)


def arbiter() -> Bench:
    """Return an arbiter's bench, cycle by cycle: the round-robin rule in plain Python."""
    inputs, count = 5, 600
    draw = np.random.default_rng(22)
    often = np.repeat(draw.choice([0.2, 0.6, 1.0], count // 20), 20)
    takes = draw.random(count) < 0.6
    waiting: list[int | None] = [None] * inputs
    turn = 0
    given: dict[str, list[int]] = {
        f"i{k}__{port}": [] for k in range(inputs) for port in ("payload", "valid")
    }
    wanted: dict[str, list[int]] = {p: [] for p in ("o__valid", "o__item", "o__source")}
    wanted |= {f"i{k}__ready": [] for k in range(inputs)}
    for row in range(count):
        for k in range(inputs):  # all ask right after the reset; an offer stays until it is taken
            if waiting[k] is None and (not row or draw.random() < often[row] / 2):
                waiting[k] = int(draw.integers(256))
            item = waiting[k]
            given[f"i{k}__valid"].append(int(item is not None))
            given[f"i{k}__payload"].append(int(draw.integers(256)) if item is None else item)
        asking = [k for k in range(inputs) if waiting[k] is not None]
        chosen = min(asking, key=lambda k: (k - turn) % inputs, default=turn)
        wanted["o__valid"].append(int(bool(asking)))
        wanted["o__source"].append(chosen)
        wanted["o__item"].append(waiting[chosen] or 0)
        for k in range(inputs):
            wanted[f"i{k}__ready"].append(int(bool(asking) and k == chosen and takes[row]))
        if asking:
            turn = chosen
            if takes[row]:
                waiting[chosen], turn = None, (chosen + 1) % inputs
    some = np.array(wanted["o__valid"])
    care = {"o__item": some, "o__source": some} | {f"i{k}__ready": some for k in range(inputs)}
    vectors = PlainVectors(
        inputs={port: np.array(v) for port, v in given.items()} | {"o__ready": takes * 1},
        expected={port: np.array(v) for port, v in wanted.items()}, care=care,
    )  # fmt: skip
    return part_circuit(Arbiter(8, inputs=inputs)), (vectors,)


def compressor_tree() -> Bench:
    """Return the bench of a sum of terms of several widths and signs."""
    widths, shifts = [5, 3, 9, 6, 8], [0, 4, 2, 0, 1]
    draw = np.random.default_rng(23)
    terms = []
    for width in widths:
        least, most = -(1 << (width - 1)), (1 << (width - 1)) - 1
        ends = draw.choice([least, most, -1, 0, 1], 100)
        terms.append(np.concatenate([ends, draw.integers(least, most + 1, 300)]))
    total = sum(term << shift for term, shift in zip(terms, shifts))
    part = CompressorTree([signed(w) for w in widths], shifts=shifts, registers=2)
    return _delayed(part, {f"term{k}": t for k, t in enumerate(terms)}, {"total": total}, 24)


def leading_one() -> Bench:
    """Return the bench of a finder of the highest one: every value."""
    values = np.arange(1 << 11)
    places = [max(int(v).bit_length() - 1, 0) for v in values]
    wanted = {"position": places, "none": [int(v == 0) for v in values]}
    return _delayed(LeadingOne(11), {"value": values}, wanted, 0)


def barrel_shifter() -> Bench:
    """Return the bench of a shifter to either side, with sign and with what was lost."""
    width, count = 12, 1500
    draw = np.random.default_rng(25)
    part = BarrelShifter(width, direction="both", fill="sign", sticky=True, registers=2)
    amounts = 1 << Shape.cast(part.signature.members["amount"].shape).width
    value = draw.integers(0, 1 << width, count)
    value[::2] &= draw.integers(0, 1 << width, len(value[::2]))
    amount, right = draw.integers(0, amounts, count), draw.integers(0, 2, count)
    mask = (1 << width) - 1
    results, lost = [], []
    for v, n, r in zip(value.tolist(), amount.tolist(), right.tolist()):
        number = v - (v >> (width - 1) << width) if r else v
        results.append((number >> n if r else number << n) & mask)
        lost.append(int(bool(v & ((1 << n) - 1) if r else v << n & ~mask)))
    inputs = {"value": value, "amount": amount, "right": right}
    return _delayed(part, inputs, {"result": results, "sticky": lost}, 26)


def comparator_tree() -> Bench:
    """Return the bench of a search for the first greatest of some values."""
    inputs, count = 6, 500
    draw = np.random.default_rng(27)
    values = draw.integers(-8, 8, (inputs, count))
    values[:, ::3] = draw.integers(0, 2, (inputs, len(values[0, ::3])))  # many are equal
    present = draw.integers(0, 1 << inputs, count)
    present[::7] = 0
    best, index = [], []
    for row, mask in zip(values.T.tolist(), present.tolist()):
        those = [k for k in range(inputs) if mask >> k & 1] or [0]
        first = max(those, key=lambda k: (row[k], -k))
        best.append(row[first])
        index.append(first)
    wanted = {"best": best, "index": index, "none": [int(not m) for m in present]}
    part = ComparatorTree(signed(4), inputs=inputs, masked=True, registers=2)
    given = {f"value{k}": values[k] for k in range(inputs)} | {"present": present}
    return _delayed(part, given, wanted, 28)


def memory_wrapper(depth: int = 8) -> Bench:
    """Return a memory's bench. Resets keep the rows: they are all written before one is read."""
    width, part, count = 12, 4, 500
    draw = np.random.default_rng(29)
    writes = draw.integers(0, 1 << width // part, count)
    where, place = draw.integers(0, 8, (2, count))
    place[::2] = where[::2]  # the row that is being written
    reads = (draw.random(count) < 0.6).astype(np.int64)
    writes[:depth], where[:depth], reads[:depth] = (1 << width // part) - 1, np.arange(depth), 0
    what = draw.integers(0, 1 << width, count)
    rows, shown, seen = [0] * depth, 0, False
    wanted, care = [], []
    for row in range(count):
        wanted.append(shown)
        care.append(seen)
        mask = sum(
            ((1 << part) - 1) << part * k for k in range(width // part) if writes[row] >> k & 1
        )
        if where[row] < depth:
            rows[where[row]] = rows[where[row]] & ~mask | int(what[row]) & mask
        if reads[row]:
            shown, seen = rows[place[row]] if place[row] < depth else 0, True
    vectors = PlainVectors(
        inputs={
            "write_enable": writes, "write_address": where, "write_data": what,
            "read_enable": reads, "read_address": place,
        },
        expected={"read_data": np.array(wanted)}, care={"read_data": np.array(care)},
    )  # fmt: skip
    return part_circuit(MemoryWrapper(width, depth=depth, granularity=part, forward=True)), (
        vectors,
    )


def _halves(count: int, seed: int) -> tuple[Rows, Rows]:
    """Return pairs of float16 words: all pairs of edges, near opposites, small products, any."""
    draw = np.random.default_rng(seed)
    edges = [0, 1, 0x3FF, 0x400, 0x401, 0x3BFF, 0x3C00, 0x3C01, 0x7BFF, 0x7C00, 0x7C01, 0x7E00]
    edges += [0x8000 | word for word in edges]
    a, b = draw.integers(0, 1 << 16, (2, count))
    near = count // 3  # sums that cancel
    steps = draw.integers(-2, 3, near) << 10
    b[:near] = (a[:near] ^ 0x8000) + steps ^ draw.integers(0, 1 << draw.integers(0, 11, near))
    b[:near] &= 0xFFFF
    small = draw.integers(0x0C00, 0x2400, (2, near))  # products that are subnormal, or just not
    small &= ~draw.integers(0, 1 << 10, (2, near))  # few ones, so that ties are met
    a[near : 2 * near], b[near : 2 * near] = small
    # Sums at a tie and just above one: below the last place of the greater summand stand a one
    # and then nothing, a few ones or many.
    rest = np.arange(2 * near, count)
    apart = draw.integers(1, 13, len(rest))
    below = draw.integers(0, 1 << 10, len(rest)) & draw.choice([0, 0x049, 0x3FF], len(rest))
    half = 1 << apart - 1
    significand = (draw.integers(0, 1 << 11, len(rest)) & ~(2 * half - 1)) | half
    significand |= below & (half - 1) | 1 << 10
    high = draw.integers(14, 30, len(rest))
    a[rest] = draw.integers(0, 1 << 9, len(rest)) << 1 | high << 10
    b[rest] = significand & 0x3FF | (high - apart) << 10
    a[rest] |= draw.integers(0, 2, len(rest)) << 15
    b[rest] |= draw.integers(0, 2, len(rest)) << 15
    # Differences of a few last places on both sides of a power of two.
    power = draw.integers(1, 31, count // 6) << 10
    above, under = draw.integers(0, 1 << draw.integers(0, 10, (2, len(power))))
    sign = draw.integers(0, 2, len(power)) << 15
    first, second = power + above | sign, power - 1 - under | sign ^ 0x8000
    swap = draw.integers(0, 2, len(power)) == 1
    return (
        np.concatenate([np.repeat(edges, len(edges)), a, np.where(swap, first, second)]),
        np.concatenate([np.tile(edges, len(edges)), b, np.where(swap, second, first)]),
    )


def _rounded(part: Part, judge: Callable[[Rows, Rows], Rows], output: str, seed: int) -> Bench:
    left, right = _halves(2400, seed)
    with np.errstate(all="ignore"):
        found = judge(*(x.astype(np.uint16).view(np.float16) for x in (left, right)))
    words = np.where(np.isnan(found), FP16.nan, found.view(np.uint16)).astype(np.int64)
    return _delayed(part, {"a": left, "b": right}, {output: words}, seed)


def float_add() -> Bench:
    """Return the bench of a float16 sum; NumPy is the judge."""
    return _rounded(FloatAdd(FP16, registers=1), np.add, "sum", 30)


def float_multiply() -> Bench:
    """Return the bench of a float16 product; NumPy is the judge."""
    return _rounded(FloatMultiply(FP16, registers=1), np.multiply, "product", 31)


def look_up_unit() -> Bench:
    """Return the bench of lines between samples: every input; exact rationals, halves upwards."""
    samples = [3, 40, 25, 60, 0, 63, 1, 17, 50]
    bits, address = 8, 3
    part = LookUpUnit(samples, input=bits, output=6, interpolate=True, registers=1)
    codes, step = np.arange(1 << bits), 1 << bits - address
    wanted = []
    for code in codes.tolist():
        k, rest = divmod(code, step)
        value = samples[k] + Fraction(rest, step) * (samples[k + 1] - samples[k])
        wanted.append(int((value + Fraction(1, 2)) // 1))
    return _delayed(part, {"x": codes}, {"y": wanted}, 32)


#: Part -> its bench.
BENCHES: dict[str, Callable[[], Bench]] = {
    "Fifo": fifo, "RegisterSlice": register_slice, "SkidBuffer": skid_buffer, "Arbiter": arbiter,
    "CompressorTree": compressor_tree, "LeadingOne": leading_one, "BarrelShifter": barrel_shifter,
    "ComparatorTree": comparator_tree, "MemoryWrapper": memory_wrapper,
    "MemoryWrapper of 5 rows": partial(memory_wrapper, 5), "FloatAdd": float_add,
    "FloatMultiply": float_multiply, "LookUpUnit": look_up_unit,
}  # fmt: skip
