"""What autograd calls during a step: a tensor is saved, and is wanted back.

Models:  nothing; this does it. A saved storage is either in memory or whole in files, never in
         between; a backward pass gets the bytes that were saved or an error. With hooks set,
         autograd no longer checks whether a saved tensor was changed in place: that check is here.
Ignores: tensors on other devices than the session's and of classes other than PyTorch's own: they
         stay where they are, and are counted. Writes that PyTorch does not count (`.data`, NumPy
         views) are invisible here as they are to autograd.
Judge:   gradients bitwise equal to those without it (tests/runtime/offload/test_exact.py).
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ..moving import OffloadError, Parcel, Transfers
from ..remaking import Again, Leaf, Recipe, Remaker, UnmadeError, bytes_of
from ._passes import Kept, Moment, Pass, Record, Token, one_more
from ._planning import PlanBook
from ._settings import OffloadSettings
from ._tensors import (
    HeldStorage,
    LeavingStorage,
    Modules,
    in_backward,
    is_shared,
    node_number,
    rebuilt,
    rebuilt_whole,
    refuse_written,
    root_of,
    shortened,
    still_held,
    storage_key,
    storage_number,
    version_of,
    why_stays,
    why_unmovable,
    window_of,
)
from ._watch import MemoryWatch

if TYPE_CHECKING:
    from ..devices import CudaDevice

#: Of what is measured while tensors are written, so many times are tried to hit a moment without.
_RACES = 2

_Held: TypeAlias = "Kept | Token | Again"
#: What stays in memory; made once, since hooks ask for it.
_HERE = (Kept, Leaf)


class Hooks:
    """Packs what a step saves and unpacks it, by the plan of the pass under way.

    Attributes
    ----------
    passes : of the step under way
    passed_over : saved tensors that were not looked at further, by the reason
    tallies : of storages, by what became of them
    off : the largest difference of an element that was written with half the bits
    remaker : makes tensors again
    """

    def __init__(
        self, settings: OffloadSettings, transfers: Transfers, book: PlanBook, watch: MemoryWatch,
        device: CudaDevice | None,
    ) -> None:  # fmt: skip
        self.settings, self._transfers, self._book = settings, transfers, book
        self._watch, self._device = watch, device
        self._where = None if device is None else device.device
        self.modules = Modules(self._where)
        self.remaker = Remaker((Kept, Token), value=self._operand, peek=self._peek, own=one_more,
                               begin=self._begin_making, grown=self._grown)  # fmt: skip
        self.passes: list[Pass] = []
        self.passed_over: Counter[str] = Counter()
        self.tallies: Counter[str] = Counter()
        self.off = 0.0
        self._numbers = itertools.count()
        self._backward_seen = False
        self._aside_s = self._aside_fresh_s = 0.0  # that trying out took, and of it in the system
        self._moved_before = self._failures_seen = 0
        #: of a pass that is measured, what may still be written, and what was at the last look
        self._queue: list[tuple[Record, weakref.ref[Parcel]]] = []
        self._queue_before: tuple[Record, ...] = ()
        self._unsent: list[tuple[Parcel, HeldStorage, Record]] = []
        self._unsent_at = 0

    def begin(self) -> None:
        """Begin a step, and its first pass."""
        self.passes, self.passed_over, self.tallies = [], Counter(), Counter()
        self.off = self.remaker.seconds = 0.0
        self._watch.begin()
        self._begin_pass()
        self.modules.begin()

    def end(self) -> tuple[list[Pass], float]:
        """End a step; return its passes, and when the last one ended."""
        self._send()
        end_s = self.now()
        for running in self.passes[-1:]:
            running.ended = self._moment()
            self._weigh(running, None)
        measured = any(p.plan is None for p in self.passes)
        self._watch.end(self._limit(self.passes[-1:]), measured=measured)
        passes, self.passes = self.passes, []
        for found in passes:
            found.forget()
        self.modules.end()
        return passes, end_s

    def now(self) -> float:
        """Return seconds on a clock of computing alone.

        It stands still while the training thread waits, makes a tensor again, tries out or looks.
        """
        away_s = self._transfers.waited_s + self.remaker.seconds
        return time.perf_counter() - away_s - self._aside_s - self._watch.away_s

    # What autograd calls.

    def pack(self, tensor: Any) -> _Held:
        """Return what stands for a tensor that is saved."""
        if self._unsent and node_number() != self._unsent_at:
            self._send()
        if tensor.is_leaf and tensor.requires_grad:
            reason: str | None = "a parameter"
        else:
            reason = why_unmovable(tensor, self.settings.least_bytes, self._where)
        if self._backward_seen:
            if not in_backward():
                self._begin_pass()
            elif reason is None:
                # What a backward pass saves (a recomputed checkpoint, a graph of the gradient) is
                # needed at once or, for a second derivative, soon.
                reason = "saved during a backward pass"
        if reason is None:
            reason = why_stays(tensor)
        if reason is not None:
            self.passed_over[reason] += 1
            return Kept(tensor, None)
        storage = tensor.untyped_storage()
        number = storage_number(storage)
        buffer = number in self.modules.storages
        if buffer or is_shared(tensor):
            self.passed_over["a buffer" if buffer else "in memory that others share"] += 1
            return Kept(tensor, None)
        self._raise_failures()
        return self._saved(tensor, storage, (number, version_of(tensor)))

    def unpack(self, held: _Held) -> Any:
        """Return the tensor that something stands for."""
        if self._unsent:
            self._send()
        if not self._backward_seen and in_backward():
            self._begin_backward()
        record = held.record
        if record is None and type(held) is Kept:
            if held.version != (found := version_of(held.tensor)):
                refuse_written(_shape(held.tensor), held.version, found)
            return held.tensor
        if not self.passes or record is None:
            return self._value(held)
        running, look = self.passes[-1], (self.passes[-1].index, record.name, "needed")
        if running.plan is None:
            self._weigh(running, look)
        if type(held) is Kept:
            self._note_need(record)
            tensor = self._operand(held)
        else:
            tensor = self._value(held)
            self._read_ahead(running)
        if running.plan is not None:
            # Last, so that the reads that began are seen.
            self._watch.make_room(look, running.plan.limit_bytes, record.size_bytes)
        return tensor

    # What is saved.

    def _saved(self, tensor: Any, storage: Any, key: tuple[int, int]) -> _Held:
        running = self.passes[-1]
        if self._device is not None:
            self._settle(running)
        now = self.now()
        record = running.saved_before(tensor, key)
        if record is not None:
            return self._saved_again(tensor, record, now)
        record = self._new_record(tensor, storage, now, running)
        running.known.setdefault(key, []).append(record)
        look = (running.index, record.name, "made")
        if running.plan is None:
            self._weigh(running, look)
        if record.action == "keep":
            self.tallies["kept"] += 1
            found: _Held = (kept := Kept(tensor, record, key[1]))
            record.alias = kept.tensor
        else:
            record.storage = storage_key(storage)
            record.count = HeldStorage.released(tensor, key[1])
            found = self._made_again(tensor, record, running) or self._sent(tensor, record)
        if running.plan is not None:
            if not running.drifted:  # wait for as many writes as the plan says
                self._transfers.wait_for_writes(
                    running.plan.tensors[len(running.records) - 1].waiting_bytes
                )
            self._watch.make_room(look, running.plan.limit_bytes, record.size_bytes)
        return found

    def _saved_again(self, tensor: Any, record: Record, now: float) -> _Held:
        record.last_use_s = now
        if record.remade is not None and (remade := record.remade()) is not None:
            return Again(remade, HeldStorage.released(tensor), record, window_of(tensor))
        known = None if record.parcel is None else record.parcel()
        # Half the bits give the numbers again, not what another type sees in the bits.
        halves = self.settings.storage == "fp16"
        if known is None or (halves and tensor.dtype != record.signature[1]):
            return Kept(tensor, record)
        return Token(known, HeldStorage.released(tensor), record, window_of(tensor))

    def _sent(self, tensor: Any, record: Record) -> Token:
        """Return what stands for a tensor that is written."""
        held, element_bytes = HeldStorage(tensor.detach()), _element_bytes(tensor, record)
        parcel = Parcel(next(self._numbers), record.name, record.size_bytes, element_bytes, held)
        record.parcel = weakref.ref(parcel)
        self.tallies["offloaded"] += 1
        token = Token(parcel, held, record, window_of(tensor))
        if tensor.grad_fn is not None:
            self._leave(parcel, held, record)
            return token
        # Operators save before they begin. What no node made may be theirs to fill, uncounted, as
        # the noise of `rrelu` is: it waits for another operator. What a node made is there.
        self._unsent.append((parcel, held, record))
        self._unsent_at = node_number()
        return token

    def _send(self) -> None:
        """Let what waited for its operator's end leave."""
        unsent, self._unsent = self._unsent, []
        for parcel, held, record in unsent:
            self._leave(parcel, held, record)

    def _leave(self, parcel: Parcel, held: HeldStorage, record: Record) -> None:
        """Begin to write, with half the bits where wanted."""
        short = shortened(held.tensor) if self.settings.storage == "fp16" else None
        if short is not None:
            held.let_go()
            parcel.source, off = short
            self.off, record.halved = max(self.off, off), True
            self.tallies["halved"] += 1
            parcel.size_bytes, parcel.element_bytes = (
                parcel.size_bytes // 2, parcel.element_bytes // 2
            )  # fmt: skip
        if self._device is not None:
            parcel.source = LeavingStorage(held, self._device)
        if self.passes and self.passes[-1].plan is None:
            self._queue.append((record, weakref.ref(parcel)))
        self._transfers.write(parcel)

    def _made_again(self, tensor: Any, record: Record, running: Pass) -> Again | None:
        """Return what stands for a tensor that is made again; None for what is to be written.

        While measuring, note whether it could be.
        """
        if record.action == "recompute":
            remade = self.remaker.remade(tensor, running.ways[len(running.records) - 1])
            if remade is not None:
                self.tallies["recomputed"] += 1
                record.remade = weakref.ref(remade)
                return Again(remade, HeldStorage.released(tensor), record, window_of(tensor))
            record.action = "offload"
            self.tallies["otherwise"] += 1
        elif running.plan is None and self.settings.recompute and self.settings.storage == "exact":
            began_s, waited_s = time.perf_counter(), self._transfers.waited_s
            looks_s, fresh_s = self._watch.away_s, self._watch.fresh_s
            over = self._watch.aside()  # neither its memory nor its time is the step's
            record.way = self.remaker.tried(tensor, self._may_try)
            over()
            counted_s = self._transfers.waited_s - waited_s + self._watch.away_s - looks_s
            self._aside_fresh_s += self._watch.fresh_s - fresh_s
            self._aside_s += time.perf_counter() - began_s - counted_s
        return None

    def _may_try(self, recipe: Recipe, needs: Sequence[Record | None]) -> bool:
        known, running = [need for need in needs if need is not None], self.passes[-1]
        if any(running.by_name.get(need.name) is not need for need in known):
            return False  # of an earlier pass: nothing keeps it until then
        # Within itself no operator takes more than it took with all else since some look.
        more = recipe.size_bytes + recipe.beside_bytes + self._watch.most_growth_bytes
        more += sum(need.size_bytes for need in known)
        limit = self.settings.limit_bytes
        return limit is None or self._watch.meter.read() + more <= limit

    def _grown(self, action: Callable[[], object]) -> int:
        """Return the most memory that something took, which is done while little is written."""
        for _ in range(_RACES):
            grew, alone = self._watch.grown_by(action)
            if alone:
                return grew
        self._transfers.wait_for_writes(0)
        return self._watch.grown_by(action)[0]

    def _new_record(self, tensor: Any, storage: Any, now: float, running: Pass) -> Record:
        size = storage.nbytes()
        signature = (size, tensor.dtype, tuple(tensor.shape))
        action, packed, name = running.planned(signature, self.settings.packing)
        if name is None:
            maker = tensor.grad_fn.name() if tensor.grad_fn is not None else "leaf"
            name = f"{len(running.records)} {maker} {_shape(tensor)}"
        record = Record(
            signature=signature, name=name, size_bytes=size, made_s=now, last_use_s=now,
            action=action, packed=packed,
        )  # fmt: skip
        running.records.append(record)
        running.by_name[record.name] = record
        return record

    def _raise_failures(self) -> None:
        failures = self._transfers.failed_writes
        if failures > self._failures_seen:
            self._failures_seen = failures
            if self.settings.when_full == "raise":
                raise OffloadError(
                    "offload", found=self._transfers.problems[-1], wanted="room for it",
                    fix="free some of the disk, or let tensors stay in memory when it is full",
                )  # fmt: skip

    # What is wanted back.

    def _value(self, held: _Held) -> Any:
        """Return what something held stands for, and note that it was needed."""
        if isinstance(held, Again):
            held.guard.refuse_written(held.record.name)
            try:
                tensor = rebuilt(self.remaker.root(held), held.window)
            except UnmadeError as error:
                raise OffloadError(
                    f"backward: saved tensor {held.record.name!r}", found=str(error),
                    wanted="a calculation that gives it again", fix="set recompute=False",
                ) from error  # fmt: skip
            return self._as_held(held, tensor)
        if held.record is not None:
            self._note_need(held.record)
        if isinstance(held, Kept):
            return self._operand(held)
        tensor = self._fetched(held)
        if self.passes:
            held.record.fetched = True
            if held.parcel.is_packed:
                held.record.packed_bytes = held.parcel.travelled_bytes
        return self._as_held(held, tensor)

    def _operand(self, held: _Held | Leaf) -> Any:
        """Return what something held stands for, to make another tensor from it.

        What stays is not needed any sooner for that: what is read at its need would come too soon.
        """
        if not isinstance(held, _HERE):
            return self._value(held)
        if held.version != (found := version_of(held.tensor)):
            leaf = isinstance(held, Leaf)
            refuse_written(_shape(held.tensor), held.version, found, leaf=leaf)
        return held.tensor

    def _note_need(self, record: Record) -> None:
        now = self.now()
        record.needed_s = now if record.needed_s is None else record.needed_s
        record.released_s = now
        if self.passes:
            self._read_ahead(self.passes[-1])

    def _begin_making(self, held: Again, more_bytes: int) -> None:
        """Note that a tensor is needed, now that what it is made from is there, as is planned."""
        self._note_need(held.record)
        self._room_for(more_bytes)

    def _room_for(self, more_bytes: int) -> None:
        """Have freed memory given back where so much more would not fit else."""
        plan = self.passes[-1].plan if self.passes else None
        if plan is not None and more_bytes:
            self._watch.make_room(None, plan.limit_bytes, more_bytes=more_bytes)

    def _as_held(self, held: Token | Again, tensor: Any) -> Any:
        """Return a tensor as whoever still holds its memory has it by now.

        Writes that nobody counts would show there without a session, too; and a backward pass that
        writes to what it was given is counted, so that the next one is refused.
        """
        record = held.record
        if record.halved or self._device is not None:
            return tensor
        parcel = None if record.parcel is None else record.parcel()
        if parcel is not None and parcel.source is not None:
            return tensor  # it never left
        root = still_held(record.storage, record.size_bytes)
        if root is None:
            return tensor
        record.program_holds |= parcel is not None
        alias = held.guard.tensor.detach()
        alias.data = rebuilt(root, held.window)
        return alias

    def _peek(self, held: _Held | Leaf) -> Any:
        """Return what something held stands for without taking it from those who will ask."""
        if isinstance(held, _HERE):
            return held.tensor
        if isinstance(held, Again):
            return rebuilt(self.remaker.root(held), held.window)
        here = self._transfers.lent(
            held.parcel,
            lambda source: source.window(held.window) if isinstance(source, HeldStorage) else None,
        )
        if here is not None:
            return here
        self._transfers.read(held.parcel, now=True)
        root = root_of(self._transfers.arrival(held.parcel)[: held.parcel.size_bytes])
        held.parcel.here = None
        return rebuilt(root, held.window)

    def _fetched(self, token: Token) -> Any:
        parcel = token.parcel
        self._raise_failures()
        stays = self._transfers.keep(parcel)
        token.guard.refuse_written(parcel.name)
        if stays and isinstance(parcel.source, HeldStorage):
            if not token.record.fetched:
                self.tallies["forwarded"] += 1
            if not token.record.halved:
                return parcel.source.window(token.window)
        root: Any = parcel.root
        if root is not None and version_of(root):
            parcel.here = parcel.root = root = None  # a backward wrote to it: read it again
        if root is None and stays and isinstance(parcel.source, HeldStorage):
            parcel.root = root = rebuilt_whole(bytes_of(parcel.source.tensor))
            parcel.generation += 1
        elif root is None:
            if parcel.here is None and parcel.target is None:
                self._room_for(parcel.size_bytes)
            self._transfers.read(parcel, now=True)
            data = self._transfers.arrival(parcel)[: parcel.size_bytes]
            if self._device is None:
                root = root_of(data)
            else:
                (root, parcel.there), parcel.here = self._device.arrive(data), None
            if token.record.halved:
                root, parcel.here = rebuilt_whole(root), None
            parcel.root = root
        token.generation = parcel.generation
        live = [other for reference in parcel.tokens if (other := reference()) is not None]
        if all(getattr(other, "generation", 0) == parcel.generation for other in live):
            parcel.here = parcel.root = None
        if self._device is not None:
            self._device.use(root, parcel.there)
        return rebuilt(root, token.window)

    # When what happens.

    def _begin_pass(self) -> None:
        index = len(self.passes)
        for found in self.passes[-1:]:
            found.ended = self._moment()
            found.forget()
        plan, expected = self._book.plan(index)
        ways = self._book.ways(index)
        self._watch.begin_pass((index, "", "made"), self._limit(()) if plan is None else
                               plan.limit_bytes, measuring=plan is None)  # fmt: skip
        self._moved_before = self._moved_bytes()
        self._queue, self._queue_before = [], ()
        begun = Pass(index=index, began_s=self.now(), plan=plan, expected=expected, ways=ways)
        begun.began = self._moment()
        self.passes.append(begun)
        self._backward_seen = False

    def _begin_backward(self) -> None:
        self._backward_seen = True
        if self.passes:
            running = self.passes[-1]
            running.forget()
            if running.plan is None:  # so that every tensor is read, and reading is measured
                self._settle(running)
                before, begin_s = self._transfers.counts, time.perf_counter()
                self._transfers.drain()
                drained_s = time.perf_counter() - begin_s
                running.drained = (
                    self._transfers.counts.since(before).written_bytes, drained_s
                )  # fmt: skip
            running.turned = self._moment()
            running.backward_s = running.turned.clock_s

    def _moment(self) -> Moment:
        fresh_s = self._watch.fresh_s - self._aside_fresh_s
        return Moment(self.now(), self._transfers.waited_s, self.remaker.seconds,
                      self._transfers.counts, fresh_s)  # fmt: skip

    def _settle(self, running: Pass) -> None:
        """Let the clock mean what the device has done, and not what was asked of it."""
        if self._device is not None and running.plan is None:
            self._device.settle()

    def _limit(self, running: Sequence[Pass]) -> int | None:
        """Return the limit of a pass under way, where there is one."""
        for found in running:
            if found.plan is not None:
                return found.plan.limit_bytes
        return self.settings.limit_bytes

    def _read_ahead(self, running: Pass) -> None:
        """Begin the reads whose turn has come, for as long as the arena has room."""
        plan = running.plan
        if plan is None or running.drifted:
            return
        while running.next_read < len(plan.reads):
            read = plan.reads[running.next_read]
            after = None if read.after is None else running.by_name.get(read.after)
            if read.after is not None and (after is None or after.needed_s is None):
                return
            record = running.by_name.get(read.name)
            parcel = None if record is None or record.parcel is None else record.parcel()
            # What has not been written by now need not be: it is needed soon.
            if (
                record is not None
                and parcel is not None
                and not record.fetched
                and not self._transfers.keep(parcel)
                and not self._transfers.read(parcel, now=False)
            ):
                return
            running.next_read += 1

    def _moved_bytes(self) -> int:
        # On a device, what was read back is not there before it is used.
        passing = self._device is None
        return self._transfers.passing_bytes if passing else self._transfers.queued_bytes

    def _weigh(self, running: Pass, look: tuple[int, str, str] | None) -> None:
        """Note, while measuring, how much memory was in use, and how much was no saved tensor."""
        if running.plan is not None:
            return
        self._settle(running)
        most = self._watch.look(look)
        # When within the time since the last look the most was in use is not known: the fewest
        # bytes on their way at either end make the rest the largest it can have been.
        moved = self._moved_bytes()
        self._queue = [(record, parcel) for record, parcel in self._queue
                       if (known := parcel()) is not None and known.source is not None]  # fmt: skip
        queue = tuple(record for record, _ in self._queue)
        either = tuple({id(r): r for r in (*queue, *self._queue_before)}.values())
        running.looks.append((most - min(moved, self._moved_before), either))
        self._moved_before, self._queue_before = moved, queue


def _element_bytes(tensor: Any, record: Record) -> int:
    size = tensor.dtype.itemsize
    return size if record.packed and size in (1, 2, 4, 8) and not record.size_bytes % size else 0


def _shape(tensor: Any) -> str:
    size = "x".join(map(str, tensor.shape)) or "scalar"
    return f"{size} {str(tensor.dtype).removeprefix('torch.')}"
