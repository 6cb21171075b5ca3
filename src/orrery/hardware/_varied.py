"""Descriptions of machines in which values are changed by their path.

``levels.sram.size`` is the key ``size`` of that entry of ``levels:`` whose name is ``sram``; an
entry without a name goes by its number from 0. What is changed keeps its file and line, so that a
reader that refuses the new value says where it would stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml

from orrery.errors import SpecError, did_you_mean

from ._document import Item, parse
from ._records import System
from ._yaml import system_of
from .spatial import Architecture, architecture_of

#: keys by which entries of lists are named
_NAMES = ("name", "axis", "switch")

#: the source of a number that stands nowhere but in a sweep
_NAME = "varied"
_VARIED = parse(b"{basis: assumed, where: a sweep, note: a value that was varied}", _NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The description of an array or of a system, before it is read."""

    kind: Literal["array", "system"]
    root: Item

    def value(self, path: str) -> str | None:
        """Return what stands at a path as text; None where nothing does.

        Raises
        ------
        SpecError : the path leads nowhere; the nearest key or name is offered
        """
        holder, rest = _descend(self.root, path, path)
        found = _child(holder, rest)
        if found is None:
            return None
        return _flow(_plain(_scalar(found)))

    def changed(self, path: str, value: str) -> Description:
        """Return the same with another value at a path: text, or YAML such as ``[rows, cols]``.

        A table with a ``value:`` or a ``size:`` takes a text there. A key that is not there yet is
        added: whether there is such a key says the reader. Where the document has no source for
        what has none of its own, a new number's is that it was varied.

        Raises
        ------
        SpecError : the path leads nowhere; a value that is not YAML
        """
        new = parse(value.encode("utf-8", "surrogatepass"), f"--vary {path}={value}")
        root = _put(self.root, path, path, new)
        if "source" not in root.table():
            known = root.table().get("sources", replace(root, path="sources", data={}))
            source = replace(_VARIED, file=root.file, line=root.line)
            root = replace(root, data={
                **root.table(), "source": replace(source, path="source", data=_NAME),
                "sources": replace(known, data={**known.table(), _NAME: source}),
            })  # fmt: skip
        return replace(self, root=root)

    def architecture(self, *, loops: tuple[str, ...] = ()) -> Architecture:
        """Read it as a spatial accelerator; see `read_architecture`."""
        return architecture_of(self.root, loops=loops)

    def system(self, *, check_design: Callable[[str], object] | None = None) -> System:
        """Read it as a system; see `read_system`."""
        return system_of(self.root, check_design=check_design)

    @property
    def content(self) -> str:
        """Everything it says, on one line; equal for equal descriptions."""
        return json.dumps(_plain(self.root), ensure_ascii=False)

    @property
    def text(self) -> str:
        """The description as YAML, without the comments of the file that it came from."""
        return str(yaml.safe_dump(_plain(self.root), sort_keys=False, allow_unicode=True,
                                  default_flow_style=None, width=100))  # fmt: skip


def read_description(text: bytes | str, file: str) -> Description:
    """Return the description in a YAML text; `file` stands in messages.

    Raises
    ------
    SpecError : not YAML, or neither of an array nor of a system
    """
    root = parse(text.encode() if isinstance(text, str) else text, file)
    table = root.table()
    for kind, keys in (("system", ("devices",)), ("array", ("array", "levels"))):
        if any(key in table for key in keys):
            return Description(kind="array" if kind == "array" else "system", root=root)
    raise root.error(found=", ".join(table), wanted="`array:` and `levels:`, or `devices:`",
                     fix="see `orrery arrays NAME` and `orrery systems NAME`")  # fmt: skip


def _names(item: Item) -> dict[str, str | int]:
    """Return what may follow in a path -> key or number."""
    if isinstance(item.data, dict):
        return {key: key for key in item.data}
    if isinstance(item.data, str):
        return {}
    found: dict[str, str | int] = {}
    for number, entry in enumerate(item.data):
        table = entry.data if isinstance(entry.data, dict) else {}
        name = next((table[key].data for key in _NAMES if key in table), str(number))
        found[name if isinstance(name, str) else str(number)] = number
    return found


def _step(item: Item, rest: str) -> str | None:
    """Return the longest name with which the rest of a path begins: names may contain dots."""
    fitting = [name for name in _names(item) if rest == name or rest.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)


def _child(item: Item, name: str) -> Item | None:
    place = _names(item).get(name)
    if isinstance(item.data, dict) and isinstance(place, str):
        return item.data[place]
    return item.data[place] if isinstance(item.data, list) and isinstance(place, int) else None


def _descend(item: Item, rest: str, path: str) -> tuple[Item, str]:
    """Return what holds the end of a path, and that end: a key that may be new."""
    name = _step(item, rest)
    if name is None:
        if isinstance(item.data, dict) and "." not in rest:
            return item, rest
        known = list(_names(item))
        found = rest.partition(".")[0]
        wanted = f"one of {', '.join(known)}" if known else "nothing inside a value"
        raise SpecError(f"--vary {path}: {item.where}", found=found, wanted=wanted,
                        fix=f"correct the path{did_you_mean(found, known)}")  # fmt: skip
    child = _child(item, name)
    return (item, rest) if rest == name or child is None else _descend(
        child, rest[len(name) + 1 :], path)  # fmt: skip


def _put(item: Item, rest: str, path: str, value: Item) -> Item:
    name = _step(item, rest)
    if name is None:
        holder, key = _descend(item, rest, path)  # refuses what leads nowhere
        new = Item(
            file=item.file,
            path=f"{item.path}.{key}" if item.path else key,
            line=item.line,
            data=value.data,
        )
        return replace(holder, data={**holder.table(), key: new})
    child = _child(item, name)
    if child is None:
        raise TypeError(f"{path}: {name} is a name without an entry")
    new = (
        _set(child, path, value) if rest == name
        else _put(child, rest[len(name) + 1 :], path, value)
    )  # fmt: skip
    place = _names(item)[name]
    if isinstance(item.data, dict):
        return replace(item, data={**item.data, str(place): new})
    return replace(item, data=[new if old is child else old for old in item.items()])


def _scalar(item: Item) -> Item:
    """Return what a text would replace: the value or the size of a table that has one."""
    table = item.data if isinstance(item.data, dict) else {}
    return table.get("value") or table.get("size") or item


def _set(item: Item, path: str, value: Item) -> Item:
    old = _scalar(item)
    if isinstance(value.data, str) and old is not item:
        key = "value" if "value" in item.table() else "size"
        return replace(item, data={**item.table(), key: replace(old, data=value.data)})
    if isinstance(value.data, str) and isinstance(item.data, dict) and "table" not in item.data:
        keys = ", ".join(f"{path}.{key}" for key in item.data)
        raise SpecError(f"--vary {path}: {item.where}", found=f"{value.data!r} for a whole table",
                        wanted=f"one value of it: {keys}", fix="lengthen the path")  # fmt: skip
    return replace(item, data=value.data)


def _plain(item: Item) -> Any:
    if isinstance(item.data, str):
        return item.data
    if isinstance(item.data, list):
        return [_plain(entry) for entry in item.data]
    return {key: _plain(entry) for key, entry in item.data.items()}


def _flow(value: Any) -> str:
    """Return a value as one line that `Description.changed` takes."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return f"{{{', '.join(f'{key}: {_flow(entry)}' for key, entry in value.items())}}}"
