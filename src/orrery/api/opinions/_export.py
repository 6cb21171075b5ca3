"""Write loop nests as inputs of another tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orrery.cost.interchange import (
    PRINTS,
    Export,
    Nests,
    export_accelforge,
    export_zigzag,
    prints_of,
)
from orrery.cost.nest import nest_cost
from orrery.hardware import Architecture
from orrery.mapping.nest import dividing_nest
from orrery.report import Text

from .._options import ModelOptions
from ..nests import NestResult
from ._same import nests_of, tool_and_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written for another tool.

    Attributes
    ----------
    notes : what that tool is not told, or told otherwise
    result : the nests, with the notes on their page
    """

    tool: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    result: NestResult


def export_nests(
    model: object, result: NestResult, to: str, *, options: ModelOptions | None = None
) -> Exported:
    """Write the nests of a result, with the array and the layers, for another tool.

    Nests whose factors do not divide the loops are cut anew, since no other tool knows such.

    Parameters
    ----------
    model : the network that the result is of
    to : ``zigzag:FOLDER`` or ``accelforge:FOLDER``

    Raises
    ------
    SpecError : no layer can be said in its language
    UnknownNameError : another tool
    """
    exports: dict[str, Callable[[Nests, Architecture], Export]] = {
        "zigzag": export_zigzag, "accelforge": export_accelforge,
    }  # fmt: skip
    tool, folder = tool_and_path(to, exports, where="--export")
    notes, nests = [], {}
    ours = nests_of(model, result, options)
    for layer, (problem, mapping) in ours.items():
        made = dividing_nest(problem, mapping, result.architecture, result.objective)
        if made is None:
            notes.append(f"{layer}: left out, no nest near ours has factors that divide its loops")
            continue
        if made != mapping:
            old, new = (nest_cost(problem, m, result.architecture) for m in (mapping, made))
            notes.append(f"{layer}: cut anew so that factors divide: {old.cycles:,} -> "
                         f"{new.cycles:,} cycles{_joules(old.energy_j, new.energy_j)}")  # fmt: skip
        nests[layer] = problem, made
    export = exports[tool](nests, result.architecture)
    given = {layer: mapping for layer, (_, mapping) in nests.items()}
    prints = prints_of({layer: ours[layer] for layer in given}, result.architecture, given)
    export = replace(export, files={**export.files, PRINTS: prints.text})
    paths = export.write(folder, notes)
    said = (*export.notes, *notes)
    section = Text(title=f"Not told to {export.tool}, or told otherwise", paragraphs=said or (
        "nothing",))  # fmt: skip
    page = replace(result.page, sections=(*result.page.sections, section))
    return Exported(tool=export.tool, files=paths, notes=said, result=replace(result, page=page))


def _joules(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return f", {before * 1e6:.5g} -> {after * 1e6:.5g} uJ"
