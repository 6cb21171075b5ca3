"""``orrery validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api
from orrery.errors import SpecError

from .._options import JsonFlag, Out, json_document, show_page
from .._terminal import progress_bar, written

_ALL = 10_000


def validate(
    *,
    sets: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    scale: float = 1.0,
    fail_if_worse: Annotated[bool, Parameter(negative=())] = False,
    allow_missing: Annotated[bool, Parameter(negative=())] = False,
    record: Path | None = None,
    out: Out = None,
    json: JsonFlag = False,
) -> int:
    """Replay every reference set and print our error on it: median, 90th percentile, worst.

    The sets are what others measured or computed. Their errors stand beside the figures of `nest`
    and `map`. A set whose data are not here is skipped, and said to be; at a scale below 1, sets
    of many rows are not compared.

    Parameters
    ----------
    sets
        A set to replay; repeatable. Without one, all.
    scale
        1 is the size of the published cases; 0.1 takes fewer rows.
    fail_if_worse
        Exit code 1 when an error is larger than the recorded one, when we are off on the other
        side, or when a set cannot be replayed.
    allow_missing
        Let --fail-if-worse pass over sets whose data are not here.
    record
        YAML file for what was found, as the package carries it: only at scale 1.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise SpecError("--out", found=f"a file at {out}", wanted="a folder, or nothing there yet",
                        fix="give another --out")  # fmt: skip
    if allow_missing and not fail_if_worse:
        raise SpecError("--allow-missing", found="no --fail-if-worse", wanted="both",
                        fix="add --fail-if-worse, or leave it out")  # fmt: skip
    if record is not None and scale != 1:
        raise SpecError("--record", found=f"--scale {scale:g}", wanted="all rows",
                        fix="leave out --scale")  # fmt: skip
    with progress_bar() as progress:
        run = api.validate(sets, scale=scale, progress=progress)
    if record is not None:
        run.record(record)
    files = {} if out is None else run.write(out)
    if json:
        json_document(run.documents)
    else:
        show_page(run.page, as_json=False, rows=_ALL)
        if files:
            print("\n" + written("written: ", files))
    missed = () if allow_missing else run.missed
    return 1 if fail_if_worse and (run.worse or run.gone or missed) else 0
