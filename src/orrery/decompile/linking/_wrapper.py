"""Which packed argument becomes which argument of the code inside a wrapper.

Models:  one way from the wrapper's first instruction to its inner call, whatever the conditions:
         what is read through a packed argument is of that argument, and so is what is made of it.
Ignores: everything that the wrapper checks on the way.
Judge:   TVM's wrappers, against the tensors that the recovered kernels turn out to use.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .._code import ImageCode
from ..lifting._source import Machine, blocks_from, machine_of

__all__ = ["arguments_handed_on"]

#: Of a packed argument: bytes each, and where its value stands.
_PACKED_BYTES, _VALUE_AT = 16, 8
_MOST_BLOCKS, _BLOCK_BYTES = 4000, 600

#: What is known of a value: a number; so many bytes from the packed arguments or from the stack's
#: end; or the packed arguments that it was made of.
_Known = tuple[str, int] | frozenset[int] | None


def arguments_handed_on(
    code: ImageCode, wrapper: int, target: int, count: int
) -> tuple[int, ...] | None:
    """Return the packed argument behind each argument of the inner call, None where one is unclear.

    Parameters
    ----------
    wrapper, target : where both begin
    count : how many arguments the inner code takes
    """
    way = _way(code, wrapper, target)
    if way is None:
        return None
    walk = _Walk(machine_of(code.architecture))
    for block, leaves_at in way:
        walk.carry_out(block, leaves_at)
    found = []
    for number in range(count):
        value = walk.argument(number)
        if not isinstance(value, frozenset) or len(value) != 1:
            return None
        found.append(next(iter(value)))
    return tuple(found)


def _way(code: ImageCode, start: int, target: int) -> list[tuple[Any, int | None]] | None:
    """Return blocks that lead to the call, each with the statement at which it is left early."""
    before: dict[int, tuple[int, int | None]] = {}
    blocks: dict[int, Any] = {}
    waiting, met = deque([start]), {start}
    while waiting and len(blocks) < _MOST_BLOCKS:
        address = waiting.popleft()
        block = blocks_from(code, address, _BLOCK_BYTES)
        if block is None or not block.size:
            continue
        blocks[address] = block
        nexts: list[tuple[int, int | None]] = []
        to = _constant(block.next)
        if block.jumpkind == "Ijk_Call":
            if to is not None and code.plain(to) == code.plain(target):
                return _back(before, blocks, address)
            nexts.append((address + block.size, None))
        elif block.jumpkind == "Ijk_Boring" and to is not None:
            if code.plain(to) == code.plain(target):
                return _back(before, blocks, address)
            nexts.append((to, None))
        nexts += [
            (int(one.dst.value), at) for at, one in enumerate(block.statements)
            if one.tag == "Ist_Exit" and one.jumpkind == "Ijk_Boring"
        ]  # fmt: skip
        for to, at in nexts:
            if to not in met:
                met.add(to)
                before[to] = (address, at)
                waiting.append(to)
    return None


def _back(
    before: dict[int, tuple[int, int | None]], blocks: dict[int, Any], last: int
) -> list[tuple[Any, int | None]]:
    way: list[tuple[Any, int | None]] = [(blocks[last], None)]
    at = last
    while at in before:
        at, leaves_at = before[at]
        way.append((blocks[at], leaves_at))
    return way[::-1]


def _constant(expression: Any) -> int | None:
    return int(expression.con.value) if expression.tag == "Iex_Const" else None


class _Walk:
    """Registers and stack along one way."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.registers: dict[int, _Known] = {
            machine.integers[1]: ("packed", 0), machine.stack: ("stack", 0)
        }  # fmt: skip
        self.stack: dict[int, _Known] = {}
        self.temporaries: dict[int, _Known] = {}

    def argument(self, number: int) -> _Known:
        """Return an argument as the callee finds it."""
        if number < len(self.machine.integers):
            return self.registers.get(self.machine.integers[number])
        end = self.registers.get(self.machine.stack)
        if not isinstance(end, tuple):
            return None
        above = number - len(self.machine.integers) + (self.machine.link is None)
        return self.stack.get(end[1] + above * self.machine.word)

    def carry_out(self, block: Any, leaves_at: int | None) -> None:
        self.temporaries = {}
        for at, statement in enumerate(block.statements):
            if at == leaves_at:
                return
            tag = statement.tag
            if tag == "Ist_WrTmp":
                self.temporaries[statement.tmp] = self._value(statement.data)
            elif tag == "Ist_Put":
                self.registers[statement.offset] = self._value(statement.data)
            elif tag == "Ist_Store" or tag == "Ist_StoreG":
                self._store(self._value(statement.addr), self._value(statement.data))
            elif tag == "Ist_LoadG":
                self.temporaries[statement.dst] = self._load(self._value(statement.addr))

    def _store(self, address: _Known, value: _Known) -> None:
        if isinstance(address, tuple) and address[0] == "stack":
            self.stack[address[1]] = value

    def _load(self, address: _Known) -> _Known:
        if isinstance(address, frozenset):
            return address
        if address is not None and address[0] == "stack":
            return self.stack.get(address[1])
        if address is not None and address[0] == "packed":
            number, rest = divmod(address[1], _PACKED_BYTES)
            return frozenset((number,)) if rest == _VALUE_AT else None
        return None

    def _value(self, expression: Any) -> _Known:
        tag = expression.tag
        if tag == "Iex_RdTmp":
            return self.temporaries.get(expression.tmp)
        if tag == "Iex_Const":
            value = expression.con.value
            return ("number", value) if isinstance(value, int) else None
        if tag == "Iex_Get":
            return self.registers.get(expression.offset)
        if tag == "Iex_Load":
            return self._load(self._value(expression.addr))
        values = [self._value(one) for one in expression.child_expressions]
        if tag == "Iex_Binop" and expression.op.startswith(("Iop_Add", "Iop_Sub")):
            return _sum(values[0], values[1], expression.op)
        if tag == "Iex_Unop" and len(values) == 1 and expression.op.endswith(("to64", "to32")):
            return values[0]
        return _made_of(values)


def _sum(one: _Known, other: _Known, operator: str) -> _Known:
    sign, bits = (-1 if "Sub" in operator else 1), 32 if operator.endswith("32") else 64
    if isinstance(one, tuple) and isinstance(other, tuple):
        if other[0] == "number":
            number = other[1] - (1 << bits) if other[1] >> (bits - 1) else other[1]
            return one[0], one[1] + sign * number
        if one[0] == "number" and sign == 1:
            return _sum(other, one, operator)
        return None
    return _made_of([one, other])


def _made_of(values: list[_Known]) -> _Known:
    found = frozenset().union(*(one for one in values if isinstance(one, frozenset)))
    return found or None
