"""Writing C: lines, loops and flat indices, and the table of operators that can be written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError
from orrery.graph import Node

from ._style import CStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A tensor that an operator reads or writes.

    Attributes
    ----------
    name : of the parameter in the C function
    shape : sizes, outermost first
    value : what it holds, of a constant
    """

    name: str
    shape: tuple[int, ...]
    value: NDArray[Any] | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def at(self, *indices: str) -> str:
        """Return the element at these indices, one an axis."""
        return f"{self.name}[{flat(indices, self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator to write: node, operands (None: left out) and the result."""

    node: Node
    inputs: tuple[Operand | None, ...]
    output: Operand

    def attribute(self, name: str, default: Any) -> Any:
        value = self.node.attributes.get(name)
        return default if value is None else value

    def input(self, index: int) -> Operand:
        """Return an operand that must be there."""
        found = self.optional(index)
        if found is None:
            raise ModelError(f"node {self.node.name!r}", found=f"no input {index}",
                             wanted="one", fix="correct the network")  # fmt: skip
        return found

    def optional(self, index: int) -> Operand | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def values(self, index: int, attribute: str = "") -> tuple[Any, ...] | None:
        """Return constants given as an input, or as an attribute in older files."""
        operand = self.optional(index)
        if operand is not None:
            if operand.value is None:
                raise self.refusal(f"input {index} that only running can tell")
            return tuple(operand.value.reshape(-1).tolist())
        value = self.node.attributes.get(attribute) if attribute else None
        return None if value is None else tuple(value)

    def refusal(self, found: str) -> ModelError:
        """Return the error that says what this generator does not write."""
        return ModelError(f"node {self.node.name!r} ({self.node.operator}) as C", found=found,
                          wanted="a form that the generator writes",
                          fix="build it with another compiler")  # fmt: skip


@dataclass(slots=True)
class Writer:
    """Lines of C, indented."""

    lines: list[str] = field(default_factory=list)
    depth: int = 0

    def line(self, text: str = "") -> None:
        self.lines.append("    " * self.depth + text if text else "")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write ``head { … }``."""
        self.line(f"{head} {{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    @contextmanager
    def loops(self, names: Sequence[str], extents: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """Write nested loops; yields their counters, ``0`` where there is only one turn."""
        counters, depth = [], 0
        for name, extent in zip(names, extents, strict=True):
            if extent == 1:
                counters.append("0")
                continue
            self.line(f"for (int {name} = 0; {name} < {extent}; {name}++) {{")
            self.depth += 1
            depth += 1
            counters.append(name)
        yield tuple(counters)
        for _ in range(depth):
            self.depth -= 1
            self.line("}")


Emitter = Callable[[Writer, Step, CStyle], None]

#: operator -> what writes the body of its function
EMITTERS: dict[str, Emitter] = {}


def emitter(*operators: str) -> Callable[[Emitter], Emitter]:
    """Enter a function into the table."""

    def enter(function: Emitter) -> Emitter:
        for operator in operators:
            EMITTERS[operator] = function
        return function

    return enter


def flat(indices: Sequence[str], shape: Sequence[int]) -> str:
    """Return the flat index of a row-major array.

    >>> flat(("n", "0", "y + 1"), (2, 3, 4))
    'n * 12 + y + 1'
    """
    parts, stride = [], 1
    for index, size in zip(reversed(tuple(indices)), reversed(tuple(shape)), strict=True):
        if index != "0":
            simple = re.fullmatch(r"\w+", index)
            if stride == 1:
                parts.append(index)
            else:
                parts.append(f"{index if simple else f'({index})'} * {stride}")
        stride *= size
    return " + ".join(reversed(parts)) or "0"


def number(value: float) -> str:
    """Return a float32 as C text that reads back bit by bit.

    >>> number(1.0), number(0.1), number(float("-inf"))
    ('1.0f', '0.100000001f', '-INFINITY')
    """
    single = float(np.float32(value))
    if math.isnan(single):
        return "NAN"
    if math.isinf(single):
        return "INFINITY" if single > 0 else "-INFINITY"
    text = f"{single:.9g}"
    return f"{text if re.search('[.e]', text) else text + '.0'}f"
