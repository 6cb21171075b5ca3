"""Compile a circuit into a shared library: CXXRTL through Yosys, or Verilator; then g++.

Libraries are kept in the cache folder under a hash of everything that made them. Two processes
that make the same one at once both make it; the last to finish replaces the other's, whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from orrery.errors import MissingExtraError
from orrery.store import atomic_write, cache_folder, content_hash

from ._circuit import Circuit
from ._driver import driver_text, harness_text
from ._yosys import ToolError, run_yosys, write_scratch

Engine = Literal["cxxrtl", "verilator"]

#: Every engine, the quicker build first.
ENGINES: tuple[Engine, ...] = ("cxxrtl", "verilator")

#: The package behind each engine.
_PACKAGE = {"cxxrtl": "pyosys", "verilator": "verilator"}
_COMPILE = ("-std=c++17", "-O2", "-fPIC", "-w")
#: A CXXRTL model of more text than this keeps its hierarchy and is optimised less: it runs far
#: slower, but g++ takes many minutes over one function so long.
_LONG_TEXT = 250_000
_COMPILE_LONG = ("-std=c++17", "-O1", "-fPIC", "-w")
#: Verilator's C++ gains a quarter by these, CXXRTL's none that pays for the compilation.
_COMPILE_VERILATED = ("-std=c++17", "-O3", "-fPIC", "-w")
_COMPILE_RUNTIME = ("-std=c++17", "-O1", "-fPIC", "-w")
_VERILATE = (
    "--cc", "--top-module", "harness", "--prefix", "Vmodel", "-Mdir", "obj", "-O3",
    "--x-assign", "0", "--x-initial", "0", "-Wno-fatal", "-Wno-lint", "-Wno-style",
    "--no-timing", "--output-split", "0",
)  # fmt: skip
#: Verilator's run-time library, compiled once for each version.
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_MOST_S = 1800.0
#: A shift of no more bits than this is no dearer than a selection.
_WORD_BITS = 64
#: The index of an item times the bits of an item, as Amaranth writes it.
_PRODUCT = re.compile(
    r"^  cell \$mul \S+\n    parameter \\A_SIGNED 0\n    parameter \\B_SIGNED 0\n"
    r"    parameter \\A_WIDTH (?P<width>\d+)\n    parameter \\B_WIDTH \d+\n"
    r"    parameter \\Y_WIDTH (?P<room>\d+)\n    connect \\A (?P<offset>.+)\n"
    r"    connect \\B \d+'(?P<factor>[01]+)\n    connect \\Y (?P<y>\$\S+)\n  end$",
    re.MULTILINE,
)
_SHIFT = re.compile(
    r"^  cell \$shr (?P<name>\S+)\n    parameter \\A_SIGNED 0\n    parameter \\B_SIGNED 0\n"
    r"    parameter \\A_WIDTH (?P<wide>\d+)\n    parameter \\B_WIDTH (?P<bits>\d+)\n"
    r"    parameter \\Y_WIDTH (?P<item>\d+)\n    connect \\A (?P<from>.+)\n"
    r"    connect \\B (?P<amount>.+)\n    connect \\Y (?P<to>.+)\n  end$",
    re.MULTILINE,
)


def load_engine(circuit: Circuit, engine: Engine) -> ctypes.CDLL:
    """Return the compiled circuit, from the cache where it has been compiled before.

    Raises
    ------
    ToolError : no C++ compiler, or a tool failed
    MissingExtraError : the engine's package is not installed
    """
    version = _version(_PACKAGE[engine])
    harness, driver = harness_text(circuit), driver_text(circuit, engine)
    design = circuit.rtlil if engine == "cxxrtl" else circuit.verilog
    key = content_hash(
        engine,
        version,
        _compiler()[1],
        " ".join((*_COMPILE, *_COMPILE_LONG, *_COMPILE_VERILATED, *_VERILATE)),
        _this_processor()[1],
        design,
        harness,
        driver,
    )
    kept = cache_folder() / "simulation" / key[:2] / f"{key}.so"
    if _whole(kept):
        with contextlib.suppress(OSError):  # one that cannot be loaded here is made anew
            return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory(prefix="orrery-engine-") as name:
        folder = Path(name)
        write_scratch(folder / "driver.cc", driver)
        if engine == "cxxrtl":
            made = _cxxrtl(circuit, harness, folder)
        else:
            made = _verilator(circuit, harness, folder, version)
        return ctypes.CDLL(str(_keep(made, kept)))


def _keep(made: Path, kept: Path) -> Path:
    """Move a file into the cache; a full or read-only disk leaves it where it is.

    Its length and hash stand behind it, where loader and linker do not look: whoever maps a file
    that was cut gets a bus error and no exception.
    """
    content = made.read_bytes()
    try:
        with atomic_write(kept) as handle:
            handle.write(content + _seal(content))
    except OSError:
        return made
    return kept


def _seal(content: bytes) -> bytes:
    return f"\norrery {len(content)} {content_hash(content)}\n".encode()


def _whole(kept: Path) -> bool:
    """Whether a file of the cache is there and as it was written."""
    try:
        content = kept.read_bytes()
    except OSError:
        return False
    end = content.rfind(b"\norrery ")
    return end >= 0 and content[end:] == _seal(content[:end])


def _cxxrtl(circuit: Circuit, harness: str, folder: Path) -> Path:
    doing = f"writing C++ of {circuit.name}"
    inputs = {"design.il": _by_module(circuit.rtlil), "harness.v": harness}
    for flat in (True, False):
        passes = [
            "read_rtlil design.il", "read_verilog harness.v", "hierarchy -check -top harness",
            "proc", *(["flatten"] if flat else []), "opt_clean",
            f"write_cxxrtl -g0 {'' if flat else '-noflatten '}model.cc",
        ]  # fmt: skip
        text = run_yosys(passes, doing=doing, inputs=inputs, outputs=["model.cc"], cached=False)
        long = len(text["model.cc"]) > _LONG_TEXT
        if not long:
            break
    write_scratch(folder / "model.cc", text["model.cc"])
    headers = _installed("pyosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    flags = _COMPILE if flat else _COMPILE_LONG
    _compile(circuit, ["driver.cc"], [headers], folder, flags)
    return folder / "engine.so"


def _by_module(rtlil: str) -> str:
    """Apply `_with_selections` to every module by itself: made wires are numbered in each."""
    parts = re.split(r"(?m)^(?=module )", rtlil)
    return "".join(_with_selections(part) for part in parts)


def _with_selections(rtlil: str) -> str:
    """Return RTLIL in which a right shift that picks one of equal items is a selection.

    CXXRTL shifts all of a wide operand to get at one item, and g++ unrolls that: minutes of
    compilation and most of the run. A ``$bmux`` reads the item. An operand with fewer items than
    the index can name is filled up with zeros, which is what the shift brings in.
    """
    products = {
        f"{found['y']}{whole}": (found["offset"], int(found["width"]), int(found["factor"], 2))
        for found in _PRODUCT.finditer(rtlil)
        for whole in ("", f" [{int(found['room']) - 1}:0]")
    }

    def selected(found: re.Match[str]) -> str:
        item, wide, index = int(found["item"]), int(found["wide"]), found["amount"]
        bits, factor = int(found["bits"]), 1
        if index in products:
            index, bits, factor = products[index]
        spare = (item << bits) - wide
        if factor != item or wide <= _WORD_BITS or not 0 <= spare <= wide:
            return found[0]
        fill = f"{spare}'{'0' * spare} " if spare else ""
        return (
            f"  cell $bmux {found['name']}\n    parameter \\WIDTH {item}\n"
            f"    parameter \\S_WIDTH {bits}\n    connect \\A {{ {fill}{found['from']} }}\n"
            f"    connect \\S {index}\n    connect \\Y {found['to']}\n  end"
        )

    return _SHIFT.sub(selected, rtlil)


def _verilator(circuit: Circuit, harness: str, folder: Path, version: str) -> Path:
    write_scratch(folder / "design.v", circuit.verilog)
    write_scratch(folder / "harness.v", harness)
    run_verilator(
        [*_VERILATE, "harness.v", "design.v"], doing=f"writing C++ of {circuit.name}", folder=folder
    )
    include = _installed("verilator") / "include"
    headers = [include, include / "vltstd", folder / "obj"]
    made = sorted(f"obj/{path.name}" for path in (folder / "obj").glob("Vmodel*.cpp"))
    one = "".join(f'#include "{file}"\n' for file in [*made, "driver.cc"])
    write_scratch(folder / "all.cc", one)
    runtime = [str(path) for path in _verilator_runtime(include, version, folder)]
    flags = (*_COMPILE_VERILATED, *_this_processor()[0])
    _compile(circuit, ["all.cc", *runtime], headers, folder, flags)
    return folder / "engine.so"


def _verilator_runtime(include: Path, version: str, folder: Path) -> list[Path]:
    """Return the objects of Verilator's own run-time, compiled when this is the first time."""
    found = []
    for source in _RUNTIME:
        key = content_hash(source, version, _compiler()[1], " ".join(_COMPILE_RUNTIME))
        kept = cache_folder() / "simulation" / "verilator" / f"{key}.o"
        if not _whole(kept):
            made = folder / f"{source}.o"
            places = [f"-I{include}", f"-I{include / 'vltstd'}"]
            files = ["-c", str(include / source), "-o", str(made)]
            command = [_compiler()[0], *_COMPILE_RUNTIME, *places, *files]
            run_tool(command, doing=f"compiling {source}", folder=folder)
            kept = _keep(made, kept)
        found.append(kept)
    return found


def _compile(
    circuit: Circuit, sources: Sequence[str], headers: Sequence[Path], folder: Path,
    flags: Sequence[str] = _COMPILE,
) -> None:  # fmt: skip
    command = [
        _compiler()[0], *flags, "-shared", *(f"-I{path}" for path in headers), *sources,
        "-o", "engine.so", "-lpthread",
    ]  # fmt: skip
    run_tool(command, doing=f"compiling {circuit.name}", folder=folder)
    if not (folder / "engine.so").is_file():
        raise ToolError("g++", doing=f"compiling {circuit.name}", why="wrote no library")


@functools.cache
def _compiler() -> tuple[str, str]:
    """Return the C++ compiler's path and what it says its version is.

    Raises
    ------
    ToolError : there is none
    """
    asked = os.environ.get("CXX") or "g++"
    found = shutil.which(asked)
    if found is None:
        raise ToolError(
            asked, doing="compiling a circuit",
            why="found no such program, wanted a C++17 compiler; install g++ or name one in CXX",
        )  # fmt: skip
    said = run_tool([found, "--version"], doing="asking for its version", folder=Path.cwd())
    return found, said.splitlines()[0] if said else ""


@functools.cache
def _this_processor() -> tuple[tuple[str, ...], str]:
    """Return the flags that compile for this processor, and what the compiler knows of it.

    A cache folder may be shared by machines: a library of one may hold instructions that another
    has not. A compiler that does not know the flag goes without.
    """
    command = [_compiler()[0], "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    try:
        said = run_tool(command, doing="asking for this processor", folder=Path.cwd())
    except ToolError:
        return (), ""
    return ("-march=native",), content_hash(*sorted(said.splitlines()))


def run_verilator(
    arguments: Sequence[str], *, doing: str, folder: Path, status: tuple[int, ...] = (0,)
) -> str:
    """Run the installed Verilator in a folder and return what it printed.

    Raises
    ------
    MissingExtraError : its package is not installed
    ToolError : as `run_tool`
    """
    root = _installed("verilator")
    command = [str(root / "bin" / "verilator_bin"), *arguments]
    where = {"VERILATOR_ROOT": str(root)}
    return run_tool(command, doing=doing, folder=folder, environment=where, status=status)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError(package, "rtl", purpose="simulating a circuit") from None


def _installed(package: str) -> Path:
    """Return the folder of an installed package, without loading it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(package, "rtl", purpose="simulating a circuit")
    return Path(found.submodule_search_locations[0])


def run_tool(
    command: Sequence[str], *, doing: str, folder: Path, timeout_s: float = _MOST_S,
    environment: Mapping[str, str] | None = None, status: tuple[int, ...] = (0,),
) -> str:  # fmt: skip
    """Run a program and return what it printed.

    Raises
    ------
    ToolError : it is not there, ended with another status than `status`, or took too long
    """
    tool = Path(command[0]).name
    try:
        done = subprocess.run(
            list(command), cwd=folder, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        log = (error.stdout or b"").decode(errors="replace")
        why = f"took longer than {timeout_s:g} s"
        raise ToolError(tool, doing=doing, why=why, log=log) from None
    except OSError as error:
        why = f"could not be started: {error.strerror or error}"
        raise ToolError(tool, doing=doing, why=why) from None
    if done.returncode not in status:
        why = f"exit status {done.returncode}"
        raise ToolError(tool, doing=doing, why=why, log=done.stdout)
    return done.stdout
