"""Subgraphs on workers that share processors: what a placement takes, worked out ahead.

Models:  a worker occupies its processors while it runs a subgraph, so that one worker with all
         cores and several with a core each stand in one problem. Subgraphs are begun in a fixed
         order of rank (the longest way to the end), each when its inputs have arrived and its
         processors are free. A tensor goes to each memory that needs it once, at fixed seconds plus
         seconds per byte, and transfers of one direction follow each other. Where that was
         measured, a subgraph takes so many times as long while another one runs in its memory.
Ignores: what it is that runs beside a subgraph, and how many.
Judge:   every order and placement of small problems, and a simulation event by event
         (tests/mapping/phases/test_problem.py, test_company.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, SpecError

from ._partition import Partition
from ._state import Sending, Settled, State, Timing

HOST = "host"  #: the memory in which inputs lie and to which outputs return


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Something that runs one subgraph at a time.

    Attributes
    ----------
    processors : what it occupies meanwhile; workers with a common one take turns
    memory : where it reads and writes
    """

    name: str
    processors: frozenset[str]
    memory: str = HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Seconds of a tensor of some bytes from one worker to another: fixed + per byte.

    Attributes
    ----------
    change_s : fixed ones that come of a change of the back end on the same processors, however
        tensors are handed over
    """

    fixed_s: float = 0.0
    s_per_byte: float = 0.0
    change_s: float = 0.0

    def seconds(self, size_bytes: int) -> float:
        return self.fixed_s + self.change_s + self.s_per_byte * size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A tensor, made by a subgraph (-1: an input), read by others and maybe returned."""

    tensor: str
    size_bytes: int
    producer: int
    consumers: tuple[int, ...]
    returned: bool


def flows_of(partition: Partition) -> tuple[Flow, ...]:
    """Return the tensors that pass between subgraphs, or the border of the network.

    Texts, which lie in the host's memory alone, count as no bytes.

    Raises
    ------
    ModelError : a tensor whose size is not known
    """
    graph, found = partition.graph, []
    owner = {node: k for k, s in enumerate(partition.subgraphs) for node in s.region.nodes}
    for tensor in (*graph.inputs, *(t for n in graph.nodes for t in n.outputs if t)):
        maker = graph.producer(tensor)
        source = -1 if maker is None else owner[maker.name]
        readers = {owner[c.name] for c in graph.consumers(tensor)} - {source}
        returned = tensor in graph.outputs
        if readers or returned:
            size, kind = graph.known_bytes(tensor), graph.types.get(tensor)
            if size is None and kind is not None and kind.is_bound:
                size = 0  # texts
            if size is None:
                raise ModelError(f"{graph.name}: tensor {tensor!r}", found="a size that only "
                                 "running tells", wanted="a known size",
                                 fix="bind the dimensions (--shape)")  # fmt: skip
            found.append(Flow(tensor=tensor, size_bytes=size, producer=source,
                              consumers=tuple(sorted(readers)), returned=returned))  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPhase:
    """A phase in a timing: from when to when its subgraphs run."""

    phase: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class PlacementProblem:
    """What a search reads.

    Attributes
    ----------
    partition : of the network
    workers : in the order of the columns of `seconds`
    seconds : subgraphs × workers; infinite where a worker cannot run a subgraph
    flows : tensors between subgraphs, and across the border of the network
    passages : (memory or worker's name from, to) -> what a transfer takes; workers of one memory
        that are not listed hand over at no cost, other memories must be listed
    slower : subgraphs × workers; how many times as long a subgraph takes while another one runs in
        the same memory, 1 or more. None: no longer
    """

    partition: Partition
    workers: tuple[Worker, ...]
    seconds: NDArray[np.float64]
    flows: tuple[Flow, ...]
    passages: Mapping[tuple[str, str], Passage]
    slower: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        where = f"placement of {self.partition.graph.name!r}"
        shape = (len(self.partition.subgraphs), len(self.workers))
        if not self.workers:
            raise SpecError(f"{where}: workers", found="none", wanted="one or more",
                            fix="name a device of this machine")  # fmt: skip
        if self.seconds.shape != shape or not (self.seconds >= 0).all():
            raise SpecError(f"{where}: seconds", found=f"shape {self.seconds.shape}",
                            wanted=f"shape {shape}, none negative or NaN",
                            fix="time every subgraph on every worker")  # fmt: skip
        slower = self.slower
        if slower is not None and not (
            slower.shape == shape and (slower >= 1).all() and np.isfinite(slower).all()
        ):
            raise SpecError(f"{where}: slower", found=f"shape {slower.shape}, or numbers below 1",
                            wanted=f"shape {shape}, 1 or more, finite",
                            fix="divide the times in company by those alone")  # fmt: skip
        for number, row in enumerate(self.seconds):
            if not np.isfinite(row).any():
                name = self.partition.subgraphs[number].region.name
                raise SpecError(f"{where}: {name!r}", found="no worker that can run it",
                                wanted="one or more", fix="add a back end that can")  # fmt: skip
        memories = {HOST, *(worker.memory for worker in self.workers)}
        for a in memories:
            for b in memories - {a}:
                if (a, b) not in self.passages:
                    raise SpecError(f"{where}: transfers", found=f"none from {a!r} to {b!r}",
                                    wanted="one", fix="measure it")  # fmt: skip

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Subgraphs by rank: the longest way to the end, each at its least seconds, first."""
        least = self.seconds.min(axis=1)
        tail = self.tails_of(least)
        return tuple(sorted(range(len(tail)), key=lambda k: (-tail[k], k)))

    @cached_property
    def tails(self) -> tuple[float, ...]:
        """Seconds from the begin of each subgraph to the end of everything, at the very least."""
        return tuple(self.tails_of(self.seconds.min(axis=1)))

    @cached_property
    def _beyond(self) -> tuple[float, ...]:
        """Seconds from the end of each subgraph to the end of everything, at the very least."""
        least = self.seconds.min(axis=1).tolist()
        return tuple(tail - own for tail, own in zip(self.tails, least, strict=True))

    def tails_of(self, least: Sequence[float] | NDArray[np.float64]) -> list[float]:
        """Return the longest way from the begin of each subgraph to the end of everything.

        Parameters
        ----------
        least : seconds of each subgraph
        """
        tail = [0.0] * len(least)
        for number in reversed(range(len(least))):
            after = (k for k, s in enumerate(self.partition.subgraphs) if number in s.needs)
            tail[number] = float(least[number]) + max((tail[k] for k in after), default=0.0)
        return tail

    @cached_property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Return `seconds` as plain numbers, which are read quicker one by one."""
        return tuple(map(tuple, self.seconds.tolist()))

    @cached_property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """Per subgraph, the flows that it reads."""
        return tuple(
            tuple(f for f, flow in enumerate(self.flows) if number in flow.consumers)
            for number in range(len(self.partition.subgraphs))
        )

    @cached_property
    def stretches(self) -> tuple[tuple[int, ...], ...]:
        """Subgraphs in groups that follow each other: each needs all of the groups before it."""
        needed: list[set[int]] = []
        for part in self.partition.subgraphs:
            needed.append(set(part.needs).union(*(needed[k] for k in part.needs)))
        found: list[list[int]] = [[]]
        for number in range(len(needed)):
            before = set(range(number))
            if number and all(before <= needed[k] for k in range(number, len(needed))):
                found.append([])
            found[-1].append(number)
        return tuple(map(tuple, found))

    def passage_s(self, size_bytes: int, source: int, target: int) -> float:
        """Return seconds of a transfer between workers; -1 is the host."""
        fixed, per_byte, _, _ = self.sending[source + 1][target + 1]
        return fixed + per_byte * size_bytes

    @cached_property
    def sending(self) -> tuple[tuple[Sending, ...], ...]:
        """Return how tensors go from the host (first) and workers to the same."""
        ends = [None, *self.workers]

        def one(a: Worker | None, b: Worker | None) -> Sending:
            found = None
            if a is not None and b is not None and a is not b:
                found = self.passages.get((a.name, b.name))
            from_, to = (HOST if w is None else w.memory for w in (a, b))
            if found is None and from_ != to:
                found = self.passages[from_, to]
            fixed, per_byte = (0.0, 0.0) if found is None else (found.seconds(0), found.s_per_byte)
            if from_ == to:
                return fixed, per_byte, -1 if b is None else self.workers.index(b), None
            return fixed, per_byte, to, (from_, to)

        return tuple(tuple(one(a, b) for b in ends) for a in ends)

    @cached_property
    def stretch_of(self) -> tuple[int, ...]:
        """Per subgraph, the number of its stretch."""
        return tuple(turn for turn, members in enumerate(self.stretches) for _ in members)

    @cached_property
    def factors(self) -> tuple[tuple[float, ...], ...] | None:
        """`slower` as plain numbers; None where it changes nothing."""
        if self.slower is None or not (self.slower > 1).any():
            return None
        return tuple(map(tuple, self.slower.tolist()))

    @cached_property
    def feeding(self) -> tuple[tuple[int, ...], ...]:
        """Per stretch, the subgraphs of others that it reads from."""
        found: list[tuple[int, ...]] = []
        for members in self.stretches:
            makers = {self.flows[f].producer for k in members for f in self.incoming[k]}
            found.append(tuple(sorted(makers - {-1, *members})))
        return tuple(found)

    @cached_property
    def processors(self) -> tuple[str, ...]:
        """Those of all workers."""
        return tuple(sorted(frozenset[str]().union(*(w.processors for w in self.workers))))

    @cached_property
    def wires(self) -> bool:
        """Whether tensors go from one memory to another."""
        return any(worker.memory != HOST for worker in self.workers)

    @cached_property
    def settled(self) -> dict[tuple[object, ...], Settled]:
        """Stretches that were worked out in company, by what they depend on; filled by `State`."""
        return {}

    @cached_property
    def memory_numbers(self) -> tuple[int, ...]:
        """Per worker, the number of its memory."""
        memories = list(dict.fromkeys(w.memory for w in self.workers))
        return tuple(memories.index(w.memory) for w in self.workers)

    @cached_property
    def beside(self) -> tuple[tuple[bool, ...], ...]:
        """Return which workers may run at once in one memory."""
        return tuple(
            tuple(a.memory == b.memory and not a.processors & b.processors for b in self.workers)
            for a in self.workers
        )

    @cached_property
    def apart(self) -> PlacementProblem:
        """The problem in which each worker is two: with nothing beside it, and in company.

        The first one keeps all processors of its memory to itself, and the second one takes as long
        as it does in company. Whatever runs is one or the other at each moment, so that what no
        sharing out over these workers undercuts, no placement does.
        """
        slower = self.slower
        if slower is None or self.factors is None:
            return self
        whole = {
            memory: frozenset[str]().union(
                *(w.processors for w in self.workers if w.memory == memory)
            )
            for memory in {w.memory for w in self.workers}
        }
        alone = tuple(replace(w, name=f"{w.name} alone", processors=whole[w.memory])
                      for w in self.workers)  # fmt: skip
        named = {w.name: f"{w.name} alone" for w in self.workers}
        return replace(
            self, workers=(*self.workers, *alone), slower=None,
            seconds=np.hstack([self.seconds * slower, self.seconds]),
            passages={
                (there, here): passage for (a, b), passage in self.passages.items()
                for there in dict.fromkeys((a, named.get(a, a)))
                for here in dict.fromkeys((b, named.get(b, b)))
            },
        )  # fmt: skip

    def timing(self, placement: Sequence[int]) -> Timing:
        """Work out when everything runs.

        Parameters
        ----------
        placement : number of the worker per subgraph; one that can run it
        """
        state = State(self)
        for number in self.order:
            state.put(number, placement[number], for_good=True)
        return state.timing()

    def makespan_s(self, placement: Sequence[int], below: float = math.inf) -> float:
        """Return seconds of a placement; infinite once it is known to take `below` or more."""
        state = State(self)
        for number in self.order:
            end = state.put(number, placement[number], for_good=True)
            if end + self._beyond[number] >= below:
                return math.inf
        found = state.timing().makespan_s
        return found if found < below else math.inf

    def paced(self, placement: Sequence[int], seconds: float) -> float | None:
        """Return how many times as long as in this problem subgraphs take, one at a time.

        None where they take nothing in this problem: nothing tells then.

        Parameters
        ----------
        seconds : of all of them together, measured at another time
        """
        then = sum(float(self.seconds[k, w]) for k, w in enumerate(placement))
        return seconds / then if then > 0 else None

    def observed(
        self, placement: Sequence[int], begin: Sequence[float], end: Sequence[float],
        makespan_s: float,
    ) -> Timing:  # fmt: skip
        """Return measured times as a timing, so that both are read in the same way.

        A subgraph waited for what ended last of those whose tensors it reads and of those that had
        one of its processors before it.

        Parameters
        ----------
        begin, end : per subgraph, in seconds from when the request came
        """
        because = [-1] * len(placement)
        before: dict[str, int] = {}
        for number in self.order:
            used = self.workers[placement[number]].processors
            waited = {before[p] for p in used if p in before}
            waited |= {self.flows[f].producer for f in self.incoming[number]} - {-1}
            because[number] = max(waited, key=lambda k: (end[k], k), default=-1)
            before.update(dict.fromkeys(used, number))
        last = max(range(len(end)), key=lambda k: (end[k], k))
        return Timing(
            worker=tuple(placement), begin=tuple(begin), end=tuple(end), makespan_s=makespan_s,
            because=tuple(because), last=last,
        )  # fmt: skip

    def phases(self, timing: Timing) -> tuple[PlacedPhase, ...]:
        """Return from when to when each phase runs, what lies within its paths included."""
        found = []
        for number in range(len(self.partition.phases)):
            inside = [k for k, s in enumerate(self.partition.subgraphs)
                      if number in self._around(s.phase)]  # fmt: skip
            found.append(PlacedPhase(
                phase=number, begin_s=min(timing.begin[k] for k in inside),
                end_s=max(timing.end[k] for k in inside),
            ))  # fmt: skip
        return tuple(found)

    def _around(self, phase: int) -> tuple[int, ...]:
        found = [phase]
        while (within := self.partition.phases[found[-1]].within) is not None:
            found.append(within[0])
        return tuple(found)

    def bounds(self) -> tuple[float, float]:
        """Return seconds that no placement undercuts: the longest path, and the area.

        Area: every subgraph where it takes the fewest processor seconds, over all processors.
        """
        count = len(frozenset().union(*(w.processors for w in self.workers)))
        sizes = np.array([len(w.processors) for w in self.workers])
        return max(self.tails, default=0.0), float((self.seconds * sizes).min(axis=1).sum()) / count

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Return processor seconds of each subgraph on each worker, at the least.

        With nothing beside it, it has the processors of its memory that nobody uses as well.
        """
        apart, count = self.apart, len(self.workers)
        found: NDArray[np.float64] = apart.seconds * np.array(
            [len(w.processors) for w in apart.workers]
        )
        return found if apart is self else np.minimum(found[:, :count], found[:, count:])
