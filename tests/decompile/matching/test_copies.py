"""Copies that a compiler cut up: whatever the parts, the whole must come back."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.decompile._recovery import recover_program
from orrery.decompile.forms import Constant, Index, Symbol, Value, linear

from .judging import operators, recovered, same_numbers
from .kernels import Kernels, between, network, number, op, row_major


def inside(k: Kernels, at: list[Symbol], before: tuple[int, ...], sizes: tuple[int, ...]) -> Value:
    """Return the condition that a place of the padded tensor is one of the tensor itself."""
    bounds = [between(linear(-b, {c: 1}), n) for c, b, n in zip(at, before, sizes, strict=True)]
    return op("iand", *bounds, width=1)


def negated(value: Value) -> Value:
    return op("inot", value, width=1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_padding_cut_up_at_random(seed: int) -> None:
    """Rows, columns and single places by themselves, before or after each other, in any order."""
    draw = np.random.default_rng(seed)
    sizes = (int(draw.integers(1, 4)), int(draw.integers(2, 6)), int(draw.integers(2, 6)))
    before = (0, int(draw.integers(0, 3)), int(draw.integers(0, 3)))
    after = (0, int(draw.integers(0, 3)), int(draw.integers(0, 3)))
    whole = tuple(n + b + a for n, b, a in zip(sizes, before, after, strict=True))
    if whole == sizes:
        return
    fill = float(draw.choice([0.0, -1.5]))
    k = Kernels()
    k.input("x", (1, *sizes))
    k.output("y", prod(whole))
    columns = np.arange(whole[2])
    cuts = np.sort(draw.choice(columns[1:], int(draw.integers(0, columns.size - 1)), replace=False))
    for part in draw.permutation(np.array([*map(tuple, np.split(columns, cuts))], object)):
        first, count = part[0], len(part)
        c, row, column = k.counters((whole[0], whole[1], count))
        place = row_major([c, row, linear(first, {column: 1})], whole)
        source = row_major(
            [c, linear(-before[1], {row: 1}), linear(first - before[2], {column: 1})], sizes
        )
        shifted = linear(first, {column: 1})
        holds = op(
            "iand", between(linear(-before[1], {row: 1}), sizes[1], unsigned=True),
            between(shifted - before[2], sizes[2]), width=1,
        )  # fmt: skip
        loops = [c, row, column]
        if draw.integers(2):
            value = op("select", holds, k.load("x", source), number(fill))
            k.store("y", place, value, loops)
        else:  # by a branch: two stores, each of which leaves places out
            k.store("y", place, number(fill), loops, guards=[negated(holds)])
            k.store("y", place, k.load("x", source), loops, guards=[holds])
    pads = np.array([0, *before, 0, *after])
    source_network = network(
        [("Pad", ["x", "pads", "fill"], "y", {})], {"x": (1, *sizes)},
        {"pads": pads, "fill": np.float32(fill)}, ["y"],
    )  # fmt: skip
    recovery = recover_program(k.program())
    assert recovery.unmatched == ()
    assert recovery.graph is not None
    assert [op for op in operators(recovery) if op != "Reshape"] == ["Pad"]
    same_numbers(recovery.graph, source_network, seed=seed)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1)])
def test_a_transposed_copy_by_branches(order: tuple[int, int, int]) -> None:
    shape = (3, 4, 5)
    k = Kernels()
    k.input("x", shape)
    k.output("y", prod(shape))
    at = k.counters(shape)
    turned = [at[a] for a in order]
    source, place = row_major(at, shape), row_major(turned, [shape[a] for a in order])
    odd = op("ieq", op("umod", Index(linear(0, {at[1]: 1})), Constant(2, 64), width=64),
             Constant(1, 64), width=1)  # fmt: skip
    k.store("y", place, k.load("x", source), at, guards=[odd])
    k.store("y", place, k.load("x", source), at, guards=[negated(odd)])
    wanted = network([("Transpose", ["x"], "y", {"perm": order})], {"x": shape}, {}, ["y"])
    made = operators(recovered(k.program(), wanted))
    assert [kind for kind in made if kind != "Reshape"] == ["Transpose"]


def test_memory_that_was_asked_for_is_somewhere() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i = k.counter(20)
    given_memory = Index(linear(0, {Symbol("y", "argument"): 1}))
    there = negated(op("ieq", given_memory, Constant(0, 64), width=1))
    at = linear(0, {i: 1})
    k.store("y", at, op("fneg", k.load("x", at)), [i], guards=[there])
    recovered(k.program(), network([("Neg", ["x"], "y", {})], {"x": (20,)}, {}, ["y"]))


def test_a_copy_over_itself_is_none() -> None:
    k = Kernels()
    k.input("x", (20,))
    k.output("y", 20)
    i, j = k.counter(20), k.counter(19)
    k.store("y", linear(0, {i: 1}), k.load("x", linear(0, {i: 1})), [i])
    k.store("y", linear(1, {j: 1}), k.load("y", linear(0, {j: 1})), [j])
    recovery = recover_program(k.program())
    assert any(u.address for u in recovery.unmatched)
    assert recovery.graph is None or "y" not in recovery.graph.outputs
