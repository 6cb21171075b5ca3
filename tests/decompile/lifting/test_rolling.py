"""Loops put together stay what they were, wherever in an expression their counters stand."""

from __future__ import annotations

from orrery.decompile.forms import Index, Load, Loop, Store, Symbol, linear
from orrery.decompile.lifting._rolling import Roller
from orrery.decompile.values import Builder

ROW, COLUMN = Symbol("i", "counter"), Symbol("j", "counter")
READ, WRITTEN = Symbol("a0", "argument"), Symbol("a1", "argument")


def rolled(row_read: int) -> Store:
    """Return what is made of a store to 4 × 5 places of a number read from a row."""
    build = Builder()
    build.ranges.update({ROW: (0, 3), COLUMN: (0, 4)})
    there = Load(linear(0, {READ: 1, ROW: row_read, COLUMN: 4 if row_read == 20 else 0}), 32)
    step = Store(
        address=linear(0, {WRITTEN: 1, ROW: 20, COLUMN: 4}), width=32,
        value=Index(linear(0, {there: 2}), 32),
        loops=(Loop(counter=ROW, extent=linear(4)), Loop(counter=COLUMN, extent=linear(5))),
    )  # fmt: skip
    (found,) = Roller(build).steps([step])
    assert isinstance(found, Store)
    return found


def test_two_loops_become_one_where_all_counts_through() -> None:
    found = rolled(20)
    assert [loop.extent.constant for loop in found.loops] == [20]


def test_a_counter_inside_of_a_number_is_kept() -> None:
    found = rolled(4)
    assert [loop.extent.constant for loop in found.loops] == [4, 5]
    assert ROW in found.value.symbols
