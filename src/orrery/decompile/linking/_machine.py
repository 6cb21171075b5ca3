"""A few functions of a binary carried out number by number, calls of others answered by notes.

Models:  integer instructions on known numbers, memory that was written, constants of the file. It
         is arithmetic on records: nothing of the binary runs.
Ignores: floating point; whatever depends on a number that is not known ends it, and is said.
Judge:   compiled programs of TVM's virtual machine against the same in bytecode (tests/decompile).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from orrery.errors import OrreryError

from .._code import ImageCode
from ..forms import Index, Linear, Symbol, Value
from ..images import ImageError
from ..lifting._source import blocks_from, machine_of
from ..values import Builder, UnknownOperatorError, as_value, condition_call, operate
from ._tracking import put

_MOST_STEPS, _BLOCK_BYTES = 200_000, 600
_STACK, _ENOUGH = 0x7000_0000, 0x10_0000


class NotKnownError(OrreryError, ValueError):
    """Code that goes on by a number that nobody knows; says where."""


class KnownMachine:
    """Registers and memory while functions are carried out.

    Parameters
    ----------
    code : of the binary
    called : is told of each call (its target, None where that is not known) and answers whether
        it has dealt with it; calls it has not dealt with are followed
    """

    def __init__(self, code: ImageCode, called: Callable[[KnownMachine, int | None], bool]) -> None:
        self.code, self._called = code, called
        self.machine = machine_of(code.architecture)
        self.registers: dict[int, int] = {self.machine.stack: _STACK}
        for offset, _, value in self.machine.fixed:
            self.registers[offset] = value
        self.memory: dict[int, int] = {}  # byte by byte
        self._temporaries: dict[int, int] = {}
        self._blocks: dict[int, Any] = {}
        self._build, self._types = Builder(), None
        self._steps = 0

    # -- what is asked of it -------------------------------------------------------------------

    def argument(self, number: int) -> int | None:
        """Return an argument of the call that is being made."""
        machine = self.machine
        if number < len(machine.integers):
            return self.registers.get(machine.integers[number])
        above = number - len(machine.integers) + (machine.link is None)
        return self.load(self.registers[machine.stack] + above * machine.word, machine.word)

    def answer(self, value: int) -> None:
        """Let a call return a number."""
        self.registers[self.machine.result] = value

    def load(self, address: int, size: int) -> int | None:
        """Return what memory holds, None where nobody knows."""
        held = [self.memory.get(address + at) for at in range(size)]
        if None not in held:
            return int.from_bytes(bytes(one for one in held if one is not None), "little")
        if any(one is not None for one in held):
            return None
        constant = self.code.constant(address, size)
        if constant is not None:
            return int.from_bytes(constant, "little")
        try:
            return int.from_bytes(self.code.image.read(address, size), "little")
        except ImageError:
            return None

    def store(self, address: int, size: int, value: int | None) -> None:
        for at in range(size):
            if value is None:
                self.memory.pop(address + at, None)
            else:
                self.memory[address + at] = value >> 8 * at & 0xFF

    def run(self, address: int) -> None:
        """Carry out a function until it returns.

        Raises
        ------
        NotKnownError : it goes on by a number that is not known, or without end
        """
        machine = self.machine
        if machine.link is None:  # the return address lies on the stack
            self.registers[machine.stack] -= machine.word
        depth = self.registers[machine.stack]
        at, back = address, list[int]()
        while True:
            self._steps += 1
            block = self._blocks.get(at)
            if block is None:
                block = self._blocks[at] = blocks_from(self.code, at, _BLOCK_BYTES)
            if block is None or not block.size or self._steps > _MOST_STEPS:
                raise NotKnownError(f"the code at {at:#x}: found no end of it that is known")
            left = self._statements(block)
            if left is not None:
                at = left
                continue
            to = self._value(block.next)
            if block.jumpkind == "Ijk_Ret":
                if not back:
                    self.registers[machine.stack] = depth + (machine.word if machine.link is None
                                                             else 0)  # fmt: skip
                    return
                at = back.pop()
            elif block.jumpkind == "Ijk_Call":
                after = at + block.size  # odd where Thumb code is, as the call was
                if self._called(self, to):
                    if machine.link is None:
                        self.registers[machine.stack] += machine.word
                    at = after
                elif to is None or not self.code.image.is_code(to) or len(back) > 16:
                    raise NotKnownError(f"the code at {at:#x}: found a call of what is not known")
                else:
                    back.append(after)
                    at = to
            elif block.jumpkind == "Ijk_Boring" and to is not None:
                at = to
            else:
                raise NotKnownError(f"the code at {at:#x}: found a jump to what is not known")

    # -- one block -----------------------------------------------------------------------------

    def _statements(self, block: Any) -> int | None:
        """Carry out a block; returns where it is left early, if it is."""
        self._temporaries = {}
        wide = self._types = block.tyenv
        for statement in block.statements:
            tag = statement.tag
            if tag == "Ist_WrTmp":
                put(self._temporaries, statement.tmp, self._value(statement.data))
            elif tag == "Ist_Put":
                put(self.registers, statement.offset, self._value(statement.data))
            elif tag in ("Ist_Store", "Ist_StoreG"):
                if tag == "Ist_StoreG" and not self._decided(statement.guard):
                    continue
                address = self._value(statement.addr)
                if address is None:
                    raise NotKnownError("found a store to an address that is not known")
                size = statement.data.result_size(wide) // 8
                self.store(address, size, self._value(statement.data))
            elif tag == "Ist_LoadG":
                if self._decided(statement.guard):
                    size = int(re.findall(r"\d+", statement.cvt_types[0])[-1]) // 8
                    address = self._value(statement.addr)
                    value = None if address is None else self.load(address, size)
                else:
                    value = self._value(statement.alt)
                put(self._temporaries, statement.dst, value)
            elif tag == "Ist_Exit" and self._decided(statement.guard):
                return int(statement.dst.value)
        return None

    def _decided(self, guard: Any) -> bool:
        value = self._value(guard)
        if value is None:
            raise NotKnownError("found a branch on a number that is not known")
        return bool(value & 1)

    def _value(self, expression: Any) -> int | None:
        tag = expression.tag
        if tag == "Iex_RdTmp":
            return self._temporaries.get(expression.tmp)
        if tag == "Iex_Const":
            value = expression.con.value
            vector = expression.con.type.startswith("Ity_V")
            # A vector's constant is given by a bit a byte; only 0 is ever needed.
            return value if isinstance(value, int) and not (vector and value) else None
        if tag == "Iex_Get":
            return self.registers.get(expression.offset)
        if tag == "Iex_Load":
            address = self._value(expression.addr)
            size = int(re.findall(r"\d+", expression.type)[-1]) // 8
            return None if address is None else self.load(address, size)
        if tag == "Iex_ITE":
            condition = self._value(expression.cond)
            if condition is None:
                return None
            return self._value(expression.iftrue if condition & 1 else expression.iffalse)
        if tag in ("Iex_Unop", "Iex_Binop"):
            return self._made(expression.args, partial(self._operate, expression.op[4:]))
        if tag == "Iex_CCall":
            name, width = expression.callee.name, expression.result_size(self._types)
            return self._made(
                expression.args, lambda inputs: condition_call(self._build, name, inputs, width)
            )
        return None

    def _operate(self, name: str, inputs: list[Value]) -> Value:
        return as_value(operate(self._build, name, list(inputs), x86=self.machine.x86))

    def _made(self, parts: Any, act: Callable[[list[Value]], Value]) -> int | None:
        """Return what an operator makes of numbers, None where it is none that is known."""
        inputs: list[Value] = []
        for at, part in enumerate(parts):
            number, width = self._value(part), part.result_size(self._types)
            if width > 64:
                return None
            unknown = Index(Linear(0, ((Symbol(f"n{at}", "unknown"), 1),)), width)
            inputs.append(unknown if number is None else self._build.number(number, width))
        try:
            made = act(inputs)
        except UnknownOperatorError:
            return None
        found = self._build.constant(made)
        return None if found is None else found & (1 << made.width) - 1
