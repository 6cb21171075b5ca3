"""What all readers of machine descriptions share: sources, options, quantities, names.

A quantity is text with a unit, ``{value, source}``, or ``$option``; it takes the source nearest to
it: its own, that of its block, of a block around it, of the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orrery.errors import SpecError, did_you_mean
from orrery.provenance import Basis, Source
from orrery.units import indefinite, read_quantity

from ._document import Item

R = TypeVar("R")

_NAME = re.compile(r"[^\W_][\w.:+-]{0,199}")  # letters of any alphabet


class SourcedReader:
    """One pass over one document; its `sources` and `options` are read before the rest.

    Parameters
    ----------
    given : values of the document's options that the user chose
    """

    root: Item
    sources: dict[str, Source]
    options: dict[str, tuple[str, Item | None]]
    given: dict[str, str]

    def _sources(self, item: Item | None) -> dict[str, Source]:
        found = {}
        for name, entry in (item.table() if item else {}).items():
            table = entry.keys(("basis", "where", "note"), required=("basis", "where"))
            bases = {basis.value: basis for basis in Basis}
            basis = table["basis"].text()
            if basis not in bases:
                raise table["basis"].error(wanted=f"one of {', '.join(bases)}",
                    fix=f"correct the basis{did_you_mean(basis, bases)}")  # fmt: skip
            note = table["note"].text() if "note" in table else ""
            where = table["where"].text()
            if not where.strip():
                raise table["where"].error(wanted="a document, a machine or a formula",
                                           fix="say where the number comes from")  # fmt: skip
            if bases[basis] is Basis.ASSUMED and not note.strip():
                raise entry.error(found="an assumed source without a note",
                                  wanted="why it is plausible", fix="add `note:`")  # fmt: skip
            found[name] = Source(basis=bases[basis], where=where, note=note)
        return found

    def _source(self, item: Item | None) -> Source | None:
        if item is None:
            return None
        name = item.text("the name of a source")
        if name not in self.sources:
            near = did_you_mean(name, self.sources)
            raise item.error(wanted=f"one of {', '.join(self.sources) or '(no sources)'}",
                             fix=f"add it under `sources:`{near}")  # fmt: skip
        return self.sources[name]

    def _options(
        self, item: Item | None, given: dict[str, str]
    ) -> dict[str, tuple[str, Item | None]]:
        known: dict[str, tuple[str, Item | None]] = {}
        for name, entry in (item.table() if item else {}).items():
            table = entry.keys(("default", "source", "help"), required=("default", "help"))
            known[name] = (table["default"].text(), table.get("source"))
        for name, value in given.items():
            if name not in known:
                raise SpecError(
                    f"{self.root.file}: option {name!r}", found=f"unknown option {name!r}",
                    wanted=f"one of {', '.join(known) or '(this system has no options)'}",
                    fix=f"correct it{did_you_mean(name, known)}")  # fmt: skip
            known[name] = (value, None)
        return known

    # -- numbers --------------------------------------------------------------------------------

    def _quantity(
        self, item: Item, dimension: str, zero: bool, default: Source | None
    ) -> tuple[float, Source]:
        """Read ``"24 GB/s"``, ``"$option"`` or ``{value: …, source: …}``."""
        source = default
        if isinstance(item.data, dict):
            table = item.keys(("value", "source"), required=("value",))
            source = self._source(table.get("source")) or default
            item = table["value"]
        text = item.text(f"{indefinite(dimension)} with a unit, as text")
        if text.startswith("$"):
            option = text[1:]
            if option not in self.options:
                raise item.error(wanted=f"one of {', '.join(self.options) or '(no options)'}",
                                 fix="add it under `options:`")  # fmt: skip
            text, named = self.options[option]
            source = self._source(named) or source
            if option in self.given:
                source = Source(basis=Basis.ASSUMED, where=f"option {option}={text}",
                                note="given by the user")  # fmt: skip
        value = read_quantity(text, dimension, where=item.where, zero_allowed=zero)
        if source is None:
            raise item.error(found="a number without a source", wanted="a source for every number",
                             fix="add `source:` here, on the block or on the document")  # fmt: skip
        return value, source

    def _make(self, item: Item, record: Callable[..., R], values: Mapping[str, Any]) -> R:
        """Build a record; what it refuses by itself gets this file and line."""
        try:
            return record(**values)
        except SpecError as error:
            if error.where.startswith(item.file):
                raise
            raise SpecError(f"{item.where}: {error.where}", found=error.found, wanted=error.wanted,
                            fix=error.fix) from None  # fmt: skip

    def _name(self, item: Item) -> str:
        text = item.text("a name")
        if not _NAME.fullmatch(text):
            raise item.error(wanted="a name of letters, digits and _ . : + -", fix="rename it")
        return text
