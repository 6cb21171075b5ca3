"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from orrery.api import ModelOptions

from ._terminal import columns

if TYPE_CHECKING:
    from orrery.api import Page

Model = Annotated[str, Parameter(help="ONNX file, or a name of `orrery models`.")]
Options = Annotated[ModelOptions, Parameter(name="*", group="Network options")]
JsonFlag = Annotated[
    bool,
    Parameter(name="--json", negative=(), help="One JSON document on standard output."),
]
Out = Annotated[Path | None, Parameter(name="--out", help="Folder for the result files.")]
Needs = Annotated[
    tuple[str, ...],
    Parameter(
        name="--need",
        negative=(),
        help="A bound to judge, e.g. 'latency<33ms'; repeatable. Exit code 1 when one is not met.",
    ),
]


def show_page(
    page: Page, *, as_json: bool, rows: int = 20, files: Mapping[str, Path] | None = None
) -> None:
    """Print a page as text or as one JSON document."""
    from orrery import api

    if as_json:
        json_document(api.page_document(page, files))
        return
    sys.stdout.write(api.page_text(page, width=columns(), rows=rows))


def json_document(document: Any) -> None:
    """Print one JSON document and nothing else."""
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
