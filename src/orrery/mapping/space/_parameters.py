"""What is varied: a name, or several that move together, and the values they take.

Before and after::

    array.rows=16,32                                ("16",), ("32",)
    levels.sram.size=512KiB..2MiB*2                 ("512 KiB",), ("1024 KiB",), ("2048 KiB",)
    batch=1..9+4                                    ("1",), ("5",), ("9",)
    array.rows.size&array.rows.fixed.Cout=16,32     ("16", "16"), ("32", "32")
    array.rows&levels.sram.size=16:1MiB,32:2MiB     ("16", "1MiB"), ("32", "2MiB")
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from orrery.errors import SpecError
from orrery.units import DIMENSIONS

MOST_VALUES = 10_000
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\s\d.*+][^\s*+]*)?\s*")
_RANGE = re.compile(r"(.+?)\.\.(.+?)(?:([*+])([^*+]+))?")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One axis of a space of designs.

    Attributes
    ----------
    paths : what takes the values; several move together
    values : per value one text for every path
    """

    paths: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The paths as they are typed."""
        return "&".join(self.paths)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Every value as it is typed."""
        return tuple(value[0] if len(set(value)) == 1 else ":".join(value) for value in self.values)

    @cached_property
    def numbers(self) -> tuple[float, ...] | None:
        """The values of the first path in one unit; None where they are not all numbers."""
        return _numbers([value[0] for value in self.values])

    def around(self, base: tuple[str, ...]) -> tuple[Parameter, int]:
        """Return the parameter with a base among its values, and the base's place there."""
        for place, value in enumerate(self.values):
            if all(map(_same, value, base)):
                return self, place
        return replace(self, values=(base, *self.values)), 0


def read_parameter(text: str, *, where: str = "--vary") -> Parameter:
    """Read ``PATH=v1,v2,…``; paths that move together are joined with ``&``.

    A range is ``8..64*2`` (each twice the one before) or ``8..64+8``. Paths that move together
    take the same value, or one each: ``16:1MiB``.

    Raises
    ------
    SpecError : no path or no value, a value twice, a range without a step or one that never ends
    """
    names, equals, values = text.partition("=")
    paths = tuple(name.strip() for name in names.split("&"))
    at = f"{where} {text}"
    if not equals or not all(paths) or not values.strip():
        raise SpecError(at, found=text, wanted="PATH=VALUE,VALUE,…",
                        fix="write e.g. 'array.rows=16,32' or 'batch=1..8*2'")  # fmt: skip
    if len(set(paths)) < len(paths):
        raise SpecError(at, found=names, wanted="different paths", fix="remove one")
    found: list[tuple[str, ...]] = []
    for word in _words(values):
        found += [_each(value, paths, at) for value in _ranged(word, at)]
        if len(found) > MOST_VALUES:
            raise SpecError(at, found=f"over {MOST_VALUES} values", wanted="fewer",
                            fix="widen the step")  # fmt: skip
    parameter = Parameter(paths=paths, values=tuple(found))
    seen: set[tuple[str, ...]] = set()
    for label, key in zip(parameter.labels, _keys(found), strict=True):
        if key in seen:
            raise SpecError(at, found=f"{label} twice", wanted="each value once", fix="remove one")
        seen.add(key)
    return parameter


def _words(text: str) -> Iterator[str]:
    """Yield what stands between commas outside brackets."""
    depth, word = 0, ""
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            yield word.strip()
            word = ""
        else:
            word += letter
    yield word.strip()


def _each(value: str, paths: Sequence[str], where: str) -> tuple[str, ...]:
    if not value:
        raise SpecError(where, found="an empty value", wanted="a value between commas",
                        fix="remove a comma")  # fmt: skip
    if len(paths) == 1 or value[0] in "[{" or ":" not in value:
        return (value,) * len(paths)
    parts = tuple(part.strip() for part in value.split(":"))
    if len(parts) != len(paths):
        raise SpecError(where, found=value, wanted=f"one value, or {len(paths)} with : between",
                        fix="give one for each path")  # fmt: skip
    return parts


def _ranged(word: str, where: str) -> list[str]:
    match = _RANGE.fullmatch(word)
    ends = [_QUANTITY.fullmatch(end) for end in match.groups()[:2]] if match else []
    if match is None or None in ends:
        return [word]
    low, high = (end for end in ends if end is not None)
    if match[3] is None:
        raise SpecError(where, found=word, wanted="a range with a step",
                        fix=f"write {word}*2 or {word}+{low[1]}{low[2] or ''}")  # fmt: skip
    unit, step = low[2] or "", _QUANTITY.fullmatch(match[4])
    numbers = _numbers([low[0], high[0]])
    if numbers is None or step is None or (match[3] == "*" and step[2]):
        raise SpecError(where, found=word, wanted="two numbers of one unit and a step",
                        fix="write e.g. 512KiB..4MiB*2 or 8..64+8")  # fmt: skip
    scale = _numbers([low[0], f"{step[1]} {step[2] or ''}"]) if match[3] == "+" else (1.0, 1.0)
    factor = float(step[1])
    if scale is None or factor <= (1 if match[3] == "*" else 0) or numbers[0] > numbers[1]:
        raise SpecError(where, found=word, wanted="a range that rises, a step in its unit",
                        fix="write e.g. 512KiB..4MiB*2 or 512KiB..4MiB+512KiB")  # fmt: skip
    if numbers[0] <= 0 and match[3] == "*":
        raise SpecError(where, found=low[0], wanted="a range from above zero",
                        fix="add a step instead: +")  # fmt: skip
    first = float(low[1])
    last = first * numbers[1] / numbers[0] if numbers[0] else float(high[1])
    rise = scale[1] * first / scale[0] if scale[0] else factor
    values = [first]
    while len(values) <= MOST_VALUES:
        one = first * factor ** len(values) if match[3] == "*" else first + len(values) * rise
        if one > last * (1 + 1e-9):
            break
        values.append(one)
    return [f"{value:.12g}{' ' if unit else ''}{unit}" for value in values]


def _numbers(texts: Sequence[str]) -> tuple[float, ...] | None:
    """Return numbers in one unit; None where texts are no numbers, or of several dimensions."""
    found = [_QUANTITY.fullmatch(text) for text in texts]
    if any(match is None or not math.isfinite(float(match[1])) for match in found):
        return None
    pairs = [(float(match[1]), match[2] or "") for match in found if match is not None]
    if not any(unit for _, unit in pairs):
        return tuple(number for number, _ in pairs)
    for units in DIMENSIONS.values():
        if all(unit in units for _, unit in pairs):
            return tuple(number * units[unit] for number, unit in pairs)
    return None


def _keys(values: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return values such that equal ones are equal text, however their numbers are written."""
    columns = []
    for texts in zip(*values, strict=True):
        numbers = _numbers(texts)
        columns.append(
            [" ".join(text.split()) for text in texts] if numbers is None
            else [f"{number:.12g}" for number in numbers]
        )  # fmt: skip
    return list(zip(*columns, strict=True))


def _same(a: str, b: str) -> bool:
    if a.split() == b.split():
        return True
    numbers = _numbers([a, b])
    return numbers is not None and math.isclose(*numbers)
