"""Compare two results: which figures changed, which layers explain it, is it too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.report import (
    FigureChange,
    Page,
    Section,
    Text,
    changed_figures,
    over_limit,
    parse_change_limit,
    write_result,
)

from ._sides import Side, read_side
from ._tables import beside_table, figure_table, layer_table, unmatched


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results side by side.

    Attributes
    ----------
    changes : figures, before and after
    failures : limits that a change goes beyond, each with why
    """

    changes: tuple[FigureChange, ...]
    failures: tuple[str, ...]
    page: Page

    @property
    def within_limits(self) -> bool:
        """Whether no limit is passed; what cannot be told passes it."""
        return not self.failures

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the report as HTML, JSON and text: all of them, or none."""
        return write_result(folder, self.page, {})


def diff(before: str | Path, after: str | Path, *, fail_if: str | Sequence[str] = ()) -> Comparison:
    """Compare what two commands wrote.

    Parameters
    ----------
    before, after : ``--out`` folders of `map`, `nest`, `run`, … or evidence.json files
    fail_if : changes that are too much, e.g. ``"latency>+5%"``

    Raises
    ------
    SpecError, UnknownNameError : a folder without figures, a limit that cannot be read
    """
    texts = [fail_if] if isinstance(fail_if, str) else list(fail_if)
    limits = [parse_change_limit(text) for text in texts]
    sides = read_side(before), read_side(after)
    changes = changed_figures(sides[0].evidence, sides[1].evidence)
    judged = [(limit, *over_limit(limit, changes)) for limit in limits]
    failures = tuple(f"{limit.text}: {why}" for limit, over, why in judged if over)
    sections: list[Section] = []
    if limits:
        kept = tuple(f"{limit.text}: {why}" for limit, over, why in judged if not over)
        sections.append(Text(
            title="Limits", tone="warning" if failures else "note",
            paragraphs=(*(f"FAILED  {text}" for text in failures),
                        *(f"kept    {text}" for text in kept)),
        ))  # fmt: skip
    if apart := _apart(*sides):
        sections.append(Text(title="Not the same question", paragraphs=apart, tone="warning"))
    sections.append(figure_table(changes))
    sections += unmatched(changes)
    sections += _layers(*sides)
    return Comparison(
        changes=changes, failures=failures,
        page=Page(title="Comparison", subtitle=f"before: {before}; after: {after}",
                  sections=tuple(sections)),
    )  # fmt: skip


def _apart(before: Side, after: Side) -> tuple[str, ...]:
    """Return in which questions the two sides differ, in sentences."""
    said = []
    if before.networks and after.networks and before.networks != after.networks:
        said.append(f"The networks differ: {', '.join(before.networks)} before, "
                    f"{', '.join(after.networks)} after. Layers are paired by name.")  # fmt: skip
    if before.sought and after.sought and before.sought != after.sought:
        said.append(f"Searched for {before.sought} before, for {after.sought} after.")
    return tuple(said)


def _layers(before: Side, after: Side) -> list[Section]:
    if not before.layers or not after.layers:
        lacking = [side.name for side in (before, after) if not side.layers]
        return [Text(title="Layers", tone="note", paragraphs=(
            f"No layers to compare: {', '.join(lacking)} holds figures only. The --out folders of "
            "`map` and `nest` hold layers too.",))]  # fmt: skip
    quantities = [
        name for name in ("time", "energy")
        if any(name in one.takes for side in (before, after) for one in side.layers.values())
    ]  # fmt: skip
    tables: list[Section] = [layer_table(before, after, name) for name in quantities]
    if before.beside or after.beside:
        tables.append(beside_table(before, after))
    return tables
