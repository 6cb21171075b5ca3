"""What an execution gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orrery.evidence import Evidence
from orrery.report import Page, Text
from orrery.store import atomic_write, write_record
from orrery.timeline import Timeline, write_timeline
from orrery.units import format_si

from .pages import batch_of

if TYPE_CHECKING:
    from orrery.graph import Graph

__all__ = ["RunResult", "facts", "run_context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out, how long it took, and how it compares.

    Attributes
    ----------
    outputs : tensor name -> value
    evidence : measured figures
    worst_error : largest |a - b| / (1 + |b|) against the NumPy reference, None if not checked
    page : the report
    timeline : of a plan's execution, None for a single network
    """

    outputs: Mapping[str, NDArray[Any]]
    evidence: tuple[Evidence, ...]
    worst_error: float | None
    page: Page
    timeline: Timeline | None = None

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write outputs, evidence and (of a plan) the measured timeline."""
        folder = Path(folder)
        files = {"outputs": folder / "outputs.npz", "evidence": folder / "evidence.json"}
        with atomic_write(files["outputs"]) as handle:
            np.savez(handle, allow_pickle=False, **dict(self.outputs))
        write_record(files["evidence"], "evidence", 1, self.evidence)
        if self.timeline is not None:
            files["timeline"] = folder / "timeline.json"
            write_timeline(files["timeline"], self.timeline)
        return files


def facts(
    outputs: Mapping[str, NDArray[Any]], figures: Sequence[Evidence], error: float | None
) -> Text:
    """Return the figures, the outputs and the comparison in sentences."""
    lines = []
    for figure in figures:
        between = ""
        if figure.interval:
            low, high = (format_si(bound, figure.unit) for bound in figure.interval)
            between = f", between {low} and {high}"
        value = format_si(figure.value or 0.0, figure.unit)
        lines.append(f"{figure.metric}: {value}{between} ({figure.source})")
    lines += [f"{name}: {value.dtype}{list(value.shape)}" for name, value in outputs.items()]
    if error is not None:
        lines.append(
            f"largest difference from the NumPy reference, |a - b| / (1 + |b|): {error:.2e}"
        )
    return Text(title="Result", paragraphs=tuple(lines))


def run_context(graph: Graph, backend: str) -> dict[str, str]:
    """Return what a measured figure must state besides its value."""
    return {"batch": str(batch_of(graph)), "backend": backend}
