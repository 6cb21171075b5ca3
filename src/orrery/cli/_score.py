"""``orrery score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, Needs, Options, Out, show_page
from ._terminal import progress_bar


def score(
    subjects: list[str],
    /,
    *,
    on: str | None = None,
    need: Needs = (),
    strict: Annotated[bool, Parameter(negative=())] = False,
    task: Annotated[api.TaskOptions, Parameter(name="*", group="Accuracy on labelled data")] = (
        api.TaskOptions()  # noqa: B008  # frozen
    ),
    beyond: Annotated[api.BeyondOptions, Parameter(name="*", group="Beyond one network")] = (
        api.BeyondOptions()  # noqa: B008  # frozen
    ),
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    out: Out = None,
    json: JsonFlag = False,
) -> int:
    """Put figures on the seven-metric card and judge needs.

    On an array the card has the best loop nests and the waterfall of their bounds.

    With --data the network also answers labelled samples, as it is and as the designs that its plan
    chose compute: the card then says how often it is right, and what rounding costs.

    With --out the figures (evidence.json, for a later `score` or `diff`) and the report are kept.

    Parameters
    ----------
    subjects
        A network with --on SYSTEM, or evidence.json files of earlier commands.
    on
        System: a YAML file, a name of `orrery systems`, or this-machine; or an array: a YAML file
        or a name of `orrery arrays` (of a name that is both, the system, unless --flexibility or
        --scalability is given). May be left out with --data, to judge the network's own numbers.
    strict
        Refuse when anything of the network could not be priced.
    """
    evidence = [s for s in subjects if s.endswith(".json")]
    models = [s for s in subjects if not s.endswith(".json")]
    if models and on is None and task.data is None:
        raise SpecError(
            "score",
            found=f"{models[0]} without a system",
            wanted="--on SYSTEM or --data X.npz",
            fix="add one, or give evidence.json files",
        )
    asked = on is not None or (options, task, beyond) != (
        api.ModelOptions(),
        api.TaskOptions(),
        api.BeyondOptions(),
    )
    if not models and asked:
        raise SpecError(
            "score",
            found="--on, --data or network options with evidence files alone",
            wanted="a network to apply them to",
            fix="leave them out",
        )
    with progress_bar() as progress:
        page = api.score(
            models,
            on=on,
            evidence=[Path(e) for e in evidence],
            options=options,
            needs=need,
            strict=strict,
            task=task,
            beyond=beyond,
            progress=progress,
        )
    files = api.write_card(page, out) if out is not None else {}
    show_page(page, as_json=json, files=files)
    if files and not json:
        print(f"\nreport: {files['report']}\nalso:   {files['evidence']}")
    return 0 if api.needs_met(page) else 1
