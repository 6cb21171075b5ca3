"""What two tools complain of in a circuit's Verilog: Verilator's lint and Yosys's check."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from ._circuit import Circuit, Finding
from ._engines import run_verilator
from ._yosys import run_yosys, write_scratch

#: Verilator's rules that are not reported, each with its reason.
WAIVED = {
    "DECLFILENAME": "several modules stand in one file",
    "WIDTHEXPAND": "an operand narrower than the result is extended, as Verilog defines",
    "PROCASSINIT": "the value of a register at power-up stands at its declaration",
    "PINCONNECTEMPTY": "an output of an instance that nobody reads is left open",
    "UNUSEDSIGNAL of rst": "every module with a clock has a reset, also where all is without",
}

_VERILATOR = re.compile(
    r"^%(?P<kind>Warning|Error)(?:-(?P<rule>\w+))?: (?:design\.v:(?P<line>\d+):\d+: )?(?P<text>.*)$"
)
_YOSYS = re.compile(r"^(?:design\.v:(?P<line>\d+): )?Warning: (?P<text>.*)$")


def lint(circuit: Circuit) -> tuple[Finding, ...]:
    """Return what Verilator (``--lint-only -Wall``) and Yosys (``check``) find; empty is clean.

    `WAIVED` lists the rules that are left out and why. Yosys sees the flattened design, so that
    it finds a loop or two drivers across modules.

    Raises
    ------
    ToolError : a tool ended otherwise than by its findings
    MissingExtraError : Verilator or pyosys is not installed
    """
    found = _verilator(circuit)
    if any(finding.rule == "error" for finding in found):
        return tuple(found)  # a text that cannot be read; Yosys would only say so again
    return (*found, *_yosys(circuit))


def _verilator(circuit: Circuit) -> list[Finding]:
    silent = [f"-Wno-{rule}" for rule in WAIVED if rule.isidentifier()]
    with tempfile.TemporaryDirectory(prefix="orrery-lint-") as name:
        folder = Path(name)
        write_scratch(folder / "design.v", circuit.verilog)
        said = run_verilator(
            ["--lint-only", "-Wall", *silent, "--no-timing", "--top-module", circuit.name,
             "design.v"],
            doing=f"linting {circuit.name}", folder=folder, status=(0, 1),
        )  # fmt: skip
    found = []
    for line in said.splitlines():
        match = _VERILATOR.match(line)
        if match is None or match["text"].startswith("Exiting due to"):
            continue
        rule = match["rule"] or match["kind"].lower()
        if rule == "UNUSEDSIGNAL" and match["text"].startswith("Signal is not used: 'rst'"):
            continue
        found.append(
            Finding(
                tool="verilator", rule=rule, line=int(match["line"] or 0),
                message=match["text"].strip(),
            )
        )  # fmt: skip
    return found


def _yosys(circuit: Circuit) -> list[Finding]:
    passes = [
        "read_verilog design.v", f"hierarchy -check -top {circuit.name}", "proc", "flatten",
        "check",
    ]  # fmt: skip
    done = run_yosys(
        passes, doing=f"checking {circuit.name}", inputs={"design.v": circuit.verilog}, outputs=[]
    )
    lines = done["log"].splitlines()
    found = []
    for number, line in enumerate(lines):
        match = _YOSYS.match(line)
        if match is None:
            continue
        told = [match["text"]]
        for more in lines[number + 1 :]:  # drivers and loops are listed below, indented
            if not more.startswith("    "):
                break
            told.append(more.strip())
        found.append(
            Finding(
                tool="yosys", rule="check", line=int(match["line"] or 0), message=" ".join(told)
            )
        )
    return found
