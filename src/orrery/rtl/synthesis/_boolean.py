"""The Boolean expressions of Liberty files: parse, evaluate, write as Verilog."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from orrery.errors import SpecError

#: ``("name", pin)``, ``("const", 0 or 1)``, ``("!", a)``, ``("&" | "|" | "^", a, b)``
Expression = tuple[Any, ...]

_TOKEN = re.compile(r"\s*(?:([A-Za-z_][\w\[\]]*)|([01])|([!'&*|+^()]))")


def parse(text: str, *, where: str) -> Expression:
    """Parse a Liberty function; binding, tightest first: ``! '``, ``^``, AND, OR.

    AND is ``&``, ``*`` or a blank between operands; OR is ``|`` or ``+``.

    Raises
    ------
    SpecError : not such an expression
    """
    tokens: list[str] = []
    position, stripped = 0, text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise _wrong(text, where)
        tokens.append(match[1] or match[2] or match[3])
        position = match.end()
    found, rest = _sum(tokens, 0, text, where)
    if rest != len(tokens):
        raise _wrong(text, where)
    return found


def _wrong(text: str, where: str) -> SpecError:
    return SpecError(
        where, found=text, wanted="a Boolean expression of pins with ! ' & * | + ^ ( )",
        fix="correct the function in the Liberty file",
    )  # fmt: skip


def _sum(tokens: Sequence[str], at: int, text: str, where: str) -> tuple[Expression, int]:
    left, at = _product(tokens, at, text, where)
    while at < len(tokens) and tokens[at] in "|+":
        right, at = _product(tokens, at + 1, text, where)
        left = ("|", left, right)
    return left, at


def _product(tokens: Sequence[str], at: int, text: str, where: str) -> tuple[Expression, int]:
    left, at = _difference(tokens, at, text, where)
    while at < len(tokens) and tokens[at] not in "|+)^'":
        skip = 1 if tokens[at] in "&*" else 0
        right, at = _difference(tokens, at + skip, text, where)
        left = ("&", left, right)
    return left, at


def _difference(tokens: Sequence[str], at: int, text: str, where: str) -> tuple[Expression, int]:
    left, at = _factor(tokens, at, text, where)
    while at < len(tokens) and tokens[at] == "^":
        right, at = _factor(tokens, at + 1, text, where)
        left = ("^", left, right)
    return left, at


def _factor(tokens: Sequence[str], at: int, text: str, where: str) -> tuple[Expression, int]:
    if at >= len(tokens):
        raise _wrong(text, where)
    token = tokens[at]
    if token == "!":
        inner, at = _factor(tokens, at + 1, text, where)
        return ("!", inner), at
    if token == "(":
        found, at = _sum(tokens, at + 1, text, where)
        if at >= len(tokens) or tokens[at] != ")":
            raise _wrong(text, where)
    elif token in "01":
        found = ("const", int(token))
    elif token[0].isalpha() or token[0] == "_":
        found = ("name", token)
    else:
        raise _wrong(text, where)
    at += 1
    while at < len(tokens) and tokens[at] == "'":
        found, at = ("!", found), at + 1
    return found, at


def names_in(expression: Expression) -> tuple[str, ...]:
    """Return the names in the order in which they first stand."""
    if expression[0] == "name":
        return (expression[1],)
    if expression[0] == "const":
        return ()
    found: dict[str, None] = {}
    for part in expression[1:]:
        found |= dict.fromkeys(names_in(part))
    return tuple(found)


def evaluate(expression: Expression, values: Mapping[str, int]) -> int:
    """Return 0 or 1."""
    kind = expression[0]
    if kind == "name":
        return values[expression[1]]
    if kind == "const":
        return int(expression[1])
    first = evaluate(expression[1], values)
    if kind == "!":
        return 1 - first
    second = evaluate(expression[2], values)
    return first & second if kind == "&" else first | second if kind == "|" else first ^ second


def truth_table(expression: Expression, pins: Sequence[str]) -> tuple[int, ...]:
    """Return the value for every input; the last pin changes fastest."""
    return tuple(
        evaluate(expression, dict(zip(pins, bits, strict=True)))
        for bits in product((0, 1), repeat=len(pins))
    )


def verilog(expression: Expression) -> str:
    """Return the expression as Verilog, fully bracketed."""
    kind = expression[0]
    if kind == "name":
        return str(expression[1])
    if kind == "const":
        return f"1'b{expression[1]}"
    if kind == "!":
        return f"~{verilog(expression[1])}"
    return f"({verilog(expression[1])} {kind} {verilog(expression[2])})"
