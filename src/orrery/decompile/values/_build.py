"""Values put together so that equal things look equal, and symbols in them replaced.

Models:  what its base classes make: numbers, bits, choices.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Mapping

from orrery.decompile.forms import (
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
    linear,
)

from ._choices import Choices

__all__ = ["Builder"]


class Builder(Choices):
    """Makes values; knows how far each counter goes."""

    def replace(self, value: Value, known: Mapping[Symbol, Value]) -> Value:
        """Return a value with symbols replaced, put into shape again."""
        return _Replacing(self, known).value(value)

    def replace_linear(self, form: Linear, known: Mapping[Symbol, Value]) -> Linear:
        """Return a linear form with symbols replaced."""
        return _Replacing(self, known).form(form)


class _Replacing:
    """One replacement; remembers what it has rewritten."""

    def __init__(self, build: Builder, known: Mapping[Symbol, Value]) -> None:
        self.build, self.known = build, known
        self.done: dict[Value, Value] = {}

    def value(self, value: Value) -> Value:
        if value.symbols.isdisjoint(self.known):
            return value
        result = self.done.get(value)
        if result is None:
            result = self.done[value] = self._value(value)
        return result

    def _value(self, value: Value) -> Value:
        build = self.build
        if isinstance(value, Constant):
            return value
        if isinstance(value, Index):
            if len(value.value.terms) == 1 and value.value.constant == 0:
                term, factor = value.value.terms[0]
                if factor == 1 and isinstance(term, Symbol) and term in self.known:
                    found = self.known[term]
                    return found if found.width == value.width else build.extract(
                        build.extend(found, value.width, signed=True), 0, value.width
                    )  # fmt: skip
            form = self.form(value.value)
            return value if form == value.value else build.index(form, value.width)
        if isinstance(value, Load):
            form = self.form(value.address)
            return value if form == value.address else Load(form, value.width)
        if isinstance(value, Reduction):
            body, start = self.value(value.body), self.value(value.start)
            extent = self.form(value.extent)
            if body is value.body and start is value.start and extent == value.extent:
                return value
            return Reduction(
                value.operation, value.counter, extent, body, start, value.width, value.fused
            )
        inputs = [self.value(v) for v in value.inputs]
        if all(a is b for a, b in zip(inputs, value.inputs, strict=True)):
            return value
        return remake(build, value, inputs)

    def form(self, form: Linear) -> Linear:
        if form.symbols.isdisjoint(self.known):
            return form
        constant, total = form.constant, dict[Symbol | Operation | Load, int]()
        for term, factor in form.terms:
            new: Linear | None
            if isinstance(term, Symbol):
                found = self.known.get(term)
                new = None if found is None else self.build.linear(found)
            else:
                rewritten = self.value(term)
                new = None if rewritten is term else self.build.linear(rewritten)
            if new is None:
                total[term] = total.get(term, 0) + factor
                continue
            constant += new.constant * factor
            for part, times in new.terms:
                total[part] = total.get(part, 0) + times * factor
        return linear(constant, total)


def remake(build: Builder, old: Operation, inputs: list[Value]) -> Value:
    """Return an operation on new inputs, put into shape again."""
    name, width = old.name, old.width
    if name == "select":
        return build.select(inputs[0], inputs[1], inputs[2], width)
    if name in ("ieq", "ilt", "ile", "ult", "ule"):
        return build.compare(name, inputs[0], inputs[1])
    if name in ("flt", "fle", "feq", "funordered"):
        return build.float_compare(name, inputs[0], inputs[1])
    if width == 1 and name in ("iand", "ior"):
        act = build.both if name == "iand" else build.either
        result = inputs[0]
        for more in inputs[1:]:
            result = act(result, more)
        return result
    if name == "inot":
        return build.bit_not(inputs[0], width)
    if name in ("uextend", "iextend"):
        return build.extend(inputs[0], width, signed=name == "iextend")
    if name == "itruncate":
        return build.truncate(inputs[0], width)
    if name in ("idiv", "umod"):
        by = build.constant(inputs[1])
        if by is not None and by > 0:
            if name == "idiv":
                return build.floor_divide(inputs[0], by, width, truncating=True)
            return build.modulo(inputs[0], by, width)
    simple = {
        "iadd": build.add, "isub": build.subtract, "imul": build.multiply, "iand": build.bit_and,
        "ior": build.bit_or, "ixor": build.bit_xor, "ishl": build.shift_left,
    }  # fmt: skip
    if name in simple:
        return simple[name](inputs[0], inputs[1], width)
    if name in ("ishr", "isar"):
        return build.shift_right(inputs[0], inputs[1], width, arithmetic=name == "isar")
    if name == "iconcat":
        return build.concat(inputs)
    if name[0] == "f":
        return build.float_operation(name, inputs, width)
    return Operation(name, tuple(inputs), width)
