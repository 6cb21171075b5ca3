"""The processes of a pool's workers: started when first needed, watched, ended with the pool.

Models:  nothing. A child is started as a command of its own (not forked: libraries with threads do
         not survive that, and the user's program is not run again). A thread per child starts it
         and waits for its end, so that whoever asks hears of it at once; that thread's life is also
         the child's, for the system ends the child when the thread that started it ends.
Ignores: starting an ended child again.
Judge:   children that are killed and stopped (tests/runtime/test_processes.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from orrery.errors import SpecError
from orrery.graph import Region, subgraph

from ..together._pool import LocalWorker, WorkerFailedError, WorkerHungError, WorkerPool
from ._layout import BOARD_BYTES, MOST_CHILDREN, WRAP, Box, Program
from ._words import Words

#: How long a child that was told to end is waited for, and one that starts.
_GRACE_S, _START_S = 2.0, 120.0

_BOOT = (
    "import json, sys; said = json.loads(sys.argv[1]); sys.path[:] = said.pop('path'); "
    "from orrery.runtime.processes._child import main; main(**said)"
)

_one_at_a_time = threading.Lock()


def children_of(pool: WorkerPool) -> Children:
    """Return the processes of a pool; they end when its block ends.

    Raises
    ------
    SpecError : the pool is closed
    """
    with _one_at_a_time:
        found = next((one for one in pool.attached if isinstance(one, Children)), None)
        if found is None:
            pool.attach(found := Children())
        return found


def ended_process(pool: WorkerPool) -> WorkerFailedError | None:
    """Return what to say of a process of a pool that is no more; None while all live."""
    for one in pool.attached:
        for child in one.ended if isinstance(one, Children) else ():
            return child.failure("?")
    return None


class Child:
    """One process.

    Attributes
    ----------
    ended : why it is no more; None while it lives
    resident_bytes : of memory, when it had prepared its last subgraph
    forgotten : numbers of networks that nobody has any more; it hears of them with the next one
    """

    def __init__(self, number: int, worker: LocalWorker, board: int, view: memoryview) -> None:
        self.number, self.worker = number, worker
        self.box, self._view = Box(number), view
        self._serving, self._since = 0, 0.0
        self.ended: str | None = None
        self.resident_bytes = 0
        self.forgotten: deque[int] = deque()
        #: called when it ends
        self.heard: weakref.WeakSet[Any] = weakref.WeakSet()
        self._ready: dict[tuple[str, tuple[str, ...]], int] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = os.memfd_create("orrery-errors")
        ours, self._theirs = socket.socketpair()
        self._line, self._messages = ours, Connection(os.dup(ours.fileno()))
        self._started = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(os.dup(board),), name=f"keeper of {worker.name}", daemon=True
        )
        self._keeper.start()

    def _keep(self, board: int) -> None:
        said = {
            "path": [one for one in sys.path if isinstance(one, str)],  # as Python itself does
            "control": self._theirs.fileno(), "board": board,
            "child": self.number, "parent": os.getpid(),
            "processors": list(self.worker.processors),
        }  # fmt: skip
        ended = "a process that could not be started"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(said)], stdin=subprocess.DEVNULL,
                stdout=self._errors, stderr=self._errors, process_group=0,
                pass_fds=(self._theirs.fileno(), board),
            )  # fmt: skip
            self._theirs.close()
            self._started.set()
            ended = _ended(self._process.wait(), self._errors)
        except (OSError, ValueError) as error:
            ended = f"{ended}: {error}"
        finally:  # whoever waits for it must hear of its end, whatever the reason
            self._theirs.close()
            os.close(board)
            os.close(self._errors)
            self.ended = ended
            self._started.set()
            # Whoever waits for an answer gets an end of file, as nobody else has the other end.
            for network in list(self.heard):
                network.child_ended(self)

    def start(self) -> None:
        """Return once it is started, which is long before it is ready."""
        self._started.wait()

    def prepare(self, region: Region, timeout_s: float | None) -> int:
        """Have a subgraph made ready, once; return its number in this child.

        Raises
        ------
        WorkerFailedError, WorkerHungError : it was not
        """
        key = (region.graph.digest, region.nodes)
        with self._lock:
            if key not in self._ready:
                number = len(self._ready)
                self.resident_bytes = self._ask(
                    region.name, timeout_s, "prepare", number, self.worker.backend, subgraph(region)
                )
                self._ready[key] = number
            return self._ready[key]

    def open(self, program: Program, file: int, what: str) -> None:
        """Have a network opened whose block is a file.

        Raises
        ------
        WorkerFailedError, WorkerHungError : it was not
        """
        with self._lock:
            over = [self.forgotten.popleft() for _ in range(len(self.forgotten))]
            self._ask(what, None, "open", program, over, file=file)

    def _ask(
        self, region: str, timeout_s: float | None, kind: str, *said: Any, file: int = -1
    ) -> Any:  # fmt: skip
        limit_s = timeout_s or _START_S
        try:
            packed = ForkingPickler.dumps(said)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerFailedError(
                self.worker.name, region, f"what cannot be handed to a process: {error}"
            ) from error
        try:
            self._messages.send(kind)
            self._messages.send_bytes(packed)
            if file >= 0:
                socket.send_fds(self._line, [b"f"], [file])
            if not self._messages.poll(limit_s):
                self.kill()
                raise WorkerHungError(self.worker.name, region, limit_s)
            fine, answer = self._messages.recv()
        except (OSError, EOFError):
            self._keeper.join(_GRACE_S)
            raise self.failure(region) from None
        if not fine:
            text, short = answer
            told = WorkerFailedError(self.worker.name, region, text)
            told.__cause__ = MemoryError(text) if short else None
            raise told
        return answer

    def failure(self, region: str) -> WorkerFailedError:
        """Return what to raise where something was asked of it and it is no more."""
        return WorkerFailedError(self.worker.name, region,
                                 self.ended or "a process that ended")  # fmt: skip

    def since(self) -> float:
        """Return a time since which it is at the request that it is at."""
        if (now := self._view[self.box.serving]) != self._serving:
            self._serving, self._since = now, time.perf_counter()
        return self._since

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._started.wait()
        if self._process is not None and self.ended is None:
            self._process.kill()

    def end(self) -> None:
        """Tell it to end; `join` waits for that."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Return when it has ended, by force if it must be."""
        self._keeper.join(_GRACE_S)
        if self._keeper.is_alive():
            self.kill()
            self._keeper.join(_GRACE_S)
        self._line.close()
        self._messages.close()


def _ended(code: int, errors: int) -> str:
    if code < 0:
        return f"a process that was ended by signal {-code}"
    size = os.fstat(errors).st_size
    text = os.pread(errors, 2000, max(0, size - 2000)).decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else ""
    return f"a process that ended with {code}{f' ({last})' if last else ''}"


class Children:
    """The processes of one pool and the board by which they are asked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("orrery-board")
        os.ftruncate(self._file, BOARD_BYTES)
        self.board = Words(self._file, BOARD_BYTES)
        self._children: dict[str, Child] = {}
        self._lock = threading.Lock()
        self._post_lock = threading.Lock()
        self._posted = [0] * MOST_CHILDREN
        self._closed = False
        self.numbers = itertools.count()

    def child(self, worker: LocalWorker) -> Child:
        """Return the process of a worker, started if there is none.

        Raises
        ------
        SpecError : the pool is closed, or has too many
        WorkerFailedError : it has ended
        """
        with self._lock:
            if self._closed or (
                worker.name not in self._children and len(self._children) == MOST_CHILDREN
            ):
                raise SpecError("worker processes", found="a pool that is closed" if self._closed
                                else f"{MOST_CHILDREN} of them", wanted="an open one with room",
                                fix="use it inside its block, with fewer workers")  # fmt: skip
            found = self._children.get(worker.name)
            if found is None:
                found = Child(len(self._children), worker, self._file, self.board.view)
                self._children[worker.name] = found
        if found.ended is not None:
            raise found.failure("?")
        return found

    @property
    def running(self) -> tuple[Child, ...]:
        """Those that have not ended."""
        return tuple(one for one in list(self._children.values()) if one.ended is None)

    @property
    def ended(self) -> tuple[Child, ...]:
        return tuple(one for one in list(self._children.values()) if one.ended is not None)

    def post(self, children: tuple[Child, ...], network: int, request: int) -> None:
        """Ask children for a request; all of them serve requests in the same order."""
        view, board, counts = self.board.view, self.board, self._posted
        with self._post_lock:
            for child in children:
                box = child.box
                number = counts[child.number]
                at = box.entry(number)
                view[at], view[at + 1] = network, request
                counts[child.number] = view[box.posted] = (number + 1) & WRAP
                board.ring(box.bell)

    def cool(self, but: tuple[Child, ...] = ()) -> None:
        """Have all others sleep that have nothing to do: somebody needs the processors."""
        if len(self._children) == len(but):  # there are no others
            return
        view = self.board.view
        for child in list(self._children.values()):
            if child not in but:
                view[child.box.cool] ^= 1

    def close(self) -> None:
        """End all."""
        with self._lock:
            self._closed = True
        for child in self._children.values():
            child.end()
        for child in self._children.values():
            child.join()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
