"""Amaranth's RTLIL as records, and what may be left out of it before people read it.

Bits of an operand stand lowest first. A bit is a constant "0", "1", "x" or a pair of wire name and
place. Wires of Amaranth's own making begin with "$".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Bit = str | tuple[str, int]

_TOKEN = re.compile(r"\s*(\{|\}|\[\d+(?::\d+)?\]|\d+'[01x]*|[\\$]\S+)")


@dataclass(slots=True)
class Wire:
    """A named bundle of bits; `init` is what a register holds at power-up."""

    name: str
    width: int
    signed: bool = False
    init: str | None = None
    direction: str = ""
    meanings: dict[str, str] = field(default_factory=dict)  #: bits -> name of the value


@dataclass(slots=True)
class Cell:
    """An operator, a flip-flop, a memory port or an instance (kind begins with a backslash)."""

    kind: str
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    ports: dict[str, list[Bit]] = field(default_factory=dict)

    def number(self, parameter: str) -> int:
        """Return a parameter as a number."""
        return int(self.parameters[parameter])


@dataclass(slots=True)
class Assign:
    """One assignment of a process."""

    left: list[Bit]
    right: list[Bit]


@dataclass(slots=True)
class Switch:
    """The first case of which a pattern fits is done; a case without a pattern fits always."""

    on: list[Bit]
    cases: list[tuple[list[str], list[Assign | Switch]]] = field(default_factory=list)


@dataclass(slots=True)
class Process:
    """Assignments in order, the last wins."""

    body: list[Assign | Switch] = field(default_factory=list)


@dataclass(slots=True)
class Memory:
    """Words that memory ports read and write."""

    name: str
    width: int
    size: int


@dataclass(slots=True)
class Module:
    """One module; `connects` join a wire (all of it) to bits."""

    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    memories: dict[str, Memory] = field(default_factory=dict)
    connects: list[tuple[str, list[Bit]]] = field(default_factory=list)

    @property
    def instances(self) -> list[Cell]:
        """The cells that are modules of this design."""
        return [cell for cell in self.cells if cell.kind.startswith("\\")]


def is_constant(bits: list[Bit]) -> bool:
    """Whether no bit is a wire's."""
    return all(isinstance(bit, str) for bit in bits)


def read_modules(text: str) -> list[Module]:
    """Return the modules of RTLIL as Amaranth writes it, in their order."""
    modules: list[Module] = []
    attributes: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        words = line.split()
        if not words:
            continue
        if words[0] == "attribute":
            attributes[words[1]] = line.split(None, 2)[2]
            continue
        if words[0] == "module":
            modules.append(Module(words[1].removeprefix("\\")))
        elif words[0] == "end":
            pass
        else:
            _item(modules[-1], words, line, lines, attributes)
        attributes = {}
    return modules


def _item(
    module: Module, words: list[str], line: str, lines: Iterator[str], attributes: dict[str, str]
) -> None:
    kind, name = words[0], words[-1]
    if kind == "wire":
        direction = next((word for word in words[3:-1] if word in {"input", "output"}), "")
        init = attributes.get("\\init")
        module.wires[name] = Wire(
            name, int(words[2]), "signed" in words[3:-1],
            None if init is None else init.partition("'")[2], direction,
            {
                key.removeprefix("\\enum_value_"): value.strip('"')
                for key, value in attributes.items() if key.startswith("\\enum_value_")
            },
        )  # fmt: skip
    elif kind == "memory":
        module.memories[name] = Memory(name, int(words[2]), int(words[4]))
    elif kind == "connect":
        left, right = _two(module, line.split(None, 1)[1])
        if left:  # nothing to join where a wire has no bits
            named = isinstance(left[0], tuple)
            module.connects.append((left[0][0] if named else "", right))
    elif kind == "cell":
        cell = Cell(words[1], name)
        for inner in lines:
            parts = inner.split()
            if parts[0] == "end":
                break
            if parts[0] == "parameter":
                value = inner.split(parts[-2], 1)[1].strip()
                if re.fullmatch(r"\d+'[01]+", value):
                    value = str(int(value.partition("'")[2], 2))
                plain = value.strip('"').replace("\\\\", "\\")
                cell.parameters[parts[-2].removeprefix("\\")] = plain
            else:
                rest = inner.split(None, 2)
                port = parts[1].removeprefix("\\")
                bits = _bits(module, rest[2])
                # a memory of one row has an address of no bits
                cell.ports[port] = bits or (["0"] if port == "ADDR" else [])
        module.cells.append(cell)
    elif kind == "process":
        module.processes.append(Process(_body(module, lines)))


def _body(module: Module, lines: Iterator[str]) -> list[Assign | Switch]:
    """Return the statements up to the end of a process."""
    root: list[Assign | Switch] = []
    stack: list[list[Assign | Switch]] = [root]
    switches: list[Switch] = []
    for line in lines:
        parts = line.split(None, 1)
        if not parts:
            continue
        if parts[0] == "assign":
            left, right = _two(module, parts[1])
            stack[-1].append(Assign(left, right))
        elif parts[0] == "switch":
            switch = Switch(_bits(module, parts[1]))
            stack[-1].append(switch)
            switches.append(switch)
            stack.append([])  # of the case to come
        elif parts[0] == "case":
            patterns = [p.partition("'")[2] for p in parts[1].split(", ")] if parts[1:] else []
            stack[-1] = []
            switches[-1].cases.append((patterns, stack[-1]))
        elif switches:
            switch = switches.pop()
            stack.pop()
            if not switch.on:  # how RTLIL says that assignments follow a switch
                stack[-1].pop()
                stack[-1] += [item for _, inner in switch.cases for item in inner]
        else:
            break
    return root


def _two(module: Module, text: str) -> tuple[list[Bit], list[Bit]]:
    tokens = _TOKEN.findall(text)
    left, at = _spec(module, tokens, 0)
    return left, _spec(module, tokens, at)[0]


def _bits(module: Module, text: str) -> list[Bit]:
    return _spec(module, _TOKEN.findall(text), 0)[0]


def _spec(module: Module, tokens: list[str], at: int) -> tuple[list[Bit], int]:
    """Return the bits that begin at a token, and the token after them."""
    token = tokens[at]
    if token == "{":
        parts: list[list[Bit]] = []
        at += 1
        while tokens[at] != "}":
            part, at = _spec(module, tokens, at)
            parts.append(part)
        return [bit for part in reversed(parts) for bit in part], at + 1
    if token[0].isdigit():
        return list(reversed(token.partition("'")[2])), at + 1
    low, high = 0, module.wires[token].width - 1
    if at + 1 < len(tokens) and tokens[at + 1].startswith("["):
        at += 1
        first, _, second = tokens[at][1:-1].partition(":")
        low, high = int(second or first), int(first)
    return [(token, place) for place in range(low, high + 1)], at + 1


#: Operators of which the lower bits of the result need only the lower bits of the operands.
_NARROW = {"$add": "AB", "$sub": "AB", "$mul": "AB", "$and": "AB", "$or": "AB", "$xor": "AB",
           "$neg": "A", "$not": "A", "$mux": "AB", "$shl": "A"}  # fmt: skip


def simplify(module: Module) -> None:
    """Drop what nobody reads and bits that nobody reads; give made wires the user's names.

    Left are cells and processes that reach an output, an instance or a memory. An adder whose
    upper bits are cut off becomes that much narrower: the bits below do not depend on them.
    """
    outputs = {wire.name for wire in module.wires.values() if wire.direction == "output"}
    aliases = [(name, bits) for name, bits in module.connects if name not in outputs]
    module.connects = [(name, bits) for name, bits in module.connects if name in outputs]
    for process in module.processes:
        process.body = _settled(process.body)
    while _drop_unread(module, outputs) or _narrow(module):
        pass
    _take_names(module, aliases)
    kept = set(_places(module)) | set(_driven(module))
    module.wires = {
        name: wire for name, wire in module.wires.items() if name in kept or wire.direction
    }


def _settled(body: list[Assign | Switch]) -> list[Assign | Switch]:
    """Return statements in which no assignment follows a condition that decides the same bits.

    What a later assignment overwrites is dead and dropped, which lets the assignment go first.
    Trap: Yosys 0.70 loses the last assignment of
    ``if (rst) r <= 0; else begin if (a) r <= 1; r <= b; end``.
    """
    first: list[Assign | Switch] = []
    rest: list[Assign | Switch] = []
    for item in _flat(body):
        if isinstance(item, Assign):
            dead = set(item.left)
            first = [*_without(first, dead), item]
            rest = _without(rest, dead)
        elif any(inner for _, inner in item.cases):
            rest.append(item)
    return [*first, *(item for item in rest if isinstance(item, Assign) or _does(item))]


def _flat(body: list[Assign | Switch]) -> Iterator[Assign | Switch]:
    """Yield statements, in place of a switch of which one case is always taken that case."""
    for item in body:
        if isinstance(item, Assign):
            yield item
            continue
        cases: list[tuple[list[str], list[Assign | Switch]]] = []
        for patterns, inner in item.cases:
            always = not patterns or any(set(pattern) <= {"-"} for pattern in patterns)
            cases.append(([] if always else patterns, _settled(inner)))
            if always:
                break
        if cases and not cases[0][0]:
            yield from cases[0][1]
        else:
            yield Switch(item.on, cases)


def _does(switch: Switch) -> bool:
    """Whether a switch assigns anything."""
    return any(
        isinstance(item, Assign) or _does(item) for _, inner in switch.cases for item in inner
    )


def _without(body: list[Assign | Switch], dead: set[Bit]) -> list[Assign | Switch]:
    """Return statements that leave some bits alone."""
    kept: list[Assign | Switch] = []
    for item in body:
        if isinstance(item, Switch):
            cases = [(patterns, _without(inner, dead)) for patterns, inner in item.cases]
            kept.append(Switch(item.on, cases))
            continue
        at = 0
        while at < len(item.left):
            end = at
            while end < len(item.left) and item.left[end] not in dead:
                end += 1
            if end > at:
                kept.append(Assign(item.left[at:end], item.right[at:end]))
            at = end + 1
    return kept


def _drop_unread(module: Module, outputs: set[str]) -> bool:
    """Keep what a path leads from to an output or an instance; say whether anything went."""
    makers: dict[str, Cell | Process] = {}
    for cell in module.cells:
        if (name := _result(cell)) is not None:
            makers[name] = cell
    makers |= {_target(process): process for process in module.processes}
    writers: dict[str, list[Cell]] = {}
    for cell in module.cells:
        if cell.kind in {"$memwr_v2", "$meminit_v2"}:
            writers.setdefault(cell.parameters["MEMID"], []).append(cell)
    live: set[int] = set()
    todo: list[Cell | Process] = list(module.instances)
    names = [*outputs, *(b[0] for _, bits in module.connects for b in bits if isinstance(b, tuple))]
    todo += [makers[name] for name in names if name in makers]
    while todo:
        item = todo.pop()
        if id(item) in live:
            continue
        live.add(id(item))
        reads = _inputs(item) if isinstance(item, Cell) else _statement_reads(item.body)
        for bits in reads:
            todo += {
                id(makers[bit[0]]): makers[bit[0]]
                for bit in bits if isinstance(bit, tuple) and bit[0] in makers
            }.values()  # fmt: skip
        if isinstance(item, Cell) and item.kind == "$memrd_v2":
            todo += writers.get(item.parameters["MEMID"], [])
    before = len(module.cells) + len(module.processes)
    module.cells = [cell for cell in module.cells if id(cell) in live]
    module.processes = [process for process in module.processes if id(process) in live]
    used = {cell.parameters["MEMID"] for cell in module.cells if cell.kind == "$memrd_v2"}
    module.memories = {name: memory for name, memory in module.memories.items() if name in used}
    return len(module.cells) + len(module.processes) < before


def _result(cell: Cell) -> str | None:
    """Return the wire that a cell exists for; None for what acts otherwise."""
    port = {"$dff": "Q", "$memrd_v2": "DATA"}.get(cell.kind, "Y")
    if cell.kind.startswith("\\") or port not in cell.ports:
        return None
    bit = cell.ports[port][0]
    return bit[0] if isinstance(bit, tuple) else None


def _target(process: Process) -> str:
    first = process.body[0]
    bit = first.left[0] if isinstance(first, Assign) else ""
    return bit[0] if isinstance(bit, tuple) else ""


def _inputs(cell: Cell) -> Iterator[list[Bit]]:
    result = {"$dff": "Q", "$memrd_v2": "DATA"}.get(cell.kind, "Y")
    for port, bits in cell.ports.items():
        if cell.kind.startswith("\\") or port != result:
            yield bits


def _statement_reads(body: list[Assign | Switch]) -> Iterator[list[Bit]]:
    for item in body:
        if isinstance(item, Assign):
            yield item.right
        else:
            yield item.on
            for _, inner in item.cases:
                yield from _statement_reads(inner)


def _places(module: Module) -> dict[str, int]:
    """Return wire -> bits of it that are read, counted from the lowest.

    An instance's outputs count as read: they are dropped with the instance only.
    """
    found: dict[str, int] = {}
    sources = [bits for cell in module.cells for bits in _inputs(cell)]
    sources += [bits for process in module.processes for bits in _statement_reads(process.body)]
    sources += [bits for _, bits in module.connects]
    for bits in sources:
        for bit in bits:
            if isinstance(bit, tuple) and found.get(bit[0], 0) <= bit[1]:
                found[bit[0]] = bit[1] + 1
    return found


def _driven(module: Module) -> set[str]:
    found = {name for cell in module.cells if (name := _result(cell)) is not None}
    return found | {_target(process) for process in module.processes}


def _narrow(module: Module) -> bool:
    read = _places(module)
    changed = False
    for cell in module.cells:
        name = _result(cell)
        if cell.kind not in _NARROW or name is None or module.wires[name].direction:
            continue
        needed, wire = read.get(name, 0), module.wires[name]
        if not name.startswith("$") or needed >= wire.width or not needed:
            continue
        wire.width = needed
        cell.ports["Y"] = cell.ports["Y"][:needed]
        for port in _NARROW[cell.kind]:
            cell.ports[port] = cell.ports[port][:needed]
        changed = True
    return changed


def _take_names(module: Module, aliases: list[tuple[str, list[Bit]]]) -> None:
    """Give a made wire the name of a user's signal that shows its lower bits, all that is read."""
    read = _places(module)
    driven = _driven(module)
    renamed: dict[str, str] = {}
    for alias, bits in aliases:
        first = bits[0] if bits else "x"
        if not isinstance(first, tuple) or not first[0].startswith("$") or first[0] in renamed:
            continue
        source, width = first[0], len(bits)
        whole = bits == [(source, place) for place in range(width)]
        if not whole or source not in driven or width < read.get(source, 0) or "." in alias:
            continue
        if width != module.wires[source].width:
            continue
        renamed[source] = alias
        wire = module.wires.pop(source)
        shown = module.wires[alias]
        shown.init, shown.meanings = shown.init or wire.init, shown.meanings or wire.meanings
    if renamed:
        _rename(module, renamed)


def _rename(module: Module, names: dict[str, str]) -> None:
    def new(bits: list[Bit]) -> list[Bit]:
        return [
            (names.get(bit[0], bit[0]), bit[1]) if isinstance(bit, tuple) else bit for bit in bits
        ]

    def walk(body: list[Assign | Switch]) -> None:
        for item in body:
            if isinstance(item, Assign):
                item.left, item.right = new(item.left), new(item.right)
            else:
                item.on = new(item.on)
                for _, inner in item.cases:
                    walk(inner)

    for cell in module.cells:
        cell.ports = {port: new(bits) for port, bits in cell.ports.items()}
    for process in module.processes:
        walk(process.body)
    module.connects = [(name, new(bits)) for name, bits in module.connects]
