"""Processes that compute shards and send each other real messages.

Models:  one process per party, a pipe between every two; each holds only its own parts and obeys a
         program of steps. Payload bytes are counted where they are sent.
Ignores: speed (pipes on one machine are no model of a link); the pipe's few bytes of framing.
Judge:   tests/runtime/test_sharded.py.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Box
from orrery.errors import OrreryError, SpecError
from orrery.graph import Graph, Node, Region, TensorType, numpy_dtype

from ._executor import Evaluator

__all__ = ["Change", "Drop", "Key", "PartyFailedError", "PartyPool", "Program", "Round", "Traffic",
           "Turn"]  # fmt: skip

Array = NDArray[Any]
Key = tuple[int, str]  #: (layer, tensor or operand); layer -1 for tensors between layers

#: What computing or a broken pipe may raise in a party; anything else is a fault of the program and
#: ends the process, which its parent reports too.
_FAILURES = (OrreryError, ArithmeticError, EOFError, MemoryError, OSError, TypeError, ValueError)


class PartyFailedError(OrreryError):
    """A process that computes a shard failed or ended; the pool is closed."""

    def __init__(self, party: int, why: str) -> None:
        self.party = party
        super().__init__(f"party {party}: {why}; open a new pool once the cause is removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one party sent another, of one kind of phase."""

    kind: str
    source: int
    target: int
    messages: int
    size_bytes: int


# -- what a party is told -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A party's share of a phase: what it sends and receives, in order."""

    kind: str
    sends: tuple[tuple[int, Box], ...]
    receives: tuple[tuple[int, Box], ...]
    adds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Make a buffer in another layout out of one."""

    source: Key
    target: Key
    before: Box
    settled: Box
    after: Box
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Compute a shard; the rotating operand, if any, is passed on meanwhile.

    `operands` and `results` are (local name, buffer, box of the buffer, box of the part).
    """

    node: Node
    types: dict[str, TensorType]
    values: dict[str, Array]
    operands: tuple[tuple[str, Key, Box, Box], ...]
    results: tuple[tuple[str, Key, Box, Box], ...]
    adds: bool
    evaluator: Evaluator
    rotating: Key | None = None
    turn: Turn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    keys: tuple[Key, ...]


@dataclass(slots=True, kw_only=True)
class Program:
    """Everything one party does, and what it starts with."""

    steps: list[Change | Round | Drop] = field(default_factory=list)
    buffers: dict[Key, Array] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()


# -- a party --------------------------------------------------------------------------------------


class _Party:
    """One process: its buffers, its pipes to the others, what it has sent."""

    def __init__(self, peers: Mapping[int, Connection]) -> None:
        self.peers = peers
        self.buffers: dict[Key, Array] = {}
        self.sent: dict[tuple[str, int], tuple[int, int]] = {}
        # Sending from a thread of its own: all parties may send at once, more than a pipe holds.
        self._outbox: queue.SimpleQueue[tuple[Connection, bytes] | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()

    def _send_all(self) -> None:
        while (item := self._outbox.get()) is not None:
            connection, payload = item
            try:
                connection.send_bytes(payload)
            except OSError:  # the other one is gone; the parent sees that and ends us all
                return

    def run(self, program: Program) -> dict[str, Array]:
        """Obey a program; returns the parts that are wanted."""
        self.buffers, self.sent = dict(program.buffers), {}
        for step in program.steps:
            if isinstance(step, Change):
                self._change(step)
            elif isinstance(step, Round):
                self._compute(step)
            else:
                for key in step.keys:
                    self.buffers.pop(key, None)
        return {tensor: self.buffers[-1, tensor] for tensor in program.wanted}

    def _change(self, step: Change) -> None:
        held = self.buffers[step.source]
        if any(turn.adds for turn in step.turns):
            held = held.copy()  # others may still want the addends
            for turn in step.turns:
                if turn.adds:
                    self._post(turn, held, step.before)
                    self._collect(turn, held, step.before)
            held = held[step.settled.inside(step.before)]
        if step.settled == step.after:
            arrived = held
        else:
            arrived = np.empty(step.after.sizes, held.dtype)
            common = step.settled.meet(step.after)
            if common.volume:
                arrived[common.inside(step.after)] = held[common.inside(step.settled)]
        for turn in step.turns:
            if turn.adds:
                continue
            for peer, box in turn.sends:
                # A piece that arrived a phase ago is passed on; anything else is one's own.
                if step.settled.holds(box):
                    self._send(turn.kind, peer, held[box.inside(step.settled)])
                else:
                    self._send(turn.kind, peer, arrived[box.inside(step.after)])
            self._collect(turn, arrived, step.after)
        self.buffers[step.target] = arrived

    def _compute(self, step: Round) -> None:
        arriving = None
        if step.turn is not None and step.rotating is not None:
            rotating = self.buffers[step.rotating]
            for peer, _ in step.turn.sends:
                self._send(step.turn.kind, peer, rotating)
        values = {
            name: self.buffers[key][box.inside(held)] for name, key, held, box in step.operands
        }
        values |= step.values
        graph = Graph(
            name="shard", nodes=(step.node,), inputs=tuple(values), types=step.types,
            outputs=tuple(name for name in step.node.outputs if name),
        )  # fmt: skip
        region = Region(graph=graph, nodes=(step.node.name,))
        made = step.evaluator(region, values)
        for name, key, held, box in step.results:
            if key not in self.buffers:
                self.buffers[key] = np.empty(held.sizes, numpy_dtype(step.types[name].dtype))
            part = self.buffers[key][box.inside(held)]
            if step.adds:
                part += made[name]
            else:
                part[...] = made[name]
        if step.turn is not None and step.rotating is not None:
            dtype = self.buffers[step.rotating].dtype
            for peer, box in step.turn.receives:
                arriving = self._receive(peer, box, dtype)
            if arriving is not None:
                self.buffers[step.rotating] = arriving

    def _post(self, turn: Turn, array: Array, held: Box) -> None:
        for peer, box in turn.sends:
            self._send(turn.kind, peer, array[box.inside(held)])

    def _collect(self, turn: Turn, array: Array, held: Box) -> None:
        for peer, box in turn.receives:
            part = array[box.inside(held)]
            if turn.adds:
                part += self._receive(peer, box, array.dtype)
            else:
                part[...] = self._receive(peer, box, array.dtype)

    def _send(self, kind: str, peer: int, part: Array) -> None:
        payload = np.ascontiguousarray(part).tobytes()
        messages, size_bytes = self.sent.get((kind, peer), (0, 0))
        self.sent[kind, peer] = (messages + 1, size_bytes + len(payload))
        self._outbox.put((self.peers[peer], payload))

    def _receive(self, peer: int, box: Box, dtype: np.dtype[Any]) -> Array:
        payload = self.peers[peer].recv_bytes()
        if len(payload) != box.volume * dtype.itemsize:
            raise SpecError(f"message from party {peer}", found=f"{len(payload)} bytes",
                            wanted=f"{box.volume * dtype.itemsize} for {box}",
                            fix="give both parties one sharding")  # fmt: skip
        return np.frombuffer(payload, dtype).reshape(box.sizes)


def _party_main(control: Connection, peers: Mapping[int, Connection]) -> None:
    """Obey programs until the parent closes its end, which it does after the first failure."""
    party = _Party(peers)
    while True:
        try:
            program = control.recv()
        except EOFError:
            return
        try:
            answer: Any = (party.run(program), party.sent)
        except _FAILURES as problem:
            answer = f"{type(problem).__name__}: {problem}"
        try:
            control.send(answer)
        except OSError:  # the parent has given up on us
            return


def _context() -> Any:
    """Return how processes start: from a server that imports once, else each by itself."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


# -- the pool -------------------------------------------------------------------------------------


class PartyPool:
    """Processes joined pairwise by pipes; a context manager.

    A script that opens one needs the usual ``if __name__ == "__main__":`` around its start.

    Parameters
    ----------
    parties : number of processes
    timeout_s : longest that a run may take
    """

    def __init__(self, parties: int, *, timeout_s: float = 600.0) -> None:
        if parties < 1:
            raise SpecError("pool of parties", found=parties, wanted="1 or more",
                            fix="correct the number")  # fmt: skip
        self.parties, self._timeout_s = parties, timeout_s
        context = _context()
        peers: list[dict[int, Connection]] = [{} for _ in range(parties)]
        for a in range(parties):
            for b in range(a + 1, parties):
                peers[a][b], peers[b][a] = context.Pipe()
        self._controls: list[Connection] = []
        self._processes = []
        for party in range(parties):
            mine, theirs = context.Pipe()
            process = context.Process(target=_party_main, args=(theirs, peers[party]),
                                      name=f"orrery-party-{party}", daemon=True)  # fmt: skip
            process.start()
            theirs.close()
            self._controls.append(mine)
            self._processes.append(process)
        for joined in peers:
            for connection in joined.values():
                connection.close()

    def __enter__(self) -> PartyPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """End all processes; twice is harmless."""
        for control in self._controls:
            control.close()
        for process in self._processes:
            process.join(timeout=1.0)
            if process.is_alive():
                process.terminate()
                process.join()
        self._controls, self._processes = [], []

    def run(
        self, programs: Sequence[Program]
    ) -> tuple[tuple[dict[str, Array], ...], tuple[Traffic, ...]]:
        """Let the first parties obey a program each; returns their parts and what they sent."""
        if not self._controls:
            raise SpecError("pool of parties", found="a closed pool", wanted="an open one",
                            fix="open a new one")  # fmt: skip
        answers: dict[int, Any] = {}
        try:
            for party, program in enumerate(programs):
                self._send(party, program)
            while len(answers) < len(programs):
                for party, answer in self._ready(set(range(len(programs))) - set(answers)):
                    answers[party] = answer
        except BaseException:  # interrupted half-way, the pipes hold leftovers: no further use
            self.close()
            raise
        traffic = tuple(
            Traffic(kind=kind, source=party, target=peer, messages=messages, size_bytes=size)
            for party in range(len(programs))
            for (kind, peer), (messages, size) in sorted(answers[party][1].items())
        )
        return tuple(answers[party][0] for party in range(len(programs))), traffic

    def _send(self, party: int, program: Program) -> None:
        try:
            self._controls[party].send(program)
        except OSError as problem:
            raise PartyFailedError(party, f"the process has ended ({problem})") from problem

    def _ready(self, waiting: set[int]) -> Iterator[tuple[int, Any]]:
        """Yield the answers that are there; raise for a party that failed or ended."""
        by_control = {self._controls[party]: party for party in waiting}
        found = wait(list(by_control), timeout=self._timeout_s)
        if not found:
            raise PartyFailedError(min(waiting), f"no answer in {self._timeout_s:g} s")
        for control in found:
            party = by_control[control]  # type: ignore[index]  # only connections were given
            try:
                answer = self._controls[party].recv()
            except (EOFError, OSError) as problem:
                raise PartyFailedError(party, "the process has ended") from problem
            if isinstance(answer, str):
                raise PartyFailedError(party, answer)
            yield party, answer
