"""``orrery show``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, Options, show_page
from ._terminal import progress_bar


def show(
    model: str | None = None,
    /,
    *,
    operators: Annotated[bool, Parameter(negative=())] = False,
    bits: Annotated[bool, Parameter(negative=())] = False,
    formats: str = "fp32,fp16,bf16,int8",
    rows: Annotated[int, Parameter(validator=Number(gte=1))] = 60,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Show a network: totals, operators, layers with operations and bytes.

    Parameters
    ----------
    model
        ONNX file, or a name of `orrery models`.
    operators
        List the operators that are supported, and those of ONNX that are not.
    bits
        Read the constants too and say how many elements and bits are not zero, and which bits of
        the weights are, position by position.
    formats
        With --bits: formats to count bits in, of fp32, fp16, bf16, int16, int8, int4.
    rows
        Most rows shown of a table (JSON has all).
    """
    if operators and model is not None:
        raise SpecError(
            "show", found="a network with --operators", wanted="one of the two", fix="leave out one"
        )
    if operators:
        show_page(api.operators(), as_json=json, rows=10_000)
        return 0
    if model is None:
        raise SpecError(
            "show",
            found="no model",
            wanted="a network",
            fix="give an ONNX file or a name of `orrery models`, or --operators",
        )
    with progress_bar() as progress:
        page = api.show(model, options=options, statistics=bits, progress=progress,
                        formats=[name.strip() for name in formats.split(",")])  # fmt: skip
    show_page(page, as_json=json, rows=rows)
    return 0
