"""A worker that is a process of its own: prepares subgraphs, and does its steps of each request.

Models:  nothing; it runs. One thread reads what the parent says (subgraphs to prepare, networks to
         open) and ends the process when the parent is gone; the main one waits for requests and
         does them in the order in which they were posted.
Judge:   tests/runtime/test_processes.py.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from orrery.graph import Graph

from .._backend import Backend, Executable
from ..together._capacity import is_shortage
from ._block import act_of
from ._layout import BOARD_BYTES, WRAP, Box, Layout, Program
from ._words import LOOKS, Words

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main(control: int, board: int, child: int, parent: int, processors: tuple[int, ...]) -> None:
    """Serve until the parent ends or closes the control connection.

    Parameters
    ----------
    control, board : files: a socket to the parent, the pool's letter boxes
    child : which of these is ours
    parent : the number of the process that must still be there
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL))
    if os.getppid() != parent:  # it was gone before that could be asked for
        return
    os.sched_setaffinity(0, processors)
    server = _Server(Words(board, BOARD_BYTES), child)
    threading.Thread(target=server.listen, args=(control,), daemon=True).start()
    server.serve()


@dataclass(frozen=True, slots=True)
class _Open:
    """A network as this child knows it.

    Attributes
    ----------
    parts : per step its number, what does it, its word, those of what it waits for, and the bells
        of who waits for it
    """

    layout: Layout
    words: Words
    times: memoryview[float]
    parts: tuple[tuple[int, Callable[[], object], int, tuple[int, ...], tuple[int, ...]], ...]


class _Server:
    def __init__(self, board: Words, child: int) -> None:
        self.board, self.box = board, Box(child)
        self.ready: dict[int, Executable] = {}
        self.networks: dict[int, _Open] = {}

    # -- what the parent says ---------------------------------------------------------------------

    def listen(self, control: int) -> None:
        """Do what the parent says and answer each time; end the process when it is gone."""
        code = 0
        try:
            line = socket.socket(fileno=control)
            messages = Connection(os.dup(control))
            while True:
                kind, packed = messages.recv(), messages.recv_bytes()
                files = socket.recv_fds(line, 1, 1)[1] if kind == "open" else []
                answer: tuple[bool, Any]
                try:
                    said = pickle.loads(packed)
                    packed = b""  # weights lie there, maybe
                    if kind == "open":
                        self._open(files[0], *said)
                        answer = True, None
                    else:
                        answer = True, self._prepare(*said)
                except BaseException as error:  # the parent waits for an answer, whatever it is
                    answer = False, (f"{type(error).__name__}: {error}", is_shortage(error))
                said = ()
                messages.send(answer)
        except (EOFError, OSError):
            pass
        except BaseException:  # the last line is what the parent hears
            traceback.print_exc()
            code = 1
        finally:
            os._exit(code)

    def _prepare(self, number: int, backend: Backend, graph: Graph) -> int:
        self.ready[number] = backend.prepare(graph)
        return _resident_bytes()

    def _open(self, file: int, program: Program, over: list[int]) -> None:
        for number in over:
            self.networks.pop(number, None)
        try:
            words = Words(file, program.layout.size_bytes)
        finally:
            os.close(file)
        layout, arrays = program.layout, program.layout.arrays(words)
        parts = tuple(
            (
                part.step,
                act_of(self.ready[part.executable], {name: arrays[name] for name in part.reads},
                       {name: arrays[name] for name in part.writes}),
                layout.done(part.step),
                tuple(layout.done(other) for other in part.waits),
                tuple(Box(child).bell for child in part.rings),
            )
            for part in program.parts
        )  # fmt: skip
        self.networks[program.number] = _Open(layout, words, layout.times(words), parts)

    # -- requests ---------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do requests in the order in which they were posted, for ever."""
        view, box, give_way = self.board.view, self.box, os.sched_yield
        posted, cool, serving = box.posted, box.cool, box.serving
        taken = 0
        while True:
            if view[posted] == taken:
                before = view[cool]
                for _ in range(LOOKS):  # as `_look`, without calling anything
                    if view[posted] != taken or view[cool] != before:
                        break
                    give_way()
                while view[posted] == taken:
                    self.board.sleep(box.bell, lambda: view[posted] != taken, None)  # noqa: B023
            at = box.entry(taken)
            taken = (taken + 1) & WRAP
            view[serving] = taken
            self._perform(self.networks[view[at]], view[at + 1])

    def _look(self, news: Callable[[], bool]) -> bool:
        """Stay awake for a while; others may need the processors and say so."""
        view, cool = self.board.view, self.box.cool
        before, give_way = view[cool], os.sched_yield
        for _ in range(LOOKS):
            if news():
                return True
            if view[cool] != before:
                return False
            give_way()
        return False

    def _perform(self, network: _Open, request: int) -> None:
        layout, words, times, clock = (
            network.layout,
            network.words,
            network.times,
            time.perf_counter,
        )
        view, given_up, current = words.view, layout.given_up, layout.current
        for step, act, done, waits, bells in network.parts:
            for other in waits:
                if view[other] != request:
                    self._await(partial(_news, view, other, given_up, current, request))
            if view[given_up] != request and view[current] == request:
                times[step] = clock()
                try:
                    act()
                except BaseException as error:  # whoever asked must hear of it, whatever it is
                    layout.say(words, step, f"{type(error).__name__}: {error}",
                               short=is_shortage(error))  # fmt: skip
                    view[given_up] = request
                times[layout.steps + step] = clock()
            view[done] = request
            for bell in bells:
                self.board.ring(bell)
            words.ring(layout.bell)

    def _await(self, news: Callable[[], bool]) -> None:
        """Return once there is news: what is waited for is done, or the request given up."""
        if not self._look(news):
            while not self.board.sleep(self.box.bell, news, None):
                pass


def _news(view: Any, done: int, given_up: int, current: int, request: int) -> bool:
    """Say whether a step is done, or its request is not to be finished."""
    return bool(view[done] == request or view[given_up] == request or view[current] != request)


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
