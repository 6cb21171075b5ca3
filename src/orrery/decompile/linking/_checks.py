"""What a kernel's code checks of the arguments that it is handed: how many, of which shapes.

Models:  TVM's wrappers: packed arguments, each a tensor's header, whose fields are compared with
         numbers before the code inside is called. All ways are followed, each block once unless
         more is known on another way.
Ignores: checks that are not comparisons of one field with one number.
Judge:   shapes that the virtual machine's program states of the same calls (tests/decompile).
Source:  the header's layout is DLPack's; TVM hands over 16 bytes for each argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._code import ImageCode
from ..lifting._source import blocks_from, machine_of
from ..values import signed
from ._tracking import Tracking

_MOST_BLOCKS, _BLOCK_BYTES = 4000, 600
_PACKED_BYTES, _VALUE_AT, _MOST_ARGUMENTS, _MOST_AXES = 16, 8, 64, 16
#: Where a tensor is an object, its header stands behind the object's own.
_OBJECT_BYTES = 24


#: How VEX numbers what made ARM's flags.
_SUBTRACTED, _LOGICAL = 2, 5


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a value.

    Attributes
    ----------
    kind : ``number``; ``stack`` and ``packed`` (so many bytes from the stack's end, from the first
        packed argument); ``count`` (of packed arguments); ``field`` (what stands `number` bytes
        beyond where `path` leads, from packed argument `argument` on); ``differ`` (0 where fields
        have the numbers in `pairs`)
    """

    kind: str
    number: int = 0
    argument: int = -1
    path: tuple[int, ...] = ()
    pairs: tuple[tuple[_Known, int], ...] = ()

    def __hash__(self) -> int:
        return hash((self.kind, self.number, self.argument, self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What a wrapper's code tells.

    Attributes
    ----------
    count : how many arguments it wants; None where it does not look
    shapes : by number of the argument, where it looks
    inner : address of the code that it calls with the tensors' memory; None where it calls none
    """

    count: int | None
    shapes: Mapping[int, tuple[int, ...]]
    inner: int | None = None

    def fit(self, shapes: Sequence[tuple[int, ...] | None]) -> bool:
        """Whether arguments of these shapes pass; None is a shape that nobody knows."""
        if self.count is not None and self.count != len(shapes):
            return False
        if not self.shapes or max(self.shapes) >= len(shapes):
            return False
        return all(
            shapes[number] is None or shapes[number] == shape
            for number, shape in self.shapes.items()
        )


def read_checks(code: ImageCode, address: int, end: int) -> Checks | None:
    """Return what a function checks of packed arguments; None where it does not.

    Parameters
    ----------
    address, end : of the function; a jump to elsewhere is its last call
    """
    walk = _Walk(code, address, end)
    walk.follow(code, address)
    found = {
        number: one for number in range(_MOST_ARGUMENTS)
        if (one := _shape(walk.facts, number, walk.machine.word)) is not None
    }  # fmt: skip
    if not found:
        return None
    inner = walk.inner({number: base for number, (base, _) in found.items()})
    shapes = {number: shape for number, (_, shape) in found.items()}
    return Checks(count=walk.count, shapes=shapes, inner=inner)


def handed_to(
    code: ImageCode, address: int, end: int, target: int
) -> tuple[int | str | None, ...] | None:
    """Return what a function hands to another in registers; None where it does not call it.

    That is the number of a packed argument, ``row`` for memory of its own stack, or None.
    """
    walk = _Walk(code, address, end)
    walk.follow(code, address)
    for to, arguments in walk.calls:
        if code.plain(to) == code.plain(target):
            found: list[int | str | None] = []
            for one in arguments[: len(walk.machine.integers)]:
                plain = one is not None and one.kind == "field" and not one.path
                found.append("row" if one is not None and one.kind == "stack"
                             else one.argument if plain and one is not None else None)  # fmt: skip
            return tuple(found)
    return None


Facts = dict[tuple[int, tuple[int, ...]], int]


def _shape(facts: Facts, argument: int, word: int) -> tuple[int, tuple[int, ...]] | None:
    """Return where an argument's header begins, of two places, and the shape that is asked."""
    rank_at, shape_at = (16, 24) if word == 8 else (12, 20)
    for base in (0, _OBJECT_BYTES):
        rank = facts.get((argument, (base + rank_at,)))
        if rank is None or not 0 <= rank <= _MOST_AXES:
            continue
        found = [facts.get((argument, (base + shape_at, 8 * axis))) for axis in range(rank)]
        if None not in found:
            return base, tuple(one for one in found if one is not None)
    return None


@dataclass(slots=True)
class _State:
    registers: dict[int, _Known]
    stack: dict[int, _Known] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """How much is known of the arguments."""
        return sum(one.kind in ("packed", "count", "field") for one in self.registers.values())


class _Walk(Tracking[_Known]):
    def __init__(self, code: ImageCode, address: int, end: int) -> None:
        super().__init__(machine_of(code.architecture))
        self.inside, self._plain = range(code.plain(address), end), code.plain
        self.facts: Facts = {}
        self.count: int | None = None
        self.calls: list[tuple[int, tuple[_Known | None, ...]]] = []
        self._leads: list[tuple[int, _State]] = []

    def follow(self, code: ImageCode, start: int) -> None:
        machine = self.machine
        first = _State({
            machine.integers[1]: _Known("packed"), machine.integers[2]: _Known("count"),
            machine.stack: _Known("stack"),
        })  # fmt: skip
        waiting, met = deque([(start, first)]), {start: first.known}
        while waiting and len(met) < _MOST_BLOCKS:
            address, state = waiting.popleft()
            block = blocks_from(code, address, _BLOCK_BYTES)
            if block is None or not block.size:
                continue
            for to, after in self._block(block, address, state):
                # Ways that end in an error lead on, too, where nothing says that they end: a way
                # that knows more of the arguments is followed again.
                if after.known > met.get(to, -1):
                    met[to] = after.known
                    waiting.append((to, after))

    def _block(self, block: Any, address: int, state: _State) -> list[tuple[int, _State]]:
        self.registers, self.stack, self._leads = state.registers, state.stack, []
        self.carry_out(block)
        leads = self._leads
        to = int(block.next.con.value) if block.next.tag == "Iex_Const" else None
        if block.jumpkind == "Ijk_Call":
            if to is not None:
                self.calls.append((to, self._arguments(state)))
            for offset in self._lost():
                state.registers.pop(offset, None)
            leads.append((address + block.size, state))
        elif block.jumpkind == "Ijk_Boring" and to is not None:
            if self._plain(to) in self.inside:
                leads.append((to, state))
            else:
                self.calls.append((to, self._arguments(state)))
        return leads

    def _lost(self) -> list[int]:
        machine = self.machine
        return [*machine.integers, machine.result]

    def _arguments(self, state: _State) -> tuple[_Known | None, ...]:
        machine = self.machine
        found = [state.registers.get(offset) for offset in machine.integers]
        end = state.registers.get(machine.stack)
        if end is not None and end.kind == "stack":
            first = end.number + (machine.word if machine.link is None else 0)
            found += [state.stack.get(first + machine.word * n) for n in range(_MOST_ARGUMENTS)]
        return tuple(found)

    def inner(self, headers: Mapping[int, int]) -> int | None:
        """Return the code that is called with the memory of every tensor.

        Parameters
        ----------
        headers : where the header of each argument begins
        """
        for to, arguments in self.calls:
            handed = {
                one.argument for one in arguments
                if one is not None and one.kind == "field" and not one.number
                and one.path == (headers.get(one.argument),)
            }  # fmt: skip
            if handed >= headers.keys():
                return to
        return None

    # -- expressions ---------------------------------------------------------------------------

    def left(self, to: int) -> None:
        self._leads.append((to, _State(dict(self.registers), dict(self.stack))))

    def number(self, value: int) -> _Known:
        return _Known("number", value)

    def on_stack(self, address: _Known | None) -> int | None:
        return address.number if address is not None and address.kind == "stack" else None

    def loaded(self, address: _Known | None) -> _Known | None:
        if address is None:
            return None
        if address.kind == "stack":
            return self.stack.get(address.number)
        if address.kind == "packed":
            number, rest = divmod(address.number, _PACKED_BYTES)
            held = 0 <= number < _MOST_ARGUMENTS and rest == _VALUE_AT
            return _Known("field", argument=number) if held else None
        if address.kind == "field":
            return _Known("field", argument=address.argument, path=(*address.path, address.number))
        return None

    def made(self, expression: Any) -> _Known | None:
        tag = expression.tag
        if tag == "Iex_Unop":
            inner = self.value(expression.args[0])
            # Widened, narrowed or turned, a field is still the field that it is compared as.
            return inner if "to" in expression.op else None
        if tag == "Iex_Binop":
            one, other = (self.value(part) for part in expression.args)
            return self._binary(expression.op, one, other)
        if tag == "Iex_ITE":  # an instruction under a condition is taken as carried out
            self.value(expression.cond)
            return self.value(expression.iftrue)
        if tag == "Iex_CCall" and expression.callee.name == "armg_calculate_condition":
            self._flags([self.value(part) for part in expression.args])
        return None

    def _flags(self, values: list[_Known | None]) -> None:
        """Take a comparison from ARM's flags: what made them, and of which two numbers."""
        made, one, other = values[:3]
        if made is None or one is None or made.kind != "number" or made.number >> 4 > 1:
            return  # neither "equal" nor "not equal"
        if made.number & 15 == _SUBTRACTED and other is not None:
            self._compared(one, other)
        elif made.number & 15 == _LOGICAL:
            self._compared(one, _Known("number"))

    def _binary(self, operator: str, one: _Known | None, other: _Known | None) -> _Known | None:
        if one is None or other is None:
            return None
        name = operator.removeprefix("Iop_")
        if one.kind == "number" and other.kind != "number" and not name.startswith("Sub"):
            one, other = other, one
        if name.startswith(("CmpEQ", "CmpNE", "CasCmp", "ExpCmp")):
            self._compared(one, other)
            return None
        bits = 32 if name.endswith("32") else 64
        if name.startswith(("Add", "Sub")) and other.kind == "number":
            number = signed(other.number, bits)
            if one.kind in ("number", "stack", "packed", "field"):
                moved = one.number + (number if name.startswith("Add") else -number)
                return _Known(one.kind, moved, one.argument, one.path)
        if name.startswith(("Xor", "Sub")) and other.kind == "number" and one.kind == "field":
            return _Known("differ", pairs=((one, other.number),))
        if name.startswith("Or") and one.kind == other.kind == "number":
            return _Known("number", one.number | other.number)
        if name.startswith("Or"):
            pairs = [_pairs(part) for part in (one, other)]
            if all(pairs):
                return _Known("differ", pairs=(*pairs[0], *pairs[1]))
        return None

    def _compared(self, one: _Known, other: _Known) -> None:
        if other.kind != "number":
            return
        if one.kind == "count":
            self.count = other.number if self.count is None else self.count
        elif one.kind == "differ" and other.number == 0:
            for part, number in one.pairs:
                self._fact(part, number)
        elif one.kind == "field":
            self._fact(one, other.number)

    def _fact(self, part: _Known, number: int) -> None:
        if part.path:  # a field moved by a number is compared with the sum of both
            self.facts.setdefault((part.argument, part.path), number - part.number)


def _pairs(value: _Known) -> tuple[tuple[_Known, int], ...]:
    return ((value, 0),) if value.kind == "field" else value.pairs
