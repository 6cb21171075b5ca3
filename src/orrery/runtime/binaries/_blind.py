"""Copies of binaries that give nothing away by words: what recovery must work on equally.

Two kinds. *Stripped*: symbols gone, every name and string of ours zeroed; it need not load any
more, the code is as it was. *Renamed*: every linkage name of ours replaced by a random one of the
same length, in tables, strings and serialised programs alike; it still loads and runs.
"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ._compile import BuildError
from ._targets import find_target

__all__ = ["blind_module", "own_names", "rename", "strip"]

#: A string is a run of so many printable characters and a zero.
_RUN = re.compile(rb"[\x20-\x7e\t\n]{6,}(?=\0)")
_TEXT = re.compile(rb"[\x20-\x7e\t\n]+(?=\0)")

#: How IREE calls kernels, and the sources that it notes them to come from.
_KERNEL = re.compile(rb"[\w$.]+_dispatch_\d+\w*")
_SOURCE = re.compile(rb"[\w$./-]+\.mlir|module_\w+|iree\.abi\.declaration|sync func @[^\0]+")

#: What TVM puts before a function's name when it exports it; its programs name the rest.
_PREFIX = b"__tvm_ffi_"

#: The length of a text in 64 bits, and the text in letters.
_COUNT = re.compile(rb"[\x03-\xff][\0-\x03]\0{6}(?=[\x20-\x7e]{3})")
_PRINTED = re.compile(rb"[\x20-\x7e\t\n]+")

_HASH_GNU, _HASH_OLD, _DYNSYM, _STRTAB = 0x6FFFFFF6, 5, 11, 3

#: What a loader or a runtime asks for by name, and what compilers emit for it; kept.
_KEPT = re.compile(
    rb"_init|_fini|_edata|_end|__bss_start|main|_start|__dso_handle|_DYNAMIC|__TMC_END__|"
    rb"_GLOBAL_OFFSET_TABLE_|__TVM|__tvm_ffi__library_bin|__tvm_ffi__library_ctx|_?TVM\w+|"
    rb"iree_hal_executable_library_query|\$[a-z].*"
)


def strip(
    binary: Path, copy: Path, *, target: str, keep: Iterable[bytes] = (), imports: bool = True
) -> None:
    """Write a copy without symbols and with every string zeroed that is not a part of `keep`.

    Parameters
    ----------
    keep : bytes that must stand as they do (weights that happen to look like text)
    imports : whether names of functions of other libraries stay, as in any stripped file that is
        to be linked dynamically
    """
    tool = find_target(target).tool("strip")
    with binary.open("rb") as handle:
        linked = handle.read(18)[16:] != b"\1\0"  # an object's references need its symbols
    words = ["--strip-all"] if linked else ["--strip-unneeded"]
    done = subprocess.run([tool, *words, str(binary), "-o", str(copy)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    if done.returncode:
        raise BuildError([tool], done.stderr)
    data = bytearray(copy.read_bytes())
    guarded = list(_found(bytes(data), keep))
    sections = list(_sections(bytes(data)))
    named = _imported(bytes(data), sections) if imports else set()
    for name, kind, _, offset, size, _ in sections:
        if name in (".dynstr", ".strtab", ".shstrtab") or kind == _STRTAB:
            if name == ".shstrtab":
                continue  # a reader of sections stumbles over empty names; they say nothing
            begin = offset
            for text in bytes(data[offset : offset + size]).split(b"\0"):
                if text and text not in named and not text.startswith((b"lib", b"GLIBC")):
                    data[begin : begin + len(text)] = bytes(len(text))
                begin += len(text) + 1
        elif name.startswith((".rodata", ".data", ".comment", ".note", ".debug")):
            for first, last in _strings(bytes(data[offset : offset + size])):
                begin, end = offset + first, offset + last
                if not any(begin < high and low < end for low, high in guarded):
                    data[begin:end] = bytes(end - begin)
    copy.write_bytes(bytes(data))


def _strings(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where texts begin and end: those that end with a zero, and those after a length.

    The latter have no end of their own: a number that follows may look like one more letter.
    """
    counted = set()
    for match in _COUNT.finditer(data):
        size, begin = int.from_bytes(match[0][:8], "little"), match.end()
        if data[begin : begin + size].isascii() and _PRINTED.fullmatch(data, begin, begin + size):
            counted.add(begin)
            yield begin, begin + size
    for match in _RUN.finditer(data):
        if match.start() not in counted:
            yield _after_number(data, match.start()), match.end()


def _after_number(data: bytes, begin: int) -> int:
    """Return where a text begins that may stand right behind a number.

    The upper bytes of 48.0 (00 00 40 42) look like two more letters, "@B".
    """
    word = begin & ~3
    return word + 4 if begin - word >= 2 and not any(data[word:begin]) else begin


def rename(
    binary: Path,
    copy: Path,
    names: Iterable[str] = (),
    *,
    keep: Iterable[bytes] = (),
    seed: int = 0,
) -> Mapping[str, str]:
    """Write a copy in which each of `names` is another word of the same length; returns which.

    A name is replaced wherever it stands as a whole: in symbol tables, in texts, in serialised
    programs. Hash tables for the loader are made to fit the new names.

    Parameters
    ----------
    names : as `own_names` lists them, which is what is taken when none are given
    keep : bytes that must stand as they do, even where they look like text
    """
    given = sorted(set(names) or set(own_names(binary)), key=len, reverse=True)
    data = bytearray(binary.read_bytes())
    tables = [
        (offset, offset + size)
        for name, kind, _, offset, size, _ in _sections(bytes(data))
        if kind == _STRTAB and name != ".shstrtab"
    ]
    kept = _imported(bytes(data), list(_sections(bytes(data))))
    words: dict[bytes, bytes] = {}
    while len(set(words.values())) < len(given) or not words.keys().isdisjoint(words.values()):
        words = {name.encode(): _word(name.encode(), kept, seed) for name in given}
        if not given:
            break
        seed += 1
    guarded = [*_found(bytes(data), keep), *_code(bytes(data))]
    for old, new in words.items():
        # A linker lets a name be the tail of another; new words have equal tails where old had.
        for begin in list(_places(bytes(data), old, tables, guarded)):
            data[begin : begin + len(old)] = new
        if old.startswith(_PREFIX):
            base, other = old[len(_PREFIX) :], new[len(_PREFIX) :]
            for begin in list(_places(bytes(data), base, tables, guarded)):
                data[begin : begin + len(base)] = other
    _rehash(data)
    copy.write_bytes(bytes(data))
    copy.chmod(binary.stat().st_mode)
    return {old.decode(): new.decode() for old, new in words.items()}


def _word(name: bytes, kept: set[bytes], seed: int) -> bytes:
    """Return another word: each letter follows from the name's tail that begins with it."""
    first = len(_PREFIX) if name.startswith(_PREFIX) else 0
    last = max((len(k) for k in kept if k and name.endswith(k)), default=0)
    letters = bytearray(name)
    for index in range(first, len(name) - last):
        digest = hashlib.blake2b(name[index:], key=str(seed).encode(), digest_size=4).digest()
        letters[index] = 97 + int.from_bytes(digest, "little") % 26
    return bytes(letters)


def own_names(binary: Path) -> tuple[str, ...]:
    """Return the linkage names that a file defines itself and that nobody asks for by name."""
    data = binary.read_bytes()
    sections, found, dynamic = list(_sections(data)), set(), set()
    program = any(name == ".interp" for name, *_ in sections)
    for _, kind, link, offset, size, _ in sections:
        if kind not in (2, _DYNSYM) or link >= len(sections):
            continue
        strings = data[sections[link][3] :]
        for name, section in _symbols(data, offset, size):
            text = strings[name : strings.find(b"\0", name)]
            if not section or not text.decode("latin-1").isidentifier() or _KEPT.fullmatch(text):
                continue
            if text.startswith(b"_") and not text.startswith(_PREFIX):
                continue
            found.add(text)
            if kind == _DYNSYM and program:
                dynamic.add(text)  # a program's own copies of other libraries' variables
    return tuple(sorted(text.decode() for text in found - dynamic))


def blind_module(binary: Path, copy: Path, *, zeroed: bool, seed: int = 0) -> Mapping[str, str]:
    """Write a copy of an IREE module whose kernels bear no telling names; returns which were.

    The compiler calls kernels after operator and sizes, in the module and in the executable
    inside of it, and links them by these names. Other words of the same length still run; with
    `zeroed` there are none at all, nor notes on sources, and the module is to be read only.
    """
    data = bytearray(binary.read_bytes())
    words: dict[bytes, bytes] = {}
    for name in sorted(set(_KERNEL.findall(data)), key=len, reverse=True):
        words[name] = bytes(len(name)) if zeroed else _word(name, set(), seed)
    texts = sorted(set(_SOURCE.findall(data)), key=len, reverse=True) if zeroed else []
    for old, new in (*words.items(), *((text, bytes(len(text))) for text in texts)):
        at = data.find(old)
        while at >= 0:
            data[at : at + len(old)] = new
            at = data.find(old, at + len(old))
    copy.write_bytes(bytes(data))
    return {old.decode(): new.decode() for old, new in words.items()}


def _places(
    data: bytes, word: bytes, tables: list[tuple[int, int]], guarded: list[tuple[int, int]]
) -> Iterator[int]:
    """Return where a word stands as a name: in a table, after its length, or inside a text."""
    at = data.find(word)
    while at >= 0:
        end = at + len(word)
        if any(low <= at < high for low, high in tables):
            if data[end : end + 1] == b"\0":
                yield at
        elif not any(at < high and low < end for low, high in guarded):
            counted = any(
                at >= size and int.from_bytes(data[at - size : at], "little") == len(word)
                for size in (4, 8)
            )
            # Some characters more on either side that can be read: chance rarely writes so many.
            around = data[max(at - 1, 0) : end + 1]
            whole = re.fullmatch(rb"[^\w]?" + re.escape(word) + rb"[^\w]?", around)
            text = _TEXT.match(data, at)
            said = whole and len(word) >= 4 and text and text.end() - at >= max(6, len(word))
            if counted or said:
                yield at
        at = data.find(word, at + 1)


def _found(data: bytes, parts: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for part in parts:
        at = data.find(part) if len(part) >= 4 else -1
        while at >= 0:
            yield at, at + len(part)
            at = data.find(part, at + 1)


def _code(data: bytes) -> Iterator[tuple[int, int]]:
    """Return where code lies, in which no name stands."""
    for name, kind, _, offset, size, _ in _sections(data):
        if kind == 1 and name.startswith((".text", ".plt", ".init", ".fini", ".eh_frame")):
            yield offset, offset + size


def _sections(data: bytes) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Return name, kind, link, offset, size and address of each section of our own builds."""
    wide = data[4] == 2
    if wide:
        (table,), step = struct.unpack_from("<Q", data, 40), 64
        count, names = struct.unpack_from("<HH", data, 60)
    else:
        (table,), step = struct.unpack_from("<I", data, 32), 40
        count, names = struct.unpack_from("<HH", data, 48)
    rows = []
    for index in range(count):
        row = struct.unpack_from("<IIQQQQIIQQ" if wide else "<IIIIIIIIII", data,
                                 table + index * step)  # fmt: skip
        rows.append(row)
    for row in rows:
        begin = rows[names][4] + row[0]
        name = data[begin : data.find(b"\0", begin)].decode()
        yield name, row[1], row[6], row[4], row[5] if row[1] != 8 else 0, row[3]


def _symbols(data: bytes, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Return (offset of the name, section) of each symbol."""
    if data[4] == 2:
        for row in struct.iter_unpack("<IBBHQQ", data[offset : offset + size]):
            yield row[0], row[3]
    else:
        for row in struct.iter_unpack("<IIIBBH", data[offset : offset + size]):
            yield row[0], row[5]


def _imported(data: bytes, sections: list[tuple[str, int, int, int, int, int]]) -> set[bytes]:
    found = set()
    for _, kind, link, offset, size, _ in sections:
        if kind in (2, _DYNSYM):
            strings = data[sections[link][3] :]
            for name, section in _symbols(data, offset, size):
                if not section:
                    found.add(strings[name : strings.find(b"\0", name)])
    return found


def _rehash(data: bytearray) -> None:
    """Make the loader's tables fit names that were changed in place.

    The newer table wants symbols sorted by bucket; with a single bucket any order is sorted, and
    the filter before it may say *perhaps* to everything.
    """
    sections = list(_sections(bytes(data)))
    for _, kind, link, offset, _, _ in sections:
        if kind not in (_HASH_GNU, _HASH_OLD):
            continue
        table = sections[link]
        strings = bytes(data[sections[table[2]][3] :])
        names = [
            strings[name : strings.find(b"\0", name)]
            for name, _ in _symbols(bytes(data), table[3], table[4])
        ]
        if kind == _HASH_OLD:
            _old_table(data, offset, names)
            continue
        count, first, words, _ = struct.unpack_from("<IIII", data, offset)
        wide = 8 if data[4] == 2 else 4
        buckets = struct.unpack_from(f"<{count}I", data, offset + 16 + words * wide)
        if not any(buckets):
            continue  # nothing is looked up in it
        filter_at = offset + 16
        data[filter_at : filter_at + words * wide] = b"\xff" * (words * wide)
        bucket_at = filter_at + words * wide
        hashes = [_gnu_hash(name) & ~1 for name in names[first:]]
        if not hashes:
            continue
        hashes[-1] |= 1
        struct.pack_into("<I", data, offset, 1)
        struct.pack_into(f"<I{len(hashes)}I", data, bucket_at, first, *hashes)


def _old_table(data: bytearray, offset: int, names: list[bytes]) -> None:
    buckets, chains = struct.unpack_from("<II", data, offset)
    heads, links = [0] * buckets, [0] * chains
    for index in range(1, min(chains, len(names))):
        bucket = _old_hash(names[index]) % buckets
        links[index], heads[bucket] = heads[bucket], index
    struct.pack_into(f"<{buckets + chains}I", data, offset + 8, *heads, *links)


def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _old_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value
