"""What an IREE module does when it runs: its bytecode followed with a device that only takes notes.

Models:  the module's initialisers, then one exported function; integers exactly, buffers as
         places, recorded commands replayed in the order the queue is given them.
Ignores: floating point in the bytecode, several devices, what another device would answer.
Judge:   calls and bindings as iree-dump-module and the compiler's own listing give them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..forms import Buffer
from ._sequence import KernelCall, Place, Sequence
from ._stream import ContainerError
from ._vmfb import ModuleFunction, Segment, VmfbModule
from ._vmfb_code import Instruction, decode

_MOST_STEPS, _MOST_DEPTH, _MOST_CALLS, _MOST_BUFFERS = 100_000, 64, 50_000, 20_000

#: What operands of the wrong kind or number end in.
_CONTRADICTIONS = (IndexError, KeyError, ValueError, TypeError, AttributeError, AssertionError)
_IMPORT = 1 << 31


@dataclass(slots=True)
class _Thing:
    """A reference: what made it, and what is known of it."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Memory:
    """A buffer of the device."""

    name: str
    role: str
    size: int | None
    segment: Segment | None = None
    begin: int = 0
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Span:
    """Part of a buffer."""

    memory: _Memory
    offset: int = 0
    size: int | None = None


def follow_vmfb(module: VmfbModule, entry: str = "") -> Sequence:
    """Return the kernels that a function calls, in order, with their buffers.

    Parameters
    ----------
    entry : exported function; empty takes the first that calls a kernel

    Raises
    ------
    ContainerError : no such function, damaged bytecode, or a pass without end
    """
    names = [entry] if entry else [name for name in module.exports if name != "__init"]
    names = [name for name in names if name in module.exports]
    if not names:
        raise ContainerError(module.name, found=f"exports {', '.join(module.exports) or '(none)'}",
                             wanted=f"function {entry!r}" if entry else "one that can be called",
                             fix="name one of them")  # fmt: skip
    last: ContainerError | None = None
    for name in sorted(names, key=lambda n: not n.endswith("$async")):
        runner = _Runner(module)
        try:
            sequence = runner.run(name)
        except ContainerError as error:
            last = error
            continue
        except _CONTRADICTIONS as error:
            last = runner.error(f"instructions that contradict each other ({error})")
            continue
        if sequence.calls:
            return sequence
    if last is not None:
        raise last
    raise ContainerError(module.name, found="functions that call no kernel", wanted="a network",
                         fix="give the module that holds the network")  # fmt: skip


class _Runner:
    def __init__(self, module: VmfbModule) -> None:
        self.module, self.steps = module, 0
        self.globals: dict[tuple[str, int], Any] = {}
        self.memories: list[_Memory] = []
        self.counts: dict[str, int] = {}
        self.decoded: dict[tuple[int, int], Instruction] = {}
        self.calls: list[KernelCall] = []
        self.notes: dict[str, None] = {}
        self.held: dict[tuple[int, int], _Memory] = {}

    def run(self, entry: str) -> Sequence:
        functions = self.module.functions
        if "__init" in self.module.exports:
            self.function(functions[self._number("__init")], [], 0)
            self.calls.clear()
        main = functions[self._number(entry)]
        given = self._arguments(main)
        results = self.function(main, given, 0)
        outputs = [r for r in results if isinstance(r, _Thing) and r.kind == "view"]
        spans = [r.data["span"] for r in outputs]
        for span, view in zip(spans, outputs, strict=True):
            if span.memory.role == "temporary":
                span.memory.role = "output"
                span.memory.shape = view.data.get("shape")
        buffers = {m.name: self._buffer(m) for m in self.memories}
        kernels = {c.kernel.number: c.kernel for c in self.calls}
        return Sequence(
            entry=entry, buffers=buffers, calls=tuple(self.calls),
            inputs=tuple(m.name for m in self.memories if m.role == "input"),
            outputs=tuple(dict.fromkeys(span.memory.name for span in spans)),
            notes=tuple(self.notes), kernels=kernels,
        )  # fmt: skip

    def _number(self, name: str) -> int:
        number = self.module.exports[name]
        if not 0 <= number < len(self.module.functions):
            raise self.error(f"function {name!r} with number {number}")
        return number

    def _buffer(self, memory: _Memory) -> Buffer:
        data = None
        origin = ""
        if memory.segment is not None:
            size = len(memory.segment.data) if memory.size is None else memory.size
            data = memory.segment.data[memory.begin : memory.begin + size]
            origin = f"segment {memory.segment.number}+{memory.begin:#x}"
        return Buffer(name=memory.name, role=memory.role, size_bytes=memory.size, data=data,
                      origin=origin, shape=memory.shape)  # fmt: skip

    def error(self, found: str) -> ContainerError:
        return ContainerError(f"{self.module.name}: bytecode", found=found,
                              wanted="a pass of a network that ends",
                              fix="give the module as the compiler wrote it")  # fmt: skip

    def _arguments(self, function: ModuleFunction) -> list[Any]:
        """Make one thing for each argument that the calling convention names."""
        found: list[Any] = []
        for letter in function.convention[1:].split("_")[0]:
            if letter == "r":
                found.append(_Thing("argument", {"number": len(found)}))
            else:
                found.append(0)
        return found

    # -- functions -----------------------------------------------------------------------------

    def function(self, function: ModuleFunction, arguments: list[Any], depth: int) -> list[Any]:
        """Run one function; returns its results."""
        if depth > _MOST_DEPTH:
            raise self.error("calls nested without end")
        registers: dict[int, Any] = {}
        place = {"i": 0, "r": 0}
        letters = function.convention[1:].split("_")[0]
        for index, value in enumerate(arguments):
            letter = letters[index] if index < len(letters) else "i"
            if letter == "r":
                registers[_ref(place["r"])] = value
                place["r"] += 1
            else:
                wide = letter in "IF"
                place["i"] += place["i"] & 1 if wide else 0
                registers[place["i"]] = value
                place["i"] += 2 if wide else 1
        at = 0
        while True:
            self.steps += 1
            if self.steps > _MOST_STEPS:
                raise self.error(f"more than {_MOST_STEPS} steps")
            step = self.decoded.get((function.number, at))
            if step is None:
                step = self.decoded[function.number, at] = decode(function.code, at)
            at = step.next
            if step.name == "return":
                return [registers.get(_plain(r), 0) for r in _regs(step.operands[0])]
            if step.name == "fail":
                status = registers.get(_reg(step.operands[0]), 0)
                if status:
                    raise self.error(f"a failure it asks for ({step.operands[1]})")
                continue
            jump = self._step(step, registers, depth)
            if jump is not None:
                at = jump

    def _step(self, step: Instruction, registers: dict[int, Any], depth: int) -> int | None:
        name, ops = step.name, step.operands
        if name in ("br", "cond_br", "cond_break"):
            if name == "br":
                return self._branch(registers, ops[0], ops[1])
            taken = bool(registers.get(_reg(ops[0]), 0))
            if name == "cond_br":
                pair = ops[1:3] if taken else ops[3:5]
                return self._branch(registers, pair[0], pair[1])
            return self._branch(registers, ops[1], ops[2]) if taken else None
        if name in ("call", "call.yield", "call.variadic", "call.variadic.yield"):
            return self._call(step, registers, depth)
        if name == "br_table":
            raise self.error("a jump table")
        self._value(step, registers)
        return None

    def _branch(self, registers: dict[int, Any], target: Any, moves: Any) -> int:
        values = [registers.get(_plain(s), 0) for s in moves[::2]]
        for register, value in zip(moves[1::2], values, strict=True):
            registers[_plain(register)] = value
        return int(target)

    def _value(self, step: Instruction, registers: dict[int, Any]) -> None:
        name, ops = step.name, step.operands
        if not ops or name in ("trace", "print", "discard", "block"):
            return
        if name.startswith("global."):
            self._global(name, ops, registers)
            return
        if name == "const.zero" or name == "const.null":
            registers[_reg(ops[0])] = 0 if name == "const.zero" else None
        elif name in ("const.i32", "const.i64"):
            registers[_reg(ops[1])] = ops[0]
        elif name == "const.data":
            number = int(_reg_raw(ops[0]))
            if number >= len(self.module.segments):
                raise self.error(f"data segment {number}")
            segment = self.module.segments[number]
            registers[_reg(ops[1])] = _Thing("data", {"segment": segment})
        elif name.endswith((".32", ".64")) and name.split(".")[0] in _ARITHMETIC:
            self._arithmetic(name, ops, registers)
        elif name.startswith(("trunc", "ext")):
            registers[_reg(ops[1])] = _converted(name, _whole(registers.get(_reg(ops[0]), 0)))
        elif name in ("nz.ref", "eq.ref", "ne.ref"):
            values = [registers.get(_reg(op)) for op in ops[:-1]]
            same = values[0] is (values[1] if len(values) > 1 else None)
            registers[_reg(ops[-1])] = int(same if name == "eq.ref" else not same)
        elif name in ("select", "select.ref"):
            yes, no = (ops[1], ops[2]) if name == "select" else (ops[2], ops[3])
            picked = yes if registers.get(_reg(ops[0]), 0) else no
            registers[_reg(ops[-1])] = registers.get(_reg(picked), 0)
        elif name in ("switch", "switch.ref"):
            index = _whole(registers.get(_reg(ops[0]), 0))
            cases, default = _regs(ops[-2]), _reg(ops[-3])
            chosen = cases[index] if 0 <= index < len(cases) else default
            registers[_reg(ops[-1])] = registers.get(_plain(chosen), 0)
        elif name in ("assign.ref", "cast.ref"):
            registers[_reg(ops[-1])] = registers.get(_reg(ops[0]))
        elif name == "list.alloc":
            registers[_reg(ops[2])] = _Thing("list", {"items": {}})
        elif name.startswith("list.get"):
            held = registers.get(_reg(ops[0]))
            items = held.data.get("items", {}) if isinstance(held, _Thing) else {}
            registers[_reg(ops[-1])] = items.get(registers.get(_reg(ops[1]), 0), 0)
        elif name.startswith("list.set"):
            held = registers.get(_reg(ops[0]))
            if isinstance(held, _Thing) and "items" in held.data:
                held.data["items"][registers.get(_reg(ops[1]), 0)] = registers.get(_reg(ops[2]))
        elif name.startswith("load."):
            self._load(name, ops, registers)
        elif name in ("buffer.alloc", "buffer.clone"):
            registers[_reg(ops[-1])] = _Thing("data", {})
        elif name == "buffer.length":
            held = registers.get(_reg(ops[0]))
            known = held.data.get("segment") if isinstance(held, _Thing) else None
            registers[_reg(ops[1])] = len(known.data) if known else 0
        elif name == "import.resolved":
            registers[_reg(ops[1])] = 1
        elif name.startswith("f32."):
            self.notes["floating point in the bytecode is not followed"] = None

    def _global(self, name: str, ops: Any, registers: dict[int, Any]) -> None:
        bank = "ref" if name.endswith("ref") else "number"
        key = int(ops[0])
        if "indirect" in name:
            key = _whole(registers.get(_reg(ops[0]), 0))
        if ".load" in name:
            default: Any = None if bank == "ref" else 0
            registers[_reg(ops[-1])] = self.globals.get((bank, key), default)
        else:
            self.globals[bank, key] = registers.get(_reg(ops[-1]))

    def _load(self, name: str, ops: Any, registers: dict[int, Any]) -> None:
        held, at = registers.get(_reg(ops[0])), _whole(registers.get(_reg(ops[1]), 0))
        segment = held.data.get("segment") if isinstance(held, _Thing) else None
        size = int(name.split(".")[1].lstrip("us")) // 8
        data = segment.data[at : at + size] if segment is not None and at >= 0 else b""
        signed = name.startswith("load.s")
        registers[_reg(ops[2])] = int.from_bytes(data, "little", signed=signed)

    def _arithmetic(self, name: str, ops: Any, registers: dict[int, Any]) -> None:
        kind, _, bits = name.partition(".")
        values = [_whole(registers.get(_reg(op), 0)) for op in ops[:-1]]
        registers[_reg(ops[-1])] = _computed(kind, int(bits), values)

    # -- calls ---------------------------------------------------------------------------------

    def _call(self, step: Instruction, registers: dict[int, Any], depth: int) -> int | None:
        ops = list(step.operands)
        function = int(_reg_raw(ops.pop(0)))
        sizes = _regs(ops.pop(0)) if "variadic" in step.name else ()
        operands = [registers.get(_plain(r), 0) for r in _regs(ops.pop(0))]
        jump = int(_reg_raw(ops.pop(0))) if step.name.endswith("yield") else None
        targets = _regs(ops.pop(0))
        if function & _IMPORT:
            number = function & ~_IMPORT
            if number >= len(self.module.imports):
                raise self.error(f"import {number}")
            name, convention = self.module.imports[number]
            grouped = _grouped(convention, operands, sizes)
            results = self._imported(name, grouped, len(targets))
        else:
            if function >= len(self.module.functions):
                raise self.error(f"function {function}")
            results = self.function(self.module.functions[function], operands, depth + 1)
        for register, value in zip(targets, results, strict=False):
            registers[_plain(register)] = value
        return jump

    def _imported(self, name: str, given: list[Any], results: int) -> list[Any]:
        handler = _HANDLERS.get(name)
        if handler is not None:
            return list(handler(self, given))
        return _default(name, given, results)

    # -- what the device is asked ----------------------------------------------------------------

    def memory(self, role: str, size: int | None, **more: Any) -> _Memory:
        if len(self.memories) >= _MOST_BUFFERS:
            raise self.error(f"more than {_MOST_BUFFERS} buffers")
        count = self.counts[role] = self.counts.get(role, -1) + 1
        made = _Memory(f"{role}{count}", role, size, **more)
        self.memories.append(made)
        return made

    def span(self, thing: Any) -> _Span | None:
        """Return the part of a buffer that a reference stands for."""
        if not isinstance(thing, _Thing):
            return None
        if thing.kind == "argument":
            memory = thing.data.get("memory")
            if memory is None:
                memory = thing.data["memory"] = self.memory("input", None)
            return _Span(memory)
        found = thing.data.get("span")
        return found if isinstance(found, _Span) else None

    def constant(self, data: Any, begin: int, size: int) -> _Span | None:
        segment = data.data.get("segment") if isinstance(data, _Thing) else None
        if segment is None:
            return None
        key = (segment.number, begin)
        if key not in self.held:
            self.held[key] = self.memory("constant", size, segment=segment, begin=begin)
        return _Span(self.held[key], 0, size)

    def execute(self, commands: Any, table: list[tuple[Any, ...]]) -> None:
        """Replay recorded commands, slots filled from the table."""
        if not isinstance(commands, _Thing):
            return
        for command in commands.data.get("commands", ()):
            if len(self.calls) >= _MOST_CALLS:
                raise self.error(f"more than {_MOST_CALLS} calls")
            command(table)

    def place(self, buffer: Any, slot: int, offset: int, size: int, table: Any) -> Place | int:
        base = 0
        if buffer is None or buffer == 0:
            if not 0 <= slot < len(table):
                return 0
            buffer, base = table[slot][0], _whole(table[slot][1])
        span = self.span(buffer)
        if span is None:
            return 0
        memory, begin = span.memory, span.offset + base + offset
        known = size if 0 <= size < 1 << 62 else None
        whole = begin == 0 and known is not None and known == memory.size
        return Place(buffer=memory.name, offset=begin, size_bytes=known,
                     shape=memory.shape if whole else None)  # fmt: skip


def _default(name: str, given: list[Any], results: int) -> list[Any]:
    """Answer an import that is not modelled: objects where objects are wanted, else zero."""
    if name.startswith("hal.device.query") or name == "hal.device.query.i64":
        return [1, 1][:results]
    return [_Thing(name, {"given": given})] + [0] * (results - 1) if results else []


Handler = Callable[[_Runner, list[Any]], Iterator[Any] | list[Any]]
_HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Enter a function for imports of these names."""

    def enter(function: Handler) -> Handler:
        for name in names:
            _HANDLERS[name] = function
        return function

    return enter


# -- small helpers --------------------------------------------------------------------------------


def _ref(number: int) -> int:
    return 0x8000 | number


def _plain(register: int) -> int:
    """Return a register without the mark that its reference moves."""
    return register & ~0x4000 if register & 0x8000 else register


def _reg_raw(operand: Any) -> int:
    assert isinstance(operand, int)
    return operand


def _reg(operand: Any) -> int:
    return _plain(_reg_raw(operand))


def _regs(operand: Any) -> tuple[int, ...]:
    assert isinstance(operand, tuple)
    return operand


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


_ARITHMETIC = {
    "add", "sub", "mul", "divs", "divu", "rems", "remu", "fma", "not", "and", "or", "xor", "shl",
    "shrs", "shru", "eq", "ne", "lts", "ltu", "nz", "ctlz", "abs", "mins", "minu", "maxs", "maxu",
}  # fmt: skip


def _computed(kind: str, bits: int, values: list[int]) -> int:
    mask = (1 << bits) - 1
    a = values[0]
    b = values[1] if len(values) > 1 else 0
    s, t, u, v = _signed(a, bits), _signed(b, bits), a & mask, b & mask
    if kind in ("divs", "rems", "divu", "remu") and v == 0:
        return 0
    if kind in ("divs", "rems"):
        quotient = abs(s) // abs(t) * (1 if (s < 0) == (t < 0) else -1)
        return quotient if kind == "divs" else s - quotient * t
    if kind in ("eq", "ne", "lts", "ltu", "nz"):
        return int({"eq": u == v, "ne": u != v, "lts": s < t, "ltu": u < v, "nz": u != 0}[kind])
    if kind == "fma":
        return _signed(a * b + values[2], bits)
    shift = v % bits
    results = {
        "add": a + b, "sub": a - b, "mul": a * b, "divu": u // v if v else 0,
        "remu": u % v if v else 0, "not": ~a, "and": a & b, "or": a | b, "xor": a ^ b,
        "shl": a << shift, "shrs": s >> shift, "shru": u >> shift,
        "ctlz": bits - u.bit_length(), "abs": abs(s), "mins": min(s, t), "maxs": max(s, t),
        "minu": min(u, v), "maxu": max(u, v),
    }  # fmt: skip
    return _signed(results[kind], bits)


def _converted(name: str, value: int) -> int:
    kind, bits = name.split(".")
    if kind == "exts":
        return _signed(value, int(bits))
    if kind == "extu":
        return value & (1 << int(bits)) - 1
    return _signed(value, 32) if bits == "32" else value & (1 << int(bits)) - 1


def _grouped(convention: str, operands: list[Any], sizes: tuple[int, ...]) -> list[Any]:
    """Return operands one by one, those of a list together: plain values or tuples."""
    letters = convention[1:].split("_")[0]
    values, found = iter(operands), []
    index, segment = 0, 0
    while index < len(letters):
        if letters[index] != "C":
            found.append(next(values, 0))
            index, segment = index + 1, segment + 1
            continue
        end = letters.find("D", index)
        width = end - index - 1
        count = sizes[segment] if segment < len(sizes) else 0
        rows = [tuple(next(values, 0) for _ in range(width)) for _ in range(min(count, 65536))]
        found.append(rows if width > 1 else [row[0] for row in rows])
        index, segment = end + 1, segment + 1
    return found
