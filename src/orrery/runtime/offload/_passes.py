"""One forward and backward pass: which storages it saves, in which order and when.

A pass begins with the first tensor saved after a backward pass, so that a step that accumulates
gradients has several; each is planned for itself, the second of every step with the second.

Models:  times on a clock that stands still while the training thread waits for a transfer.
Ignores: uses in the forward pass that save nothing, which nobody tells of: `last_use_s` is the last
         time a storage was saved, a lower bound.
Judge:   a network written out by hand (tests/runtime/offload/test_session.py).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from orrery.offload_plan import Action, OffloadPlan, SavedTensor

from ..moving import SECTOR_BYTES, Parcel, TransferCounts, padded
from ..remaking import Remade, Way
from ._tensors import HeldStorage, Window, counted_together, storage_key, version_of


@dataclass(slots=True)
class Record:
    """One storage of a pass; its times are on the session's clock.

    `program_holds` says that when it was needed others than the graph had its memory, so that
    nothing is free when it leaves.

    `storage` is a reference by which its number (`storage_number`) stays its own; `count` shares
    the count of in-place operations, and holds no bytes. Both take a while to make: of a tensor
    that stays, `alias` does for both, which holds the bytes, for as long as what autograd was given
    is there and its pass saves tensors.
    """

    signature: tuple[Any, ...]
    name: str
    size_bytes: int
    made_s: float
    last_use_s: float
    storage: Any = None
    count: HeldStorage | None = None
    alias: Any = None
    action: Action = "offload"
    packed: bool = True
    needed_s: float | None = None
    released_s: float | None = None
    parcel: weakref.ref[Parcel] | None = None
    remade: weakref.ref[Remade] | None = None
    way: Way | None = None
    halved: bool = False
    program_holds: bool = False
    packed_bytes: int | None = None
    fetched: bool = False


class Kept:
    """What autograd holds for a tensor that stays."""

    __slots__ = ("record", "tensor", "version")

    def __init__(self, tensor: Any, record: Record | None, version: int | None = None) -> None:
        # An alias: holding the tensor itself could make a cycle with the node that saves it, save
        # for a parameter, which no node makes.
        whole = tensor.is_leaf and tensor.requires_grad
        self.tensor, self.record = tensor if whole else tensor.detach(), record
        self.version = version_of(tensor) if version is None else version

    def __del__(self) -> None:
        record = self.record
        # The graph let go of it while its pass goes on: the bytes go, what tells it stays.
        if record is not None and record.alias is self.tensor is not None:
            record.storage = storage_key(record.alias.untyped_storage())
            record.count = HeldStorage.released(record.alias, self.version)
            record.alias = None


class Token:
    """What autograd holds for a tensor that leaves."""

    __slots__ = ("__weakref__", "generation", "guard", "parcel", "record", "window")

    def __init__(self, parcel: Parcel, guard: HeldStorage, record: Record, window: Window) -> None:
        self.parcel, self.guard, self.record, self.window = parcel, guard, record, window
        self.generation = 0  # of the parcel when this token was last served
        parcel.tokens.append(weakref.ref(self))

    @property
    def version(self) -> int:
        """The count of in-place operations at which it was saved."""
        return self.guard.version


def one_more(held: Any) -> Any:
    """Return another of the same: what it stands for then stays until that one was served, too."""
    if isinstance(held, Token):
        return Token(held.parcel, held.guard, held.record, held.window)
    return held


@dataclass(frozen=True, slots=True)
class Moment:
    """What clocks and counters show.

    Attributes
    ----------
    clock_s : on the session's clock, which stands still while the training thread waits for a
        transfer or makes a tensor again
    waited_s, remade_s : for which it stood still, for each reason
    counts : what was moved
    fresh_s : that the training thread was in the system, mostly for fresh pages, where it is
        measured; counted coarsely, and for whole passes alone
    """

    clock_s: float
    waited_s: float
    remade_s: float
    counts: TransferCounts
    fresh_s: float = 0.0


@dataclass(slots=True)
class Pass:
    """A pass under way; `plan` is None while it is measured.

    Attributes
    ----------
    began, turned, ended : at its begin, when its backward began, at its end
    drained : bytes and seconds of the writes that were waited for when the backward began; only
        where it is measured
    looks : while it is measured, the memory that was neither on its way nor kept for that, and
        what was waiting to be written
    """

    index: int
    began_s: float
    plan: OffloadPlan | None
    expected: tuple[tuple[Any, ...], ...] = ()
    ways: tuple[Way | None, ...] = ()
    records: list[Record] = field(default_factory=list)
    #: (storage's number, version) -> a record, which keeps the number from being used again, for
    #: each count of in-place operations: `.data` has one of its own
    known: dict[tuple[int, int], list[Record]] = field(default_factory=dict)
    by_name: dict[str, Record] = field(default_factory=dict)
    backward_s: float | None = None
    began: Moment | None = None
    turned: Moment | None = None
    ended: Moment | None = None
    drained: tuple[int, float] = (0, 0.0)
    looks: list[tuple[int, tuple[Record, ...]]] = field(default_factory=list)
    drifted: bool = False
    next_read: int = 0

    @property
    def other_bytes(self) -> int:
        """The most memory, while it is measured, that was no tensor that can leave."""
        return max((other + sum(r.size_bytes for r in queue if r.program_holds)
                    for other, queue in self.looks), default=0)  # fmt: skip

    def saved_before(self, tensor: Any, key: tuple[int, int]) -> Record | None:
        """Return the record of a tensor's storage at its version, if there is one."""
        for record in self.known.get(key, ()):
            other = record.alias
            if other is None and record.count is not None:
                other = record.count.tensor
            if other is not None and counted_together(other, tensor):
                return record
        return None

    def forget(self) -> None:
        """Save no more: nobody will ask which storages were."""
        self.known.clear()
        for record in self.records:
            record.alias = None

    def planned(self, signature: tuple[Any, ...], packing: bool) -> tuple[Action, bool, str | None]:
        """Return what the plan does with the next storage, whether packed, and its name there.

        A pass that saves something else than the one that was measured has drifted: everything
        from there on is offloaded, as when nothing is known.
        """
        number = len(self.records)
        if self.plan is None or self.drifted:
            return "offload", packing, None
        if number >= len(self.expected) or self.expected[number] != signature:
            self.drifted = True
            return "offload", packing, None
        chosen = self.plan.tensors[number]
        return chosen.action, chosen.packed and packing, chosen.name

    def profiled(
        self, end_s: float, block_bytes: int
    ) -> tuple[tuple[SavedTensor, ...], float, float]:
        """Return the storages that a backward pass needed, and the seconds of both passes."""
        forward_s = max(0.0, (end_s if self.backward_s is None else self.backward_s) - self.began_s)
        backward_s = 0.0 if self.backward_s is None else max(0.0, end_s - self.backward_s)
        tensors = []
        made = 0.0
        for record in self.records:
            made = min(max(made, record.made_s - self.began_s), forward_s)
            stored = record.size_bytes // 2 if record.halved else record.size_bytes
            whole = sum(
                SECTOR_BYTES + padded(min(block_bytes, stored - start))
                for start in range(0, stored, block_bytes)
            )
            needed = backward_s
            released = backward_s
            if self.backward_s is not None and record.needed_s is not None:
                needed = max(0.0, record.needed_s - self.backward_s)
                released = max(needed, (record.released_s or 0.0) - self.backward_s)
            stays = record.program_holds
            way = record.way if self._stays_until(record) and not stays else None
            tensors.append(
                SavedTensor(
                    name=record.name, size_bytes=0 if stays else record.size_bytes,
                    stored_bytes=whole, movable=not stays,
                    made_s=made,
                    last_use_s=min(max(made, record.last_use_s - self.began_s), forward_s),
                    needed_s=min(needed, backward_s), released_s=min(released, backward_s),
                    packed_bytes=record.packed_bytes,
                    recompute_s=None if way is None else way.seconds,
                    recompute_needs=() if way is None else way.moved,
                    recompute_bytes=0 if way is None else way.beside_bytes,
                )
            )  # fmt: skip
        return tuple(tensors), forward_s, backward_s

    def _stays_until(self, record: Record) -> bool:
        """Whether what a tensor is made again from is not let go of before it is needed."""
        if record.way is None or record.needed_s is None:
            return False
        needs = [self.by_name[name] for name in record.way.needs if name]
        return all(n.released_s is None or n.released_s >= record.needed_s for n in needs)
