"""What an execution gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.plan import Plan
from orrery.report import Page, Text
from orrery.store import whole_folder, write_record
from orrery.timeline import Timeline, write_timeline
from orrery.units import format_quantity, format_si

from ._inputs import write_arrays
from .checking import Judgement
from .figures import batch_of, precisions

if TYPE_CHECKING:
    from .keeping import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out, how long it took, and how it compares.

    Attributes
    ----------
    outputs : tensor name -> value
    evidence : measured figures
    judgement : how the outputs compare with what is right, None if not checked
    page : the report
    timeline : of a plan's execution, None for a single network
    layers : of a profiled network, lines of `layers.csv`, header first
    placed : of a network placed on workers of this machine, its plan
    """

    outputs: Mapping[str, NDArray[Any]]
    evidence: tuple[Evidence, ...]
    judgement: Judgement | None
    page: Page
    timeline: Timeline | None = None
    layers: tuple[tuple[str, ...], ...] = ()
    placed: Placement | None = None

    @property
    def plan(self) -> Plan | None:
        """Who runs what on this machine; None where nothing was placed."""
        return None if self.placed is None else self.placed.plan

    @property
    def agrees(self) -> bool:
        """Whether the outputs agree with the reference, or were not compared."""
        return self.judgement is None or self.judgement.agrees

    @property
    def worst_error(self) -> float | None:
        """The largest |a - b| / (1 + |b|) of what was judged, None if nothing was."""
        return None if self.judgement is None else self.judgement.error

    def write(self, folder: str | Path, *, onnx: bool = False) -> dict[str, Path]:
        """Write outputs, evidence, (of a plan) the measured timeline, (profiled) the layers.

        Of a placed network also the plan, which worker ran each node, and the report; with `onnx`
        the network with its placement.
        """
        if onnx and self.placed is None:
            raise SpecError("--onnx", found="a network that was not placed",
                            wanted="--on this-machine", fix="leave it out")  # fmt: skip
        folder = Path(folder)
        files = {"outputs": "outputs.npz", "evidence": "evidence.json"}
        with whole_folder(folder) as fresh:
            write_arrays(fresh / files["outputs"], self.outputs)
            write_record(fresh / files["evidence"], "evidence", 1, self.evidence)
            if self.timeline is not None:
                files["timeline"] = "timeline.json"
                write_timeline(fresh / files["timeline"], self.timeline)
            if self.layers:
                from .calibrating import write_layers

                files["layers"] = "layers.csv"
                write_layers(fresh / files["layers"], self.layers)
            if self.placed is not None:
                files |= self.placed.write(fresh, folder, self.page, onnx=onnx)
        return {name: folder / file for name, file in files.items()}


#: element type -> error that another order of summation explains; float32 where nothing is said
_TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1}


def tolerance(graph: Graph) -> float:
    """Return the error that rounding in another order may cause in a network's precision."""
    return max((_TOLERANCE.get(t, 1e-3) for t in precisions(graph)), default=1e-3)


def facts(
    outputs: Mapping[str, NDArray[Any]], figures: Sequence[Evidence], judgement: Judgement | None
) -> Text:
    """Return the figures, the outputs and the comparison in sentences."""
    lines = []
    for figure in figures:
        between = ""
        if figure.interval:
            low, high = (format_si(bound, figure.unit) for bound in figure.interval)
            between = f", between {low} and {high}"
        value = format_quantity(figure.value or 0.0, figure.unit)
        lines.append(f"{figure.metric}: {value}{between} ({figure.source})")
    lines += [f"{name}: {value.dtype}{list(value.shape)}" for name, value in outputs.items()]
    if judgement is not None:
        lines += judgement.lines
    wrong = judgement is not None and not judgement.agrees
    return Text(title="Result", paragraphs=tuple(lines), tone="warning" if wrong else "plain")


def run_context(graph: Graph, backend: str) -> dict[str, str]:
    """Return what a measured figure must state besides its value."""
    return {"batch": str(batch_of(graph)), "backend": backend}
