"""What a training step saves for its backward pass, and what becomes of each saved tensor.

Whoever runs the step writes a `StepProfile`; a planner answers with an `OffloadPlan`, or with
`orrery.plan.Infeasible`; whoever runs the next step obeys it. A tensor here is a *storage*: views
of it are counted once. Parameters and buffers are in `other_bytes`, not among the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from .errors import PlanMismatchError, SpecError
from .plan import Infeasible
from .store import content_hash, read_record, write_record
from .units import counted, format_quantity, format_si

__all__ = [
    "Action",
    "OffloadPlan",
    "OffloadPlanner",
    "PlannedMove",
    "PlannedRead",
    "PlannedTensor",
    "SavedTensor",
    "StepProfile",
    "check_offload_plan",
    "read_offload_plan",
    "read_step_profile",
    "step_digest",
    "write_offload_plan",
    "write_step_profile",
]

OFFLOAD_SCHEMA = 1

Action = Literal["keep", "offload", "recompute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTensor:
    """One storage that the forward pass saves for the backward pass.

    Attributes
    ----------
    name : unique in its profile
    size_bytes : of memory that becomes free when it leaves
    stored_bytes : that travel each way when it is stored as it is, with header and alignment
    made_s : from the forward's begin until it exists
    last_use_s : from the forward's begin until the forward needs it no more
    needed_s : from the backward's begin until it is first needed
    released_s : from the backward's begin until the backward lets go of it; None is at once
    packed_bytes : that travel when it is packed without loss; None where it cannot be
    recompute_s : to make it again from `recompute_needs`; None where that cannot be done
    recompute_needs : names of tensors made before it that it is made again from, all others there
        anyway; those that left, or that are made again themselves, are so when it is needed
    recompute_bytes : of memory taken beside its own while it is made again
    movable : whether it may leave memory at all
    """

    name: str
    size_bytes: int
    stored_bytes: int
    made_s: float
    last_use_s: float
    needed_s: float
    released_s: float | None = None
    packed_bytes: int | None = None
    recompute_s: float | None = None
    recompute_needs: tuple[str, ...] = ()
    recompute_bytes: int = 0
    movable: bool = True

    def __post_init__(self) -> None:
        where = f"tensor {self.name!r}"
        for key in ("size_bytes", "stored_bytes", "made_s", "last_use_s", "needed_s",
                    "recompute_bytes"):  # fmt: skip
            _refuse_negative(where, key, getattr(self, key))
        for key in ("released_s", "packed_bytes", "recompute_s"):
            _refuse_negative(where, key, getattr(self, key), none_allowed=True)
        for late, early in (("last_use_s", "made_s"), ("released_s", "needed_s")):
            last = getattr(self, late)
            if last is not None and last < getattr(self, early):
                raise SpecError(f"{where}: {late}", found=last,
                                wanted=f"no less than {early}, {getattr(self, early)}",
                                fix="measure both on the same clock")  # fmt: skip

    @property
    def let_go_s(self) -> float:
        """Seconds from the backward's begin until its memory is free again."""
        return self.needed_s if self.released_s is None else self.released_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """One training step as it runs when nothing has to be moved.

    Attributes
    ----------
    name : of the network or the run
    tensors : in the order in which the forward makes them
    forward_s, backward_s : the backward may hold the optimiser's update
    other_bytes : the most memory that everything else takes at once: parameters, gradients,
        optimiser state, the working set of the largest operator, staging buffers
    limit_bytes : of memory that everything together may take
    write_bytes_per_s, read_bytes_per_s : what the folders take and give, all together, while the
        step computes
    write_drag, read_drag : share of its speed that the computation loses while something is
        written, or read
    waiting_speed : how many times as fast transfers are while the step waits for them; no more than
        1 over either drag, so that waiting never takes less of the step than moving beside it
    pack_bytes_per_s, unpack_bytes_per_s : of unpacked bytes; needed where a tensor can be packed
    request_s : that a transfer takes beyond its bytes
    disk_bytes : free in the folders; None is not known
    queue_bytes : of tensors that may wait to be written before the forward waits, though there is
        memory; None is any number
    recompute_depth : tensors that may be made again one from the other; None is any number
    machine : where it was measured
    """

    name: str
    tensors: tuple[SavedTensor, ...]
    forward_s: float
    backward_s: float
    other_bytes: int
    limit_bytes: int
    write_bytes_per_s: float
    read_bytes_per_s: float
    pack_bytes_per_s: float | None = None
    unpack_bytes_per_s: float | None = None
    request_s: float = 0.0
    disk_bytes: int | None = None
    queue_bytes: int | None = None
    write_drag: float = 0.0
    read_drag: float = 0.0
    waiting_speed: float = 1.0
    recompute_depth: int | None = None
    machine: str = ""

    def __post_init__(self) -> None:
        where = f"step {self.name!r}"
        for key in ("write_drag", "read_drag"):
            _refuse_negative(where, key, getattr(self, key))
            if getattr(self, key) >= 1:
                raise SpecError(f"{where}: {key}", found=getattr(self, key), wanted="below 1",
                                fix="measure which share of its speed is lost")  # fmt: skip
        drag = max(self.write_drag, self.read_drag)
        if not (self.waiting_speed >= 1 and self.waiting_speed * drag <= 1 + 1e-9):
            raise SpecError(f"{where}: waiting_speed", found=self.waiting_speed,
                            wanted="1 or more, and no more than 1 over either drag",
                            fix="measure it, and take no more than that")  # fmt: skip
        for key in ("forward_s", "backward_s", "other_bytes", "limit_bytes", "request_s"):
            _refuse_negative(where, key, getattr(self, key))
        for key in ("disk_bytes", "queue_bytes", "recompute_depth"):
            _refuse_negative(where, key, getattr(self, key), none_allowed=True)
        for way, packing in (("write", "pack"), ("read", "unpack")):
            _refuse_negative(where, f"{way}_bytes_per_s", getattr(self, f"{way}_bytes_per_s"),
                             above=True)  # fmt: skip
            packable = any(tensor.packed_bytes is not None for tensor in self.tensors)
            key = f"{packing}_bytes_per_s"
            _refuse_negative(where, key, getattr(self, key), above=True, none_allowed=not packable)
        self._refuse_disorder(where)

    def _refuse_disorder(self, where: str) -> None:
        names: set[str] = set()
        before = 0.0
        for tensor in self.tensors:
            for need in tensor.recompute_needs:
                if need not in names:
                    raise SpecError(f"{where}: tensor {tensor.name!r}: recompute_needs",
                                    found=need, wanted="tensors listed before it",
                                    fix="make it again from those alone")  # fmt: skip
            if tensor.name in names:
                raise SpecError(f"{where}: tensors", found=f"{tensor.name} twice",
                                wanted="one name per tensor", fix="number them")  # fmt: skip
            names.add(tensor.name)
            if tensor.made_s < before:
                raise SpecError(f"{where}: tensor {tensor.name!r}: made_s", found=tensor.made_s,
                                wanted=f"no less than that of the one before, {before}",
                                fix="list tensors in the order of their making")  # fmt: skip
            before = tensor.made_s
            for key, end in (("last_use_s", self.forward_s), ("let_go_s", self.backward_s)):
                if getattr(tensor, key) > end:
                    raise SpecError(f"{where}: tensor {tensor.name!r}: {key}",
                                    found=getattr(tensor, key), wanted=f"at most {end}",
                                    fix="measure it on the clock of its pass")  # fmt: skip

    @property
    def saved_bytes(self) -> int:
        """Memory that all saved tensors take together."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def room_bytes(self) -> int:
        """Memory that is left for saved tensors; negative where the rest alone is too much."""
        return self.limit_bytes - self.other_bytes

    def write_s(self, tensor: SavedTensor, *, packed: bool = False) -> float:
        """Seconds for which writing a tensor, and packing it before, occupies the one channel."""
        return self._moving_s(tensor, packed, self.write_bytes_per_s, self.pack_bytes_per_s)

    def read_s(self, tensor: SavedTensor, *, packed: bool = False) -> float:
        """Seconds for which reading a tensor, and unpacking it after, occupies the one channel."""
        return self._moving_s(tensor, packed, self.read_bytes_per_s, self.unpack_bytes_per_s)

    def _moving_s(
        self, tensor: SavedTensor, packed: bool, bytes_per_s: float, packing: float | None
    ) -> float:
        if not packed:
            return self.request_s + tensor.stored_bytes / bytes_per_s
        if tensor.packed_bytes is None or packing is None:
            raise SpecError(f"tensor {tensor.name!r}: packed_bytes", found="none",
                            wanted="its size when packed", fix="plan it unpacked")  # fmt: skip
        return self.request_s + tensor.size_bytes / packing + tensor.packed_bytes / bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTensor:
    """What becomes of one saved tensor.

    Attributes
    ----------
    name, size_bytes : as in the profile
    action : it stays, leaves and comes back, or is dropped and made again
    packed : whether it travels packed
    moved_bytes : that are written once and read once; 0 unless it is offloaded
    waiting_bytes : of memory that may wait to be written before the next tensor is made, its own
        included; a forward that waits for the rest keeps to the limit however slow the folders are
    reason : why, in one clause
    """

    name: str
    size_bytes: int
    action: Action
    packed: bool = False
    moved_bytes: int = 0
    waiting_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRead:
    """One tensor's way back.

    It begins when the backward first needs `after`, before it waits for that; None is when the
    backward begins. So whoever obeys never holds more than was planned, however long things take.
    """

    name: str
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    """When a tensor is expected to be on its way, in seconds from the step's begin."""

    name: str
    write: bool
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadPlan:
    """What becomes of every saved tensor of a step, and what is expected of the step.

    Attributes
    ----------
    step : `step_digest` of the profile it was made for
    name, machine : as in the profile
    tensors : in the order of their making
    reads : the offloaded tensors, in the order in which they are read
    ahead_bytes, ahead_tensors : the most memory, and the most tensors, that are read or being read
        before they are needed; follows from `reads`
    limit_bytes : the limit it was made for
    peak_bytes : the most memory in use at any time, everything counted
    moved_bytes : written per step, and read per step
    plain_s : the step without any of this
    step_s : the step as planned
    write_end_s : from the step's begin until the last write has ended; 0 without writes
    forward_stall_s : forward waits for memory that writes have yet to free
    drain_s : between forward and backward, the last writes end
    backward_stall_s : backward waits for reads, or for room
    recompute_s : tensors are made again
    slowed_s : computation is slower for the transfers beside it
    io_s : reading and writing, all of it
    hidden_share : of `io_s` during which the step did not wait; None when nothing moves
    method, settings : how to make the same plan again
    lower_bound_s : no plan within the limit makes the step shorter; None when not known
    log : why the search went as it did, one sentence each
    moves : when each write and each read is expected
    """

    step: str
    name: str
    tensors: tuple[PlannedTensor, ...]
    reads: tuple[PlannedRead, ...]
    ahead_bytes: int
    ahead_tensors: int
    limit_bytes: int
    peak_bytes: int
    moved_bytes: int
    plain_s: float
    step_s: float
    write_end_s: float
    forward_stall_s: float
    drain_s: float
    backward_stall_s: float
    recompute_s: float
    io_s: float
    hidden_share: float | None
    method: str
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    machine: str = ""
    lower_bound_s: float | None = None
    log: tuple[str, ...] = ()
    moves: tuple[PlannedMove, ...] = ()
    slowed_s: float = 0.0

    def named(self, action: Action) -> tuple[PlannedTensor, ...]:
        """Return the tensors that share an action, in the order of their making."""
        return tuple(tensor for tensor in self.tensors if tensor.action == action)

    @property
    def slower(self) -> float:
        """By which share of the plain step the planned one is longer."""
        return self.step_s / self.plain_s - 1 if self.plain_s else 0.0

    @property
    def summary(self) -> str:
        """One line, e.g. ``41 tensors, 2.9 GiB, 97 % hidden, step +3 %``."""
        gone, again = self.named("offload"), self.named("recompute")
        if not gone and not again:
            return "all saved tensors stay in memory"
        parts = []
        if gone:
            packed = sum(tensor.packed for tensor in gone)
            parts.append(counted(len(gone), "tensor") + (f" ({packed} packed)" if packed else ""))
            parts.append(format_quantity(self.moved_bytes, "bytes"))
        if self.hidden_share is not None:
            parts.append(f"{math.floor(100 * self.hidden_share + 1e-9)} % hidden")
        if again:
            size = sum(tensor.size_bytes for tensor in again)
            parts.append(f"{len(again)} recomputed ({format_quantity(size, 'bytes')}, "
                         f"{format_si(self.recompute_s, 's')})")  # fmt: skip
        return ", ".join([*parts, f"step +{100 * max(0.0, self.slower):.2g} %"])


#: Anything that plans a step: the runner is handed one and knows no more of it.
OffloadPlanner: TypeAlias = Callable[[StepProfile], OffloadPlan | Infeasible]


def step_digest(profile: StepProfile) -> str:
    """Return the content hash of which tensors a step saves, in which order and of which size.

    Times, rates and limits do not count: the same step measured again has the same hash.
    """
    parts = (f"{tensor.name}\n{tensor.size_bytes}" for tensor in profile.tensors)
    return content_hash("step", *parts)


def check_offload_plan(plan: OffloadPlan, profile: StepProfile) -> None:
    """Refuse a plan that was made for a step that saves other tensors.

    Raises
    ------
    PlanMismatchError : other tensors, another order, other sizes
    """
    found = step_digest(profile)
    if plan.step != found:
        raise PlanMismatchError("step", name=plan.name, planned=plan.step, found=found)


def write_step_profile(path: Path, profile: StepProfile) -> None:
    """Write a profile as a JSON file: whole or not at all."""
    write_record(path, "step_profile", OFFLOAD_SCHEMA, profile)


def read_step_profile(path: Path) -> StepProfile:
    """Read what `write_step_profile` wrote.

    Raises
    ------
    SpecError : no such file, not a profile, another schema, unknown or missing keys, times or
        sizes that cannot be
    """
    return read_record(path, "step_profile", StepProfile, OFFLOAD_SCHEMA)


def write_offload_plan(path: Path, plan: OffloadPlan) -> None:
    """Write a plan as a JSON file: whole or not at all."""
    write_record(path, "offload_plan", OFFLOAD_SCHEMA, plan)


def read_offload_plan(path: Path) -> OffloadPlan:
    """Read what `write_offload_plan` wrote.

    Raises
    ------
    SpecError : no such file, not such a plan, another schema, unknown or missing keys
    """
    return read_record(path, "offload_plan", OffloadPlan, OFFLOAD_SCHEMA)


def _refuse_negative(
    where: str, key: str, value: float | None, *, above: bool = False, none_allowed: bool = False
) -> None:
    if value is None and none_allowed:
        return
    if value is None or not math.isfinite(value) or value < 0 or (above and value == 0):
        wanted = f"a finite number, {'above zero' if above else 'zero or more'}"
        raise SpecError(f"{where}: {key}", found=value, wanted=wanted, fix="measure it")
