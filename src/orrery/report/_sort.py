"""The order of a table's rows: numbers by value, names as people count, unknown cells last."""

from __future__ import annotations

import re

from ._sections import Cell, Table

_DIGITS = re.compile(r"(\d+)")


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key under which ``conv2`` comes before ``conv10``."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in _DIGITS.split(text)
        if part
    )


def sort_rows(table: Table) -> tuple[tuple[Cell, ...], ...]:
    """Return the rows in the table's own order; equal ones keep theirs, unknown ones come last."""
    if not table.sort_by:
        return table.rows
    place = [column.name for column in table.columns].index(table.sort_by)
    known = [row for row in table.rows if row[place] is not None]
    unknown = [row for row in table.rows if row[place] is None]

    def key(row: tuple[Cell, ...]) -> tuple[float, tuple[tuple[int, int, str], ...]]:
        cell = row[place]
        return (0.0, natural_key(cell)) if isinstance(cell, str) else (float(cell or 0), ())

    return (*sorted(known, key=key, reverse=table.descending), *unknown)
