"""Pages with a card as files that other commands read."""

from __future__ import annotations

from pathlib import Path

from orrery.errors import SpecError
from orrery.report import Page
from orrery.store import whole_folder, write_record

__all__ = ["write_card"]

_FILES = {"evidence": "evidence.json", "report": "report.html", "report data": "report.json",
          "report text": "report.txt"}  # fmt: skip


def write_card(page: Page, folder: str | Path) -> dict[str, Path]:
    """Write every figure of a page's card, and the page: all files, or none.

    Raises
    ------
    SpecError : a page without a card
    """
    from orrery.report import write_report

    if page.scorecard is None:
        raise SpecError(page.title, found="no scorecard", wanted="the page of a score",
                        fix="score a network or evidence first")  # fmt: skip
    figures = tuple(figure for metric in page.scorecard.metrics for figure in metric.figures)
    with whole_folder(Path(folder)) as fresh:
        write_record(fresh / _FILES["evidence"], "evidence", 1, figures)
        write_report(page, fresh)
    return {name: Path(folder) / file for name, file in _FILES.items()}
