"""The bytecode of IREE modules, one instruction at a time.

Models:  the core instructions and the two extensions for floating point, bytecode versions 15
         to 17, whose encodings agree.
Ignores: debugging.
Judge:   iree-dump-module's listing of the same functions.
Source:  the instruction table of the IREE runtime (`isa.json`, `op_table.h`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._stream import ContainerError, Stream

#: Shorthand of one operand: r register, g global, t type, d data segment, f function, s text,
#: i/I immediate of 32/64 bits, h of 16, b branch target, o branch operands, v list, k table.
_BINARY, _UNARY, _TERNARY = "rrr", "rr", "rrrr"


def _table() -> dict[int, tuple[str, str]]:
    rows: dict[int, tuple[str, str]] = {}

    def add(first: int, encoding: str, names: str) -> None:
        for index, name in enumerate(names.split()):
            rows[first + index] = (name, encoding)

    for first, kind in ((0, "i32"), (4, "i64")):
        for index, (name, encoding) in enumerate((
            ("load", "gr"), ("store", "gr"), ("load_indirect", "rr"), ("store_indirect", "rr")
        )):  # fmt: skip
            rows[first + index] = (f"global.{name}.{kind}", encoding)
    rows[8], rows[9] = ("global.load.ref", "gtr"), ("global.store.ref", "gtr")
    rows[10], rows[11] = ("global.load_indirect.ref", "rtr"), ("global.store_indirect.ref", "rtr")
    rows[12], rows[13] = ("const.zero", "r"), ("const.i32", "ir")
    rows[14], rows[15] = ("const.zero", "r"), ("const.i64", "Ir")
    rows[16], rows[17] = ("const.null", "r"), ("const.data", "dr")
    rows[18], rows[19], rows[20], rows[21] = (
        ("list.alloc", "trr"), ("list.reserve", "rr"), ("list.size", "rr"), ("list.resize", "rr")
    )  # fmt: skip
    add(22, "rrr", "list.get list.set list.get list.set")
    rows[26], rows[27] = ("list.get.ref", "rrtr"), ("list.set.ref", "rrr")
    add(28, "rrrr", "select select")
    rows[30] = ("select.ref", "rtrrr")
    add(31, "rrvr", "switch switch")
    rows[33] = ("switch.ref", "rtrvr")
    add(34, _BINARY, "add.32 sub.32 mul.32 divs.32 divu.32 rems.32 remu.32")
    rows[41] = ("fma.32", _TERNARY)
    add(42, _BINARY, "add.64 sub.64 mul.64 divs.64 divu.64 rems.64 remu.64")
    rows[49] = ("fma.64", _TERNARY)
    rows[50], rows[54] = ("not.32", _UNARY), ("not.64", _UNARY)
    add(51, _BINARY, "and.32 or.32 xor.32")
    add(55, _BINARY, "and.64 or.64 xor.64")
    add(58, _BINARY, "shl.32 shrs.32 shru.32 shl.64 shrs.64 shru.64")
    add(64, _UNARY, "trunc.8 trunc.16 trunc.32 exts.8 extu.8 exts.16 extu.16 exts.32 extu.32")
    add(73, _BINARY, "eq.32 ne.32 lts.32 ltu.32")
    rows[77] = ("nz.32", _UNARY)
    add(78, _BINARY, "eq.64 ne.64 lts.64 ltu.64")
    rows[82] = ("nz.64", _UNARY)
    add(83, _BINARY, "eq.ref ne.ref")
    rows[85] = ("nz.ref", _UNARY)
    rows[86], rows[87] = ("br", "bo"), ("cond_br", "rbobo")
    rows[88], rows[89] = ("call", "fvv"), ("call.variadic", "fvvv")
    rows[90], rows[91], rows[92] = ("return", "v"), ("fail", "rs"), ("import.resolved", "fr")
    rows[93], rows[94], rows[95] = ("br", "bo"), ("trace", "sv"), ("print", "sv")
    rows[96], rows[97] = ("cond_break", "rbo"), ("br", "bo")
    add(98, "rrr", "load.u8 load.s8 load.u16 load.s16 load.32 load.64")
    add(104, "rrr", "store.8 store.16 store.32 store.64")
    rows[108], rows[109], rows[110] = (
        ("buffer.alloc", "rrr"), ("buffer.clone", "rrrrr"), ("buffer.length", "rr")
    )  # fmt: skip
    rows[111], rows[112] = ("buffer.copy", "rrrrr"), ("buffer.compare", "rrrrrr")
    add(113, "rrrr", "fill.8 fill.16 fill.32 fill.64")
    add(117, _UNARY, "ctlz.32 ctlz.64 abs.32 abs.64")
    rows[121] = ("block", "")
    add(122, _BINARY, "mins.32 minu.32 maxs.32 maxu.32 mins.64 minu.64 maxs.64 maxu.64")
    rows[130], rows[131], rows[132] = ("cast.ref", "rtr"), ("br_table", "rbohk"), ("hash", "rrrr")
    rows[133], rows[134] = ("discard", "v"), ("assign.ref", "rr")
    rows[135], rows[136] = ("call.yield", "fvbv"), ("call.variadic.yield", "fvvbv")
    return rows


_CORE = _table()

#: The extensions compute with floating point, which no address depends on: encodings only.
_F32 = {
    **dict.fromkeys((0, 1), "gr"), **dict.fromkeys((2, 3), "rr"), 4: "r", 5: "ir",
    **dict.fromkeys((6, 7), "rrr"), 8: "rrrr", 9: "rrvr", **dict.fromkeys(range(10, 15), "rrr"),
    15: "rrrr", **dict.fromkeys(range(16, 27), "rr"), 27: "rrr",
    **dict.fromkeys(range(28, 37), "rr"), 37: "rrr", **dict.fromkeys(range(38, 42), "rr"),
    **dict.fromkeys(range(42, 50), "rrr"), 50: "rr", **dict.fromkeys((51, 52), "rrr"), 53: "rrrr",
    54: "rr", **dict.fromkeys((55, 56), "rrr"), **dict.fromkeys(range(57, 62), "rr"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    at : where it begins in its function; `next` is where the following one does
    operands : by their kind: numbers of registers, globals, functions, targets; lists as tuples
    """

    at: int
    next: int
    name: str
    operands: tuple[int | str | tuple[int, ...], ...]


def decode(code: bytes, at: int) -> Instruction:
    """Return the instruction at an offset of a function.

    Raises
    ------
    ContainerError : no instruction begins there, or it ends beyond the code
    """
    stream = Stream(code, at, "bytecode")
    number = stream.u8()
    if number in (224, 225):
        extension = stream.u8()
        encoding = _F32.get(extension) if number == 224 else None
        if encoding is None:
            raise stream.error(f"instruction {number} {extension}", "a known instruction")
        name = f"f32.{extension}"
    else:
        if number not in _CORE:
            raise stream.error(f"instruction {number}", "a known instruction")
        name, encoding = _CORE[number]
    operands = tuple(_operands(stream, encoding))
    return Instruction(at=at, next=stream.at, name=name, operands=operands)


def _operands(stream: Stream, encoding: str) -> Iterator[int | str | tuple[int, ...]]:
    size = 0
    for kind in encoding:
        if kind in "rh":
            size = stream.u16()
            yield size
        elif kind in "gtdfb":
            yield stream.u32()
        elif kind == "i":
            yield stream.i32()
        elif kind == "I":
            yield stream.i64()
        elif kind == "s":
            yield stream.take(stream.u16()).decode("utf-8", "replace")
        elif kind == "v":
            yield _list(stream, 1)
        elif kind == "o":
            yield _list(stream, 2)
        else:  # the cases of a table: each a target and its operands
            cases: list[int] = []
            for _ in range(size):
                cases.append(stream.u32())
                _list(stream, 2)
            yield tuple(cases)


def _list(stream: Stream, width: int) -> tuple[int, ...]:
    stream.at += stream.at & 1
    count = stream.u16()
    if count * width * 2 > len(stream.data) - stream.at:
        raise ContainerError(
            f"bytecode at {stream.at:#x}",
            found=f"a list of {count}",
            wanted="a list within the code",
            fix="copy the file again",
        )
    return tuple(stream.u16() for _ in range(count * width))
