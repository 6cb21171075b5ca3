"""Routines written from the definition of an operator, in many of the ways that compilers do.

Nothing here knows how matching works: a routine is loops, addresses and arithmetic, put down from
what the operator means; the source network beside it is what must come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.decompile.forms import (
    Buffer,
    Constant,
    Index,
    Invocation,
    Linear,
    Load,
    Loop,
    Operation,
    Program,
    Reduction,
    Routine,
    Store,
    Symbol,
    Value,
    View,
    linear,
)
from orrery.graph import ArrayConstant, Graph, Node, TensorType

Array = NDArray[Any]
Sizes = Sequence[int]


def number(value: float) -> Constant:
    return Constant(int(np.float32(value).view(np.uint32)), 32)


def op(name: str, *inputs: Value, width: int = 32) -> Operation:
    return Operation(name, inputs, width)


def between(form: Linear, size: int, *, unsigned: bool = False) -> Value:
    """Return the condition 0 <= form < size."""
    if unsigned:
        return op("ult", Index(form), Constant(size, 64), width=1)
    low = op("ile", Constant(0, 64), Index(form), width=1)
    return op("iand", low, op("ilt", Index(form), Constant(size, 64), width=1), width=1)


@dataclass
class Kernels:
    """A program that grows by one store after the other."""

    buffers: dict[str, Buffer] = field(default_factory=dict)
    steps: list[Store] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    extents: dict[Symbol, int] = field(default_factory=dict)
    names: Any = field(default_factory=count)

    def counter(self, turns: int) -> Symbol:
        symbol = Symbol(f"i{next(self.names)}", "counter")
        self.extents[symbol] = turns
        return symbol

    def counters(self, sizes: Sizes) -> list[Symbol]:
        return [self.counter(s) for s in sizes]

    def input(self, name: str, shape: Sizes | None = None, *, size: int = 0) -> str:
        elements = size or prod(shape or ())
        self.buffers[name] = Buffer(
            name=name, role="input", size_bytes=elements * 4 or None,
            shape=None if shape is None else tuple(shape),
        )  # fmt: skip
        self.inputs.append(name)
        return name

    def constant(self, name: str, value: Array) -> str:
        data = np.ascontiguousarray(value, np.float32).tobytes()
        self.buffers[name] = Buffer(name=name, role="constant", data=data, size_bytes=len(data))
        return name

    def memory(self, name: str, elements: int) -> str:
        self.buffers[name] = Buffer(name=name, role="temporary", size_bytes=elements * 4)
        return name

    def output(self, name: str, elements: int) -> str:
        self.buffers[name] = Buffer(name=name, role="output", size_bytes=elements * 4)
        self.outputs.append(name)
        return name

    def at(self, name: str, form: Linear) -> Linear:
        return form * 4 + linear(0, {Symbol(name, "argument"): 1})

    def load(self, name: str, form: Linear) -> Load:
        return Load(self.at(name, form), 32)

    def store(
        self, name: str, form: Linear, value: Value, loops: Sequence[Symbol],
        guards: Sequence[Value] = (),
    ) -> None:  # fmt: skip
        around = tuple(Loop(counter=c, extent=Linear(self.extents[c])) for c in loops)
        self.steps.append(Store(
            address=self.at(name, form), value=value, width=32, loops=around,
            guards=tuple(guards), instruction=0x1000 + 4 * len(self.steps),
        ))  # fmt: skip

    def sum(
        self, counters: Sequence[Symbol], body: Value, start: Value, kind: str = "fadd"
    ) -> Value:
        """Return nested loops over a body; the inner ones begin with what the kind ignores."""
        neutral = {"fadd": 0.0, "max_x86": -np.inf, "fmax": -np.inf}[kind]
        value = body
        for place, c in enumerate(reversed(counters)):
            outermost = place == len(counters) - 1
            begin = start if outermost else number(neutral)
            value = Reduction(kind, c, Linear(self.extents[c]), value, begin, 32)
        return value

    def program(self) -> Program:
        names = list(self.buffers)
        symbols = {n: Symbol(n, "argument") for n in names}
        routine = Routine(
            address=0x1000, arguments=tuple(symbols.values()), steps=tuple(self.steps)
        )
        bindings = {symbols[n]: View(buffer=n) for n in names}
        return Program(
            buffers=self.buffers, invocations=(Invocation(routine=routine, bindings=bindings),),
            inputs=tuple(self.inputs), outputs=tuple(self.outputs),
        )  # fmt: skip


def index(terms: Mapping[Symbol, int] | None = None, constant: int = 0) -> Linear:
    return linear(constant, dict(terms or {}))


def row_major(counters: Sequence[Symbol | Linear], sizes: Sizes) -> Linear:
    """Return the position of an index in an array of the sizes, row by row."""
    total = Linear()
    for place, c in enumerate(counters):
        step = prod(sizes[place + 1 :])
        total += c * step if isinstance(c, Linear) else linear(0, {c: step})
    return total


def replaced(store: Store, values: Mapping[Symbol, Linear], loops: Sequence[Loop]) -> Store:
    """Return a store with counters written as something else."""

    def form(old: Linear) -> Linear:
        return old.replace(values)

    def value(old: Value) -> Value:
        if isinstance(old, Load):
            return replace(old, address=form(old.address))
        if isinstance(old, Index):
            return replace(old, value=form(old.value))
        if isinstance(old, Operation):
            return replace(old, inputs=tuple(value(part) for part in old.inputs))
        if isinstance(old, Reduction):
            return replace(old, body=value(old.body), start=value(old.start))
        return old

    return replace(
        store, address=form(store.address), value=value(store.value), loops=tuple(loops),
        guards=tuple(value(g) for g in store.guards),
    )  # fmt: skip


def tiled(store: Store, place: int, inner: int) -> Store:
    """Split one loop in two, the inner one innermost."""
    loop = store.loops[place]
    turns = loop.extent.constant
    assert turns % inner == 0
    q = replace(loop.counter, name=loop.counter.name + "q")
    r = replace(loop.counter, name=loop.counter.name + "r")
    loops = [replace(x, counter=q, extent=Linear(turns // inner)) if x is loop else x
             for x in store.loops]  # fmt: skip
    loops.append(Loop(counter=r, extent=Linear(inner)))
    return replaced(store, {loop.counter: linear(0, {q: inner, r: 1})}, loops)


def fused(store: Store) -> Store:
    """Write all loops as one whose counter is taken apart by division, as parallel loops are."""
    if not store.loops:
        return store
    total = prod(loop.extent.constant for loop in store.loops)
    whole = Symbol("fused", "counter")
    values: dict[Symbol, Linear] = {}
    below = total
    for loop in store.loops:
        turns = loop.extent.constant
        below //= turns
        part: Value = Index(linear(0, {whole: 1}))
        if below > 1:
            part = Operation("idiv", (part, Constant(below, 64)), 64)
        assert isinstance(part, Index | Operation)
        if below * turns != total:
            part = Operation("imod", (part, Constant(turns, 64)), 64)
        values[loop.counter] = part.value if isinstance(part, Index) else linear(0, {part: 1})
    return replaced(store, values, [Loop(counter=whole, extent=Linear(total))])


def unrolled(value: Value, counter: Symbol) -> Value:
    """Write one loop of a sum as its turns, one after the other."""
    if isinstance(value, Reduction):
        if value.counter == counter:
            total = value.start
            for turn in range(value.extent.constant):
                once = Store(address=Linear(), value=value.body, width=32)
                body = replaced(once, {counter: Linear(turn)}, ()).value
                total = Operation(value.operation, (total, body), 32)
            return total
        return replace(value, body=unrolled(value.body, counter))
    if isinstance(value, Operation):
        return replace(value, inputs=tuple(unrolled(part, counter) for part in value.inputs))
    return value


def network(
    nodes: Sequence[tuple[str, Sequence[str], str, dict[str, Any]]], inputs: Mapping[str, Sizes],
    constants: Mapping[str, Array], outputs: Sequence[str],
) -> Graph:  # fmt: skip
    """Return a source network: (operator, inputs, output, attributes) in order."""
    held = {name: ArrayConstant(np.asarray(value)) for name, value in constants.items()}
    types = {n: TensorType(dtype="float32", shape=tuple(s)) for n, s in inputs.items()}
    types |= {n: c.type for n, c in held.items()}
    return Graph(
        name="source",
        nodes=tuple(
            Node(name=f"n{k}", op=kind, inputs=tuple(given), outputs=(made,), attributes=attributes)
            for k, (kind, given, made, attributes) in enumerate(nodes)
        ),
        inputs=tuple(inputs), outputs=tuple(outputs), types=types, constants=held,
    ).infer()  # fmt: skip
