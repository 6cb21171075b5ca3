"""Replay the reference sets: the studies make them, so they are reached by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from orrery.progress import SILENT, Progress
from orrery.registry import Registry
from orrery.report import Page

_STUDIES = Registry(
    "part of validation",
    {"validate": "orrery.studies:validate", "names": "orrery.studies:set_names"},
)


class ValidationRun(Protocol):
    """Reference sets that were replayed."""

    @property
    def worse(self) -> tuple[str, ...]:
        """Sets on which we are further off than recorded, or off on the other side."""

    @property
    def missed(self) -> tuple[str, ...]:
        """Sets that cannot be replayed here: no data, or no rows at the scale."""

    @property
    def gone(self) -> tuple[str, ...]:
        """Sets that are recorded, and that their studies make no more."""

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Every set as plain data, with all rows, what was recorded, and the verdict."""

    @property
    def page(self) -> Page:
        """The report."""

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write sets and report: all files, or none."""

    def record(self, file: Path) -> None:
        """Write the sets as the package carries them."""


def validate(
    sets: Sequence[str] = (), *, scale: float = 1.0, progress: Progress = SILENT
) -> ValidationRun:
    """Replay reference sets and return our error on each, beside the recorded one.

    Parameters
    ----------
    sets : names of `validation_sets()`; none: all
    scale : 1 is the size of the published cases; less takes fewer rows

    Raises
    ------
    UnknownNameError : no such set; offers the nearest
    SpecError : a scale that is not a number above zero
    """
    return cast(ValidationRun, _STUDIES["validate"](sets, scale=scale, progress=progress))


def validation_sets() -> tuple[str, ...]:
    """Return the names of all reference sets."""
    return cast(tuple[str, ...], _STUDIES["names"]())
