"""Whether results of another tool are of the array, the layers and the nests at hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orrery.cost.interchange import PRINTS, LayerPrint, Nests, prints_of, read_prints
from orrery.cost.nest import NestMapping, NestProblem
from orrery.errors import SpecError, UnknownNameError
from orrery.mapping.nest import dividing_nest
from orrery.report import Text

from .._options import ModelOptions
from .._resolve import load_model
from ..nests import NestResult, nest_problems


def tool_and_path(text: str, known: Iterable[str], *, where: str) -> tuple[str, Path]:
    """Read ``tool:PATH``.

    Raises
    ------
    SpecError, UnknownNameError
    """
    tool, colon, path = text.partition(":")
    if not colon or not path:
        raise SpecError(where, found=text, wanted="TOOL:PATH, such as zigzag:folder",
                        fix=f"name one of {', '.join(known)} and a path")  # fmt: skip
    if tool not in (*known,):
        raise UnknownNameError("tool", tool, known)
    return tool, Path(path)


def nests_of(
    model: object, result: NestResult, options: ModelOptions | None
) -> dict[str, tuple[NestProblem, NestMapping]]:
    """Return the layers that have a nest, with what they compute."""
    problems, _ = nest_problems(load_model(model, options))
    return {
        one.layer: (problems[one.layer], NestMapping.read(one.schedule, result.architecture))
        for one in result.layers if one.schedule is not None and one.layer in problems
    }  # fmt: skip


#: one nest is cut for another tool in different ways, by what it was searched for
_OBJECTIVES = ("latency", "energy", "edp")


def same_nests(
    tool: str, path: Path, nests: Nests, result: NestResult
) -> tuple[tuple[Text, ...], dict[str, NestMapping | None]]:
    """Return warnings for the top of the page, and layer -> nest that was cut for the tool.

    None for one that is cut otherwise now, so that nobody knows it any more.

    Raises
    ------
    SpecError : results of another array, or of layers that compute something else
    """
    there, here = read_prints(tool, path), prints_of(nests, result.architecture)
    if there is None:
        return _warned(f"Nobody has checked that the results in {path} are of this array and of "
                       f"these nests: there is no {PRINTS} with them, as the price.py of --export "
                       "leaves it."), {}  # fmt: skip
    fix = "export these nests with --export, and run its price.py"
    if pieces := there.array_differs(here):
        raise SpecError(str(path), found=f"results of another array: {', '.join(pieces)} differ",
                        wanted=f"results of {result.architecture.name}", fix=fix)  # fmt: skip
    known = {name: there.layers[name] for name in here.layers if name in there.layers}
    if other := [name for name, said in known.items() if said.layer != here.layers[name].layer]:
        raise SpecError(str(path), found=f"other layers of the name: {', '.join(other)}",
                        wanted=f"results of {result.model}", fix=fix)  # fmt: skip
    said = []
    if wrong := [name for name, one in known.items() if one.nest != here.layers[name].nest]:
        said.append(f"The results are of other nests than these: {', '.join(wrong)}.")
    if strange := [name for name in here.layers if name not in known]:
        said.append("The results were not written by the export that they stand with: "
                    f"{', '.join(strange)}.")  # fmt: skip
    recut = {name: _cut(name, nests, result, one) for name, one in known.items()
             if one.given != one.nest == here.layers[name].nest}  # fmt: skip
    return _warned(*said), recut


def _cut(name: str, nests: Nests, result: NestResult, known: LayerPrint) -> NestMapping | None:
    """Return the nest that a layer's was cut to, as its hash tells."""
    problem, mapping = nests[name]
    for objective in dict.fromkeys((result.objective, *_OBJECTIVES)):
        made = dividing_nest(problem, mapping, result.architecture, objective)
        if made is not None:
            now = prints_of({name: (problem, mapping)}, result.architecture, {name: made})
            if now.layers[name].given == known.given:
                return made
    return None


def _warned(*lines: str) -> tuple[Text, ...]:
    return (Text(title="Second opinion: of what?", paragraphs=lines, tone="warning"),)[: len(lines)]
