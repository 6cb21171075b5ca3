"""Names, strings, numbers and tables that give a network away, each with its address.

Models:  what stands in the file for anybody to read: nothing is lifted or executed.
Ignores: what the code itself tells; that is what recovery is for.
Judge:   the same network with and without names, strings and debugging information
         (tests/decompile/leaks).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..images import Image
from ._weights import find_floats

#: kind -> what it is, for people
KINDS = {
    "symbol": "names of functions and data",
    "signature": "strings that state shapes or types",
    "operator name": "strings that name operators",
    "compiler": "marks of the compiler and its runtime",
    "path": "paths of the machine it was built on",
    "virtual machine": "a program of a virtual machine: the network's structure in plain data",
    "debugging information": "names, types and lines of the source",
    "weights": "numbers that look like parameters",
    "workspace": "memory without contents that a file asks for, with its size",
    "library": "libraries it links to",
}
#: kind -> what takes it away, and what that does not
HARDENING = {
    "symbol": "strip the file (strip --strip-all, -fvisibility=hidden); rename what must be linked",
    "signature": "build without argument checks, or zero these strings",
    "operator name": "zero or rename them, also where the runtime looks them up (both sides alike)",
    "compiler": "remove the .comment section; link the runtime statically, without its names",
    "path": "build with -ffile-prefix-map, without logging macros",
    "virtual machine": "compile the network's calls to code instead, or encrypt this data",
    "debugging information": "strip --strip-debug",
    "weights": "encrypt them until they are used; code that reads them still says their shapes",
    "workspace": "ask for one block of a rounded size while it runs, and lay everything into it",
    "library": "link statically",
}

_OPERATORS = (
    "conv", "dense", "matmul", "gemm", "pool", "relu", "softmax", "sigmoid", "tanh", "gelu",
    "batch_norm", "batchnorm", "layer_norm", "layernorm", "lrn", "concat", "flatten",
    "transpose", "reshape", "dispatch", "fully_connected", "depthwise", "squeeze", "reduce_max",
    "reduce_mean", "argmax", "lstm", "attention", "upsample", "resize", "dropout", "padding",
)  # fmt: skip
_COMPILERS = (
    "tvm", "iree", "glow", "tflite", "onnx", "xla", "torchinductor", "aoti_torch", "cmsis",
    "xnnpack", "GCC: (", "clang version",
)  # fmt: skip
_OPERATOR = re.compile(r"(?<![a-z])(" + "|".join(_OPERATORS) + r")(?![a-z])", re.IGNORECASE)
_SIGNATURE = re.compile(
    r"\b(?:Tensor|Buffer|T\.handle)\b.*[\[(]|\b(?:float|int|uint)(?:8|16|32|64)\b|"
    r"\d+x\d+(?:x\d+)+|_[fi](?:8|16|32|64)\b|\(\s*\d+(?:\s*,\s*\d+){2,}\s*\)|\bshape\b",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:^|[\s\"'(])(?:/[\w.+-]+){2,}/?|[A-Za-z]:\\[\w\\.]+")
_STRING = re.compile(rb"[\t\x20-\x7e]{5,4000}")
#: Never more of one kind are listed; the count is of all.
_MOST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One thing that is given away.

    Attributes
    ----------
    kind : a key of `KINDS`
    address : in memory; None where it stands in the file only
    found : what stands there, shortened
    follows : what somebody who reads it knows
    """

    kind: str
    address: int | None
    found: str
    follows: str


def find_leaks(
    image: Image, data: bytes = b"", programs: Iterable[tuple[int, str]] = (),
    workspaces: Iterable[tuple[str, int]] = (),
) -> tuple[Leak, ...]:  # fmt: skip
    """Return what a binary gives away, by kind and address.

    Parameters
    ----------
    image : the binary in memory
    data : the file itself, for what is not in memory: debugging information, ``.comment``
    programs : address and description of programs of virtual machines that were found in it
    workspaces : name and size in bytes of memory that such a program asks for
    """
    found = [*_symbols(image), *_strings(image), *_weights(image), *_empty(image),
             *_outside(image, data)]  # fmt: skip
    found += [
        Leak(kind="virtual machine", address=at, found=text,
             follows="the order of all operators, which tensors they share, and constants")
        for at, text in programs
    ]  # fmt: skip
    found += [
        Leak(kind="workspace", address=None, found=f"{name}: {size} bytes", follows=_WORKSPACE)
        for name, size in workspaces
    ]
    found += [
        Leak(kind="library", address=None, found=name,
             follows="which functions come from elsewhere, and often which compiler made it")
        for name in image.needed if name.partition(".")[0] not in ORDINARY
    ]  # fmt: skip
    order = {kind: at for at, kind in enumerate(KINDS)}
    counts: dict[str, int] = {}
    kept = []
    for leak in sorted(found, key=lambda one: (order[one.kind], one.address or 0, one.found)):
        counts[leak.kind] = counts.get(leak.kind, 0) + 1
        if counts[leak.kind] <= _MOST:
            kept.append(leak)
    return tuple(kept)


#: Libraries that programs of every kind link to.
ORDINARY = {"libc", "libm", "libgcc_s", "libstdc++", "libpthread", "libdl", "librt",
            "ld-linux-x86-64", "ld-linux-aarch64", "ld-linux-armhf"}  # fmt: skip


#: What every C program has.
_START_UP = {
    "_init", "_fini", "_start", "deregister_tm_clones", "register_tm_clones", "frame_dummy",
    "__do_global_dtors_aux", "completed.0", "main", "__libc_csu_init", "__libc_csu_fini",
    "_dl_relocate_static_pie", "call_weak_fn", "_IO_stdin_used",
}  # fmt: skip


def _symbols(image: Image) -> Iterator[Leak]:
    imported = set(image.imports.values())
    for symbol in image.symbols:
        if not symbol.name or symbol.kind == "other" or symbol.name in imported:
            continue
        if symbol.name in _START_UP or (symbol.kind == "object" and not symbol.size_bytes):
            continue
        operator = _OPERATOR.search(symbol.name)
        if operator:
            follows = f"an operator of kind {operator[1].lower()}, and where its code is"
        elif symbol.kind == "object":
            follows = f"where {symbol.size_bytes} bytes of data are, and what they are for"
        else:
            follows = "where a function begins, and what its author called it"
        yield Leak(kind="symbol", address=symbol.address, found=_short(symbol.name),
                   follows=follows)  # fmt: skip


def _strings(image: Image) -> Iterator[Leak]:
    names = {symbol.name for symbol in image.symbols} | set(image.imports.values())
    for segment in image.segments:
        for match in _STRING.finditer(segment.data):
            text = match[0].decode("ascii").strip()
            if len(text) < 4 or text in names:
                continue
            verdict = _verdict(text)
            if verdict is not None:
                yield Leak(kind=verdict[0], address=segment.address + match.start(),
                           found=_short(text), follows=verdict[1])  # fmt: skip


def _verdict(text: str) -> tuple[str, str] | None:
    """Return the kind of leak that a string is and what follows from it."""
    operator = _OPERATOR.search(text)
    if _SIGNATURE.search(text) and (operator or "Tensor" in text or re.search(r"\dx\d", text)):
        return "signature", "shapes or types of a function's arguments, unread from its code"
    if operator:
        return "operator name", f"an operator of kind {operator[1].lower()} is in the network"
    if any(mark in text or mark in text.lower() for mark in _COMPILERS):
        return "compiler", "which compiler made it, and so how its code is laid out"
    if _PATH.search(text) and len(text) > 8:
        return "path", "where it was built, by whom, and with what"
    return None


def _weights(image: Image) -> Iterator[Leak]:
    for segment in image.segments:
        if segment.executable and len(image.segments) > 1:
            continue
        for run in find_floats(segment.data):
            at = segment.address + run.offset
            aligned = "" if at % 16 else ", aligned"
            yield Leak(
                kind="weights", address=at, found=f"{run.count} floats{aligned}",
                follows=f"parameters of a network, as they are ({4 * run.count} bytes)",
            )  # fmt: skip


_WORKSPACE = "how large the tensors are that live at the same time, and so roughly the network"
#: Less is what the start-up code of every program keeps.
_LEAST_WORKSPACE = 64


def _empty(image: Image) -> Iterator[Leak]:
    """Return writable memory that holds nothing yet: tensors on their way lie there."""
    for segment in image.segments:
        size = segment.size_bytes - len(segment.data)
        if segment.writable and size >= _LEAST_WORKSPACE:
            yield Leak(kind="workspace", address=segment.address + len(segment.data),
                       found=f"{size} bytes", follows=_WORKSPACE)  # fmt: skip


def _outside(image: Image, data: bytes) -> Iterator[Leak]:
    """Return what stands in the file but not in memory."""
    if re.search(rb"\0\.debug_info\0", data):
        yield Leak(kind="debugging information", address=None, found=".debug_info",
                   follows="names, types and lines of the source")  # fmt: skip
    comment = re.search(rb"GCC: \([^\0]{1,200}|clang version [^\0]{1,100}", data)
    inside = any(comment and comment[0] in segment.data for segment in image.segments)
    if comment and not inside:
        yield Leak(kind="compiler", address=None, found=_short(comment[0].decode("latin-1")),
                   follows="which compiler made it, and so how its code is laid out")  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "…"
