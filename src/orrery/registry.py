"""Names before objects: a registry maps a name to a place and loads it when asked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .errors import UnknownNameError

__all__ = ["Registry"]


class Registry:
    """A read-only map from a name to ``"package.module:attribute"``, loaded on first use.

    >>> Registry("codec", {"json": "json:dumps"})["json"]([1])
    '[1]'
    """

    def __init__(self, kind: str, *tables: Mapping[str, str]) -> None:
        """Join the tables; a name that two of them define is refused, both places named."""
        self.kind = kind
        self._places: dict[str, str] = {}
        for table in tables:
            for name, place in table.items():
                if name in self._places:
                    raise ValueError(
                        f"{kind} {name!r} is defined twice: {self._places[name]} and {place}"
                    )
                self._places[name] = place

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order they were registered."""
        return tuple(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> Any:
        """Load and return what the name stands for.

        Raises
        ------
        UnknownNameError : no such name; lists the known ones and offers the nearest
        """
        if name not in self._places:
            raise UnknownNameError(self.kind, name, self._places)
        module, _, attribute = self._places[name].partition(":")
        return getattr(import_module(module), attribute)
