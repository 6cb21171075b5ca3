"""A child process that may take only so much memory, and answers lines with lines.

Models:  nothing; the kernel does it. With a memory group (version 1 or 2, where this process may
         make one) the whole child counts from its first instruction, swap left out, and one that
         takes more is killed. Pages of files that it is the first to touch count too, but are given
         back before anything is killed; pages of libraries that others loaded count to them.
         Elsewhere the address space is limited, on top of what is reserved at the start but not
         used; then an allocation fails.
Ignores: memory of accelerators.
Judge:   children that take more and less than the cap (tests/runtime/training/test_capped.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orrery.errors import OrreryError

_PREFIX = "orrery-cap-"
_numbers = itertools.count()


class ChildFailedError(OrreryError):
    """A child process ended for another reason than memory."""

    def __init__(self, what: str, *, found: str) -> None:
        super().__init__(f"{what}: found {found}, wanted an answer; run it alone to see why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """How memory can be capped here.

    Attributes
    ----------
    kind : a memory group of version 2 or 1, or the address space
    folder : in which groups can be made
    """

    kind: Literal["group 2", "group 1", "address space"]
    folder: Path | None = None

    @property
    def said(self) -> str:
        """For people."""
        if self.folder is None:
            return "limit of the address space (no memory group can be made here)"
        return f"memory group of version {self.kind[-1]}, swap left out"


def cap_here(mounts: str | None = None, own: str | None = None) -> Cap:
    """Return the best cap that this process can really set; tries it.

    Parameters
    ----------
    mounts, own : text as of ``/proc/self/mounts`` and ``/proc/self/cgroup``
    """
    mounts = _text("/proc/self/mounts") if mounts is None else mounts
    own = _text("/proc/self/cgroup") if own is None else own
    paths = {key: path for _, key, path in (row.split(":", 2) for row in own.splitlines())}
    for row in mounts.splitlines():
        _, where, kind, options, *_ = row.split()
        if kind == "cgroup2":
            found = Cap(kind="group 2", folder=Path(where + paths.get("", "/")))
        elif kind == "cgroup" and "memory" in options.split(","):
            key = next((k for k in paths if "memory" in k.split(",")), "")
            found = Cap(kind="group 1", folder=Path(where + paths.get(key, "/")))
        else:
            continue
        try:
            _Group(found, 1 << 30).remove()
        except OSError:
            continue
        return found
    return Cap(kind="address space")


class _Group:
    """A memory group with a limit; whoever makes one removes it."""

    def __init__(self, cap: Cap, limit_bytes: int) -> None:
        assert cap.folder is not None
        _sweep(cap.folder)
        self.version = 2 if cap.kind == "group 2" else 1
        self.folder = cap.folder / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self.folder.mkdir()
        try:
            if self.version == 2:
                self._set("memory.max", limit_bytes)
                self._leave_swap_out("memory.swap.max", 0)
            else:
                self._set("memory.limit_in_bytes", limit_bytes)
                self._leave_swap_out("memory.memsw.limit_in_bytes", limit_bytes)
        except OSError:
            self.remove()
            raise

    def _leave_swap_out(self, name: str, value: int) -> None:
        try:
            self._set(name, value)
        except FileNotFoundError:  # not every kernel counts swap; without any it needs not
            if len(_text("/proc/swaps").splitlines()) > 1:
                raise

    def _set(self, name: str, value: int) -> None:
        path = self.folder / name
        if not path.exists():
            raise FileNotFoundError(path)
        path.write_text(str(value))

    @property
    def peak_bytes(self) -> int | None:
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        try:
            return int((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    @property
    def killed(self) -> bool:
        """Whether somebody in it was killed for taking too much."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        found = re.search(r"^oom_kill (\d+)$", _text(self.folder / name), re.MULTILINE)
        return found is not None and int(found[1]) > 0

    def remove(self) -> None:
        for _ in range(50):  # the last page of a killed process takes a moment to go
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return


class CappedProcess:
    """A child that reads requests from its input and writes answers, one JSON document a line.

    Parameters
    ----------
    arguments : of the child
    limit_bytes : of its memory; None: no cap
    what : for messages
    environment : beside this process's own

    Raises
    ------
    OSError : it cannot be begun
    """

    def __init__(
        self, arguments: Sequence[str], *, cap: Cap, limit_bytes: int | None, what: str = "child",
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.what, self.out_of_memory = what, False
        self._peak_bytes: int | None = None
        self._group: _Group | None = None
        arguments = list(arguments)
        more = dict(environment or {})
        if limit_bytes is not None and cap.folder is not None:
            self._group = _Group(cap, limit_bytes)
            arguments = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"',
                         str(self._group.folder / "cgroup.procs"), *arguments]  # fmt: skip
        self._address_space = limit_bytes if self._group is None else None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the child is there
        try:
            self._child = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env={**os.environ, **more},
                start_new_session=True,  # Ctrl-C is for the parent, which ends it
            )  # fmt: skip
        except BaseException:
            self._said.close()
            if self._group is not None:
                self._group.remove()
            raise

    def ask(self, request: Any, *, most_s: float) -> Any | None:
        """Send a request and return the answer; None when the child ran out of memory or time.

        The child is gone then. Address space, where that is the cap, goes along with the first
        request as ``address_space_bytes``: only the child knows when it is ready to be limited.

        Raises
        ------
        ChildFailedError : it ended for another reason
        """
        if self._address_space is not None and isinstance(request, dict):
            request = {**request, "address_space_bytes": self._address_space}
            self._address_space = None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # why, its end tells below
            self._child.stdin.write(json.dumps(request).encode() + b"\n")
            self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], most_s)[0]:
            self.close()
            return None
        line = self._child.stdout.readline()
        if line.endswith(b"\n"):
            return json.loads(line)
        code = self._child.wait()
        self.out_of_memory = (
            self._group.killed if self._group is not None else
            bool(re.search(r"MemoryError|bad_alloc|allocate memory", self.said)) or code == -9
        )  # fmt: skip
        said = self.said
        self.close()
        if not self.out_of_memory:
            ended = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            raise ChildFailedError(self.what, found=f"{ended}, {said[-600:] or 'and not a word'}")
        return None

    @property
    def said(self) -> str:
        """What it wrote beside its answers."""
        if self._said.closed:
            return ""
        return os.pread(self._said.fileno(), 1 << 20, 0).decode(errors="replace").strip()

    @property
    def peak_bytes(self) -> int | None:
        """The most memory its group had; None without a group."""
        return self._peak_bytes if self._group is None else self._group.peak_bytes

    def close(self) -> None:
        """End the child, whatever it is at."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._said.close()
        if self._group is not None:
            self._peak_bytes = self._group.peak_bytes
            self._group.remove()
            self._group = None

    def __enter__(self) -> CappedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sweep(folder: Path) -> None:
    """Remove groups of processes that are gone and could not do it."""
    for found in folder.glob(f"{_PREFIX}*"):
        number = found.name.removeprefix(_PREFIX).split("-")[0]
        if number.isdigit() and not Path("/proc", number).exists():
            with contextlib.suppress(OSError):
                found.rmdir()


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
