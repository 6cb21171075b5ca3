"""Registers and the stack while blocks are gone through, of values that are known in part.

Models:  what carries values about: registers, temporaries, the stack; a guarded load or store is
         taken as carried out. What a number, a load and an operator mean, a walk says itself.
Judge:   the walks that are made of it (tests/decompile/linking).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from ..lifting._source import Machine

Known = TypeVar("Known")


class Tracking(ABC, Generic[Known]):
    """What is known of values; what is not known does not stand in `registers` and `stack`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.registers: dict[int, Known] = {}
        self.stack: dict[int, Known] = {}
        self._temporaries: dict[int, Known] = {}

    def carry_out(self, block: Any, until: int | None = None) -> None:
        """Go through a block, up to the statement of that number."""
        self._temporaries = {}
        for statement in block.statements[:until]:
            tag = statement.tag
            if tag == "Ist_WrTmp":
                put(self._temporaries, statement.tmp, self.value(statement.data))
            elif tag == "Ist_Put":
                put(self.registers, statement.offset, self.value(statement.data))
            elif tag == "Ist_LoadG":
                put(self._temporaries, statement.dst, self.loaded(self.value(statement.addr)))
            elif tag in ("Ist_Store", "Ist_StoreG"):
                at = self.on_stack(self.value(statement.addr))
                if at is not None:
                    put(self.stack, at, self.value(statement.data))
            elif tag == "Ist_Exit" and statement.jumpkind == "Ijk_Boring":
                self.left(int(statement.dst.value))

    def value(self, expression: Any) -> Known | None:
        """Return what is known of an expression."""
        tag = expression.tag
        if tag == "Iex_RdTmp":
            return self._temporaries.get(expression.tmp)
        if tag == "Iex_Const":
            value = expression.con.value
            return self.number(value) if isinstance(value, int) else None
        if tag == "Iex_Get":
            return self.registers.get(expression.offset)
        if tag == "Iex_Load":
            return self.loaded(self.value(expression.addr))
        return self.made(expression)

    # -- what a walk says ----------------------------------------------------------------------

    @abstractmethod
    def number(self, value: int) -> Known:
        """Return what is known of a constant."""

    @abstractmethod
    def loaded(self, address: Known | None) -> Known | None:
        """Return what memory holds."""

    @abstractmethod
    def on_stack(self, address: Known | None) -> int | None:
        """Return how far from the stack's end an address is, None elsewhere."""

    @abstractmethod
    def made(self, expression: Any) -> Known | None:
        """Return what an operator makes."""

    def left(self, to: int) -> None:
        """Take notice that a branch may lead away here."""


def put(held: dict[int, Known], key: int, value: Known | None) -> None:
    """Hold what is known under a key, nothing where nothing is."""
    if value is None:
        held.pop(key, None)
    else:
        held[key] = value
