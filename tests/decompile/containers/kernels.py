"""Where a container's kernels begin by its own tables and names: a judge of what reads neither."""

from __future__ import annotations

from orrery.decompile.containers import PREFIX, Kernel, Sequence, VmProgram, kernel_table
from orrery.decompile.images import Image


def named_kernels(image: Image, program: VmProgram) -> dict[int, int]:
    """Return the address of each function that a program calls by name, by its number there.

    A name links a call to code as the loader does it; whoever renames both keeps the link, and
    without names there is none.
    """
    found: dict[int, int] = {}
    for number, function in enumerate(program.functions):
        if function.kind == "bytecode" or not function.name:
            continue
        symbol = image.symbol(PREFIX + function.name) or image.symbol(function.name)
        if symbol is not None and image.is_code(symbol.address):
            found[number] = symbol.address
    return found


def kernel_addresses(image: Image, sequence: Sequence) -> dict[Kernel, int]:
    """Return where each kernel of a followed module begins in its executable.

    Where the executable lists names beside its kernels, a kernel is the one of its name; where
    names are gone, the one at its number: compilers look functions up in the order of the table.
    """
    table, labels = kernel_table(image), _labels(image)
    found = {}
    for kernel in dict.fromkeys(call.kernel for call in sequence.calls):
        number = kernel.number
        if kernel.name and kernel.name in labels:
            number = labels.index(kernel.name)
        if 0 <= number < len(table):
            found[kernel] = table[number]
    return found


def _labels(image: Image) -> list[str]:
    """Return the strings that the longest table of pointers to strings leads to."""
    size = image.pointer_bytes
    best: list[str] = []
    run: list[str] = []
    last = -1
    for place, target in sorted(image.references.items()):
        text = "" if image.is_code(target & ~1) else _text(image, target)
        if not text:
            run = []
            continue
        run = [*run, text] if place == last + size else [text]
        last = place
        if len(run) > len(best):
            best = run
    return best


def _text(image: Image, address: int) -> str:
    segment = image.segment(address)
    if segment is None:
        return ""
    begin = address - segment.address
    data = segment.data[begin : begin + 512].split(b"\0")[0]
    return data.decode("ascii", "replace") if data.isascii() else ""
