"""Which tensors a placement must copy between memories, each once per memory that needs it.

Models:  the copies as steps of their own, with what they wait for. Tensors that go from one memory
         to another, neither the host's, go through the host.
Ignores: when they happen; whoever runs them decides.
Judge:   every tensor is where it is read, and no copy is idle
         (tests/runtime/together/test_transfers.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orrery.errors import OrreryError
from orrery.graph import Graph, Region

from ._memory import HOST
from ._pool import WorkerFailedError, WorkerHungError

#: Where a value of a request lies: a tensor's name on the host, else with the memory's name.
Key = str | tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One tensor from one memory to another; one of the two is the host.

    Attributes
    ----------
    step : the step whose worker's memory it is: that makes the tensor, or reads it first
    lasting : whether it goes to whoever asked
    """

    tensor: str
    source: str
    target: str
    size_bytes: int | None
    step: int
    lasting: bool

    @property
    def lane(self) -> str:
        """The thread that does it: copies of one direction follow each other."""
        return f"{self.source} to {self.target}"

    @property
    def read(self) -> Key:
        return key(self.tensor, self.source)

    @property
    def written(self) -> Key:
        return key(self.tensor, self.target)

    def __str__(self) -> str:
        return f"copy of tensor {self.tensor!r} from {self.source} to {self.target}"


class CopyFailedError(WorkerFailedError):
    """A tensor could not be copied; on a GPU, what made it may have failed unseen till then."""

    def __init__(self, worker: str, region: str, copy: Copy, found: str) -> None:
        self.worker, self.region, self.copy = worker, region, copy
        OrreryError.__init__(
            self, f"{copy} (subgraph {region!r} on worker {worker!r}): found {found}, wanted it "
            "there; place the subgraph on another worker"
        )  # fmt: skip


class CopyHungError(WorkerHungError):
    """A copy did not end in time, or what makes the tensor; the copying thread is left alone."""

    def __init__(self, worker: str, region: str, copy: Copy, timeout_s: float) -> None:
        self.worker, self.region, self.copy = worker, region, copy
        OrreryError.__init__(
            self, f"{copy} (subgraph {region!r} on worker {worker!r}): found no end after "
            f"{timeout_s:g} s, wanted it there; allow more time, or place the subgraph on another "
            "worker"
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """The copies of a placement.

    Attributes
    ----------
    copies : numbered on from the steps
    needs : per step and then per copy, the numbers of what makes what it reads
    reads : per step, (tensor, where it lies) of what its region reads
    """

    copies: tuple[Copy, ...]
    needs: tuple[frozenset[int], ...]
    reads: tuple[tuple[tuple[str, Key], ...], ...]


def key(tensor: str, memory: str) -> Key:
    """Return where a tensor lies in a memory."""
    return tensor if memory == HOST else (tensor, memory)


def transfers_of(
    graph: Graph, regions: Sequence[Region], memories: Sequence[str], owner: Mapping[str, int]
) -> Transfers:
    """Return what must be copied.

    Parameters
    ----------
    regions, memories : per step, in an order in which they can run
    owner : node -> number of its step
    """
    made_in = {
        tensor: owner[node.name] for node in graph.nodes for tensor in node.outputs if tensor
    }
    copies: list[Copy] = []
    copy_needs: list[frozenset[int]] = []
    #: number of whatever brings a tensor to a memory; None: it is there from the start
    there: dict[Key, int | None] = dict.fromkeys(graph.inputs)
    outputs = set(graph.outputs)

    def bring(tensor: str, memory: str, step: int) -> int | None:
        at = key(tensor, memory)
        if at not in there:
            inward = memory != HOST
            maker = made_in.get(tensor, step)  # inputs of the network are on the host
            source = HOST if inward else memories[maker]
            before = bring(tensor, HOST, step) if inward else maker
            there[at] = len(regions) + len(copies)
            copies.append(Copy(
                tensor=tensor, source=source, target=memory, size_bytes=graph.known_bytes(tensor),
                step=step if inward else maker, lasting=not inward and tensor in outputs,
            ))  # fmt: skip
            copy_needs.append(frozenset() if before is None else frozenset({before}))
        return there[at]

    needs: list[frozenset[int]] = []
    reads: list[tuple[tuple[str, Key], ...]] = []
    for tensor, maker in made_in.items():
        there[key(tensor, memories[maker])] = maker
    for number, (region, memory) in enumerate(zip(regions, memories, strict=True)):
        wanted = [bring(tensor, memory, number) for tensor in region.inputs]
        needs.append(frozenset(one for one in wanted if one is not None))
        reads.append(tuple((tensor, key(tensor, memory)) for tensor in region.inputs))
    for tensor in graph.outputs:
        if tensor in made_in:
            bring(tensor, HOST, made_in[tensor])
    return Transfers(copies=tuple(copies), needs=(*needs, *copy_needs), reads=tuple(reads))
