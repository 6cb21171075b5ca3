"""``orrery certify``."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orrery import api

from .._options import JsonFlag


def certify(
    certificate: Path,
    /,
    *,
    model: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    on: str | None = None,
    json: JsonFlag = False,
) -> int:
    """Check a plan's certificate from its files, independently of who made them.

    Parameters
    ----------
    certificate
        A folder of `orrery map --out`, or the certificate.json in it.
    model
        Where the plan's network is now, when it has moved; repeatable.
    on
        Where the plan's system is now, when it has moved.
    """
    result = api.certify(certificate, models=model, on=on)
    if json:
        print(json_format.dumps(result.document, indent=1, ensure_ascii=False))
    else:
        print(result.text, end="")
    return 0 if result.report.holds else 1
