"""Errors of all rooms: what they say survives the way from another process."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import orrery
from orrery.errors import OrreryError
from orrery.plan import Infeasible
from orrery.runtime.together._transfers import Copy

ROOT = Path(orrery.__file__).parent

VALUES: dict[str, Any] = {
    "str": "a", "object": 3, "int": 2, "float": 1.5, "Iterable[str]": ["a", "b"],
    "Sequence[str]": ["a", "b"],
    "dict[str, Sequence[str]]": {"Conv": ["n0"]}, "Mapping[str, object]": {"one": 1},
    "Infeasible": Infeasible(what="w", need=2, have=1, unit="B", remedies=("r",)),
    "Copy": Copy(tensor="t", source="a", target="b", size_bytes=4, step=0, lasting=False),
}  # fmt: skip


def modules() -> Iterator[str]:
    """Yield the modules that define an exception, by their sources."""
    for path in sorted(ROOT.rglob("*.py")):
        if re.search(r"^class \w+\(.*Error\b.*\):", path.read_text(), re.MULTILINE):
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def kinds(root: type[OrreryError]) -> Iterator[type[OrreryError]]:
    for kind in root.__subclasses__():
        if kind.__module__.startswith("orrery."):
            yield kind
        yield from kinds(kind)


def made(kind: type[OrreryError]) -> OrreryError:
    if kind.__init__ is Exception.__init__:
        return kind("said")
    given, named = [], {}
    for one in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        if one.kind is one.VAR_POSITIONAL:
            given.append("said")
        elif one.kind is one.KEYWORD_ONLY:
            named[one.name] = VALUES[str(one.annotation)]
        elif one.kind is not one.VAR_KEYWORD:
            given.append(VALUES[str(one.annotation)])
    return kind(*given, **named)


def test_every_error_survives_pickling() -> None:
    for module in modules():
        import_module(module)
    found = set(kinds(OrreryError))
    assert len(found) > 20
    for kind in found:
        error = made(kind)
        error.add_note("where it was")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            back = pickle.loads(pickle.dumps(error, protocol))
            assert type(back) is kind
            assert str(back) == str(error) != ""
            assert back.args == error.args
            assert vars(back) == vars(error)
