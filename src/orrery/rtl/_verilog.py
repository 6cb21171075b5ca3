"""The Verilog text of a circuit, for people as much as for tools."""

from __future__ import annotations

from collections.abc import Mapping

from ._circuit import Circuit
from ._yosys import run_yosys

__all__ = ["write_verilog"]


def write_verilog(circuit: Circuit, orders: Mapping[str, tuple[str, ...]]) -> str:
    """Return the Verilog of a circuit's RTLIL."""
    passes = [
        "read_rtlil design.il", f"hierarchy -check -top {circuit.name}", "proc", "opt_clean",
        "write_verilog -noattr -norename design.v",
    ]  # fmt: skip
    done = run_yosys(
        passes, doing=f"writing Verilog of {circuit.name}", inputs={"design.il": circuit.rtlil},
        outputs=["design.v"],
    )  # fmt: skip
    return done["design.v"]
