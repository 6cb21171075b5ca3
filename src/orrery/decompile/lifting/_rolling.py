"""Unrolled code and vector lanes rolled up again.

Models:  sets of stores, and chains of sums or maxima, that differ only by constants in arithmetic
         sequence: one store with more loops, one `Reduction`; what was peeled off a loop before or
         after it joins the loop again. A sum in another order than the code's is only made of a
         tree of sums, and is noted.
Ignores: unrolled turns whose expressions were simplified to different shapes.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from math import prod

from orrery.decompile.forms import (
    Call,
    Index,
    Linear,
    Load,
    Loop,
    Operation,
    Reduction,
    Store,
    Symbol,
    Value,
)
from orrery.decompile.values import Builder, inner_of, is_named, walk

from ._evolution import EXTREMES, neutral
from ._sequences import Block, blocks_of, in_order, moved, shape_of
from ._state import distance_is_safe
from ._turns import loads_of, values_of

_LONGEST = 4096
_FEWEST = 3


class Roller:
    """Rolls steps and values up; remembers whether the order of a sum was changed."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.names = 0
        self.reordered = False
        self.done: dict[Value, Value] = {}

    def counter(self) -> Symbol:
        """Return a new counter."""
        self.names += 1
        return Symbol(f"q{self.names}", "counter")

    # -- values ----------------------------------------------------------------------------------

    def value(self, value: Value) -> Value:
        """Return a value with chains in it rolled up."""
        result = self.done.get(value)
        if result is None:
            result = self.done[value] = self._value(value)
        return result

    def _value(self, value: Value) -> Value:
        if isinstance(value, Reduction):
            body, start = self.value(value.body), self.value(value.start)
            made = replace(value, body=self._addends(value, body), start=start)
            unrolled = not isinstance(value.body, Reduction)
            return self._joined(self._one_loop(made) if unrolled else made)
        if isinstance(value, Index):  # bits of a float that a number was made whole for
            form = Linear(value.value.constant)
            for term, factor in value.value.terms:
                inner = self.value(term) if isinstance(term, Operation) else term
                form += Linear(0, ((inner if isinstance(inner, Operation) else term, factor),))
            return value if form is value.value else Index(form, value.width)
        if not isinstance(value, Operation):
            return value
        chain = self._chain(value)
        if chain is not None:
            return chain
        inputs = tuple(self.value(v) for v in value.inputs)
        if value.name == "fmul" and len(inputs) == 2:
            inputs = _sorted(inputs)
        if all(a is b for a, b in zip(inputs, value.inputs, strict=True)):
            return value
        return Operation(value.name, inputs, value.width)

    def _addends(self, value: Reduction, body: Value) -> Value:
        """Return the body of a reduction, several addends of it in a reduction of their own."""
        start = neutral(value.operation, value.width)
        if start is None or value.fused or value.operation[0] == "i":
            return body
        parts = _spine(body, value.operation)
        if len(parts) < 2:
            return body
        rolled = self._rolled(value.operation, parts, start)
        # Each turn adds its addends one after the other; written as one sum they come first.
        self.reordered |= rolled is None and value.operation == "fadd"
        return rolled or body

    def _one_loop(self, value: Reduction) -> Reduction:
        """Return a sum over turns of lanes as one loop where each lane goes on after the last."""
        inner = value.body
        if not isinstance(inner, Reduction) or not inner.extent.is_constant:
            return value
        turns, start = inner.extent.constant, neutral(value.operation, value.width)
        steps = [f.factor(value.counter) - turns * f.factor(inner.counter)
                 for f in _forms_in(inner.body)]  # fmt: skip
        if inner.start != start or inner.fused != value.fused or any(steps):
            return value
        extent = value.extent * turns
        self.build.ranges[inner.counter] = (0, self.build.range(extent - 1)[1])
        body = self.build.replace(inner.body, {value.counter: Index(Linear(0), 64)})
        return replace(value, counter=inner.counter, extent=extent, body=body)

    def _rolled(self, operation: str, parts: list[Value], start: Value) -> Value | None:
        """Return parts as nested reductions in their order; None where they make no sequence."""
        fused = [is_named(p, "fused") for p in parts]
        if any(fused) != all(fused) or len(parts) > _LONGEST:
            return None
        plain = [_plain(p) for p in parts]
        shapes = [shape_of(p) for p in plain]
        if any(s.key != shapes[0].key for s in shapes):
            return None
        first, turns = plain[0], in_order([s.offsets for s in shapes])
        if turns is None and operation in EXTREMES:
            blocks = blocks_of([s.offsets for s in shapes])
            if len(blocks) == 1:
                first, turns = plain[blocks[0].first], blocks[0].turns
        if not turns:
            return None
        counters = [self.counter() for _ in turns]
        growth = [(c, t[1]) for c, t in zip(counters, turns, strict=True)]
        body = moved([first], growth)[0]
        assert not isinstance(body, Linear)
        nothing = neutral(operation, start.width)
        for number in reversed(range(len(turns))):
            self.build.ranges[counters[number]] = (0, turns[number][0] - 1)
            begin = start if number == 0 else nothing
            assert begin is not None
            body = Reduction(
                operation, counters[number], Linear(turns[number][0]), body, begin, start.width,
                all(fused) and number == len(turns) - 1,
            )  # fmt: skip
        return body

    def _chain(self, value: Operation) -> Value | None:
        """Return a chain of sums or maxima as a reduction."""
        name = "fadd" if value.name in ("fma", "fsub") else value.name
        if name not in ("fadd", *EXTREMES):
            return None
        parts = _spine(value, name, fused=True) if name == "fadd" else _leaves(value, name)
        if len(parts) < _FEWEST:
            return None
        parts = [self._part(p) for p in parts]
        if name == "fadd" and _first_two_turned(parts):
            parts[0], parts[1] = parts[1], parts[0]
        start = neutral(name, value.width)
        if start is None:
            return None
        whole = self._rolled(name, parts, start)
        if whole is not None:
            return whole
        first = parts[0]
        if not is_named(first, "fused") and len(parts) > _FEWEST:
            rest = self._rolled(name, parts[1:], first)
            if rest is not None:
                return self._joined(rest) if isinstance(rest, Reduction) else rest
        if name == "fadd":
            return self._tree(value) or self._peeled(name, parts)
        return None

    def _part(self, part: Value) -> Value:
        return _fused(self.value(inner_of(part))) if is_named(part, "fused") else self.value(part)

    def _peeled(self, name: str, parts: list[Value]) -> Value | None:
        """Return a chain that goes on where a reduction in it stops."""
        if len(parts) < 2 or not isinstance(parts[0], Reduction):
            return None
        whole: Value = parts[0]
        for part in parts[1:]:
            if is_named(part, "fused") or not isinstance(whole, Reduction):
                return None
            again = self._one_more(whole, part)
            if again is None:
                return None
            whole = again
        return whole

    def _tree(self, value: Operation) -> Value | None:
        """Return a tree of sums (lanes added across) as one reduction in order of address."""
        leaves = _leaves(value, "fadd")
        if len(leaves) < 2 or len(leaves) > _LONGEST:
            return None
        leaves = [self.value(v) for v in leaves]
        shapes = [shape_of(v) for v in leaves]
        start = neutral("fadd", value.width)
        if start is None or any(s.key != shapes[0].key for s in shapes):
            return None
        blocks = blocks_of([s.offsets for s in shapes])
        if len(blocks) != 1:
            return None
        self.reordered = True
        ordered = [leaves[m] for m in blocks[0].members]
        return self._rolled("fadd", ordered, start)

    # -- what was peeled off ---------------------------------------------------------------------

    def _one_more(self, whole: Reduction, part: Value) -> Reduction | None:
        """Return a reduction with one turn more where a value is what that turn would add."""
        known = {whole.counter: Index(whole.extent, 64)}
        if self.build.replace(whole.body, known) == part:
            return replace(whole, extent=whole.extent + 1)
        return None

    def _joined(self, value: Reduction) -> Value:
        """Return a reduction with what was peeled off in front of it."""
        start = value.start
        name = value.operation
        if isinstance(start, Reduction) and start.operation == name and start.fused == value.fused:
            shift = Linear(0, ((value.counter, 1),)) + start.extent
            known: dict[Symbol, Value] = {start.counter: Index(shift, 64)}
            if self.build.replace(start.body, known) == value.body:
                return replace(
                    value, counter=start.counter, body=start.body, start=start.start,
                    extent=start.extent + value.extent,
                )  # fmt: skip
        if isinstance(start, Operation) and start.name == name and len(start.inputs) == 2:
            before = {value.counter: Index(Linear(-1), 64)}
            first = self.build.replace(value.body, before)
            for chain, part in (start.inputs, start.inputs[::-1]):
                if part == first:
                    later = {value.counter: Index(Linear(-1, ((value.counter, 1),)), 64)}
                    body = self.build.replace(value.body, later)
                    return self._joined(
                        replace(value, body=body, start=chain, extent=value.extent + 1)
                    )
        return value

    # -- steps -----------------------------------------------------------------------------------

    def steps(self, steps: list[Store | Call]) -> list[Store | Call]:
        """Return steps with what is the same but for its addresses as one step in a loop."""
        rolled = [self._step(s) for s in steps]
        rolled = self._groups(rolled)
        return self._tails([self._step(self._flat(s)) for s in rolled])

    def _step(self, step: Store | Call) -> Store | Call:
        guards = tuple(self.value(g) for g in step.guards)
        if isinstance(step, Store):
            return replace(step, value=self.value(step.value), guards=guards)
        return replace(step, arguments=tuple(self.value(a) for a in step.arguments), guards=guards)

    def _groups(self, steps: list[Store | Call]) -> list[Store | Call]:
        """Return steps with stores of one shape in one loop nest put together."""
        groups: dict[Hashable, list[int]] = {}
        shapes: dict[int, tuple[int, ...]] = {}
        for number, step in enumerate(steps):
            if isinstance(step, Store):
                shape = shape_of(step.address, step.value, *step.guards)
                shapes[number] = shape.offsets
                groups.setdefault((step.loops, step.width, shape.key), []).append(number)
        result: dict[int, Store | Call] = dict(enumerate(steps))
        for numbers in groups.values():
            if not 2 <= len(numbers) <= _LONGEST:
                continue
            for block in blocks_of([shapes[n] for n in numbers]):
                members = sorted(numbers[m] for m in block.members)
                place = self._meeting(steps, members) if len(members) > 1 else None
                if place is None:
                    continue
                first = steps[numbers[block.first]]
                assert isinstance(first, Store)
                for member in members:
                    del result[member]
                result[place] = self._store(first, block)
        return [result[n] for n in sorted(result)]

    def _store(self, first: Store, block: Block) -> Store:
        counters = [self.counter() for _ in block.turns]
        growth = [(c, t[1]) for c, t in zip(counters, block.turns, strict=True)]
        address, value, *guards = moved([first.address, first.value, *first.guards], growth)
        assert isinstance(address, Linear) and not isinstance(value, Linear)
        loops = []
        for counter, (count, _) in zip(counters, block.turns, strict=True):
            self.build.ranges[counter] = (0, count - 1)
            loops.append(Loop(counter=counter, extent=Linear(count)))
        return replace(
            first, address=address, value=value, loops=(*first.loops, *loops),
            guards=tuple(g for g in guards if not isinstance(g, Linear)),
        )  # fmt: skip

    def _meeting(self, steps: list[Store | Call], members: list[int]) -> int | None:
        """Return which of several stores all others can be moved to, the last or the first."""
        # A member that reads what another member wrote must stay behind it.
        written = [(s.address, s.width // 8) for n in members if isinstance(s := steps[n], Store)]
        for address, size in {r for n in members for r in loads_of(steps[n])}:
            for other, length in written:
                same = other == address
                if not same and not distance_is_safe(self.build, address, size, other, length):
                    return None
        inside = set(members)
        between = [n for n in range(members[0], members[-1] + 1) if n not in inside]
        if len(between) * len(members) > 200_000:
            return None
        if self._passing(steps, [(m, n) for n in between for m in members if m < n]):
            return members[-1]
        if self._passing(steps, [(m, n) for n in between for m in members if m > n]):
            return members[0]
        return None

    def _passing(self, steps: list[Store | Call], pairs: list[tuple[int, int]]) -> bool:
        """Return whether each pair of steps may change places."""
        reads = {n: loads_of(steps[n]) for n in {n for pair in pairs for n in pair}}
        for pair in pairs:
            for one, other in (pair, pair[::-1]):
                step, passed = steps[one], steps[other]
                if not isinstance(step, Store) or not isinstance(passed, Store):
                    return False
                touched = {(passed.address, passed.width // 8)} | reads[other]
                if not all(
                    distance_is_safe(self.build, address, size, step.address, step.width // 8)
                    for address, size in touched
                ):
                    return False
        return True

    def _flat(self, step: Store | Call) -> Store | Call:
        """Return a step with two loops as one where every form counts through both alike."""
        if not isinstance(step, Store) or len(step.loops) < 2:
            return step
        outer, inner = step.loops[-2:]
        if not (outer.extent.is_constant and inner.extent.is_constant):
            return step
        forms = _forms_of(step)
        turns = inner.extent.constant
        if any(f.factor(outer.counter) != turns * f.factor(inner.counter) for f in forms):
            return step
        known: dict[Symbol, Value] = {outer.counter: Index(Linear(0), 64)}
        self.build.ranges[inner.counter] = (0, prod((turns, outer.extent.constant)) - 1)
        flat = replace(
            step, loops=(*step.loops[:-2], replace(inner, extent=outer.extent * turns)),
            address=self.build.replace_linear(step.address, known),
            value=self.build.replace(step.value, known),
            guards=tuple(self.build.replace(g, known) for g in step.guards),
        )  # fmt: skip
        return self._flat(flat)

    def _tails(self, steps: list[Store | Call]) -> list[Store | Call]:
        """Return stores with those joined that go on where another's loop stops."""
        result: list[Store | Call] = []
        for step in steps:
            joined = self._after(result[-1], step) if result else None
            if joined is not None:
                result[-1] = joined
            else:
                result.append(step)
        return result if len(result) == len(steps) else self._tails(result)

    def _after(self, first: Store | Call, second: Store | Call) -> Store | None:
        """Return one store for two of which the second goes on where the first stops."""
        if not (isinstance(first, Store) and isinstance(second, Store) and first.loops):
            return None
        loop = first.loops[-1]
        if first.width != second.width:
            return None
        more = Linear(1)
        counter: Linear = Linear(0)
        if second.loops[: len(first.loops) - 1] != first.loops[:-1]:
            return None
        if len(second.loops) == len(first.loops):
            more = second.loops[-1].extent
            counter = Linear(0, ((second.loops[-1].counter, 1),))
        elif len(second.loops) != len(first.loops) - 1:
            return None
        known: dict[Symbol, Value] = {loop.counter: Index(loop.extent + counter, 64)}
        parts = [first.value, *first.guards]
        theirs = [second.value, *second.guards]
        if len(parts) != len(theirs):
            return None
        if self.build.replace_linear(first.address, known) != second.address:
            return None
        again = [self.build.replace(p, known) for p in parts]
        if shape_of(*again) != shape_of(*theirs):
            return None
        self.build.ranges[loop.counter] = self.build.range(loop.extent + more + -1)
        return replace(first, loops=(*first.loops[:-1], replace(loop, extent=loop.extent + more)))


def _fused(value: Value) -> Operation:
    """Return a mark on a product that enters a sum unrounded; only while a chain is looked at."""
    return Operation("fused", (value,), value.width)


def _plain(part: Value) -> Value:
    """Return the part of a chain without that mark."""
    return inner_of(part) if is_named(part, "fused") else part


def _spine(value: Value, name: str, *, fused: bool = False) -> list[Value]:
    """Return what a chain adds, the first first."""
    parts: list[Value] = []
    while isinstance(value, Operation):
        if value.name == name and len(value.inputs) == 2:
            left, right = value.inputs
            if _is_link(right, name, fused) and not _is_link(left, name, fused):
                left, right = right, left
            parts.append(right)
            value = left
        elif fused and value.name == "fma" and name == "fadd":
            parts.append(_fused(Operation("fmul", value.inputs[:2], value.width)))
            value = value.inputs[2]
        else:
            break
    parts.append(value)
    return parts[::-1]


def _first_two_turned(parts: list[Value]) -> bool:
    """Return whether the first of a chain looks like the third and the second does not."""
    if len(parts) < 3 or is_named(parts[1], "fused"):
        return False
    first, second, third = (shape_of(_plain(p)).key for p in parts[:3])
    return first == third != second and is_named(parts[0], "fused") == is_named(parts[2], "fused")


def _sorted(inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return factors in one order, the same for all products of a chain."""
    keys = [(_roots(v), shape_of(v).order) for v in inputs]
    return inputs if keys[0] <= keys[1] else inputs[::-1]


def _roots(value: Value) -> list[str]:
    """Return the names of what a value reads from: counters are called otherwise elsewhere."""
    return sorted(s.name for s in value.symbols if s.kind != "counter")


def _is_link(value: Value, name: str, fused: bool) -> bool:
    return isinstance(value, Operation) and (value.name == name or (fused and value.name == "fma"))


def _leaves(value: Value, name: str) -> list[Value]:
    """Return the leaves of a tree of one operation."""
    leaves: list[Value] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Operation) and item.name == name:
            stack.extend(reversed(item.inputs))
        else:
            leaves.append(item)
    return leaves


def halves(build: Builder, step: Store | Call) -> list[Store | Call]:
    """Return a store of 64 bits that are moved or known as two of 32."""
    if not isinstance(step, Store) or step.width != 64:
        return [step]
    value = step.value
    if not (isinstance(value, Load) or build.constant(value) is not None):
        return [step]
    parts = [build.as_bits(build.extract(value, at, 32)) for at in (0, 32)]
    return [
        replace(step, address=step.address + 4 * number, width=32, value=part)
        for number, part in enumerate(parts)
    ]


def _forms_of(step: Store) -> list[Linear]:
    """Return every linear form of a store, those inside of other forms' terms too."""
    return [step.address, *_forms_in(*values_of(step))]


def _forms_in(*values: Value | Symbol) -> list[Linear]:
    """Return every linear form of values."""
    return [
        part.value if isinstance(part, Index) else part.address
        for part in walk(*values) if isinstance(part, (Index, Load))
    ]  # fmt: skip
