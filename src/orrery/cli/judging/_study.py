"""``orrery study``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from orrery import api
from orrery.errors import CancelledError, OrreryError, SpecError, UnknownNameError, printable

from .._options import Out, json_document, show_page
from .._terminal import progress_bar, written

Json = Annotated[
    bool,
    Parameter(
        name="--json",
        negative=(),
        help="A list of records on standard output: study, name, unit, published, ours, basis, "
        "source, judge, judge_value, status (match, differs, not reproducible), note, seconds.",
    ),
]
_ALL = 10_000


def study(
    names: Annotated[list[str] | None, Parameter(name="NAME", negative=())] = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    scale: float | None = None,
    weights: Path | None = None,
    data: Path | None = None,
    out: Out = None,
    json: Json = False,
) -> int:
    """Work out anew what a paper claims, and print ours beside the published figures.

    Parameters
    ----------
    names
        Studies to conduct: each rebuilds one published system and runs its experiments. Without a
        name, the studies are listed.
    every
        Conduct all of them. Of several, one that cannot be conducted does not stop the others.
    scale
        1 is the size of the published cases; 0.1 takes a quick look at fewer or smaller ones.
        Without it 1, but for duet and flashneuron (minutes at 0.25, hours at 1) and dnd (minutes
        at 0.002, a day or two at 1).
    weights
        Trained weights of ResNet-20 (.safetensors) for the study bitlet.
    data
        Images with labels (.npz) for those weights: the study bitlet counts what it gets right.
    """
    wanted = list(dict.fromkeys(names or ()))
    if every and wanted:
        raise SpecError(
            "--all", found=f"names too: {', '.join(wanted)}", wanted="one of the two",
            fix="leave out the names, or --all",
        )  # fmt: skip
    if not every and not wanted:
        show_page(api.studies(), as_json=json, rows=_ALL)
        return 0
    known = api.study_names()
    for name in wanted:  # before the first one takes its minutes
        if name not in known:
            raise UnknownNameError("study", name, known)
    if (weights is not None or data is not None) and len(wanted) != 1:
        raise SpecError("--weights, --data", found="no study, or several", wanted="one study",
                        fix="orrery study bitlet --weights FILE --data FILE")  # fmt: skip
    if out is not None and out.exists() and not out.is_dir():
        raise SpecError("--out", found=f"a file at {out}", wanted="a folder, or nothing there yet",
                        fix="give another --out")  # fmt: skip
    wanted = list(known) if every else wanted
    records: list[dict[str, Any]] = []
    failed = False
    for number, name in enumerate(wanted):
        try:
            with progress_bar() as progress:
                run = api.study(name, scale=scale, weights=weights, data=data,
                                progress=progress)  # fmt: skip
        except CancelledError:
            raise
        except OrreryError as error:
            if len(wanted) == 1:
                raise
            print(f"orrery: study {name}: {printable(str(error))}", file=sys.stderr)
            failed = True
            continue
        records += run.documents
        if not json:
            print(end="\n" if number else "")
            show_page(run.page, as_json=False, rows=_ALL)
        if out is not None:
            files = run.write(out if len(wanted) == 1 else out / name)
            if not json:
                print("\n" + written("written: ", files))
    if json:
        json_document(records)
    return 2 if failed else 0
