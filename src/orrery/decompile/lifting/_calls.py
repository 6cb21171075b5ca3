"""Calls: functions of the mathematical library, of memory, small ones carried out in place.

Models:  imports known by their linked name as what the C library says they do; a small function
         without loops of its own as if its code stood here; any other call as a step.
Ignores: what an unknown function does to memory: nothing known about memory outside of the stack
         outlives the call.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.decompile.forms import (
    Call,
    Constant,
    Index,
    Linear,
    Load,
    Loop,
    Operation,
    Store,
    Symbol,
    Unread,
    Value,
)
from orrery.decompile.values import symbols_of

from ._flow import (
    Block,
    Flow,
    LiftLimitError,
    changed_in,
    mask,
    read_flow,
    usually_changed,
)
from ._state import State, distance_is_safe

if TYPE_CHECKING:
    from ._block import Interpreter
    from ._walk import Walker

_SMALL = 60
_DEEP = 5
_PLAIN = {"sqrt": "fsqrt", "fabs": "fabs", "floor": "ffloor", "ceil": "fceil", "trunc": "ftrunc",
          "rint": "fround", "nearbyint": "fround", "roundeven": "fround", "fmax": "fmax",
          "fmin": "fmin", "fma": "fma"}  # fmt: skip
_ONE = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sinh", "cosh", "erf", "erfc",
    "sin", "cos", "tan", "atan", "asin", "acos", "round", "cbrt", "tgamma", "lgamma",
}  # fmt: skip
_TWO = {"pow", "atan2", "fmod", "hypot", "remainder"}
_ALLOCATE = {"malloc": 0, "aligned_alloc": 1, "TVMBackendAllocWorkspace": 2}
_FREE = {"free", "TVMBackendFreeWorkspace"}
_LIBRARY = {*_PLAIN, *_ONE, *_TWO, "memset", "memcpy", "memmove", "malloc", "calloc", "free"}


def carry_out_call(walker: Walker, state: State, block: Block) -> None:
    """Carry out the call at the end of a block on its state."""
    engine = walker.engine
    target = block.target if block.target is not None else engine.called
    if target is None:
        _unknown_call(walker, state, 0, "a call of a function that only runs can tell")
        return
    name = engine.code.import_name(target)
    if name is not None:
        _import(walker, state, name.split("@")[0])
        return
    flow = _flow_of(engine, target)
    place = target if flow is None else flow.forward.get(target, target)
    own = "" if place == target else engine.code.name(place)
    if own and not engine.code.name(target) and _kind(own) in _LIBRARY:
        # Through a stub of the linker: of two functions of one name the first that is loaded.
        reason = f"calls {own}, which this file has and a library that is loaded before may have"
        engine.unread.append(Unread(instruction=engine.here, reason=reason))
    small = flow is not None and not flow.loops and len(flow.blocks) <= _SMALL
    if flow is not None and small and walker.depth < _DEEP and _in_place(walker, state, flow):
        return
    _unknown_call(walker, state, target, "")


def changed_by(engine: Interpreter, target: int | None) -> int:
    """Return the registers that a call may change, as bits.

    Of a function of this file they are those that it and all that it calls write, less those that
    the convention of calls has it give back.
    """
    usual = usually_changed(engine.machine)
    if target is None or engine.code.import_name(target) is not None:
        return usual
    if target not in engine.changing:
        engine.changing[target] = usual  # it may call itself
        flow = _flow_of(engine, target)
        own = None if flow is None else changed_in(engine.machine, flow)
        if flow is not None and own is not None:
            for block in flow.blocks.values():
                if block.ends in ("call", "jump"):
                    own |= changed_by(engine, block.target)
            engine.changing[target] = own & usual
    return engine.changing[target]


def _flow_of(engine: Interpreter, target: int) -> Flow | None:
    flows = engine.flows
    if target not in flows:
        try:
            flows[target] = read_flow(engine.code, target)
        except LiftLimitError:
            flows[target] = None
    return flows[target]


def _in_place(walker: Walker, state: State, flow: Flow) -> bool:
    from ._walk import Walker

    engine = walker.engine
    steps, unread = len(engine.steps), len(engine.unread)
    after = Walker(engine, flow, depth=walker.depth + 1).run(state.copy())
    if after is None or len(engine.unread) > unread:
        del engine.steps[steps:]
        del engine.unread[unread:]
        return False
    machine, stack = engine.machine, engine.machine.stack
    for offset, size in machine.kept:  # a callee gives them back as they were
        for at in range(offset, offset + size):
            if at != stack:
                after.registers.pieces.pop(at, None)
                if at in state.registers.pieces:
                    after.registers.pieces[at] = state.registers.pieces[at]
    changed = changed_by(engine, flow.entry)
    for at, piece in state.registers.pieces.items():  # of what is not written it need know nothing
        size = piece.width // 8
        if not changed & mask(at, size) and not any(after.registers.overlapping(at, size)):
            after.registers.pieces[at] = piece
    state.registers, state.memory, state.guards = after.registers, after.memory, after.guards
    state.vague = after.vague
    return True


def _return(walker: Walker, state: State, target: int | None = None) -> None:
    """Take back from the stack what the call put there, and forget what a callee may change."""
    machine, build = walker.engine.machine, walker.engine.build
    pieces = state.registers.pieces
    stack = pieces[machine.stack]
    if machine.x86:
        stack = build.add(stack, build.number(machine.word, 64), 64)
    changed = changed_by(walker.engine, target)
    kept = {at: v for at, v in pieces.items() if not changed & mask(at, v.width // 8)}
    kept[machine.stack] = stack
    state.registers.pieces = kept


def _argument(walker: Walker, state: State, number: int) -> Value:
    machine, build = walker.engine.machine, walker.engine.build
    if number < len(machine.integers):
        found = walker.engine.get(state, machine.integers[number], machine.word)
    else:
        base = state.registers.pieces[machine.stack]
        skip = (number - len(machine.integers) + (1 if machine.x86 else 0)) * machine.word
        found = walker.engine.load(
            state, build.add(base, build.number(skip, 64), base.width), machine.word
        )
    assert not isinstance(found, tuple)
    return found


def _float_argument(walker: Walker, state: State, number: int, size: int) -> Value:
    machine = walker.engine.machine
    offset = machine.floats[number]
    if machine.name == "armv7" and size == 8:
        offset = machine.floats[2 * number]
    found = walker.engine.get(state, offset, size)
    assert not isinstance(found, tuple)
    return found


def _kind(name: str) -> str:
    """Return what a function of the library is called for all its types."""
    plain = name.removeprefix("__").removesuffix("_finite")
    return plain[:-1] if plain.endswith("f") and plain not in ("erf",) else plain


def _import(walker: Walker, state: State, name: str) -> None:
    engine, build, machine = walker.engine, walker.engine.build, walker.engine.machine
    plain, kind = name.removeprefix("__").removesuffix("_finite"), _kind(name)
    size = 4 if kind != plain else 8
    if kind in _PLAIN or kind in _ONE or kind in _TWO:
        count = 3 if kind == "fma" else 2 if kind in _TWO or kind in ("fmax", "fmin") else 1
        inputs = [_float_argument(walker, state, i, size) for i in range(count)]
        operation = _PLAIN.get(kind, f"call:{plain}")
        result = build.float_operation(operation, inputs, size * 8)
        _return(walker, state)
        engine.put(state, machine.float_result, result)
        return
    if plain.removesuffix("_chk") in ("memset", "memcpy", "memmove"):
        _copy(walker, state, plain.removesuffix("_chk"))
        return
    if name in _ALLOCATE or name == "calloc":
        memory = Index(Linear(0, ((engine.fresh("m", "memory"), 1),)), machine.word * 8)
        _return(walker, state)
        engine.put(state, machine.result, memory)
        return
    if name in _FREE:
        _return(walker, state)
        engine.put(state, machine.result, build.number(0, machine.word * 8))
        return
    _unknown_call(walker, state, name, "")


def _copy(walker: Walker, state: State, kind: str) -> None:
    """Write a filled or copied stretch of memory as a store in a loop."""
    engine, build = walker.engine, walker.engine.build
    to, second, length = (_argument(walker, state, i) for i in range(3))
    target, count = build.linear(to), build.linear(length)
    source, fill = build.linear(second), build.constant(second)
    if target is None or count is None or (fill is None and kind == "memset") or source is None:
        _unknown_call(walker, state, kind, "")
        return
    width = 32 if count.constant % 4 == 0 and all(f % 4 == 0 for _, f in count.terms) else 8
    if kind == "memset" and width == 8 and count.terms:
        width = 8
    size = width // 8
    counter = walker.counter()
    extent = Linear(count.constant // size, tuple((t, f // size) for t, f in count.terms))
    build.ranges[counter] = (0, build.range(extent - 1)[1])
    moved = Linear(0, ((counter, size),))
    value: Value
    if kind == "memset":
        assert fill is not None
        value = Constant(int.from_bytes(bytes([fill & 255]) * size, "little"), width)
    else:
        value = Load(source + moved, width)
    high = build.range(extent)[1]
    most = 1 << 40 if high is None else high * size
    engine.put_by(
        state, engine.here, lambda form, n: not distance_is_safe(build, target, most, form, n)
    )
    engine.steps.append(
        Store(address=target + moved, value=value, width=width, guards=state.guards,
              loops=(Loop(counter=counter, extent=extent, address=engine.here),),
              instruction=engine.here)
    )  # fmt: skip
    _forget(walker, state, target, None if high is None else high * size)
    _return(walker, state)
    engine.put(state, engine.machine.result, to)


def _forget(walker: Walker, state: State, target: Linear, size: int | None) -> None:
    """Forget what is known of memory from an address on, or of all where no size is known."""
    from ._state import forget_overlaps, split_address

    base, offset = split_address(target)
    state.vague.add(base)
    if size is None:
        state.memory.pop(base, None)
        size = 1 << 40
    forget_overlaps(walker.engine.build, state, target, size)
    cells = state.memory.get(base)
    if cells is not None:
        for at in [a for a in cells.pieces if offset - 8 < a < offset + size]:
            cells.remove(walker.engine.build, at, cells.pieces[at].width // 8)


def _unknown_call(walker: Walker, state: State, target: int | str, reason: str) -> None:
    """Write a call down as a step."""
    from ._block import STACK

    engine, machine = walker.engine, walker.engine.machine
    integers, floats = len(machine.integers), len(machine.floats)
    counts = engine.signature(target) if isinstance(target, int) and target else None
    if counts is None:
        arguments = [v for v in (_argument(walker, state, i) for i in range(integers)) if _meant(v)]
    else:
        integers, floats, extra = counts
        arguments = [_argument(walker, state, i) for i in range(integers)]
        arguments += [_float_argument(walker, state, i, 4) for i in range(floats)]
        arguments += [_argument(walker, state, len(machine.integers) + i) for i in range(extra)]
    symbol = engine.fresh("c")
    if reason:
        engine.unread.append(Unread(instruction=engine.here, reason=reason))
    stack: list[int] = []
    for value in arguments:
        if STACK in symbols_of(value):
            form = engine.build.linear(value)
            stack.append(form.constant if form is not None else -(1 << 30))
    kept = {}
    for base, cells in state.memory.items():
        if base.terms == ((STACK, 1),):
            for at in [a for a in cells.pieces if stack and a >= min(stack) and a < -8]:
                del cells.pieces[at]
            kept[base] = cells
    state.memory, state.vague = kept, {None}
    called = target if isinstance(target, int) and target else None
    _return(walker, state, called)
    engine.put_by(state, engine.here, lambda form, _: bool(stack) or not form.factor(STACK))
    engine.steps.append(
        Call(target=target or "?", arguments=tuple(arguments), result=symbol, guards=state.guards,
             instruction=engine.here)
    )  # fmt: skip
    given = Index(Linear(0, ((symbol, 1),)), machine.word * 8)
    changed = changed_by(engine, called)
    if changed & mask(machine.result, machine.word):
        engine.put(state, machine.result, given)
    if changed & mask(machine.float_result, 4):
        engine.put(state, machine.float_result, Operation("result", (given,), 32))


def _meant(value: Value) -> bool:
    """Return whether an argument register holds something that the caller put there."""
    return not any(
        isinstance(s, Symbol) and s.kind == "unknown" and s.name[0] == "r"
        for s in symbols_of(value)
    )
