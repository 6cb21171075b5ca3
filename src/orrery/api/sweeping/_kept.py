"""The table of finished points in a folder: one line each, written at once, read when resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from orrery.errors import SpecError
from orrery.provenance import PROGRAM_VERSION

from ._rows import Header, Row
from ._task import UNREAD

FILE = "points.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    orrery: dict[str, Any]
    sweep: Header


class Kept:
    """Rows by key; with a folder, every new row is appended to a file there at once.

    A last line that was not written whole does no harm: its point is priced again.

    Raises
    ------
    SpecError : the folder's table is of another sweep (says what differs), is none, or is in use
    """

    def __init__(self, folder: Path | None, header: Header) -> None:
        self.rows: dict[str, Row] = {}
        self._file = -1
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._where = folder / FILE
        self._file = os.open(self._where, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock()
            self._read(header)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def add(self, row: Row) -> None:
        """Keep a row; in the file only if the network could be read."""
        self.rows[row.key] = row
        if not row.key.startswith(UNREAD):
            self._append(row)

    def _append(self, record: Any) -> None:
        if self._file >= 0:
            line = msgspec.json.encode(record) + b"\n"
            while line:
                line = line[os.write(self._file, line) :]

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # a system without these locks
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SpecError(str(self._where), found="another sweep at work on it",
                            wanted="a folder of its own", fix="wait, or give another --out"
                            ) from None  # fmt: skip

    def _read(self, header: Header) -> None:
        with os.fdopen(os.dup(self._file), "rb") as handle:
            whole, _, cut = handle.read().rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        end = len(whole) + 1 if whole else 0
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        if not lines:
            if cut and not cut.startswith(b'{"orrery"'):
                raise self._strange()
            self._append(_First(orrery=_HEADER, sweep=header))
            return
        try:
            first = msgspec.json.decode(lines[0], type=_First)
        except msgspec.DecodeError:
            raise self._strange() from None
        if differs := _differences(first.sweep, header):
            raise SpecError(str(self._where), found=f"the points of another sweep: {differs}",
                            wanted="the same sweep, or an empty folder",
                            fix="give another --out")  # fmt: skip
        for line in lines[1:]:
            try:
                row = msgspec.json.decode(line, type=Row)
            except msgspec.DecodeError:  # damaged: as good as absent
                continue
            self.rows[row.key] = row

    def _strange(self) -> SpecError:
        return SpecError(str(self._where), found="another file", wanted="a table of a sweep",
                         fix="give another --out")  # fmt: skip


_HEADER = {"kind": "sweep points", "schema": 1, "program": PROGRAM_VERSION}


def _differences(kept: Header, asked: Header) -> str:
    found = []
    for one in fields(Header):
        before, now = getattr(kept, one.name), getattr(asked, one.name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += [f"{key} {before.get(key)} there, {now.get(key)} here"
                      for key in (*before, *(k for k in now if k not in before))
                      if before.get(key) != now.get(key)]  # fmt: skip
        elif before != now:
            what = {"machine": f"the description of {asked.on}",
                    "network": f"the network {asked.model}",
                    "engine": "the program, or a table of its own,"}.get(one.name)  # fmt: skip
            found.append(f"{what} has changed" if what else
                         f"{one.name} {before} there, {now} here")  # fmt: skip
    return "; ".join(found)
