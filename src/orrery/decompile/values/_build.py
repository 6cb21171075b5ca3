"""Values put together so that equal things look equal, and symbols in them replaced.

Models:  what its base classes make: numbers, bits, choices.
Judge:   native runs of lifted kernels (tests/decompile/lifting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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


class Builder(Choices):
    """Makes values; knows how far each counter goes."""

    def replace(self, value: Value, known: Mapping[Symbol, Value]) -> Value:
        """Return a value with symbols replaced, put into shape again."""
        return _Replacing(self, known).value(value)

    def replace_linear(self, form: Linear, known: Mapping[Symbol, Value]) -> Linear:
        """Return a linear form with symbols replaced."""
        return _Replacing(self, known).form(form)


class Rebuilding:
    """Writes values anew, put into shape again; each once."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.done: dict[Value, Value] = {}

    def value(self, value: Value) -> Value:
        """Return a value as it is now."""
        result = self.done.get(value)
        if result is None:
            result = self.done[value] = self.anew(value)
        return result

    def anew(self, value: Value) -> Value:
        """Return a value of its parts as they are now."""
        if isinstance(value, Constant):
            return value
        if isinstance(value, Index):
            form = self.form(value.value)
            return value if form is value.value else self.build.index(form, value.width)
        if isinstance(value, Load):
            return Load(self.address(value.address), value.width)
        if isinstance(value, Reduction):
            return replace(value, extent=self.form(value.extent), body=self.value(value.body),
                           start=self.value(value.start))  # fmt: skip
        inputs = [self.value(v) for v in value.inputs]
        if all(a is b for a, b in zip(inputs, value.inputs, strict=True)):
            return value
        return remake(self.build, value, inputs)

    def address(self, form: Linear) -> Linear:
        """Return where something lies now."""
        return self.form(form)

    def form(self, form: Linear) -> Linear:
        """Return a linear form of its terms as they are now."""
        constant, total = form.constant, dict[Symbol | Operation | Load, int]()
        for term, factor in form.terms:
            now = self.symbol(term) if isinstance(term, Symbol) else self.value(term)
            new = None if isinstance(now, Symbol) or now is term else self.build.linear(now)
            if new is None:
                kept = now if isinstance(now, Symbol) else term
                total[kept] = total.get(kept, 0) + factor
                continue
            constant += new.constant * factor
            for part, times in new.terms:
                total[part] = total.get(part, 0) + times * factor
        return linear(constant, total)

    def symbol(self, symbol: Symbol) -> Value | Symbol:
        """Return what stands for a symbol in a form."""
        return symbol


class _Replacing(Rebuilding):
    """One replacement of symbols."""

    def __init__(self, build: Builder, known: Mapping[Symbol, Value]) -> None:
        super().__init__(build)
        self.known = known

    def value(self, value: Value) -> Value:
        return value if value.symbols.isdisjoint(self.known) else super().value(value)

    def form(self, form: Linear) -> Linear:
        return form if form.symbols.isdisjoint(self.known) else super().form(form)

    def symbol(self, symbol: Symbol) -> Value | Symbol:
        return self.known.get(symbol, symbol)

    def anew(self, value: Value) -> Value:
        if isinstance(value, Index) and len(value.value.terms) == 1 and not value.value.constant:
            term, factor = value.value.terms[0]
            if factor == 1 and isinstance(term, Symbol) and term in self.known:
                found, build = self.known[term], self.build
                return found if found.width == value.width else build.extract(
                    build.extend(found, value.width, signed=True), 0, value.width
                )  # fmt: skip
        return super().anew(value)


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
