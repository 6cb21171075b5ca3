"""``orrery generate``."""

from __future__ import annotations

from orrery import api

from ._options import JsonFlag, Out, show_page


def generate(
    accelerator: str, /, *, area: bool = False, out: Out = None, json: JsonFlag = False
) -> int:
    """Write an accelerator's circuit: Verilog, a bench that checks itself, README, report.

    The bench runs under Icarus Verilog and under Verilator, without Python; README.md says how.

    Parameters
    ----------
    accelerator
        A name of `orrery accelerators` that has a circuit, or a call such as 'bitlet(group=16)'.
    area
        Synthesise it too: area by block, longest path, FPGA resources; large ones take minutes.
    """
    result = api.generate(accelerator, area=area)
    files = result.write(out) if out is not None else {}
    show_page(result.page, as_json=json, files=files)
    if files and not json:
        print(f"\nreport: {files['report.html']}")
    return 0
