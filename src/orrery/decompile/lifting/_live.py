"""Which registers still matter where a block begins.

Models:  backward liveness of registers, in grains of four bytes, one bit each.
Ignores: places in memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from ._flow import RETURNED, Block
from ._source import Machine

__all__ = ["live_registers", "mask"]

_GRAIN = 4
_BYTES = {"Ity_I8": 1, "Ity_I16": 2, "Ity_I32": 4, "Ity_I64": 8, "Ity_F32": 4, "Ity_F64": 8,
          "Ity_V128": 16, "Ity_V256": 32, "Ity_I128": 16, "Ity_F128": 16, "Ity_F16": 2}  # fmt: skip
_ALL = (1 << 512) - 1
Event = tuple[str, int]


def mask(offset: int, size: int) -> int:
    """Return the bits of a stretch of registers."""
    first, last = offset // _GRAIN, (offset + size - 1) // _GRAIN
    return ((1 << (last - first + 1)) - 1) << first


def live_registers(
    machine: Machine, blocks: Mapping[int, Block], order: list[int]
) -> dict[int, int]:
    """Return the registers that matter at the beginning of each block, as bits."""
    events = {a: _events(b) for a, b in blocks.items()}
    fixed = mask(machine.stack, machine.word)
    for offset, size, _ in machine.fixed:
        fixed |= mask(offset, size)
    given = fixed
    for offset in machine.integers:
        given |= mask(offset, machine.word)
    for offset in machine.floats:
        given |= mask(offset, 8)
    kept = fixed
    for offset, size in machine.kept:
        kept |= mask(offset, size)
    returned = fixed | mask(machine.result, machine.word) | mask(machine.float_result, 16)
    if machine.link is not None:
        returned |= mask(machine.link, machine.word)
    live = dict.fromkeys(blocks, 0)
    live[RETURNED] = returned
    changed = True
    while changed:
        changed = False
        for address in reversed(order):
            block = blocks[address]
            now = _end(block, live, kept, given, returned)
            for kind, bits in reversed(events[address]):
                if kind == "exit":
                    now |= live.get(bits, 0)
                elif kind == "use":
                    now |= bits
                else:
                    now &= ~bits
            if now != live[address]:
                live[address] = now
                changed = True
    return live


def _end(block: Block, live: Mapping[int, int], kept: int, given: int, returned: int) -> int:
    """Return what matters at the end of a block."""
    after = 0 if block.after is None else live.get(block.after, 0)
    if block.ends == "next":
        return after
    if block.ends == "call":
        return (after & kept) | given
    if block.ends == "return":
        return returned
    return given | returned if block.ends == "jump" else _ALL


def _events(block: Block) -> list[Event]:
    found: list[Event] = []
    if block.code is None:
        return found
    types = block.code.tyenv
    for statement in block.code.statements:
        tag = statement.tag
        if tag == "Ist_WrTmp":
            data = statement.data
            if data.tag == "Iex_Get":
                found.append(("use", mask(data.offset, _BYTES.get(data.ty, 32))))
            elif data.tag == "Iex_GetI":
                found.append(("use", _ALL))
        elif tag == "Ist_Put":
            size = statement.data.result_size(types) // 8
            if size >= _GRAIN:
                found.append(("set", mask(statement.offset, size)))
        elif tag == "Ist_Exit" and statement.jumpkind == "Ijk_Boring":
            found.append(("exit", statement.dst.value))
        elif tag == "Ist_Dirty":
            found.append(("use", _ALL))
    return found
