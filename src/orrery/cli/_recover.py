"""``orrery recover``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from orrery import api
from orrery.errors import SpecError

from ._options import JsonFlag, show_page
from ._process import stoppable
from ._terminal import progress_bar

#: what came out -> exit code
_CODES = {"whole": 0, "partial": 1, "none": 4}


def recover(
    binary: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    with_: Annotated[Path | None, Parameter(name="--with")] = None,
    arch: Literal["x86-64", "aarch64", "armv7", "thumb"] | None = None,
    base: str | None = None,
    entry: str | None = None,
    check: Annotated[bool, Parameter(negative=())] = False,
    inputs: int = 8,
    seed: int = 0,
    leaks: Annotated[bool, Parameter(negative=())] = False,
    harden: Path | None = None,
    report: Path | None = None,
    limit_time: str = "15 min",
    limit_memory: str = "6 GiB",
    json: JsonFlag = False,
) -> int:
    """Turn a compiled network back into ONNX.

    The binary is read, never executed, unless --check asks for it. Names in it are taken as hints
    and never as evidence, so a stripped file does as well. The table tells for every operator where
    its code is and what it was recognised by; what could not be recognised is listed, not guessed.

    Exit codes: 0 all of a network; 1 a part of one, or --check found a difference or could not run
    the binary; 2 a file or an option that cannot be used; 4 no network was found, and the page says
    whether all was read.

    Parameters
    ----------
    binary
        An ELF shared object, program, object file or static archive, an IREE module (.vmfb), or
        bare firmware together with --arch and --base.
    output
        The ONNX file to write; what was recovered of a part is written too.
    with_
        A file that holds the weights, where they are not in the binary: what TVM wrote beside a
        library, or the ELF object or library that defines the arrays this one takes from it.
    arch
        Of bare firmware: the processor whose code it is.
    base
        Of bare firmware: the address at which its first byte lies, e.g. 0x60002000.
    entry
        The function that computes the network, by address (0x1f40) or by name, instead of
        searching for it. What it computes is then taken for a network, be it one operator.
    check
        Run the binary, confined, on drawn inputs and compare it with the recovered network: without
        network, files or other processes, bounded in time and memory; in an emulator where this
        processor cannot run it. Each operator is compared with what its own code left in memory.
    inputs
        With --check: how many inputs are drawn.
    seed
        Of these inputs.
    leaks
        Also list what the binary gives away without anybody reading its code: names, strings,
        weights as they lie in it, and how to take each away.
    harden
        Write a copy with strings zeroed and names gone, and recover that as well: what that stops,
        and what it does not. Implies --leaks.
    report
        Folder for a page with all of this.
    limit_time
        Of the whole; what is finished by then is kept.
    limit_memory
        Of the whole.
    """
    if inputs < 1:
        raise SpecError("--inputs", found=inputs, wanted="1 or more", fix="correct it")
    taken = output is not None and output.exists() and binary.exists()
    if output is not None and taken and (output.is_dir() or output.samefile(binary)):
        raise SpecError("--output", found="a folder" if output.is_dir() else "the binary itself",
                        wanted="a file to write to", fix="give another name")  # fmt: skip
    with stoppable() as cancelled, progress_bar(cancelled) as progress:
        result = api.recover(
            binary, companion=with_, architecture=arch, base=_number(base, "--base"),
            entry=_entry(entry), check=inputs if check else 0, seed=seed,
            leaks=leaks or harden is not None, harden=harden, time=limit_time,
            memory=limit_memory, progress=progress,
        )  # fmt: skip
    files = result.write(output, report)
    show_page(result.page, as_json=json, rows=200, files=files)
    if not json:
        for name, path in files.items():
            print(f"{name}: {path}")
        if output is not None and "model" not in files:
            print(f"model: {output} was not written, for there is none")
    if result.check is not None and not result.check.agrees:
        return 1
    if result.hardened is not None and result.hardened.recovered is None:
        return 1
    return _CODES[result.verdict]


def _number(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|\d{1,19}", text):
        raise SpecError(where, found=text, wanted="an address", fix="write e.g. 0x60002000")
    return int(text, 0) if text[:2].lower() == "0x" else int(text)


def _entry(text: str | None) -> int | str | None:
    """Return an address where it reads as one, else a name."""
    return _number(text, "--entry") if text is not None and text[:1].isdigit() else text
