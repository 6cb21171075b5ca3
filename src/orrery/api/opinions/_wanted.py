"""``tool:PATH`` of the command line, and the nests of a result as objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orrery.cost.nest import NestMapping, NestProblem
from orrery.errors import SpecError, UnknownNameError

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
