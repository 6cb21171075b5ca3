"""How fast bytes move beside a step, what they take of it, and what it takes by itself.

Models:  processors that are shared. While bytes move beside the step, computing loses what moving
         them takes of the processors (`cpu_s` of the moving threads) and no spare processor gives;
         while the step waits it loses nothing, and transfers are as fast as when the writes are
         waited for at the end of the measured step's forward pass.
         The measured step has first calls of everything in it and makes nothing again; so the first
         planned step says anew what both passes take without transfers beside them, what making
         again takes, and the rates; moments within a pass keep their places in it.
Ignores: which processor the moving threads interrupt, and that the others then may have to wait;
         caches and memory that both need. What that comes to is in the times of the planned step.
Judge:   made-up moments (tests/runtime/offload/test_rates.py); planned against measured steps
         (bench/offload.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from orrery.offload_plan import OffloadPlan, StepProfile
from orrery.units import format_quantity, format_si

from ..moving import TransferCounts
from ._passes import Moment, Pass

#: Less than this, moved or waited for, says nothing about a rate.
_LEAST_BYTES: Final = 8 << 20
_LEAST_S: Final = 0.01
#: Computing loses no more of its speed, and transfers beside it are no slower than a quarter.
_MOST_DRAG: Final = 0.9
_MOST_SPEED: Final = 4.0
#: One step among other programs says little: it changes nothing by more than this factor.
_MOST_CHANGE: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Those of a `StepProfile`, under the same names."""

    write_bytes_per_s: float
    read_bytes_per_s: float
    write_drag: float
    read_drag: float
    waiting_speed: float


def first_rates(found: Pass, moved: TransferCounts, *, cores: int, computing: int) -> Rates:
    """Return what a measured pass shows; its reads are all waited for.

    Parameters
    ----------
    moved : during the pass; at least something each way
    cores : that the process may use
    computing : of them, that the step computes with; 0 is on a device
    """
    alone = moved.written_bytes / moved.write_s
    size, seconds = found.drained
    if size >= _LEAST_BYTES and seconds >= _LEAST_S:
        alone = size / seconds
    beside = alone
    if found.began is not None and found.turned is not None:
        counts = found.turned.counts.since(found.began.counts)
        waited_s = found.turned.waited_s - found.began.waited_s
        free_s = counts.write_s - waited_s
        if free_s >= _LEAST_S and counts.written_bytes >= _LEAST_BYTES:
            beside = (counts.written_bytes - alone * waited_s) / free_s
            beside = min(alone, max(alone / _MOST_SPEED, beside))
    share = beside / alone
    rates = Rates(
        write_bytes_per_s=beside, read_bytes_per_s=share * moved.read_bytes / moved.read_s,
        write_drag=0.0, read_drag=0.0, waiting_speed=1 / share,
    )  # fmt: skip
    return _with_drag(rates, moved, cores=cores, computing=computing)


def first_times(profile: StepProfile, found: Pass) -> StepProfile:
    """Return the profile of a measured pass without what writing took, and fresh pages.

    Whether tensors can be made again was tried beside writing, too, but what it then takes on
    memory that was used before. Its reads were waited for.
    """
    began, turned, ended = found.began, found.turned, found.ended
    if began is None or turned is None or ended is None:
        return profile
    busy_s = turned.counts.write_s - began.counts.write_s
    forward = _share(began, turned, computed_s(began, turned, busy_s, profile.write_drag))
    backward = _share(turned, ended, computed_s(turned, ended, 0.0, 0.0))
    beside = replace(turned, fresh_s=began.fresh_s)
    again = _share(began, beside, computed_s(began, beside, busy_s, profile.write_drag))
    return scaled(profile, forward=forward, backward=backward, again=again)


def _share(begin: Moment, end: Moment, seconds: float) -> float:
    clock_s = end.clock_s - begin.clock_s
    return max(1 - _MOST_DRAG, seconds / clock_s) if clock_s > 0 else 1.0


def calibrated(
    profile: StepProfile, plan: OffloadPlan, found: Pass, *, cores: int, computing: int
) -> tuple[StepProfile, str] | None:
    """Return the profile as a step that obeyed a plan shows it, and in words what is other.

    None where nothing was moved or made again, or the pass has no backward.
    """
    began, turned, ended = found.began, found.turned, found.ended
    if began is None or turned is None or ended is None:
        return None
    moved = ended.counts.since(began.counts)
    rates = Rates(**{key: getattr(profile, key) for key in Rates.__dataclass_fields__})
    for way in ("write", "read"):
        size = moved.written_bytes if way == "write" else moved.read_bytes
        busy_s = moved.write_s if way == "write" else moved.read_s
        waited_s = _waited_s(began, turned) if way == "write" else _waited_s(turned, ended)
        waited_s = min(busy_s, waited_s)
        if size >= _LEAST_BYTES and busy_s >= _LEAST_S:
            # Fewer seconds would be needed beside the step alone, were none of them waited for.
            beside_s = busy_s - waited_s + rates.waiting_speed * waited_s
            key = f"{way}_bytes_per_s"
            shown = getattr(rates, key) * _bounded(size / beside_s / getattr(rates, key))
            rates = replace(rates, **{key: shown})
    rates = _with_drag(rates, moved, cores=cores, computing=computing)
    forward_s = computed_s(began, turned, moved.write_s, rates.write_drag)
    backward_s = computed_s(turned, ended, moved.read_s, rates.read_drag)
    if not (moved.written_bytes or plan.recompute_s) or not (forward_s and backward_s):
        return None
    remade_s = ended.remade_s - began.remade_s
    again = _bounded(remade_s / plan.recompute_s) if plan.recompute_s and remade_s else 1.0
    new = scaled(
        profile, again=again,
        forward=_bounded(forward_s / profile.forward_s) if profile.forward_s else 1.0,
        backward=_bounded(backward_s / profile.backward_s) if profile.backward_s else 1.0,
    )  # fmt: skip
    new = replace(new, **{key: getattr(rates, key) for key in Rates.__dataclass_fields__})
    return new, _said(profile, new, again)


def _bounded(factor: float) -> float:
    return min(_MOST_CHANGE, max(1 / _MOST_CHANGE, factor))


def scaled(profile: StepProfile, *, forward: float, backward: float, again: float) -> StepProfile:
    """Return a profile whose passes, and making again, take so many times as long."""
    tensors = tuple(
        replace(
            tensor, made_s=forward * tensor.made_s, last_use_s=forward * tensor.last_use_s,
            needed_s=backward * tensor.needed_s,
            released_s=None if tensor.released_s is None else backward * tensor.released_s,
            recompute_s=None if tensor.recompute_s is None else again * tensor.recompute_s,
        ) for tensor in profile.tensors
    )  # fmt: skip
    return replace(profile, tensors=tensors, forward_s=forward * profile.forward_s,
                   backward_s=backward * profile.backward_s)  # fmt: skip


def computed_s(begin: Moment, end: Moment, busy_s: float, drag: float) -> float:
    """Return what a pass computes for, without the transfers beside it and without fresh pages.

    Parameters
    ----------
    busy_s : seconds during which something was moved that way
    drag : share of its speed that computing lost meanwhile
    """
    clock_s = end.clock_s - begin.clock_s - (end.fresh_s - begin.fresh_s)
    beside_s = min(clock_s, max(0.0, busy_s - _waited_s(begin, end)))
    return max(0.0, clock_s - drag * beside_s)


def _waited_s(begin: Moment, end: Moment) -> float:
    return end.waited_s - begin.waited_s


def _with_drag(rates: Rates, moved: TransferCounts, *, cores: int, computing: int) -> Rates:
    size = moved.written_bytes + moved.read_bytes
    spare = cores - computing

    def lost(bytes_per_s: float) -> float:
        if not size or not computing:
            return 0.0
        taken = moved.cpu_s / size * bytes_per_s  # processors that moving keeps busy
        return min(_MOST_DRAG, max(0.0, taken - spare) / computing)

    write, read = lost(rates.write_bytes_per_s), lost(rates.read_bytes_per_s)
    most = max(write, read)
    speed = min(rates.waiting_speed, 1 / most) if most else rates.waiting_speed
    return replace(rates, write_drag=write, read_drag=read, waiting_speed=speed)


def _said(before: StepProfile, after: StepProfile, again: float) -> str:
    def pair(old: str, new: str) -> str:
        return f"{new} ({old} in the measured step)"

    def rate(profile: StepProfile, way: str) -> str:
        return f"{format_quantity(getattr(profile, f'{way}_bytes_per_s'), 'bytes')}/s"

    parts = [
        f"{name} {pair(format_si(old, 's'), format_si(new, 's'))}"
        for name, old, new in (("forward", before.forward_s, after.forward_s),
                               ("backward", before.backward_s, after.backward_s))
    ]  # fmt: skip
    parts += [f"{name} {pair(rate(before, way), rate(after, way))}"
              for name, way in (("writing", "write"), ("reading", "read"))]  # fmt: skip
    if again != 1.0:
        parts.append(f"making again takes {again:.2f} times as long as was tried")
    return f"planned again with what the first planned step showed: {', '.join(parts)}"
