"""A sweep as data: what it is about, and of every point what came out, or why nothing did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from orrery.evidence import Evidence
from orrery.provenance import PROGRAM_VERSION, Basis

#: what a changed machine would weigh and sell for is not in the description of the unchanged one
_OF_THE_CHIP = {"area": "area", "price": "price"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure with its evidence in short; see `orrery.evidence.Evidence`."""

    value: float | None
    unit: str
    basis: Basis
    rests_on: Basis | None = None
    bound: str = ""
    validation_error: float | None = None
    validation_set: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point.

    Attributes
    ----------
    key : content hash of everything that the figures depend on
    choices : parameter -> value, as typed
    workload : path -> value, of what makes the workload another one
    figures : by metric
    batch : inferences in one pass
    reason : why there are no figures
    lacking : layer that fits no nest -> why; times and energies are lower bounds without it
    """

    key: str
    choices: dict[str, str]
    figures: dict[str, Figure] = field(default_factory=dict)
    batch: int = 1
    reason: str = ""
    lacking: dict[str, str] = field(default_factory=dict)
    workload: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The choices in words."""
        return ", ".join(f"{name}={value}" for name, value in self.choices.items())

    @property
    def without(self) -> str:
        """In words, which layers are in no figure; empty where all are."""
        return f"lower bounds without {', '.join(self.lacking)}" if self.lacking else ""

    def value(self, metric: str) -> float | None:
        """Return a figure's value; None where it is not known."""
        return self.figures[metric].value if metric in self.figures else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a table of points is about; points of another one do not belong into it.

    Attributes
    ----------
    machine : content hash of the machine before anything is varied, as it was described and read
    network : hash of the network before anything is varied; on systems with its weights
    engine : content hash of the program that priced the points, its tables included
    """

    on: str
    kind: str
    machine: str
    model: str
    network: str
    objective: str
    options: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    program: str = PROGRAM_VERSION
    engine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFile:
    """What ``sweep.json`` holds.

    Attributes
    ----------
    values : parameter -> its values as typed
    how : how points were chosen
    rows : in the order of the points
    points : their numbers in the whole sweep, from 1
    front : keys of the rows that nothing beats, of each workload
    """

    header: Header
    values: dict[str, tuple[str, ...]]
    how: str
    rows: tuple[Row, ...]
    points: tuple[int, ...]
    front: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def figures_of(
    evidence: Iterable[Evidence], *, changed: bool, paths: Iterable[str]
) -> dict[str, Figure]:
    """Return figures in short, the first of every metric, numbers as files give them back.

    Parameters
    ----------
    changed : whether the machine differs from its description: figures rest on an assumption then
    paths : that were varied; without a path to an area, a changed machine has none
    """
    ends = {path.rpartition(".")[2] for path in paths}
    found: dict[str, Figure] = {}
    for one in evidence:
        if one.metric in found:
            continue
        figure = Figure(
            value=None if one.value is None else float(one.value), unit=one.unit, bound=one.bound,
            basis=one.source.basis, validation_error=one.validation_error, note=one.source.note,
            validation_set=one.context.get("validation set", ""), rests_on=one.rests_on,
        )  # fmt: skip
        key = _OF_THE_CHIP.get(one.metric)
        if changed and key and key not in ends and one.value is not None:
            note = f"the description's {key} is of the machine as it was, not of this variant"
            figure = replace(figure, value=None, note=note)
        elif changed:  # what a data sheet says is of the machine as it was
            stated = figure.basis is Basis.PUBLISHED
            figure = replace(figure, rests_on=Basis.ASSUMED, note="" if stated else figure.note,
                             basis=Basis.ASSUMED if stated else figure.basis)  # fmt: skip
        found[one.metric] = figure
    latency, energy = found.get("latency"), found.get("energy")
    if latency and energy and latency.value is not None and energy.value is not None:
        found["energy-delay product"] = replace(
            energy, value=latency.value * energy.value, unit="J s",
            bound=latency.bound or energy.bound,
        )  # fmt: skip
    return found
