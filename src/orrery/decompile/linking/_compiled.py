"""A program of TVM's virtual machine that was compiled to machine code, as the calls it makes.

Models:  straight-line code that lays arguments side by side and calls one function after another:
         carried out number by number, each call noted as the bytecode would state it.
Ignores: branches on values of tensors; they end it.
Judge:   the same network as bytecode: the same calls on the same buffers (tests/decompile).
Source:  TVM 0.27's code generator; arguments of 16 bytes, a type and a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .._code import ImageCode, own_stubs
from .._functions import Functions
from ..containers import ContainerError, VmCall, VmFunction, VmOperand, VmProgram
from ..lifting._source import blocks_from
from ._checks import handed_to
from ._machine import KnownMachine, NotKnownError

_SET, _MOVE = "TVMBackendAnyListSetPackedArg", "TVMBackendAnyListMoveFromPackedReturn"
_PACKED_BYTES = 16
_NOTHING, _INTEGER, _POINTER = 0, 1, 4

#: Addresses of our own: what the runtime hands over, and the row of arguments.
_CONTEXT, _REGISTERS, _CONSTANTS, _FUNCTIONS = (0x6100_0000 + 0x10_0000 * n for n in range(4))
_ROW, _HANDLES = 0x6200_0000, 0x6300_0000


def traced_program(program: VmProgram, code: ImageCode, functions: Functions) -> VmProgram:
    """Return a program with its compiled function as calls, each function with its address.

    Raises
    ------
    ContainerError : no such code is there, or it goes on by what only running can tell
    """
    compiled = [f for f in program.functions if f.kind == "compiled"]
    found = _entry(code, functions)
    if not compiled or found is None:
        raise ContainerError(
            "virtual machine program", found="no machine code that makes calls",
            wanted="the library that holds it", fix="give that, not the program alone",
        )  # fmt: skip
    start, order = found
    trace = _Trace(program, code)
    try:
        trace.run(start, order)
    except NotKnownError as error:
        raise ContainerError("virtual machine program", found=str(error),
                             wanted="straight-line code",
                             fix="build it in the mode 'bytecode'") from None  # fmt: skip
    main = compiled[0]
    last = VmCall(kind="return", result=len(main.parameters))
    size = 1 + max((call.result or 0 for call in trace.calls), default=0)
    traced = replace(main, kind="bytecode", code=(*trace.calls, last),
                     registers=max(main.registers, size))  # fmt: skip
    kept = tuple(traced if one is main else one for one in program.functions)
    return replace(program, functions=(*kept, *trace.called))


def _entry(
    code: ImageCode, functions: Functions
) -> tuple[int, tuple[int | str | None, ...]] | None:
    """Return the code that makes most calls, and what stands in each of its arguments.

    That is the number of the packed argument which a wrapper hands on, or ``row`` for memory of
    the wrapper's own.
    """
    image = code.image
    counts: Counter[int] = Counter()
    for one in functions.each:
        for target in _called(code, one.address, one.end):
            counts[one.address] += image.imports.get(target, "").partition("@")[0] == _SET
    best = max(counts, key=lambda at: (counts[at], -at), default=None)
    if best is None or not counts[best]:
        return None
    for one in functions.each:
        if best in one.calls:
            handed = handed_to(code, _mode(code, one.address), one.end, best)
            if handed is not None:
                return _mode(code, best), handed
    return None


def _mode(code: ImageCode, address: int) -> int:
    return address | 1 if code.image.is_thumb(address) else address


def _called(code: ImageCode, address: int, end: int) -> Iterator[int]:
    """Yield targets of calls, one block after the other as they stand."""
    at = address
    while at < end:
        block = blocks_from(code, _mode(code, at), min(600, end - at))
        if block is None or not block.size:
            return
        if block.jumpkind == "Ijk_Call" and block.next.tag == "Iex_Const":
            yield code.plain(int(block.next.con.value))
        at += block.size


@dataclass(slots=True)
class _Trace:
    """Calls as they are made."""

    program: VmProgram
    code: ImageCode
    calls: list[VmCall] = field(default_factory=list)
    called: list[VmFunction] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)
    _slots: dict[int, VmOperand] = field(default_factory=dict)
    _results: dict[int, int] = field(default_factory=dict)
    _handles: dict[int, int] = field(default_factory=dict)

    _stubs: Mapping[int, int] = field(default_factory=dict)

    def run(self, start: int, order: tuple[int | str | None, ...]) -> None:
        machine = KnownMachine(self.code, self._call)
        self._stubs = own_stubs(self.code.image)
        given = (_CONTEXT, _REGISTERS, _CONSTANTS, _FUNCTIONS)
        for offset, what in zip(machine.machine.integers, order, strict=False):
            if what == "row":
                machine.registers[offset] = _ROW
            elif isinstance(what, int) and what < len(given):
                machine.registers[offset] = given[what]
        machine.run(start)

    def _call(self, machine: KnownMachine, target: int | None) -> bool:
        name = ""
        if target is not None:
            target = self._stubs.get(target, target)
            plain = self.code.plain(target)
            name = self.code.import_name(target) or self.code.import_name(plain) or ""
            name = name.partition("@")[0]
        target = target or None  # 0 stands where the runtime will put a pointer
        first, second, third, fourth = (machine.argument(number) for number in range(4))
        if name == _SET:
            self._set(machine, first, second, third, fourth)
        elif name == _MOVE:
            self._move(first, second, third, fourth)
        elif name:
            pass  # errors, and what releases memory: nothing that is followed depends on them
        elif target is not None and self.code.image.is_code(target):
            if second is None or third is None or not self._laid(machine, second, third):
                return False
            self._note(machine, self.code.plain(target), second, third, fourth)
        elif second is not None and self.code.image.is_code(second):
            # Make sure that a handle is there: it is told by the code that asks for it.
            if first is not None:
                handle = self._handles.setdefault(second, _HANDLES + 16 * len(self._handles))
                machine.store(first, machine.machine.word, handle)
        elif first is not None and second is not None and third is not None:
            self._note(machine, first, second, third, fourth)
        else:
            return False
        machine.answer(0)
        return True

    def _laid(self, machine: KnownMachine, row: int, count: int) -> bool:
        """Whether so many arguments lie side by side; a call of anything else is followed."""
        return 0 <= count <= 256 and row >= _ROW and all(
            self._operand(machine, row + _PACKED_BYTES * at) is not None for at in range(count)
        )  # fmt: skip

    def _set(
        self, machine: KnownMachine, kind: int | None, index: int | None, row: int | None,
        at: int | None,
    ) -> None:  # fmt: skip
        kinds: Mapping[int | None, str] = {
            _REGISTERS: "register", _CONSTANTS: "constant", _FUNCTIONS: "function",
        }  # fmt: skip
        if kind not in kinds or index is None or row is None or at is None:
            raise NotKnownError("found an argument that is not known")
        place = row + _PACKED_BYTES * at
        machine.store(place, 16, None)
        self._slots[place] = VmOperand(kind=kinds[kind], value=index)

    def _move(self, kind: int | None, index: int | None, row: int | None, at: int | None) -> None:
        if kind != _REGISTERS or index is None or row is None or at is None:
            raise NotKnownError("found a result that goes nowhere known")
        number = self._results.pop(row + _PACKED_BYTES * at, None)
        if number is not None:
            self.calls[number] = replace(self.calls[number], result=index)

    def _operand(self, machine: KnownMachine, place: int) -> VmOperand | None:
        value_at = place + 8
        kind = machine.load(place, 4) if place in machine.memory else None
        if kind is None:
            return self._slots.get(place)
        if kind == _INTEGER:
            low = machine.load(value_at, 8)
            if low is None:
                return None
            return VmOperand(kind="immediate", value=low - (low >> 63 << 64))
        if kind == _POINTER:
            return VmOperand(kind="machine")
        return VmOperand(kind="nothing")

    def _note(
        self, machine: KnownMachine, function: int, row: int, count: int, result: int | None
    ) -> None:
        operands = []
        for at in range(min(count, 256)):
            operand = self._operand(machine, row + _PACKED_BYTES * at)
            if operand is None:
                raise NotKnownError(f"found a call whose argument {at} is not known")
            operands.append(operand)
        number = self._numbers.get(function)
        if number is None:
            number = self._numbers[function] = len(self.program.functions) + len(self.called)
            address = function if self.code.image.is_code(function) else None
            name = self.code.name(function) if address is not None else ""
            self.called.append(VmFunction(name=name, kind="kernel", address=address))
        if result is not None:
            self._results[result] = len(self.calls)
        self.calls.append(VmCall(kind="call", function=number, operands=tuple(operands)))
