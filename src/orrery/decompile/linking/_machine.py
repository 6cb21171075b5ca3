"""A few functions of a binary carried out number by number, calls of others answered by notes.

Models:  integer instructions on known numbers, memory that was written, constants of the file. It
         is arithmetic on records: nothing of the binary runs.
Ignores: floating point; whatever depends on a number that is not known ends it, and is said.
Judge:   compiled programs of TVM's virtual machine against the same in bytecode (tests/decompile).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from orrery.errors import OrreryError

from .._code import ImageCode
from ..images import ImageError
from ..lifting._source import blocks_from, machine_of

__all__ = ["KnownMachine", "NotKnownError"]

_MOST_STEPS, _BLOCK_BYTES = 200_000, 600
_STACK, _ENOUGH = 0x7000_0000, 0x10_0000

_BINARY = re.compile(r"Iop_(Add|Sub|Mul|And|Or|Xor|Shl|Shr|Sar)(8|16|32|64)")
_COMPARE = re.compile(r"Iop_(?:Cmp|CasCmp|ExpCmp)(EQ|NE|LT|LE)(8|16|32|64)([US]?)")
_RESIZE = re.compile(r"Iop_(\d+)(U|S)?to(\d+)")
_NOT = re.compile(r"Iop_Not(\d+)")


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
        wide = block.tyenv
        for statement in block.statements:
            tag = statement.tag
            if tag == "Ist_WrTmp":
                self._set(self._temporaries, statement.tmp, self._value(statement.data))
            elif tag == "Ist_Put":
                self._set(self.registers, statement.offset, self._value(statement.data))
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
                self._set(self._temporaries, statement.dst, value)
            elif tag == "Ist_Exit" and self._decided(statement.guard):
                return int(statement.dst.value)
        return None

    def _decided(self, guard: Any) -> bool:
        value = self._value(guard)
        if value is None:
            raise NotKnownError("found a branch on a number that is not known")
        return bool(value & 1)

    @staticmethod
    def _set(held: dict[int, int], key: int, value: int | None) -> None:
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value

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
        if tag == "Iex_Unop":
            return _unary(expression.op, self._value(expression.args[0]))
        if tag == "Iex_Binop":
            return _binary(expression.op, *(self._value(part) for part in expression.args))
        if tag == "Iex_CCall" and expression.callee.name == "armg_calculate_condition":
            return _condition(*(self._value(part) for part in expression.args[:3]))
        return None


#: How VEX numbers what made ARM's flags: a subtraction, a logical operation.
_SUBTRACTED, _LOGICAL, _ALWAYS = 2, 5, 14


def _condition(made: int | None, one: int | None, other: int | None) -> int | None:
    """Return one of ARM's conditions; the lowest bit of its number turns it."""
    if made is None:
        return None
    condition, kind = made >> 4, made & 15
    if condition == _ALWAYS:
        return 1
    if one is None or other is None or kind not in (_SUBTRACTED, _LOGICAL):
        return None
    signed = [part - (part >> 31 << 32) for part in (one, other)]
    if kind == _LOGICAL:
        found = {0: one == 0, 1: bool(other), 2: signed[0] < 0}.get(condition >> 1)
    else:
        difference = one - other & 0xFFFFFFFF
        found = {
            0: one == other, 1: one >= other, 2: bool(difference >> 31), 4: one > other,
            5: signed[0] >= signed[1], 6: signed[0] > signed[1],
        }.get(condition >> 1)  # fmt: skip
    return None if found is None else int(found) ^ (condition & 1)


def _unary(operator: str, value: int | None) -> int | None:
    if value is None:
        return None
    if match := _RESIZE.fullmatch(operator):
        before, after = int(match[1]), int(match[3])
        if match[2] == "S" and value >> (before - 1) & 1:
            value -= 1 << before
        return value & (1 << after) - 1
    if match := _NOT.fullmatch(operator):
        return ~value & (1 << int(match[1])) - 1
    return None


def _binary(operator: str, a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return None
    if match := _BINARY.fullmatch(operator):
        bits = int(match[2])
        signed = a - (1 << bits) if a >> (bits - 1) & 1 else a
        made = {
            "Add": lambda: a + b, "Sub": lambda: a - b, "Mul": lambda: a * b, "And": lambda: a & b,
            "Or": lambda: a | b, "Xor": lambda: a ^ b, "Shl": lambda: a << min(b, 64),
            "Shr": lambda: a >> min(b, 64), "Sar": lambda: signed >> min(b, 64),
        }[match[1]]()  # fmt: skip
        return int(made) & (1 << bits) - 1
    if match := _COMPARE.fullmatch(operator):
        bits = int(match[2])
        if match[3] == "S":
            a, b = (one - (1 << bits) if one >> (bits - 1) & 1 else one for one in (a, b))
        return int({"EQ": a == b, "NE": a != b, "LT": a < b, "LE": a <= b}[match[1]])
    return None
