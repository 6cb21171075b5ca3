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
from ..lifting._flow import _followed
from ..lifting._source import Machine, blocks_from, machine_of
from ..values import signed
from ._tracking import Tracking

#: Of a packed argument: bytes each, and where its value stands.
_PACKED_BYTES, _VALUE_AT = 16, 8
_MOST_BLOCKS, _BLOCK_BYTES = 4000, 600

#: What is known of a value: a number; so many bytes from the packed arguments or from the stack's
#: end; or the packed arguments that it was made of.
_Known = tuple[str, int] | frozenset[int]


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
        # Thumb code has a way past each instruction, of which few can be taken: none past a return.
        taken = _followed(block, 0)[0] if address & 1 else range(len(block.statements))
        nexts += [
            (int(one.dst.value), at) for at, one in enumerate(block.statements)
            if one.tag == "Ist_Exit" and one.jumpkind == "Ijk_Boring" and at in taken
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


class _Walk(Tracking[_Known]):
    """Registers and stack along one way."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.registers = {machine.integers[1]: ("packed", 0), machine.stack: ("stack", 0)}

    def argument(self, number: int) -> _Known | None:
        """Return an argument as the callee finds it."""
        if number < len(self.machine.integers):
            return self.registers.get(self.machine.integers[number])
        end = self.registers.get(self.machine.stack)
        if not isinstance(end, tuple):
            return None
        above = number - len(self.machine.integers) + (self.machine.link is None)
        return self.stack.get(end[1] + above * self.machine.word)

    def number(self, value: int) -> _Known:
        return "number", value

    def on_stack(self, address: _Known | None) -> int | None:
        return address[1] if isinstance(address, tuple) and address[0] == "stack" else None

    def loaded(self, address: _Known | None) -> _Known | None:
        if isinstance(address, frozenset) or address is None:
            return address
        if address[0] == "stack":
            return self.stack.get(address[1])
        if address[0] == "packed":
            number, rest = divmod(address[1], _PACKED_BYTES)
            return frozenset((number,)) if rest == _VALUE_AT else None
        return None

    def made(self, expression: Any) -> _Known | None:
        tag = expression.tag
        if tag == "Iex_ITE" and self.machine.name == "armv7":
            # Any instruction may stand under a condition there: it is taken as carried out.
            return self.value(expression.iftrue)
        values = [self.value(one) for one in expression.child_expressions]
        if tag == "Iex_Binop" and expression.op.startswith(("Iop_Add", "Iop_Sub")):
            return _sum(values[0], values[1], expression.op)
        if tag == "Iex_Unop" and len(values) == 1 and expression.op.endswith(("to64", "to32")):
            return values[0]
        return _made_of(values)


def _sum(one: _Known | None, other: _Known | None, operator: str) -> _Known | None:
    sign, bits = (-1 if "Sub" in operator else 1), 32 if operator.endswith("32") else 64
    if isinstance(one, tuple) and isinstance(other, tuple):
        if other[0] == "number":
            return one[0], one[1] + sign * signed(other[1], bits)
        if one[0] == "number" and sign == 1:
            return _sum(other, one, operator)
        return None
    return _made_of([one, other])


def _made_of(values: list[_Known | None]) -> _Known | None:
    found = frozenset().union(*(one for one in values if isinstance(one, frozenset)))
    return found or None
