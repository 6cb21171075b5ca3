"""Sections of a page that nests have in common, one by one or together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.evidence import Evidence
from orrery.hardware import Architecture, doubts
from orrery.report import Section, Table, Text

from ..validating import Part, beside, error_table, known_errors
from ._timeloop import notes_of

#: why no reference set speaks for nests that make something of zeros
ZEROS_SAVE = "zeros save some of it: sets are dense"


def listed(title: str, reasons: Mapping[str, str], tone: str) -> Text:
    """Return layers by the reason why they have no nest."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    lines = tuple(
        f"{', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}: {reason}"
        for reason, names in by_reason.items()
    )
    return Text(title=title, paragraphs=lines, tone="warning" if tone == "warning" else "note")


def array_sections(architecture: Architecture) -> list[Section]:
    """Return what a reader should know of the array: how it was read, which energies are odd."""
    found: list[Section] = [notes_of(architecture)] if architecture.notes else []
    if warned := doubts(architecture):
        found.append(Text(title="Doubtful energies", paragraphs=tuple(warned), tone="warning"))
    return found


def checked(
    figures: Sequence[Evidence], parts: Sequence[Part], shown: Sequence[Part]
) -> tuple[list[Evidence], Table]:
    """Return figures with what is known of their error, and a table on the parts shown."""
    known = known_errors(parts)
    return [beside(figure, known) for figure in figures], error_table(shown)
