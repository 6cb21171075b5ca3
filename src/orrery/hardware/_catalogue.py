"""The catalogue of systems that ship with the program, by name.

A name may carry options in brackets, as text with units: ``h2h(link_bandwidth=0.5 GB/s)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orrery.errors import SpecError, UnknownNameError

from ._document import parse
from ._records import System
from ._yaml import read_system

#: The name of the machine at hand; `runtime` measures it, so whoever wants it hands a probe in.
THIS_MACHINE = "this-machine"

_FOLDER = Path(__file__).parent / "catalogue"
_CALL = re.compile(r"([A-Za-z0-9][\w.+-]*)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A line of ``orrery systems``; `options` maps an option to its default and help."""

    name: str
    description: str
    devices: int
    options: Mapping[str, str]


def system_names() -> tuple[str, ...]:
    """Return the names of all catalogue systems, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def catalogue() -> tuple[CatalogueEntry, ...]:
    """Return name, description, number of devices and options of every catalogue system."""
    entries = []
    for name in system_names():
        path = _FOLDER / f"{name}.yaml"
        system = _load(path, ())
        tree = parse(path.read_bytes(), str(path)).table()
        options = {
            key: f"{entry.table()['help'].text()} (default {entry.table()['default'].text()})"
            for key, entry in (tree["options"].table() if "options" in tree else {}).items()
        }
        entries.append(CatalogueEntry(name=name, description=system.description,
                                      devices=len(system.devices), options=options))  # fmt: skip
    return tuple(entries)


def load_system(
    name: str | Path, *, probes: Mapping[str, Callable[[], System]] | None = None,
    check_design: Callable[[str], object] | None = None,
) -> System:  # fmt: skip
    """Return a system from a YAML file or, by name, from the catalogue.

    Parameters
    ----------
    name : a path (anything that ends in ``.yaml`` or ``.yml``, or contains a separator), or a
        catalogue name with options in brackets, e.g. ``aws-f1`` or
        ``h2h(link_bandwidth=0.5 GB/s)``
    probes : names that a function answers, e.g. ``{"this-machine": probe}``; measuring is not done
        here
    check_design : raises for a text of a file that names no accelerator design

    Raises
    ------
    UnknownNameError : no such name; lists the known ones and offers the nearest
    SpecError : a file that cannot be read as a system, or options that do not fit
    """
    probes = probes or {}
    text = str(name)
    if isinstance(name, Path) or text.endswith((".yaml", ".yml")) or "/" in text.partition("(")[0]:
        return read_system(Path(name), check_design=check_design)
    if text in probes:
        return probes[text]()
    match = _CALL.fullmatch(text)
    known = system_names()
    if match is None or match[1] not in known:
        raise UnknownNameError("system", match[1] if match else text, (*known, *probes))
    return _load(_FOLDER / f"{match[1]}.yaml", _options(text, match[2] or ""))


@lru_cache(maxsize=64)
def _load(path: Path, options: tuple[tuple[str, str], ...]) -> System:
    # Records are immutable, so one object may serve everybody.
    return read_system(path, dict(options))


def _options(call: str, text: str) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        value = value.strip("\"'").strip()
        if not equals or not key or not value:
            raise SpecError(f"system {call!r}", found=part, wanted="option=value",
                            fix="write e.g. h2h(link_bandwidth=0.5 GB/s)")  # fmt: skip
        if key in options:
            raise SpecError(f"system {call!r}", found=f"{key!r} twice", wanted="each option once",
                            fix="remove one")  # fmt: skip
        options[key] = value
    return tuple(sorted(options.items()))
