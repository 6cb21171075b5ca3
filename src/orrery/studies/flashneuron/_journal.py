"""What an interrupted study has measured already.

Models:  a file of lines, one per measurement, for this machine and these sources; it goes when the
         study is whole, so that a study conducted again measures again.
Judge:   tests/studies/flashneuron/test_journal.py: a study that was stopped repeats nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from orrery.errors import SpecError
from orrery.runtime import describe_machine
from orrery.store import cache_folder, content_hash, encode, strict_convert

T = TypeVar("T")

_ROOT = Path(__file__).parents[2]
_PARTS = (
    "runtime/direct_io",
    "runtime/moving",
    "runtime/offload",
    "runtime/remaking",
    "runtime/training",
    "mapping/offload",
    "studies/flashneuron",
)


class Journal:
    """Measurements by what was asked.

    Parameters
    ----------
    folder : None is the user's cache
    """

    def __init__(self, folder: Path | None = None) -> None:
        sources = [p for part in _PARTS for p in sorted((_ROOT / part).rglob("*.py"))]
        digest = content_hash(describe_machine().summary, *(p.read_bytes() for p in sources))
        self.path = (folder or cache_folder()) / "studies" / f"flashneuron-{digest[:16]}.jsonl"
        self._known: dict[str, Any] = {}
        self.taken = 0
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(ValueError, KeyError):  # cut off when it was stopped
                    row = json.loads(line)
                    self._known[row["asked"]] = row["found"]

    def recall(self, asked: object, type_: type[T], measure: Callable[[], T]) -> T:
        """Return what was measured before, or measure and keep it."""
        key = content_hash(type_.__name__, json.dumps(encode(asked), sort_keys=True))
        if key in self._known:
            with contextlib.suppress(SpecError):
                found = strict_convert(self._known[key], type_, where=str(self.path))
                self.taken += 1
                return found
        fresh = measure()
        row = {"asked": key, "found": encode(fresh)}
        with contextlib.suppress(OSError):  # a full disk loses no more than this
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
        return fresh

    def finish(self) -> None:
        """Forget everything: the study is whole."""
        with contextlib.suppress(OSError):
            self.path.unlink()
