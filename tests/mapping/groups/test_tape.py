"""Formulas on tape, followed in machine code, against the same formulas in numpy."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from orrery.mapping.groups import Tape, Value, engine


def _followed(tape: Tape, result: Value, vectors: np.ndarray) -> list[float]:
    """Return a formula's values; each vector of inputs is the only choice of a pattern."""
    inputs, program = tape.cut(result)
    found = []
    for vector in vectors:
        values = np.ascontiguousarray(vector[inputs])
        use = np.arange(len(inputs), dtype=np.int64)[None, :]
        found.append(engine()(
            np.ones((len(inputs), 1)), values, use, np.ones((1, 1), bool),
            np.zeros(1, np.int64), np.array([0, 1]), np.zeros((1, len(inputs))),
            np.zeros(len(inputs), np.int64), np.ones(len(inputs), np.int64), program, inf, 0.0, 99,
            False,
        )[0])  # fmt: skip
    return found


def test_a_formula_is_what_numpy_makes_of_it() -> None:
    x = np.random.default_rng(1).integers(0, 9, (40, 3)).astype(float)
    a, b, c = x.T + np.array([[1], [0], [1]])
    tape = Tape()
    one, two, three = tape.input(), tape.input(), tape.input()
    unread = tape.times(two, three)
    made = tape.add(tape.share(one, two), tape.most(tape.less(one, three), 0.5))
    made = tape.add(made, tape.times(tape.above(one, three), tape.steps(7.0, three)))
    made = tape.add(made, tape.add(tape.kept(2.0, two, 3.0), tape.ceiling(one, 0.3)))
    made = tape.add(made, tape.nearest(tape.times(one, one), 0.4))
    assert unread != made
    with np.errstate(divide="ignore"):
        wanted = np.where(b > 0, a / b, 0.0) + np.maximum(a - c, 0.5)
    wanted += (a > c) * np.floor(7 / c) + np.where(b <= 3, 2.0, 0.0)
    wanted += np.ceil(a * 0.3) + np.rint(a * a * 0.4)
    vectors = np.column_stack([a, b, c])
    assert _followed(tape, made, vectors) == pytest.approx(wanted.tolist(), rel=1e-12)


def test_constants_and_equal_parts_take_no_instruction() -> None:
    tape = Tape()
    x = tape.input()
    assert tape.add(2.0, 3.0) == 5.0 and tape.times(x, 0.0) == 0.0 and tape.times(1.0, x) == x
    assert tape.add(x, 2.0) == tape.add(2.0, x)
    tape.times(x, 7.0)
    inputs, (codes, _, rows) = tape.cut(tape.add(x, 2.0))
    assert inputs == [0] and len(codes) == 1 and rows == 2


def test_what_does_not_fit_is_worth_infinity() -> None:
    tape = Tape()
    x = tape.input()
    over = tape.over(x, 4.0)
    tape.leave(over)
    assert _followed(tape, tape.add(tape.times(x, 2.0), over), np.array([[4.0], [5.0]])) == [8, inf]
