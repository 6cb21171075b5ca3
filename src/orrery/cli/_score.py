"""``orrery score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, Needs, Options, show_page


def score(
    subjects: list[str],
    /,
    *,
    on: str | None = None,
    need: Needs = (),
    strict: Annotated[bool, Parameter(negative=())] = False,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Put figures on the seven-metric card and judge needs.

    Parameters
    ----------
    subjects
        A network with --on SYSTEM, or evidence.json files of earlier commands.
    on
        System: a YAML file, a name of `orrery systems`, or this-machine.
    strict
        Refuse when anything of the network could not be priced.
    """
    evidence = [s for s in subjects if s.endswith(".json")]
    models = [s for s in subjects if not s.endswith(".json")]
    if models and on is None:
        raise SpecError(
            "score",
            found=f"{models[0]} without a system",
            wanted="--on SYSTEM",
            fix="add --on, or give evidence.json files",
        )
    if not models and (on is not None or options != api.ModelOptions()):
        raise SpecError(
            "score",
            found="--on or network options with evidence files alone",
            wanted="a network to apply them to",
            fix="leave them out",
        )
    page = api.score(
        models,
        on=on,
        evidence=[Path(e) for e in evidence],
        options=options,
        needs=need,
        strict=strict,
    )
    show_page(page, as_json=json)
    return 0 if api.needs_met(page) else 1
