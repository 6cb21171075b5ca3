"""The syntax of Liberty: groups, attributes, pairs; what the words mean is not known here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orrery.errors import SpecError


@dataclass(slots=True)
class Group:
    """``name (arguments) { … }``.

    Attributes
    ----------
    attributes : of ``name : value ;``
    pairs : of ``name (values) ;``
    groups : within, in order
    """

    name: str
    arguments: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def named(self, name: str) -> Iterator[Group]:
        """Yield the groups of this name."""
        return (group for group in self.groups if group.name == name)

    def text(self, name: str) -> str | None:
        """Return the value of an attribute, without quotes, or None."""
        return self.attributes.get(name)


#: Groups that nothing here reads; they are most of a large library.
_SKIPPED = frozenset({
    "internal_power", "leakage_power", "power_lut_template", "ccsn_first_stage", "ccsn_last_stage",
    "output_current_rise", "output_current_fall", "receiver_capacitance", "operating_conditions",
    "receiver_capacitance1_rise", "receiver_capacitance1_fall", "receiver_capacitance2_rise",
    "receiver_capacitance2_fall", "dc_current", "normalized_driver_waveform", "wire_load",
})  # fmt: skip

_BLANK = re.compile(r"(?:\s|\\\r?\n|/\*.*?\*/|//[^\n]*|;)*", re.DOTALL)
_HEAD = re.compile(r"([A-Za-z_][\w.]*)(?:\s|\\\r?\n)*(\(|:)")
_VALUE = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^;\n}"]*))', re.DOTALL)
_ARGUMENTS = re.compile(r'((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)', re.DOTALL)
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s,"\\]+)', re.DOTALL)
_BRACE = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|[{}]', re.DOTALL)


def read_groups(text: str, *, where: str) -> Group:
    """Read the one outermost group of a text.

    Raises
    ------
    SpecError : not of this syntax; the line is named
    """
    reader = _Reader(text, where)
    top = reader.statement()
    if not isinstance(top, Group):
        raise reader.wrong(0)
    reader.blank()
    if reader.at != len(text):
        raise reader.wrong(reader.at)
    return top


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.at = text, where, 0

    def wrong(self, at: int) -> SpecError:
        line = self.text.count("\n", 0, at) + 1
        rest = self.text[at : at + 60].partition("\n")[0].strip()
        return SpecError(
            f"{self.where}: line {line}", found=rest or "the end of the file",
            wanted="a Liberty library: library (name) { … } of groups and attributes",
            fix="give a Liberty file, or correct this line",
        )  # fmt: skip

    def blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def statement(self) -> Group | tuple[str, str] | tuple[str, tuple[str, ...]] | None:
        """Read one statement; None for a group that is skipped."""
        self.blank()
        start = self.at
        head = _HEAD.match(self.text, start)
        if head is None:
            raise self.wrong(start)
        name = head[1]
        if head[2] == ":":
            value = _VALUE.match(self.text, head.end())
            if value is None:
                raise self.wrong(start)
            self.at = value.end()
            quoted = value[1]
            return name, (_joined(quoted) if quoted is not None else value[2].strip())
        inner = _ARGUMENTS.match(self.text, head.end())
        if inner is None:
            raise self.wrong(start)
        self.at = inner.end()
        arguments = tuple(
            _joined(one) if one or not other else other
            for one, other in _ARGUMENT.findall(inner[1])
        )
        self.blank_before_brace()
        if not self.text.startswith("{", self.at):
            return name, arguments
        self.at += 1
        if name in _SKIPPED:
            self.skip(start)
            return None
        return self.body(Group(name, arguments), start)

    def blank_before_brace(self) -> None:
        """Pass blanks, but no semicolon: ``name (values);`` and ``name (values) {`` differ."""
        at = self.at
        self.blank()
        if ";" in self.text[at : self.at] and self.text.startswith("{", self.at):
            raise self.wrong(self.at)

    def body(self, group: Group, start: int) -> Group:
        while True:
            self.blank()
            if self.text.startswith("}", self.at):
                self.at += 1
                return group
            if self.at >= len(self.text):
                raise self.wrong(start)
            found = self.statement()
            if isinstance(found, Group):
                group.groups.append(found)
            elif found is not None and isinstance(found[1], str):
                group.attributes[found[0]] = found[1]
            elif found is not None:
                group.pairs[found[0]] = found[1]

    def skip(self, start: int) -> None:
        depth = 1
        for match in _BRACE.finditer(self.text, self.at):
            depth += {"{": 1, "}": -1}.get(match[0], 0)
            if depth == 0:
                self.at = match.end()
                return
        raise self.wrong(start)


def _joined(quoted: str) -> str:
    """Join the lines of a text that a backslash continues."""
    return re.sub(r"\\\r?\n\s*", " ", quoted)
