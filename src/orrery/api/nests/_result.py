"""What a search for loop nests gives back: layers as data, figures, a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orrery.errors import printable
from orrery.evidence import Evidence
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound
from orrery.plan import Infeasible
from orrery.report import Page, Scorecard, render_text, write_result
from orrery.store import read_record, write_record, write_text

from ._file import KeptTensor, LayerNest, NestFile
from ._pages import held_up

__all__ = ["KeptTensor", "LayerNest", "NestFile", "NestResult", "layer_nest", "read_nests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NestResult:
    """The best nest of every layer on one array.

    Attributes
    ----------
    file : the layers as data, as `write` keeps them
    text_of_array : YAML of the array as it was given
    evidence : figures of the whole network, the layers one after the other
    page : the report, with the scorecard
    needs_met : whether the ceilings that were asked for hold
    """

    file: NestFile
    architecture: Architecture
    text_of_array: str
    evidence: tuple[Evidence, ...]
    scorecard: Scorecard
    page: Page
    needs_met: bool = True

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.file.model

    @property
    def objective(self) -> str:
        """What was made least."""
        return self.file.objective

    @property
    def layers(self) -> tuple[LayerNest, ...]:
        """The layers that have a loop nest, in the order of the network."""
        return self.file.layers

    @property
    def text(self) -> str:
        """The page as text."""
        return printable(render_text(self.page))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write nests, evidence, array and report: all of them, or none."""
        return write_result(folder, self.page, {
            "nests": ("nests.json", lambda path: write_record(path, "nests", 1, self.file)),
            "evidence": ("evidence.json",
                         lambda path: write_record(path, "evidence", 1, self.evidence)),
            "architecture": ("architecture.yaml",
                             lambda path: write_text(path, self.text_of_array)),
        })  # fmt: skip


def read_nests(path: Path) -> NestFile:
    """Read a ``nests.json`` of `NestResult.write`."""
    return read_record(path, "nests", NestFile, 1)


def layer_nest(
    layer: str, operator: str, one: NestFound | Infeasible, architecture: Architecture
) -> LayerNest:
    """Return a layer's nest as data."""
    if isinstance(one, Infeasible):
        return LayerNest(layer=layer, operator=operator, schedule=None, reason=str(one))
    cost = one.cost
    return LayerNest(
        layer=layer, operator=operator, schedule=one.mapping.schedule(architecture),
        operations=cost.operations.nominal, cycles=cost.cycles, latency_s=cost.latency_s,
        energy_j=cost.energy_j, offchip_bytes=cost.cost.offchip_bytes,
        utilisation=cost.utilisation, gap=one.gap, held_up_by=held_up(one),
    )  # fmt: skip
