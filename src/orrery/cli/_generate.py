"""``orrery generate``."""

from __future__ import annotations

import sys

from orrery import api

from ._options import JsonFlag, Out, show_page
from ._terminal import progress_bar


def generate(
    accelerator: str, /, *, area: bool = False, mutate: int = 0, out: Out = None,
    json: JsonFlag = False,
) -> int:  # fmt: skip
    """Write an accelerator's circuit: Verilog, a bench that checks itself, README, report.

    The bench runs under Icarus Verilog and under Verilator, without Python; README.md says how.

    Parameters
    ----------
    accelerator
        A name of `orrery accelerators` that has a circuit, or a call such as 'bitlet(group=16)'.
    area
        Synthesise it too: area by block, longest path, FPGA resources; large ones take minutes.
    mutate
        Try the bench on so many designs with one operator changed and write down how many it
        catches, e.g. 60: minutes for a small circuit, hours for a large one. Needs Icarus Verilog.
    """
    if mutate > 0:
        print(
            f"the bench is run on {mutate} changed designs, and those it passes are compared by "
            "proof: minutes for a small circuit, hours for a large one",
            file=sys.stderr,
        )
    if area:
        with progress_bar() as progress:
            result = api.generate(accelerator, area=True, mutate=mutate, progress=progress)
    else:
        result = api.generate(accelerator, mutate=mutate)
    files = result.write(out) if out is not None else {}
    show_page(result.page, as_json=json, files=files)
    if files and not json:
        print(f"\nreport: {files['report.html']}")
    return 0
