"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orrery.api import ModelOptions
from orrery.progress import Progress

if TYPE_CHECKING:
    from orrery.api import Page

__all__ = [
    "JsonFlag",
    "Model",
    "Needs",
    "Options",
    "Out",
    "json_document",
    "progress_bar",
    "show_page",
]

Model = Annotated[str, Parameter(help="ONNX file, or a name of `orrery models`.")]
Options = Annotated[ModelOptions, Parameter(name="*", group="Network options")]
JsonFlag = Annotated[
    bool,
    Parameter(name="--json", negative=(), help="One JSON document on standard output."),
]
Out = Annotated[Path | None, Parameter(name="--out", help="Folder for the result files.")]
Needs = Annotated[
    tuple[str, ...],
    Parameter(
        name="--need",
        negative=(),
        help="A bound to judge, e.g. 'latency<33ms'; repeatable. Exit code 1 when one is not met.",
    ),
]


def show_page(
    page: Page, *, as_json: bool, rows: int = 20, files: Mapping[str, Path] | None = None
) -> None:
    """Print a page as text or as one JSON document."""
    from orrery import api

    if as_json:
        json_document(api.page_document(page, files))
        return
    width = max(72, min(140, shutil.get_terminal_size((110, 24)).columns))
    sys.stdout.write(api.page_text(page, width=width, rows=rows))


def json_document(document: Any) -> None:
    """Print one JSON document and nothing else."""
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def progress_bar() -> Progress:
    """Return a progress that draws one line on a terminal's standard error, and else nothing."""
    if not sys.stderr.isatty():
        return Progress()
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from orrery.progress import Step

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, Any] = {}

    def draw(step: Step) -> None:
        finished = step.total is not None and step.done >= step.total
        if step.task not in tasks:
            tasks[step.task] = bar.add_task(step.task, total=step.total, note="")
        note = f"{step.done}/{step.total}" if step.total else f"{step.done}"
        if step.best is not None:
            note += f"  best {step.best:.4g} s"
        if step.best and step.bound:
            note += f"  gap {100 * (step.best / step.bound - 1):.1f} %"
        bar.update(
            tasks[step.task], completed=step.done, total=step.total, note=note, visible=not finished
        )
        # A task may hold others: each report shows the bar again, each end gives the line back.
        if finished:
            bar.stop()
        else:
            bar.start()

    return Progress(report=draw)
