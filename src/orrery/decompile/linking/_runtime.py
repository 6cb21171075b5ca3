"""Functions of a runtime that are called through pointers which it fills in, told by their use.

Models:  TVM's: memory asked for and given back, work started in parallel. The pointers lie in
         memory that nobody writes in the file; what each leads to shows where it is called: the
         first is told an element's type, the last is handed code, the one between what was given.
Ignores: pointers that are called in other ways.
Judge:   files whose names say the same (tests/decompile/linking).
Source:  `TVMBackendAllocWorkspace(device, number, bytes, type code, type bits)`,
         `TVMBackendFreeWorkspace(device, number, memory)`,
         `TVMBackendParallelLaunch(function, data, tasks)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .._code import ImageCode
from .._functions import Function, Functions
from ..images import ImageError
from ..lifting._source import Machine, blocks_from, machine_of
from ..values import signed
from ._tracking import Tracking

_BLOCK_BYTES = 600
_CPU, _FLOAT, _TYPE_BITS = 1, 2, (8, 16, 32, 64)


def runtime_pointers(code: ImageCode, functions: Functions) -> dict[int, str]:
    """Return pointers that a runtime fills in, by address, and what each then leads to."""
    if not code.image.references:
        return {}
    votes: dict[int, Counter[str]] = {}
    for one in functions.each:
        for place, name in _calls(code, functions, one):
            votes.setdefault(place, Counter())[name] += 1
    found = {}
    for place, names in votes.items():
        # What is certain decides; that a pointer's use fits giving back is so of much.
        sure = {name: count for name, count in names.items() if name != "TVMBackendFreeWorkspace"}
        found[place] = max(sure or names, key=lambda name: (names[name], name))
    if "TVMBackendAllocWorkspace" not in found.values():
        return {at: name for at, name in found.items() if name == "TVMBackendParallelLaunch"}
    return found


def _calls(code: ImageCode, functions: Functions, one: Function) -> Iterator[tuple[int, str]]:
    """Yield each call through a pointer that is 0 in the file, with what it must be.

    Blocks are taken as they stand, one behind the other: registers keep what the block before
    left in them, but for those that a call may change.
    """
    machine = machine_of(code.architecture)
    walk = _Registers(code, machine)
    at = one.address | code.image.is_thumb(one.address)
    while code.plain(at) < one.end:
        block = blocks_from(code, at, min(_BLOCK_BYTES, one.end - code.plain(at)))
        if block is None or not block.size:
            return
        place = walk.block(block)
        if place is not None and block.jumpkind in ("Ijk_Call", "Ijk_Boring"):
            name = _meant(code, functions, walk)
            if name:
                yield place, name
        if block.jumpkind == "Ijk_Call":
            walk.after_call()
        at += block.size


_Value = tuple[str, int]


def _meant(code: ImageCode, functions: Functions, walk: _Registers) -> str:
    """Say which function is called with the arguments there are; empty where none fits."""
    first, (kind, bits) = walk.given(0), walk.element()
    task = None if first is None else functions.at(code.plain(first))
    if first is not None and task is not None and task.address == code.plain(first):
        return "TVMBackendParallelLaunch"
    if first == _CPU and kind is not None and kind <= _FLOAT and bits in _TYPE_BITS:
        return "TVMBackendAllocWorkspace"
    return "TVMBackendFreeWorkspace" if first == _CPU else ""


class _Registers(Tracking[_Value]):
    """Numbers in registers, and which pointer a value was read through."""

    def __init__(self, code: ImageCode, machine: Machine) -> None:
        super().__init__(machine)
        self.code = code
        self.registers = {machine.stack: ("stack", 0)}

    def given(self, argument: int) -> int | None:
        """Return an argument that comes in a register, where it is a known number."""
        value = self.registers.get(self.machine.integers[argument])
        return value[1] if value is not None and value[0] == "number" else None

    def element(self) -> tuple[int | None, int | None]:
        """Return the fourth and fifth argument: on 32 bits a size before them fills two registers,
        and they come on the stack."""
        if self.machine.word == 8:
            return self.given(3), self.given(4)
        end = self.registers.get(self.machine.stack)
        held = [self.stack.get(end[1] + at) for at in (0, 4)] if end and end[0] == "stack" else []
        numbers = [one[1] if one is not None and one[0] == "number" else None for one in held]
        return (numbers[0], numbers[1]) if held else (None, None)

    def after_call(self) -> None:
        kept = {offset for offset, _ in self.machine.kept} | {self.machine.stack}
        self.registers = {at: value for at, value in self.registers.items() if at in kept}
        end = self.registers.get(self.machine.stack)
        if self.machine.link is None and end is not None:
            self.registers[self.machine.stack] = (end[0], end[1] + self.machine.word)

    def block(self, block: Any) -> int | None:
        """Carry out a block; returns the pointer that its end was read through, if it was."""
        self.carry_out(block)
        to = self.value(block.next)
        return to[1] if to is not None and to[0] == "read" else None

    def number(self, value: int) -> _Value:
        return "number", value

    def on_stack(self, address: _Value | None) -> int | None:
        return address[1] if address is not None and address[0] == "stack" else None

    def loaded(self, address: _Value | None) -> _Value | None:
        if address is None:
            return None
        if address[0] == "stack":
            return self.stack.get(address[1])
        if address[0] != "number":
            return None
        word = self.machine.word
        if address[1] in self.code.image.references:
            return "number", self.code.image.references[address[1]]
        constant = self.code.constant(address[1], word)
        if constant is not None:
            return "number", int.from_bytes(constant, "little")
        try:
            empty = not any(self.code.image.read(address[1], word))
        except ImageError:
            return None
        return ("read", address[1]) if empty else None

    def made(self, expression: Any) -> _Value | None:
        tag = expression.tag
        if tag == "Iex_ITE":
            return self.value(expression.iftrue)
        if tag == "Iex_Unop" and "to" in expression.op:
            return self.value(expression.args[0])
        if tag == "Iex_Binop":
            one, other = (self.value(part) for part in expression.args)
            name = expression.op.removeprefix("Iop_")
            if one is None or other is None or other[0] != "number" or one[0] == "read":
                return None
            if name in ("Add32", "Sub32", "Add64", "Sub64"):
                bits = int(name[3:])
                number = signed(other[1], bits)
                made = one[1] + (number if name.startswith("Add") else -number)
                return one[0], made & (1 << bits) - 1 if one[0] == "number" else made
            if name in ("And32", "And64", "Or32", "Or64") and one[0] == "number":
                made = one[1] & other[1] if name.startswith("And") else one[1] | other[1]
                return "number", made
        return None
