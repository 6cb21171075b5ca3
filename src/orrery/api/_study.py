"""Conduct a study: a published system's figures, worked out anew and put beside the published.

A study wires the public functions of this package, so it stands above it and is reached by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast

from orrery.progress import SILENT, Progress
from orrery.registry import Registry
from orrery.report import Page

_FRAME = Registry(
    "part of the study frame",
    {
        "conduct": "orrery.studies:conduct",
        "list": "orrery.studies:study_list",
        "names": "orrery.studies:study_names",
    },
)


class StudyRun(Protocol):
    """A study that was conducted."""

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The records as plain data, each with the name of its study."""

    @property
    def page(self) -> Page:
        """The report of the study."""

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write records and report: all files, or none."""


def study(
    name: str,
    *,
    scale: float | None = None,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    progress: Progress = SILENT,
) -> StudyRun:
    """Conduct a study and return its records and its report.

    Parameters
    ----------
    name : one of `studies()`
    scale : 1 is the size of the published cases; smaller takes a quick look. None: the study's
        usual, 1 but for duet, flashneuron and dnd, which take hours at 1
    weights, data : files for studies that take some: bitlet reads trained weights of ResNet-20
        (.safetensors) and images with labels (.npz)

    Raises
    ------
    UnknownNameError : no such study; offers the nearest
    SpecError : a scale that is not a number above zero; a file that the study does not take, or
        that is not there
    """
    files = {k: v for k, v in (("weights", weights), ("data", data)) if v is not None}
    return cast(StudyRun, _FRAME["conduct"](name, scale=scale, files=files, progress=progress))


def studies() -> Page:
    """Return what studies there are, with the question that each answers."""
    return cast(Page, _FRAME["list"]())


def study_names() -> tuple[str, ...]:
    """Return the names of all studies, in the order in which they are run."""
    return cast(tuple[str, ...], _FRAME["names"]())
