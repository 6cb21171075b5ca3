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
from ._layout import BOARD_BYTES, WRAP, Box, Part, Program
from ._words import LOOKS, Words

__all__ = ["main"]

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


@dataclass(slots=True)
class _Open:
    """A network as this child knows it."""

    program: Program
    words: Words
    times: Any
    acts: list[Callable[[], object]]


class _Server:
    def __init__(self, board: Words, child: int) -> None:
        self.board, self.box = board, Box(child)
        self.ready: dict[int, Executable] = {}
        self.networks: dict[int, _Open] = {}

    # -- what the parent says ---------------------------------------------------------------------

    def listen(self, control: int) -> None:
        """Do what the parent says and answer each time; end the process when it is gone."""
        try:
            line = socket.socket(fileno=control)
            messages = Connection(os.dup(control))
            while True:
                kind, *said = messages.recv()
                answer: tuple[bool, Any]
                try:
                    if kind == "open":
                        _, files, _, _ = socket.recv_fds(line, 1, 1)
                        self._open(files[0], *said)
                        answer = True, None
                    else:
                        answer = True, self._prepare(*said)
                except BaseException as error:  # the parent waits for an answer, whatever it is
                    answer = False, (f"{type(error).__name__}: {error}", is_shortage(error))
                messages.send(answer)
        except (EOFError, OSError, pickle.PickleError):
            pass
        finally:
            os._exit(0)

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
        arrays = program.layout.arrays(words)
        acts = [
            act_of(self.ready[part.executable], {name: arrays[name] for name in part.reads},
                 {name: arrays[name] for name in part.writes})
            for part in program.parts
        ]  # fmt: skip
        times = program.layout.times(words)
        self.networks[program.number] = _Open(program, words, times, acts)

    # -- requests ---------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do requests in the order in which they were posted, for ever."""
        view, posted, bell = self.board.view, self.box.posted, self.box.bell
        taken = 0
        while True:
            if view[posted] == taken:
                self._look(lambda: view[posted] != taken)  # noqa: B023  # used before it changes
                while view[posted] == taken:
                    self.board.sleep(bell, lambda: view[posted] != taken, None)  # noqa: B023
            at = self.box.entry(taken)
            taken = (taken + 1) & WRAP
            view[self.box.serving] = taken
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
        layout, view, times = network.program.layout, network.words.view, network.times
        for part, act in zip(network.program.parts, network.acts, strict=True):
            step = part.step
            if self._may(network, part, request):
                times[0, step] = time.perf_counter()
                try:
                    act()
                except BaseException as error:  # whoever asked must hear of it, whatever it is
                    layout.say(network.words, step, f"{type(error).__name__}: {error}",
                               short=is_shortage(error))  # fmt: skip
                    view[layout.given_up] = request
                times[1, step] = time.perf_counter()
            view[layout.done(step)] = request
            for child in part.rings:
                self.board.ring(Box(child).bell)
            network.words.ring(layout.bell)

    def _may(self, network: _Open, part: Part, request: int) -> bool:
        """Wait for what a step needs; False where the request is given up."""
        layout, view = network.program.layout, network.words.view
        given_up, current = layout.given_up, layout.current
        for other in part.waits:
            at = layout.done(other)
            if view[at] != request:
                news = partial(_news, view, at, given_up, current, request)
                if not self._look(news):
                    while not self.board.sleep(self.box.bell, news, None):
                        pass
        return bool(view[given_up] != request and view[current] == request)


def _news(view: Any, done: int, given_up: int, current: int, request: int) -> bool:
    """Say whether a step is done, or its request is not to be finished."""
    return bool(view[done] == request or view[given_up] == request or view[current] != request)


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
