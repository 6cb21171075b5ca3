"""The program of TVM's virtual machine, as it lies in a library or in a file beside an object.

Models:  functions, constants, registers and calls of the serialised form, versions 1 and 2.
Ignores: nothing of the file; what a name means is left to others, for names may lie.
Judge:   TVM's own listing of the same program, line by line.
Source:  the layout is what TVM 0.27 writes (runtime, virtual machine executable).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orrery.graph import numpy_dtype

from ._stream import ContainerError, Stream

_MAGIC = {0xD225DE2F4214151D: 1, 0xD225DE2F4214151E: 2}
_TENSOR_MAGIC = 0xDD5E40F096B4A13F
_KINDS = ("register", "immediate", "constant", "function")
_FUNCTIONS = ("kernel", "bytecode", "compiled")

#: The two registers beyond the file of registers: nothing, and the machine itself.
_NOTHING, _MACHINE = 1 << 54, (1 << 54) + 1
_MOST_RANK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class VmConstant:
    """A constant of the program.

    Attributes
    ----------
    kind : ``tensor``, ``shape``, ``type``, ``text``, ``integer`` or ``float``
    value : of those that are no tensor
    dtype, shape, offset, size_bytes : of a tensor: where its bytes stand in what was read
    """

    kind: str
    value: object = None
    dtype: str = ""
    shape: tuple[int, ...] = ()
    offset: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VmOperand:
    """``register``, ``immediate``, ``constant``, ``function``, ``machine`` or ``nothing``."""

    kind: str
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VmCall:
    """One instruction.

    Attributes
    ----------
    kind : ``call``, ``return``, ``goto`` or ``if``
    function : index of what is called
    result : register that is written (``call``), read (``return``, ``if``); None for none
    jump : by how many instructions (``goto``, and ``if`` the condition is false)
    """

    kind: str
    function: int = -1
    operands: tuple[VmOperand, ...] = ()
    result: int | None = None
    jump: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFunction:
    """A row of the function table.

    Attributes
    ----------
    name : as linked; a hint
    kind : ``kernel`` (machine code or the runtime's), ``bytecode`` or ``compiled``
    parameters : names; registers 0, 1, … hold them at the start
    address : of its machine code, where that was told by the code that calls it; else None
    """

    name: str
    kind: str
    parameters: tuple[str, ...] = ()
    registers: int = 0
    code: tuple[VmCall, ...] = ()
    address: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmProgram:
    """A whole program; `offset` and `size_bytes` say where it stood."""

    functions: tuple[VmFunction, ...]
    constants: tuple[VmConstant, ...]
    scopes: Mapping[int, str] = field(default_factory=dict)
    offset: int = 0
    size_bytes: int = 0


def find_vm_programs(data: bytes) -> Iterator[VmProgram]:
    """Yield every program that stands in some bytes, wherever it begins.

    Where the first number of a program stands by chance, or what follows is damaged, nothing is
    yielded for it.
    """
    found: list[int] = []
    for magic in _MAGIC:
        word, at = struct.pack("<Q", magic), -1
        while (at := data.find(word, at + 1)) >= 0 and len(found) < 64:
            found.append(at)
    for at in sorted(found):
        try:
            yield read_vm_program(data, at)
        except ContainerError:
            continue


def read_vm_program(data: bytes, offset: int = 0) -> VmProgram:
    """Read the program that begins at an offset.

    Raises
    ------
    ContainerError : something else begins there, it ends early, or contradicts itself
    """
    stream = Stream(data, offset, "virtual machine program")
    version = _MAGIC.get(stream.u64())
    if version is None:
        raise stream.error("another number", "the number that such programs begin with")
    stream.text()  # the version of the format; the fields below are checked one by one
    rows = [_function_row(stream) for _ in range(stream.count(45))]
    scopes = {}
    if version == 2:
        for _ in range(stream.count(16)):
            index = stream.i64()
            scopes[index] = stream.text()
    constants = tuple(_constant(stream) for _ in range(stream.count(5)))
    offsets, words = stream.numbers(), stream.numbers()
    code = tuple(_instruction(stream, words, at) for at in offsets)
    functions = []
    for name, kind, first, last, parameters, registers in rows:
        if not 0 <= first <= last <= len(code):
            raise stream.error(f"a function of instructions {first} to {last}")
        functions.append(VmFunction(
            name=name, kind=kind, parameters=parameters, registers=registers,
            code=code[first:last] if kind == "bytecode" else (),
        ))  # fmt: skip
    program = VmProgram(
        functions=tuple(functions), constants=constants, scopes=scopes, offset=offset,
        size_bytes=stream.at - offset,
    )  # fmt: skip
    _check(stream, program)
    return program


def _function_row(stream: Stream) -> tuple[str, str, int, int, tuple[str, ...], int]:
    kind = stream.i32()
    if not 0 <= kind < len(_FUNCTIONS):
        raise stream.error(f"a function of kind {kind}")
    name = stream.text()
    first, last, parameters, registers = (stream.i64() for _ in range(4))
    names = tuple(stream.text() for _ in range(stream.count(8)))
    # A function without names for its parameters still has so many.
    if 0 <= parameters - len(names) < 4096:
        names += ("",) * (parameters - len(names))
    return name, _FUNCTIONS[kind], first, last, names, registers


def _constant(stream: Stream) -> VmConstant:
    # The numbers are those of the object system; 0 to 127 are fixed for good.
    kind = stream.i32()
    if kind == 1:
        return VmConstant(kind="integer", value=stream.i64())
    if kind == 3:
        return VmConstant(kind="float", value=struct.unpack("<d", stream.take(8))[0])
    if kind == 5:
        return VmConstant(kind="type", value=_dtype(stream))
    if kind == 65:
        return VmConstant(kind="text", value=stream.text())
    if kind == 69:
        return VmConstant(kind="shape", value=stream.numbers())
    if kind == 70:
        return _tensor(stream)
    raise stream.error(f"a constant of kind {kind}")


def _dtype(stream: Stream) -> str:
    code, bits, lanes = stream.u8(), stream.u8(), stream.u16()
    names = {0: "int", 1: "uint", 2: "float", 4: "bfloat"}
    if bits == 0 or (code == 3 and lanes <= 1):
        return "handle"
    if code == 6 or (code == 1 and bits == 1):
        return "bool"
    return f"{names.get(code, f'code{code}-')}{bits}" + (f"x{lanes}" if lanes > 1 else "")


def _tensor(stream: Stream) -> VmConstant:
    if stream.u64() != _TENSOR_MAGIC:
        raise stream.error("no tensor where one should begin")
    stream.take(16)  # reserved, and the device, which is always the processor
    rank = stream.i32()
    if not 0 <= rank <= _MOST_RANK:
        raise stream.error(f"a tensor of rank {rank}")
    dtype = _dtype(stream)
    shape = tuple(stream.i64() for _ in range(rank))
    size = stream.i64()
    if any(extent < 0 for extent in shape) or size < 0:
        raise stream.error(f"a tensor of shape {shape} and {size} bytes")
    try:
        wide = numpy_dtype(dtype).itemsize
    except TypeError:
        wide = 0
    if wide and math.prod(shape) * wide != size:
        raise stream.error(f"a tensor of shape {shape} and {size} bytes")
    offset = stream.at
    stream.take(size)
    return VmConstant(kind="tensor", dtype=dtype, shape=shape, offset=offset, size_bytes=size)


def _instruction(stream: Stream, words: tuple[int, ...], at: int) -> VmCall:
    def word(index: int) -> int:
        if not 0 <= index < len(words):
            raise stream.error(f"an instruction at word {index} of {len(words)}")
        return words[index]

    code = word(at)
    if code == 1:
        result, function, count = word(at + 1), word(at + 2), word(at + 3)
        if not 0 <= count <= len(words):
            raise stream.error(f"a call with {count} operands")
        operands = tuple(_operand(stream, word(at + 4 + i)) for i in range(count))
        return VmCall(kind="call", function=function, operands=operands,
                      result=None if result >= _NOTHING else result)  # fmt: skip
    if code == 2:
        return VmCall(kind="return", result=word(at + 1))
    if code == 3:
        return VmCall(kind="goto", jump=word(at + 1))
    if code == 4:
        return VmCall(kind="if", result=word(at + 1), jump=word(at + 2))
    raise stream.error(f"an instruction {code}")


def _operand(stream: Stream, word: int) -> VmOperand:
    kind, value = word >> 56 & 0xFF, word & (1 << 56) - 1
    value -= (value >> 55 & 1) << 56
    if kind >= len(_KINDS):
        raise stream.error(f"an operand of kind {kind}")
    if kind == 0 and value in (_NOTHING, _MACHINE):
        return VmOperand(kind="nothing" if value == _NOTHING else "machine")
    return VmOperand(kind=_KINDS[kind], value=value)


def _check(stream: Stream, program: VmProgram) -> None:
    """Hold every index against its table."""
    for function in program.functions:
        for call in function.code:
            if call.kind == "call" and not 0 <= call.function < len(program.functions):
                raise stream.error(f"a call of function {call.function}")
            for operand in call.operands:
                limit = {"constant": len(program.constants), "function": len(program.functions),
                         "register": max(function.registers, 0)}.get(operand.kind)  # fmt: skip
                if limit is not None and not 0 <= operand.value < limit:
                    raise stream.error(f"{operand.kind} {operand.value} of {limit}")
