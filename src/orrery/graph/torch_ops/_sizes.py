"""Arithmetic on sizes that are not bound yet; each is a one-element int64 tensor."""

from __future__ import annotations

from dataclasses import replace

from ._translation import Operand, Translation, Value, translates


@translates("sym_size.int")
def sym_size(t: Translation, x: Value, dim: int) -> Operand:
    return t.size_of(x, dim)


@translates("sym_numel")
def sym_numel(t: Translation, x: Value) -> Value:
    return t.reshape(t.op("Size", x), [1])


def size_arithmetic(t: Translation, name: str, *operands: Operand, text: str) -> Value:
    """Translate Python arithmetic on sizes; `text` names the result."""
    values = [t.size_operand(operand) for operand in operands]
    onnx = {
        "add": "Add", "sub": "Sub", "mul": "Mul", "floordiv": "Div", "mod": "Mod",
        "sym_max": "Max", "sym_min": "Min", "neg": "Neg", "pow": "Pow", "sym_sum": "Sum",
    }[name]  # fmt: skip
    if name == "sym_sum":
        found = values[0]
        for value in values[1:]:
            found = t.op("Add", found, value)
    else:
        found = t.op(onnx, *values)
    return replace(found, size=text)
