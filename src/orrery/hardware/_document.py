"""YAML text as a tree that remembers lines; everything dangerous or ambiguous is refused here.

No anchors, aliases, tags, merges, duplicate keys, second documents or deep nesting: a description
of a machine needs none of them, and a hostile file lives on them. A foreign format may have tags of
its own, which are named to `parse` and kept as text, and aliases, written out up to the same
limits as what is written out by hand. Every scalar stays text, so that
YAML's own idea of numbers (octal, sexagesimal, ``1_000``) never reaches a quantity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from orrery.errors import SpecError, did_you_mean
from orrery.store import open_plain
from orrery.units import indefinite

_MOST_BYTES = 1 << 20
_MOST_EVENTS = 50_000
_DEEPEST = 24
#: Control characters and halves of surrogate pairs: they have no place in names and break output.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A piece of a document: text, a list of items or a table of items.

    `path` is dotted from the top, e.g. ``devices[0].compute.macs``; `line` counts from one; `tag`
    is empty but for formats that have tags.
    """

    file: str
    path: str
    line: int
    data: str | list[Item] | dict[str, Item]
    tag: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}: {self.path or 'top level'}"

    def error(self, *, wanted: str, fix: str, found: object = None) -> SpecError:
        return SpecError(
            self.where, found=self.shown if found is None else found, wanted=wanted, fix=fix
        )

    @property
    def shown(self) -> str:
        """What stands there, short, for messages."""
        if isinstance(self.data, str):
            return self.data
        return f"a {'list' if isinstance(self.data, list) else 'table'} of {len(self.data)}"

    def text(self, wanted: str = "text") -> str:
        if not isinstance(self.data, str):
            raise self.error(wanted=wanted, fix="write one value")
        return self.data

    def items(self, wanted: str = "a list") -> list[Item]:
        if not isinstance(self.data, list):
            raise self.error(wanted=wanted, fix="write a list: [a, b]")
        return self.data

    def table(self, wanted: str = "a table") -> dict[str, Item]:
        if not isinstance(self.data, dict):
            raise self.error(wanted=wanted, fix="write `key: value` lines")
        return self.data

    def keys(self, known: Iterable[str], *, required: Iterable[str] = ()) -> dict[str, Item]:
        """Return the table after refusing unknown and missing keys."""
        table, allowed = self.table(), tuple(known)
        for key, item in table.items():
            if key not in allowed:
                raise SpecError(
                    item.where, found=f"unknown key {key!r}",
                    wanted=f"one of {', '.join(allowed)}",
                    fix=f"remove or correct it{did_you_mean(key, allowed)}",
                )  # fmt: skip
        self.require(table, *required)
        return table

    def require(self, table: Mapping[str, Item], *keys: str) -> None:
        """Refuse a table of this item that lacks a key."""
        for key in keys:
            if key not in table:
                raise self.error(found=f"no {key!r}", wanted=f"a {key}", fix=f"add `{key}:`")

    def boolean(self) -> bool:
        if self.data not in ("true", "false"):
            raise self.error(wanted="true or false", fix="write true or false")
        return self.data == "true"

    def whole(self, least: int, most: int) -> int:
        """Return a whole number in a range; text such as ``8`` without a unit."""
        data = self.data
        digits = isinstance(data, str) and data.isascii() and data.isdigit() and len(data) < 10
        if not (isinstance(data, str) and digits) or not least <= int(data) <= most:
            raise self.error(wanted=f"a whole number, {least} to {most}", fix="correct the number")
        return int(data)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, one more at most than `parse` accepts.

    Raises
    ------
    SpecError : a file that cannot be read
    """
    try:
        with open_plain(path) as handle:
            return handle.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(str(path), found=error.strerror or str(error), wanted="a readable file",
                        fix="check the path") from None  # fmt: skip


def parse(
    raw: bytes, file: str, *, tags: tuple[str, ...] = (), aliases: bool = False,
    kind: str = "system",
) -> Item:  # fmt: skip
    """Turn the bytes of a YAML file into a tree; of tags, only those given are accepted.

    Parameters
    ----------
    kind : what the file is to describe, for messages: ``system``, ``array``

    Raises
    ------
    SpecError : not UTF-8, not YAML, too large, or something this reader does not accept
    """
    if len(raw) > _MOST_BYTES:
        raise SpecError(file, found=f"{len(raw)} bytes", wanted=f"at most {_MOST_BYTES} bytes",
                        fix=f"give the description of {indefinite(kind)}")  # fmt: skip
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(file, found=f"byte {error.start} is not UTF-8", wanted="UTF-8 text",
                        fix="save the file as UTF-8") from None  # fmt: skip
    try:
        _screen(text, file, tags, aliases)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise SpecError(f"{file}{line}", found=problem, wanted="valid YAML",
                        fix="correct the syntax") from None  # fmt: skip
    if node is None:
        raise SpecError(file, found="an empty file",
                        wanted=f"the description of {indefinite(kind)}",
                        fix=f"see `orrery {kind}s` for examples")  # fmt: skip
    return _Tree(file).item(node, "", 0)


def _screen(text: str, file: str, tags: tuple[str, ...], aliases: bool) -> None:
    """Walk the events (flat, no recursion) and stop at the first thing that is not accepted."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        where = f"{file}:{event.start_mark.line + 1 if event.start_mark else 1}"
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor and not aliases:
            kind = "alias" if isinstance(event, yaml.AliasEvent) else "anchor"
            raise SpecError(where, found=f"a YAML {kind} {anchor!r}",
                            wanted="no anchors and aliases",
                            fix="use `count:` or write it out")  # fmt: skip
        if tag and tag not in tags:
            raise SpecError(where, found=f"a YAML tag {tag!r}", wanted="plain values",
                            fix="remove the tag")  # fmt: skip
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            raise SpecError(where, found="a second document", wanted="one document per file",
                            fix="split the file")  # fmt: skip
        if depth > _DEEPEST or number > _MOST_EVENTS:
            found = f"nesting deeper than {_DEEPEST}" if depth > _DEEPEST else "too many entries"
            raise SpecError(where, found=found, wanted="the description of a system",
                            fix="simplify the file")  # fmt: skip


class _Tree:
    """Items of a document; nodes that aliases repeat are counted as often as they are repeated."""

    def __init__(self, file: str) -> None:
        self.file, self.count = file, 0

    def item(self, node: yaml.Node, path: str, depth: int) -> Item:
        """Return a node with all below it."""
        file, line = self.file, node.start_mark.line + 1
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST_EVENTS:
            found = "too many entries, aliases written out"
            if depth > _DEEPEST:
                found = f"aliases nested deeper than {_DEEPEST}, or an alias within its own anchor"
            raise SpecError(f"{file}:{line}", found=found, wanted="the description of a system",
                            fix="simplify the file")  # fmt: skip
        tag = node.tag if node.tag.startswith("!") else ""
        if isinstance(node, yaml.ScalarNode):
            value = str(node.value)
            item = Item(file=file, path=path, line=line, data=value, tag=tag)
            if _UNSAFE.search(value):
                raise item.error(found=ascii(value), wanted="printable text",
                                 fix="remove the control characters")  # fmt: skip
            if node.tag == "tag:yaml.org,2002:null":
                raise item.error(found="nothing", wanted="a value",
                                 fix="write one, or remove the key (absent = unknown)")  # fmt: skip
            return item
        if isinstance(node, yaml.SequenceNode):
            rows = [
                self.item(child, f"{path}[{i}]", depth + 1) for i, child in enumerate(node.value)
            ]
            return Item(file=file, path=path, line=line, data=rows, tag=tag)
        table: dict[str, Item] = {}
        for key_node, child in node.value:
            at = f"{file}:{key_node.start_mark.line + 1}: {path or 'top level'}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(at, found="a list or table as a key", wanted="a name as key",
                                fix="write `key: value`")  # fmt: skip
            key = str(key_node.value)
            if _UNSAFE.search(key):
                raise SpecError(
                    at, found=ascii(key), wanted="a printable key", fix="correct the key"
                )
            if key in table:
                first = table[key].line
                raise SpecError(at, found=f"key {key!r} twice", wanted="each key once",
                                fix=f"remove one (the first is in line {first})")  # fmt: skip
            inner = self.item(child, f"{path}.{key}" if path else key, depth + 1)
            # A block starts on the line after its key; the key's line is the one to show.
            table[key] = Item(file=inner.file, path=inner.path, line=key_node.start_mark.line + 1,
                              data=inner.data, tag=inner.tag)  # fmt: skip
        return Item(file=file, path=path, line=line, data=table, tag=tag)
