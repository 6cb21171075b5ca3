"""The settings of a search: one frozen dataclass, from which everything else derives.

A field's meaning stands in its ``metadata["help"]`` (use `setting`); its YAML reader, command-line
flag, help text and the record in the result file all come from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .errors import SpecError
from .store import encode, open_plain, strict_convert

__all__ = ["describe", "read_settings", "require", "setting", "to_record"]

T = TypeVar("T")


def setting(default: Any, help: str) -> Any:
    """Return a dataclass field with a default and one sentence of help."""
    return field(default=default, metadata={"help": help})


def require(where: str, settings: Any, **wanted: tuple[str, bool]) -> None:
    """Refuse settings that are not as wanted.

    Parameters
    ----------
    wanted : by name of a setting: what it should be, in words, and whether it is

    Raises
    ------
    SpecError : the first that is not
    """
    for name, (text, right) in wanted.items():
        if not right:
            raise SpecError(f"{where}: {name}", found=getattr(settings, name), wanted=text,
                            fix="correct the setting")  # fmt: skip


def describe(type_: type[Any]) -> dict[str, tuple[Any, str]]:
    """Return per field of a settings class its default and its help."""
    if not is_dataclass(type_):
        raise TypeError(f"{type_!r} is not a dataclass")
    return {f.name: (f.default, str(f.metadata.get("help", ""))) for f in fields(type_)}


def read_settings(path: Path, type_: type[T]) -> T:
    """Read settings from a YAML file; unknown keys and wrong types are refused.

    Raises
    ------
    SpecError : with the key, what was found and the nearest known key
    """
    try:
        with open_plain(path) as handle:
            body = yaml.safe_load(handle.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise SpecError(
            str(path), found=found, wanted="a YAML file", fix="correct the file"
        ) from None
    if body is None:
        body = {}
    return strict_convert(body, type_, where=str(path))


def to_record(settings: Any) -> Mapping[str, str | int | float | bool]:
    """Return settings as plain data for the result file."""
    record = encode(settings)
    if not isinstance(record, dict):
        raise TypeError(f"{settings!r} is not a settings record")
    return record
