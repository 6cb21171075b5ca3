"""Pages as text, one JSON document or files, for front ends that may not see `report`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, printable
from orrery.report import Page, Strip, render_text, to_document, write_result
from orrery.store import write_record

__all__ = [
    "Page",
    "glance_text",
    "needs_met",
    "page_document",
    "page_text",
    "titled_text",
    "write_card",
]


def page_text(page: Page, *, width: int = 96, rows: int = 20) -> str:
    """Return a page as plain text; `rows` is the most shown of each table."""
    # Names come from files; an escape sequence in one must not reach the terminal.
    return printable(render_text(page, width=width, rows=rows))


def glance_text(page: Page, *, width: int = 96) -> str:
    """Return the strip of a page and the section after it as text; empty where there is none."""
    first = next((n for n, s in enumerate(page.sections) if isinstance(s, Strip)), None)
    if first is None:
        return ""
    shown = Page(title="glance", sections=page.sections[first : first + 2])
    return printable(render_text(shown, width=width, rows=40).split("\n", 3)[3])


def titled_text(page: Page, titles: Collection[str], *, width: int = 96, rows: int = 40) -> str:
    """Return the sections of some titles as text; empty where there is none."""
    chosen = tuple(section for section in page.sections if section.title in titles)
    if not chosen:
        return ""
    shown = Page(title="sections", sections=chosen)
    return printable(render_text(shown, width=width, rows=rows).split("\n", 3)[3])


def page_document(page: Page, files: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Return a page, and the files that were written, as plain data."""
    document = to_document(page)
    if files:
        document["files"] = {name: str(path) for name, path in files.items()}
    return document


def needs_met(page: Page) -> bool:
    """Return whether every need of the page is met; *not known* is not met."""
    return all(verdict.status == "pass" for verdict in page.verdicts)


def write_card(page: Page, folder: str | Path) -> dict[str, Path]:
    """Write every figure of a page's card, and the page: all files, or none.

    Raises
    ------
    SpecError : a page without a card
    """
    if page.scorecard is None:
        raise SpecError(page.title, found="no scorecard", wanted="the page of a score",
                        fix="score a network or evidence first")  # fmt: skip
    figures = tuple(figure for metric in page.scorecard.metrics for figure in metric.figures)
    return write_result(folder, page, {
        "evidence": ("evidence.json", lambda path: write_record(path, "evidence", 1, figures)),
    })  # fmt: skip
