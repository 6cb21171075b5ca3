"""The terminal at hand: how wide it is, and the one line that shows how far a task is."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orrery.progress import Progress, Step

#: Nothing is laid out narrower; and no table or chart gains by being wider.
_NARROWEST, _WIDEST = 60, 140


def columns() -> int:
    """Return how many columns results may take on standard output."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((110, 24)).columns))


def written(label: str, files: Mapping[str, Path]) -> str:
    """Return the files by name with their folder, wrapped as the terminal is."""
    folder = next(iter(files.values())).parent
    names = ", ".join(path.name for path in files.values())
    return textwrap.fill(
        f"{names} in {folder}", columns(), initial_indent=label,
        subsequent_indent=" " * len(label), break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


@contextmanager
def progress_bar(cancelled: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Yield a progress that draws on a terminal's standard error, and else nothing.

    Parameters
    ----------
    cancelled : whether the user asked to stop

    When the block ends, however it does, the bars are gone and the cursor is back: nothing is
    printed beside them.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Progress(cancelled=cancelled)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

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
        bar.update(
            tasks[step.task], completed=step.done, total=step.total, note=_note(step),
            visible=not finished,
        )  # fmt: skip

    with bar:
        yield Progress(report=draw, cancelled=cancelled)


def _note(step: Step) -> str:
    note = f"{step.done}/{step.total}" if step.total else f"{step.done}"
    if step.best is not None:
        note += f"  best {step.best:.4g} s"
    if step.best and step.bound:
        note += f"  gap {100 * (step.best / step.bound - 1):.1f} %"
    return note
