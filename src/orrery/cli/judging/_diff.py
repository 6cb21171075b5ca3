"""``orrery diff``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from orrery import api

from .._options import JsonFlag, Out, show_page


def diff(
    before: str,
    after: str,
    /,
    *,
    fail_if: Annotated[tuple[str, ...], Parameter(name="--fail-if", negative=())] = (),
    rows: int = 20,
    json: JsonFlag = False,
    out: Out = None,
) -> int:
    """Compare two results: which figures changed, and which layers explain it.

    Parameters
    ----------
    before, after
        Folders that `map`, `nest`, `run` or `score` wrote with --out, or their evidence.json.
    fail_if
        A change that is too much, e.g. 'latency>+5%', 'throughput<-3%' or 'energy>+1mJ';
        repeatable. Exit code 1 when one is, or when it cannot be told.
    rows
        Most rows shown of a table (JSON has all).
    """
    compared = api.diff(before, after, fail_if=fail_if)
    files = compared.write(out) if out is not None else {}
    show_page(compared.page, as_json=json, rows=rows, files=files)
    return 0 if compared.within_limits else 1
