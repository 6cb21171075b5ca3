"""Processes that compute shards and send each other real messages.

Models:  one process per party, a pipe between every two that talk; each holds only its own parts
         and obeys a program of steps. Payload bytes are counted where they are sent.
Ignores: speed (pipes on one machine are no model of a link); the pipe's few bytes of framing.
Judge:   tests/runtime/test_sharded.py, tests/runtime/test_split.py.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import OrreryError, SpecError
from orrery.graph import numpy_dtype
from orrery.progress import SILENT, Progress

from ._evaluator import checked_outputs, read_only
from ._steps import FREE, Change, Drop, Key, Program, Round, Turn, part_of

Array = NDArray[Any]

#: What computing or a broken pipe may raise in a party; anything else is a fault of the program and
#: ends the process, which its parent reports too.
_FAILURES = (OrreryError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError,
             MemoryError, OSError, TypeError, ValueError)  # fmt: skip

#: How often a party says how far it is, and the caller's progress is asked whether to stop.
_POLL_S = 0.1
#: How long processes may take to end by themselves before they are ended.
_GRACE_S = 1.0


class PartyFailedError(OrreryError):
    """A process that computes a shard failed or ended; the pool is closed.

    Attributes
    ----------
    party, name : which one
    region : what it was computing, empty when that is not known
    """

    def __init__(self, party: int, why: str, name: str = "", region: str = "") -> None:
        self.party, self.name, self.region, self.why = party, name, region, why
        who = f"party {party}{f' ({name})' if name else ''}"
        what = f"region {region!r}: " if region else ""
        super().__init__(f"{who}: {what}{why}; open a new pool once the cause is removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one party sent another, of one kind of phase."""

    kind: str
    source: int
    target: int
    messages: int
    size_bytes: int

    @property
    def is_free(self) -> bool:
        """Whether these are scalars, which are everywhere at no cost in all formulas."""
        return self.kind == FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A stretch of time of one party, in nanoseconds of the machine's one clock.

    Attributes
    ----------
    sent_bytes, held_bytes : sent during it; held (all parts of tensors) when it ended
    """

    name: str
    kind: str
    start_ns: int
    end_ns: int
    sent_bytes: int
    held_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a party gives back.

    Attributes
    ----------
    parts : the buffers that were wanted
    sent : (kind of phase, to whom) -> messages, bytes
    """

    parts: dict[Key, Array]
    sent: dict[tuple[str, int], tuple[int, int]]
    work: tuple[Work, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """Why a party gave up; `because` is the one whose end it noticed, which is the one to name."""

    region: str
    why: str
    because: int | None = None


class _PeerGoneError(Exception):
    """A party that something was expected from has ended."""


# -- a party --------------------------------------------------------------------------------------


class _Party:
    """One process: its buffers, its pipes to the others, what it has sent."""

    def __init__(self, control: Connection, peers: Mapping[int, Connection]) -> None:
        self.control, self.peers = control, peers
        self.buffers: dict[Key, Array] = {}
        self.sent: dict[tuple[str, int], tuple[int, int]] = {}
        self.sent_bytes = 0
        self.work: list[Work] = []
        self.region = ""
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

    def run(self, program: Program) -> Answer:
        """Obey a program as often as it says; returns what came of the last time."""
        done, told = 0, time.monotonic()
        for _ in range(program.repeats):
            self.buffers, self.sent, self.work = dict(program.buffers), {}, []
            self.sent_bytes = 0
            for step in program.steps:
                self._obey(step)
                done += 1
                if time.monotonic() - told > _POLL_S:
                    told = time.monotonic()
                    self.control.send(done)
        parts = {key: self.buffers[key] for key in program.wanted}
        return Answer(parts=parts, sent=self.sent, work=tuple(self.work))

    def _obey(self, step: Change | Round | Drop) -> None:
        if isinstance(step, Drop):
            for key in step.keys:
                self.buffers.pop(key, None)
            return
        start_ns, before = time.perf_counter_ns(), self.sent_bytes
        self.region = step.name
        if isinstance(step, Change):
            self._change(step)
            if not step.turns:
                return
        else:
            self._compute(step)
        self.work.append(
            Work(
                name=step.name if isinstance(step, Round) else step.source[1],
                kind="compute" if isinstance(step, Round) else "transfer",
                start_ns=start_ns, end_ns=time.perf_counter_ns(),
                sent_bytes=self.sent_bytes - before, held_bytes=_held_bytes(self.buffers),
            )
        )  # fmt: skip

    def _change(self, step: Change) -> None:
        held = self.buffers.get(step.source)
        if held is None:  # nothing of it was ever here
            held = np.empty(step.before.sizes, step.dtype)
        if any(turn.adds for turn in step.turns):
            held = held.copy()  # others may still want the addends
            for turn in step.turns:
                if turn.adds:
                    for peer, box in turn.sends:
                        self._send(turn.kind, peer, part_of(held, box, step.before))
                    self._collect(turn, held, step.before)
            held = part_of(held, step.settled, step.before)
        later = [turn for turn in step.turns if not turn.adds]
        arriving = any(turn.receives for turn in later)
        if step.settled == step.after and not arriving:
            arrived = held
        elif step.after.volume and step.settled.holds(step.after) and not arriving:
            arrived = part_of(held, step.after, step.settled)
        else:
            arrived = np.empty(step.after.sizes, held.dtype)
            common = step.settled.meet(step.after)
            if common.volume:
                part_of(arrived, common, step.after)[...] = part_of(held, common, step.settled)
        for turn in later:
            for peer, box in turn.sends:
                # A piece that arrived a phase ago is passed on; anything else is one's own.
                if step.settled.holds(box):
                    self._send(turn.kind, peer, part_of(held, box, step.settled))
                else:
                    self._send(turn.kind, peer, part_of(arrived, box, step.after))
            self._collect(turn, arrived, step.after)
        self.buffers[step.target] = arrived

    def _compute(self, step: Round) -> None:
        if step.turn is not None and step.rotating is not None:
            rotating = self.buffers[step.rotating]
            for peer, _ in step.turn.sends:
                self._send(step.turn.kind, peer, rotating)
        values = {}
        for name, key, held, box in step.operands:
            value = self.buffers[key]
            # Nothing is sent of an empty part, so what is there may have another shape.
            value = part_of(value, box, held) if box.volume else np.empty(box.sizes, value.dtype)
            values[name] = read_only(value)
        made = checked_outputs(step.device, step.region, step.evaluator(step.region, values))
        for name, key, held, box in step.results:
            if key not in self.buffers:
                dtype = numpy_dtype(step.region.graph.type(name).dtype)
                self.buffers[key] = np.empty(held.sizes, dtype)
            part = part_of(self.buffers[key], box, held)
            if step.adds:
                part += made[name]
            else:
                part[...] = made[name]
        if step.turn is not None and step.rotating is not None:
            dtype = self.buffers[step.rotating].dtype
            for peer, box in step.turn.receives:
                self.buffers[step.rotating] = self._receive(peer, box.sizes, dtype)

    def _collect(self, turn: Turn, array: Array, held: Any) -> None:
        for peer, box in turn.receives:
            part = part_of(array, box, held)
            if turn.adds:
                part += self._receive(peer, box.sizes, array.dtype)
            else:
                part[...] = self._receive(peer, box.sizes, array.dtype)

    def _send(self, kind: str, peer: int, part: Array) -> None:
        payload = np.ascontiguousarray(part).tobytes()
        messages, size_bytes = self.sent.get((kind, peer), (0, 0))
        self.sent[kind, peer] = (messages + 1, size_bytes + len(payload))
        self.sent_bytes += len(payload)
        self._outbox.put((self.peers[peer], payload))

    def _receive(self, peer: int, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        try:
            payload = self.peers[peer].recv_bytes()
        except (EOFError, OSError) as problem:
            raise _PeerGoneError(peer) from problem
        wanted = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
        if len(payload) != wanted:
            raise SpecError(f"message from party {peer}", found=f"{len(payload)} bytes",
                            wanted=f"{wanted} for {sizes}",
                            fix="give both parties one sharding")  # fmt: skip
        return np.frombuffer(payload, dtype).reshape(sizes)


def _held_bytes(buffers: Mapping[Key, Array]) -> int:
    """Return the bytes of all buffers, those that share memory counted once."""
    owners = (v.base if isinstance(v.base, np.ndarray) else v for v in buffers.values())
    return sum({id(owner): owner.nbytes for owner in owners}.values())


def _party_main(control: Connection, peers: Mapping[int, Connection]) -> None:
    """Obey programs until the parent closes its end, which it does after the first failure."""
    # An interrupt from the keyboard reaches every process; only the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    party = _Party(control, peers)
    while True:
        answer: Answer | _Failure
        try:
            payload = control.recv_bytes()
        except EOFError:
            return
        try:
            answer = party.run(pickle.loads(payload))  # from the parent alone
        except _PeerGoneError as problem:
            (peer,) = problem.args
            answer = _Failure(region=party.region, why=f"party {peer} has ended", because=peer)
        except _FAILURES as problem:
            answer = _Failure(region=party.region, why=f"{type(problem).__name__}: {problem}")
        try:
            control.send(answer)
        except OSError:  # the parent has given up on us
            return


def _context() -> Any:
    """Return how processes start: from a server that imports once, else each by itself.

    The caller's script is among the imports: every process would run it otherwise.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return context


# -- the pool -------------------------------------------------------------------------------------


class PartyPool:
    """Processes joined pairwise by pipes; a context manager.

    A script that opens one needs the usual ``if __name__ == "__main__":`` around its start.

    Parameters
    ----------
    parties : number of processes
    timeout_s : longest that a run may take; None waits as long as all processes live
    names : what errors call the parties besides their numbers
    pairs : which of them can send to each other, the smaller number first; all when None
    """

    def __init__(
        self, parties: int, *, timeout_s: float | None = 600.0, names: Sequence[str] = (),
        pairs: Iterable[tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        if parties < 1:
            raise SpecError("pool of parties", found=parties, wanted="1 or more",
                            fix="correct the number")  # fmt: skip
        self.parties, self._timeout_s, self._names = parties, timeout_s, tuple(names)
        self._pairs = frozenset(combinations(range(parties), 2) if pairs is None else pairs)
        self._controls: list[Connection] = []
        self._processes: list[Any] = []
        try:
            self._open()
        except OSError as problem:
            self.close()
            raise OrreryError(
                f"pool of {parties} parties: found {problem}, wanted {parties} processes with "
                f"{len(self._pairs)} pipes; raise the limit (ulimit -n) or take fewer parties"
            ) from problem
        except BaseException:  # interrupted: nobody gets the pool, so nobody could close it
            self.close()
            raise

    def _open(self) -> None:
        context = _context()
        peers: list[dict[int, Connection]] = [{} for _ in range(self.parties)]
        try:
            for a, b in sorted(self._pairs):
                peers[a][b], peers[b][a] = context.Pipe()
            for party in range(self.parties):
                mine, theirs = context.Pipe()
                self._controls.append(mine)
                process = context.Process(target=_party_main, args=(theirs, peers[party]),
                                          name=f"orrery-party-{party}", daemon=True)  # fmt: skip
                process.start()
                theirs.close()
                self._processes.append(process)
        finally:
            for joined in peers:
                for connection in joined.values():
                    connection.close()

    def __enter__(self) -> PartyPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; twice is harmless."""
        controls, processes = self._controls, self._processes
        self._controls, self._processes = [], []
        for control in controls:
            control.close()
        deadline = time.monotonic() + _GRACE_S
        for process in processes:
            process.join(timeout=max(0.0, deadline - time.monotonic()))
        for process in processes:
            if process.is_alive():
                process.kill()
        for process in processes:
            process.join()

    def run(self, programs: Sequence[Program], progress: Progress = SILENT) -> tuple[Answer, ...]:
        """Let the first parties obey a program each.

        Parameters
        ----------
        progress : told how many steps are done, asked whether to stop

        Raises
        ------
        SpecError : a closed pool, parties that no pipe joins, a program that cannot travel
        PartyFailedError : a process failed, ended or took too long; the pool is closed then
        CancelledError : the caller asked to stop; the pool is closed then
        """
        if not self._controls:
            raise SpecError("pool of parties", found="a closed pool", wanted="an open one",
                            fix="open a new one")  # fmt: skip
        lacking = sorted({pair for program in programs for pair in program.pairs} - self._pairs)
        if lacking:
            raise SpecError("pool of parties", found=f"no pipe between {lacking[0]}",
                            wanted="a pipe between all who send to each other",
                            fix="open it with these pairs")  # fmt: skip
        payloads = [self._packed(party, program) for party, program in enumerate(programs)]
        total = sum(len(program.steps) * program.repeats for program in programs)
        done = dict.fromkeys(range(len(programs)), 0)
        answers: dict[int, Answer] = {}
        try:
            for party, payload in enumerate(payloads):
                self._send(party, payload)
            del payloads
            deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
            while len(answers) < len(programs):
                progress.step("run", sum(done.values()), total)
                for party, answer in self._ready(set(done) - set(answers), deadline):
                    if isinstance(answer, int):
                        done[party] = answer
                    else:
                        answers[party] = answer
        except BaseException:  # interrupted half-way, the pipes hold leftovers: no further use
            self.close()
            raise
        return tuple(answers[party] for party in range(len(programs)))

    def _packed(self, party: int, program: Program) -> Any:
        try:
            return ForkingPickler.dumps(program)
        except (AttributeError, TypeError, pickle.PicklingError) as problem:
            raise SpecError(
                f"program of {self._name(party) or f'party {party}'}", found=str(problem),
                wanted="an evaluator that another process can import",
                fix="use a function of a module, not one made inside another",
            ) from problem  # fmt: skip

    def _name(self, party: int) -> str:
        return self._names[party] if party < len(self._names) else ""

    def _failed(self, party: int, why: str, region: str = "") -> PartyFailedError:
        return PartyFailedError(party, why, self._name(party), region)

    def _send(self, party: int, payload: Any) -> None:
        try:
            self._controls[party].send_bytes(payload)
        except OSError as problem:
            raise self._failed(party, f"the process has ended ({problem})") from problem

    def _ready(
        self, waiting: set[int], deadline: float | None
    ) -> Iterator[tuple[int, Answer | int]]:
        """Yield what is there, if anything; raise for a party that failed, ended or is late."""
        found = wait([self._controls[party] for party in sorted(waiting)], timeout=_POLL_S)
        if not found and deadline is not None and time.monotonic() > deadline:
            raise self._failed(min(waiting), f"no answer in {self._timeout_s:g} s")
        for party in sorted(waiting):
            if self._controls[party] not in found:
                continue
            yield party, self._answer(party)

    def _answer(self, party: int) -> Answer | int:
        try:
            answer: Answer | int | _Failure = self._controls[party].recv()
        except (EOFError, OSError) as problem:
            raise self._failed(party, self._ended(party)) from problem
        if not isinstance(answer, _Failure):
            return answer
        first = answer.because
        while first is not None and self._controls[first].poll(_GRACE_S):
            self._answer(first)  # raises once it comes to the end of what that one has said
        raise self._failed(party, answer.why, answer.region)

    def _ended(self, party: int) -> str:
        process = self._processes[party]
        with contextlib.suppress(ValueError):
            process.join(timeout=_GRACE_S)
        code = process.exitcode
        if code is None:
            return "the process has ended"
        by = f"by signal {-code}" if code < 0 else f"with code {code}"
        return f"the process has ended {by}"


def traffic_of(answers: Sequence[Answer]) -> tuple[Traffic, ...]:
    """Return what all parties sent, by sender, kind and receiver."""
    return tuple(
        Traffic(kind=kind, source=party, target=peer, messages=messages, size_bytes=size)
        for party, answer in enumerate(answers)
        for (kind, peer), (messages, size) in sorted(answer.sent.items())
    )
