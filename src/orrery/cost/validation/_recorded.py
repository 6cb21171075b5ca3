"""The recorded sets: `sets.yaml`, written by `orrery validate --record` and never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from orrery.errors import SpecError
from orrery.store import encode, open_plain, strict_convert

from ._set import MOST_ROWS, ValidationRow, ValidationSet

_PLACE = Path(__file__).with_name("sets.yaml")
_HEAD = (
    "# Written by `orrery validate --record FILE`: our errors on every reference set.\n"
    "# Do not edit: correct the model or the study and record it anew.\n"
)
#: what is recorded of a row; its note is the study's to tell
_ROW = tuple(field.name for field in fields(ValidationRow) if field.name != "note")
#: digits that are recorded; a replay may differ in the last ones on another machine
_DIGITS = 7


@lru_cache(maxsize=1)
def recorded_sets() -> tuple[ValidationSet, ...]:
    """Return the sets that the package carries."""
    return read_sets(_PLACE)


def read_sets(path: Path) -> tuple[ValidationSet, ...]:
    """Read a file of sets.

    Raises
    ------
    SpecError : not such a file; an unknown key, a wrong type
    """
    with open_plain(path) as handle:
        text = handle.read()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        body = yaml.load(text, Loader=loader)  # a safe loader
    except yaml.YAMLError as error:
        raise SpecError(str(path), found=" ".join(str(error).split()), wanted="YAML",
                        fix="record it anew with orrery validate --record") from None  # fmt: skip
    for one in body if isinstance(body, list) else ():
        if isinstance(one, dict) and isinstance(one.get("rows"), list):
            one["rows"] = [dict(zip(_ROW, row, strict=False)) if isinstance(row, list) else row
                           for row in one["rows"]]  # fmt: skip
    return strict_convert(body, tuple[ValidationSet, ...], where=str(path))


def sets_text(sets: Sequence[ValidationSet]) -> str:
    """Return sets as the text of a file; of large sets the rows are left out."""
    body = []
    for one in sorted(sets, key=lambda s: s.name):
        kept = one if len(one.rows) <= MOST_ROWS else replace(one, rows=())
        plain: dict[str, Any] = encode(kept)
        plain = {key: _short(value) for key, value in plain.items() if value not in ("", [], ())}
        if kept.rows:
            plain["rows"] = [_Flow(_short(row[key]) for key in _ROW) for row in plain["rows"]]
        body.append(plain)
    return _HEAD + yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _short(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


class _Flow(list[Any]):
    """A row on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes rows on lines of their own."""


_Dumper.add_representer(
    _Flow, lambda dumper, row: dumper.represent_sequence("tag:yaml.org,2002:seq", row, True)
)
