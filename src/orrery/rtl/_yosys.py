"""Yosys in a process of its own: a crash, a hang or a silent stop costs one call, not the program.

An end marker is written after the last pass, since a tool that stops half way may exit with 0.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from orrery.errors import MissingExtraError, OrreryError
from orrery.store import Cache, content_hash

#: Runs in the child: reads passes.json in its folder, runs them, leaves the marker.
_CHILD = """
import json, sys
from pathlib import Path
from pyosys import libyosys
design = libyosys.Design()
for command in json.loads(Path("passes.json").read_text()):
    print("== " + command, flush=True)
    libyosys.run_pass(command, design)
Path("end.marker").write_text("all passes ran")
"""


class ToolError(OrreryError, RuntimeError):
    """A hardware tool failed, stopped without saying so, or took longer than it was given."""

    def __init__(self, tool: str, *, doing: str, why: str, log: str = "") -> None:
        self.tool, self.doing, self.why, self.log = tool, doing, why, log
        last = "\n".join(line for line in log.strip().splitlines()[-8:])
        super().__init__(f"{tool}, {doing}: {why}" + (f"; its last lines:\n{last}" if last else ""))


def write_scratch(path: Path, text: str) -> None:
    """Write a file for a tool; where it cannot be, the error names it.

    Raises
    ------
    OSError : names `path`, also where the system does not, as when a limit of size is reached
    """
    try:
        path.write_text(text)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def run_yosys(
    passes: Sequence[str], *, doing: str, inputs: Mapping[str, str], outputs: Sequence[str],
    timeout_s: float = 600.0, cached: bool = True,
) -> Mapping[str, str]:  # fmt: skip
    """Run Yosys passes over files of text and return the files they wrote.

    Parameters
    ----------
    passes : commands in order; files are named without a folder
    doing : what for, as the message of a failure says it, e.g. "writing Verilog of fifo"
    inputs : file name -> text
    outputs : names of the files the passes write; ``"log"`` is always among what is returned
    timeout_s : a run that takes longer is stopped and named
    cached : whether the answer of an equal call, same Yosys, may be returned

    Raises
    ------
    ToolError : a pass failed, the run ended before its last pass, took too long, wrote no output
    MissingExtraError : pyosys is not installed
    """
    try:
        version = importlib.metadata.version("pyosys")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("pyosys", "rtl", purpose="synthesis and Verilog") from None
    cache = Cache("yosys")
    asked = [version, list(passes), dict(inputs), list(outputs)]
    key = content_hash(json.dumps(asked, sort_keys=True).encode())
    found = cache.get(key) if cached else None
    if found is not None:
        return {str(k): str(v) for k, v in json.loads(found).items()}
    with tempfile.TemporaryDirectory(prefix="orrery-yosys-") as name:
        folder = Path(name)
        for file, text in inputs.items():
            write_scratch(folder / file, text)
        write_scratch(folder / "passes.json", json.dumps(list(passes)))
        try:
            child = subprocess.run(
                [sys.executable, "-c", _CHILD], cwd=folder, timeout=timeout_s, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace",
                # ABC's cache of Liberty files goes by path and time, not by content: one per run.
                env={**os.environ, "TMPDIR": name},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            log = (error.stdout or b"").decode(errors="replace")
            raise ToolError(
                "yosys", doing=doing, why=f"took longer than {timeout_s:g} s", log=log
            ) from None
        if child.returncode or not (folder / "end.marker").exists():
            why = (
                f"exit status {child.returncode}"
                if child.returncode
                else "stopped before its last pass with exit status 0"
            )
            raise ToolError("yosys", doing=doing, why=why, log=child.stdout)
        absent = [file for file in outputs if not (folder / file).is_file()]
        if absent:
            raise ToolError("yosys", doing=doing, why=f"wrote no {absent[0]}", log=child.stdout)
        result = {file: (folder / file).read_text() for file in outputs} | {"log": child.stdout}
    cache.put(key, json.dumps(result).encode())
    return result
