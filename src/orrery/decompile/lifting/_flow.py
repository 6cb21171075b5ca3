"""The control flow of one function: blocks, dominators, the forest of its loops, live registers.

Models:  blocks reached from the entry by branches whose targets stand in the code; natural loops;
         what of registers is still read, backwards, in grains of four bytes, one bit each.
Ignores: jumps through registers (tables of a switch): they end a path and are said; loops with two
         entries, which no compiler makes of structured code.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._source import Code, Machine, blocks_from, machine_of

RETURNED = -1
"""Where a function goes on that returns: no address of a block."""

_NO_RETURN = {"abort", "exit", "_exit", "__stack_chk_fail", "__assert_fail", "__cxa_throw"}
_LARGEST = 4000


class LiftLimitError(Exception):
    """A function that is larger, deeper or more tangled than is read."""


@dataclass(slots=True)
class Block:
    """A basic block.

    Attributes
    ----------
    successors : addresses it may go on to, those of branches in order and the last one last
    after : the one that its end leads to, where it does
    conditional : of Thumb code, what is left of an IT block (conditions of the next instructions,
        as VEX keeps them) where it begins and where it ends
    ends : ``next``, ``call``, ``return``, ``jump`` (to another function) or ``lost``
    """

    address: int
    code: Any
    size: int
    successors: list[int] = field(default_factory=list)
    ends: str = "next"
    target: int | None = None
    after: int | None = None
    conditional: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class NaturalLoop:
    """A loop: its head, all its blocks, the loops right inside it."""

    head: int
    body: set[int]
    parent: NaturalLoop | None = None
    children: list[NaturalLoop] = field(default_factory=list)


@dataclass(slots=True)
class Flow:
    """A function's blocks in an order in which a block comes after those that lead to it.

    Attributes
    ----------
    forward : where blocks that do nothing but jump lead to
    """

    entry: int
    blocks: dict[int, Block]
    order: list[int]
    dominator: dict[int, int]
    loops: dict[int, NaturalLoop]
    innermost: dict[int, NaturalLoop]
    forward: dict[int, int]


def read_flow(code: Code, entry: int) -> Flow:
    """Return the control flow of the function at an address.

    Raises
    ------
    LiftLimitError
        If it has too many blocks or a loop with two entries.
    """
    blocks = _split(code, entry, _discover(code, entry))
    order = _order(entry, blocks)
    blocks = {a: blocks[a] for a in order}
    dominator = _dominators(entry, blocks, order)
    loops = _loops(blocks, order, dominator)
    innermost: dict[int, NaturalLoop] = {}
    for loop in sorted(loops.values(), key=lambda item: -len(item.body)):
        for address in loop.body:
            innermost[address] = loop
    return Flow(entry, blocks, order, dominator, loops, innermost, _forward(code, blocks))


def _forward(code: Code, blocks: dict[int, Block]) -> dict[int, int]:
    """Return where each block leads that does nothing but jump."""
    ignored = machine_of(code.architecture).ignored
    jumps = {
        a: b.successors[0] for a, b in blocks.items()
        if b.ends == "next" and len(b.successors) == 1 and b.code is not None
        and all(
            s.tag in ("Ist_IMark", "Ist_AbiHint", "Ist_NoOp")
            or (s.tag == "Ist_Put" and s.offset in ignored)
            for s in b.code.statements
        )
    }  # fmt: skip
    result = {}
    for address in jumps:
        seen, target = {address}, jumps[address]
        while target in jumps and target not in seen:
            seen.add(target)
            target = jumps[target]
        if target not in seen:
            result[address] = target
    return result


def _discover(code: Code, entry: int) -> dict[int, Block]:
    found: dict[int, Block] = {}
    waiting = [(entry, 0)]
    while waiting:
        address, conditional = waiting.pop()
        if address in found:
            continue
        if len(found) >= _LARGEST:
            raise LiftLimitError(f"more than {_LARGEST} blocks")
        block = _read(code, address, 1024, conditional)
        found[address] = block
        for target in block.successors:
            # Only the end of a block, or what skips one instruction, goes on in an IT block.
            near = address < target <= address + block.size
            waiting.append((target, block.conditional[1] if near else 0))
    return found


def _read(code: Code, address: int, limit: int, conditional: int) -> Block:
    vex = blocks_from(code, address, limit)
    if vex is None or vex.size == 0:
        return Block(address, None, 0, [], "lost")
    block = Block(address, vex, vex.size)
    exits, after = _followed(vex, conditional) if address & 1 else (None, 0)
    block.conditional = (conditional, after)
    for _, number, statement in vex.exit_statements:
        if statement.jumpkind == "Ijk_Boring" and (exits is None or number in exits):
            block.successors.append(statement.dst.value)
    if vex.jumpkind in ("Ijk_NoDecode", "Ijk_SigILL"):
        block.ends = "lost"
        if vex.size == limit:  # the limit cut it: it goes on where the limit stands
            block.ends = "next"
            block.after = address + limit
            block.successors.append(block.after)
        return block
    _ending(code, block, vex)
    if block.after is not None:
        block.successors.append(block.after)
    return block


def _followed(vex: Any, conditional: int) -> tuple[set[int], int]:
    """Return (numbers of the exits that Thumb code can take, what is left of an IT block after).

    VEX asks at each instruction whether it stands in an IT block, and adds a way past it in case it
    does. Where one begins and ends is known from the code alone.
    """
    known: list[int | None] = [None] * len(vex.tyenv.types)
    state: int | None = conditional
    exits: set[int] = set()

    def value(e: Any) -> int | None:
        if e.tag == "Iex_Const":
            return int(e.con.value)
        if e.tag == "Iex_RdTmp":
            temporary: int | None = known[e.tmp]
            return temporary
        if e.tag == "Iex_Get":
            return state if e.offset == _IT_STATE else None
        if e.tag == "Iex_ITE":
            which = value(e.cond)
            return None if which is None else value(e.iftrue if which != 0 else e.iffalse)
        if e.tag in ("Iex_Unop", "Iex_Binop") and e.op in _COUNTED:
            inputs = [value(a) for a in e.args]
            known_inputs = [v for v in inputs if v is not None]
            return _COUNTED[e.op](*known_inputs) if len(known_inputs) == len(inputs) else None
        return None

    for number, statement in enumerate(vex.statements):
        if statement.tag == "Ist_WrTmp":
            known[statement.tmp] = value(statement.data)
        elif statement.tag == "Ist_Put" and statement.offset == _IT_STATE:
            state = value(statement.data)
        elif statement.tag == "Ist_Exit" and value(statement.guard) != 0:
            exits.add(number)
    return exits, state or 0


_IT_STATE = 392
_COUNTED: dict[str, Callable[..., int]] = {
    "Iop_Shr32": lambda a, b: a >> b, "Iop_Shl32": lambda a, b: (a << b) & 0xFFFFFFFF,
    "Iop_And32": lambda a, b: a & b, "Iop_Or32": lambda a, b: a | b,
    "Iop_Xor32": lambda a, b: a ^ b, "Iop_CmpNE32": lambda a, b: int(a != b),
    "Iop_CmpEQ32": lambda a, b: int(a == b), "Iop_32to1": lambda a: a & 1,
    "Iop_Not1": lambda a: 1 - a, "Iop_1Uto32": lambda a: a,
}  # fmt: skip


def _ending(code: Code, block: Block, vex: Any) -> None:
    following = vex.next.con.value if vex.next.tag == "Iex_Const" else None
    block.target = following
    after = block.address + block.size
    if vex.jumpkind == "Ijk_Ret":
        block.ends = "return"
    elif vex.jumpkind == "Ijk_Call":
        name = code.import_name(following) if following is not None else None
        block.ends = "call"
        if name not in _NO_RETURN:
            block.after = after
    elif vex.jumpkind in ("Ijk_Boring", "Ijk_Yield"):
        if following is None:
            block.ends = "lost"
        elif code.import_name(following) is not None:
            block.ends = "jump"
        else:
            block.after = following
    else:
        block.ends = "lost"


def _split(code: Code, entry: int, found: dict[int, Block]) -> dict[int, Block]:
    """Cut blocks at the places that others jump into, so that none overlaps another."""
    starts = sorted(found)
    result: dict[int, Block] = {}
    for number, address in enumerate(starts):
        block = found[address]
        following = starts[number + 1] if number + 1 < len(starts) else None
        if following is not None and block.size and following < address + block.size:
            shorter = _read(code, address, following - address, block.conditional[0])
            if shorter.size == following - address:
                block = shorter
        result[address] = block
    return result


def _order(entry: int, blocks: dict[int, Block]) -> list[int]:
    """Return the blocks in reverse postorder."""
    seen = {entry}
    done: list[int] = []
    stack = [(entry, iter(blocks[entry].successors))]
    while stack:
        address, rest = stack[-1]
        for target in rest:
            if target not in seen and target in blocks:
                seen.add(target)
                stack.append((target, iter(blocks[target].successors)))
                break
        else:
            done.append(address)
            stack.pop()
    return done[::-1]


def _dominators(entry: int, blocks: dict[int, Block], order: list[int]) -> dict[int, int]:
    position = {a: i for i, a in enumerate(order)}
    before: dict[int, list[int]] = {a: [] for a in order}
    for address, block in blocks.items():
        for target in block.successors:
            if target in before:
                before[target].append(address)
    parent = {entry: entry}
    changed = True
    while changed:
        changed = False
        for address in order[1:]:
            new: int | None = None
            for other in before[address]:
                if other in parent:
                    new = other if new is None else _common(parent, position, new, other)
            if new is not None and parent.get(address) != new:
                parent[address] = new
                changed = True
    return parent


def _common(parent: dict[int, int], position: dict[int, int], a: int, b: int) -> int:
    while a != b:
        while position[a] > position[b]:
            a = parent[a]
        while position[b] > position[a]:
            b = parent[b]
    return a


def _dominates(parent: dict[int, int], a: int, b: int) -> bool:
    while b != a:
        above = parent[b]
        if above == b:
            return False
        b = above
    return True


def _loops(
    blocks: dict[int, Block], order: list[int], parent: dict[int, int]
) -> dict[int, NaturalLoop]:
    position = {a: i for i, a in enumerate(order)}
    before: dict[int, list[int]] = {a: [] for a in order}
    loops: dict[int, NaturalLoop] = {}
    for address, block in blocks.items():
        for target in block.successors:
            if target in before:
                before[target].append(address)
    for address in order:
        for target in blocks[address].successors:
            if target not in position or position[target] > position[address]:
                continue
            if not _dominates(parent, target, address):
                raise LiftLimitError(f"a loop with two entries at 0x{target:x}")
            loop = loops.setdefault(target, NaturalLoop(target, {target}))
            waiting = [address]
            while waiting:
                inside = waiting.pop()
                if inside not in loop.body:
                    loop.body.add(inside)
                    waiting.extend(before[inside])
    nested = sorted(loops.values(), key=lambda item: len(item.body))
    for number, loop in enumerate(nested):
        for outer in nested[number + 1 :]:
            if loop.head in outer.body and outer is not loop:
                loop.parent = outer
                outer.children.append(loop)
                break
    return loops


# -- registers that still matter -----------------------------------------------------------------

_GRAIN = 4
_BYTES = {"Ity_I8": 1, "Ity_I16": 2, "Ity_I32": 4, "Ity_I64": 8, "Ity_F32": 4, "Ity_F64": 8,
          "Ity_V128": 16, "Ity_V256": 32, "Ity_I128": 16, "Ity_F128": 16, "Ity_F16": 2}  # fmt: skip
_ALL = (1 << 512) - 1
#: Statements that write no register, or only such as an ``Ist_Put`` beside them names.
_PLAIN = {"Ist_IMark", "Ist_AbiHint", "Ist_NoOp", "Ist_WrTmp", "Ist_Store", "Ist_StoreG",
          "Ist_LoadG", "Ist_Exit", "Ist_MBE"}  # fmt: skip
Event = tuple[str, int]


def mask(offset: int, size: int) -> int:
    """Return the bits of a stretch of registers."""
    first, last = offset // _GRAIN, (offset + size - 1) // _GRAIN
    return ((1 << (last - first + 1)) - 1) << first


def usually_changed(machine: Machine) -> int:
    """Return the registers that a function of which nothing is known may change, as bits."""
    kept = _fixed(machine)
    for offset, size in machine.kept:
        kept |= mask(offset, size)
    return _ALL & ~kept


def changed_in(machine: Machine, flow: Flow) -> int | None:
    """Return the registers that a function's own blocks write, as bits; None if that is not known.

    A compiler that sees a function keeps numbers in registers that the function does not write,
    whatever the convention of calls says.
    """
    found = 0
    for offset in machine.between:
        found |= mask(offset, machine.word)
    for block in flow.blocks.values():
        if block.code is None or block.ends == "lost":
            return None
        for statement in block.code.statements:
            if statement.tag == "Ist_Put":
                size = statement.data.result_size(block.code.tyenv) // 8
                found |= mask(statement.offset, max(size, 1))
            elif statement.tag not in _PLAIN:
                return None
    return found


def _fixed(machine: Machine) -> int:
    fixed = mask(machine.stack, machine.word)
    for offset, size, _ in machine.fixed:
        fixed |= mask(offset, size)
    return fixed


def live_registers(
    machine: Machine, flow: Flow, changed_by: Callable[[int | None], int]
) -> dict[int, int]:
    """Return the registers that matter at the beginning of each block, as bits.

    Parameters
    ----------
    changed_by : the registers that a call of a function may change
    """
    blocks, order = flow.blocks, flow.order
    events = {a: _events(b) for a, b in blocks.items()}
    given = fixed = _fixed(machine)
    for offset in machine.integers:
        given |= mask(offset, machine.word)
    for offset in machine.floats:
        given |= mask(offset, 8)
    calls = {a: changed_by(b.target) for a, b in blocks.items() if b.ends == "call"}
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
            now = _end(block, live, calls.get(address, 0), given, returned)
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


def _end(block: Block, live: Mapping[int, int], changed: int, given: int, returned: int) -> int:
    """Return what matters at the end of a block."""
    after = 0 if block.after is None else live.get(block.after, 0)
    if block.ends == "next":
        return after
    if block.ends == "call":
        return (after & ~changed) | given
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
