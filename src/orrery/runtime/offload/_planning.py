"""From what was measured to a plan: the profile of each pass, the answer, when to ask again.

Models:  rates as bytes over the time during which at least one transfer went that way, so that
         several threads and folders count together; memory that is no saved tensor as the most that
         was in use, less what was surely on its way.
         The first step that obeys a plan shows what the measured one could not (`_rates`), so
         there is another plan after it; and another one after that, up to three, as long as each
         makes other tensors again than the ones before: what that takes shows when it is done. From
         then on two steps in a row must show a rate at least
         twice as high, or as low, as planned with, before there is another plan, with their mean;
         each time that it happened, twice as many as before, up to 16: on a busy machine rates go
         up and down and plans need not follow.
         A step above its limit shows memory that was not there when measured, as an optimiser's
         state that its first update makes; with as much less room there is another plan.
Ignores: that writes and reads at once slow each other down; what other processes do to the disk
         for fewer steps than that.
Judge:   a network written out by hand, and a disk made slow (tests/runtime/offload).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orrery.errors import SpecError
from orrery.offload_plan import OffloadPlan, OffloadPlanner, StepProfile, check_offload_plan
from orrery.plan import Infeasible
from orrery.units import format_quantity

from .._workers import usable_cores
from ..moving import SECTOR_BYTES, ScratchFile, TransferCounts
from ..remaking import DEEPEST, Way
from ._errors import OffloadInfeasibleError
from ._memory import Meter
from ._passes import Pass
from ._rates import calibrated, first_rates, first_times
from ._settings import OffloadSettings

#: A step shows another rate when it differs by this factor, over at least so many sectors.
_OTHER_RATE, _SECTORS_TO_JUDGE = 2.0, 2048
#: So many steps in a row, at first and at the most.
_STEPS, _MOST_STEPS = 2, 16
#: Steps after which there is another plan with what they showed that the measured one did not.
_MOST_CALIBRATED = 3
#: A step is above its limit when it is by so much.
_LEAST_OVER = 1 << 20
_RATES = {"write_bytes_per_s": ("written_bytes", "write_s"),
          "read_bytes_per_s": ("read_bytes", "read_s")}  # fmt: skip


class PlanBook:
    """Profiles and plans of the passes of a step, by their place in it."""

    def __init__(
        self,
        settings: OffloadSettings,
        planner: OffloadPlanner,
        files: Sequence[ScratchFile],
        meter: Meter,
        name: str,
    ) -> None:
        self._settings, self._planner, self._name = settings, planner, name
        self._files, self._meter = files, meter
        self.times_planned = 0
        self._profiles: dict[int, StepProfile] = {}
        self._plans: dict[int, tuple[OffloadPlan, tuple[tuple[Any, ...], ...]]] = {}
        self._ways: dict[int, tuple[Way | None, ...]] = {}
        self._others: dict[int, list[TransferCounts]] = {}
        self._patience: dict[int, int] = {}
        #: by pass, what the plans that steps were compared with made again, one after the other
        self._calibrated: dict[int, list[frozenset[str]]] = {}
        self._over: dict[int, int] = {}  # bytes above the limit that there is no plan for
        self._said: dict[int, str] = {}

    @property
    def plans(self) -> tuple[OffloadPlan, ...]:
        """The plans in force."""
        return tuple(self._plans[index][0] for index in sorted(self._plans))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know about the limit, one sentence per pass."""
        return tuple(dict.fromkeys(self._said.values()))

    @property
    def profiles(self) -> tuple[StepProfile, ...]:
        """What was measured last, also where no plan is in force."""
        return tuple(self._profiles[index] for index in sorted(self._profiles))

    def plan(self, index: int) -> tuple[OffloadPlan | None, tuple[tuple[Any, ...], ...]]:
        """Return the plan of a pass, None while there is none, and what the pass must save."""
        return self._plans.get(index, (None, ()))

    def ways(self, index: int) -> tuple[Way | None, ...]:
        """Return how each tensor of a pass can be made again, as it was when it was measured."""
        return self._ways.get(index, ())

    def settle(
        self, found: Pass, end_s: float, moved: TransferCounts, peak_bytes: int = 0
    ) -> None:  # fmt: skip
        """Plan a pass that was measured, forget the plan of one that drifted, mend rates.

        Parameters
        ----------
        peak_bytes : the most memory in the whole step

        Raises
        ------
        OffloadInfeasibleError : nothing could be written, or the planner knows no plan
        PlanMismatchError, SpecError : the planner's answer is for another step
        """
        if found.drifted:
            self._plans.pop(found.index, None)
        elif found.plan is None:
            if found.records and found.backward_s is not None:
                self._ways[found.index] = tuple(record.way for record in found.records)
                self._others.pop(found.index, None)
                self._calibrated.pop(found.index, None)
                self._ask(self._profile(found, end_s, moved), found)
        elif self._shows_more(found.index):
            self._calibrate(found, peak_bytes)
        elif over := self._above(found.index, peak_bytes):
            self._tighten(self._profiles[found.index], found, over, "")
        elif rates := self._other_rates(found.index, moved):
            self._ask(replace(self._profiles[found.index], **rates), found)

    def _shows_more(self, index: int) -> bool:
        """Whether a step that obeyed the plan in force shows what no step before it did."""
        seen = self._calibrated.setdefault(index, [])
        again = frozenset(t.name for t in self._plans[index][0].named("recompute"))
        if len(seen) >= _MOST_CALIBRATED or (seen and again.issubset(frozenset.union(*seen))):
            return False
        seen.append(again)
        return True

    def _calibrate(self, found: Pass, peak_bytes: int) -> None:
        """Plan once more with what a pass that obeyed its plan took."""
        plan, profile = self._plans[found.index][0], self._profiles[found.index]
        shown = calibrated(profile, plan, found, **self._processors())
        if over := self._above(found.index, peak_bytes):
            self._tighten(*((profile, found, over, "") if shown is None else
                            (shown[0], found, over, shown[1])))  # fmt: skip
        elif shown is not None:
            self._ask(shown[0], found, said=shown[1])

    def _above(self, index: int, peak_bytes: int) -> int:
        """Return by how much a step was above its limit; 0 where that is known to have no mend."""
        over = peak_bytes - self._profiles[index].limit_bytes
        known = max(_LEAST_OVER, self._over.get(index, 0))
        return over if over > known and self._settings.return_freed else 0

    def _tighten(self, profile: StepProfile, found: Pass, over: int, said: str) -> None:
        """Plan with so many bytes less, which something took that was not there when measured."""
        line = (f"a planned step took {format_quantity(over, 'bytes')} more than its limit: what "
                "was not there in the measured step, such as an optimiser's state")  # fmt: skip
        tight = replace(profile, other_bytes=profile.other_bytes + over)
        lines = "; ".join(filter(None, (said, f"{line}; planned again with as much less room")))
        if self._ask(tight, found, said=lines):
            self._said[found.index] = line
            return
        self._over[found.index] = over
        self._said[found.index] = f"{line}; there is no plan for less, allow that much more"

    def _processors(self) -> dict[str, int]:
        import torch

        cores = usable_cores()
        on_host = self._settings.device == "cpu"
        return {"cores": cores, "computing": min(cores, torch.get_num_threads()) if on_host else 0}

    def _other_rates(self, index: int, moved: TransferCounts) -> dict[str, Any]:
        """Return rates that enough steps in a row showed to be others than planned with."""
        seen = self._others.setdefault(index, [])
        seen.append(moved)
        steady = set.intersection(*({(k, up) for k, up, _ in self._unlike(index, [m])}
                                    for m in seen))  # fmt: skip
        if not steady:  # the other way round, or as planned: the row begins anew
            del seen[: None if not self._unlike(index, [moved]) else -1]
        patience = self._patience.get(index, _STEPS)
        if len(seen) < patience:
            return {}
        rates = {key: rate for key, up, rate in self._unlike(index, seen) if (key, up) in steady}
        seen.clear()
        self._patience[index] = min(_MOST_STEPS, 2 * patience)
        return rates

    def _unlike(self, index: int, steps: list[TransferCounts]) -> list[tuple[str, bool, float]]:
        """Return each rate of some steps that is another, whether it is higher, and what it is."""
        found = []
        for key, (size_name, time_name) in _RATES.items():
            size = sum(getattr(moved, size_name) for moved in steps)
            took = sum(getattr(moved, time_name) for moved in steps)
            if size >= _SECTORS_TO_JUDGE * SECTOR_BYTES and took:
                profile = self._profiles[index]
                ratio = size / took / getattr(profile, key)
                # All of it may have been waited for, or nothing.
                if not 1 / _OTHER_RATE <= ratio <= _OTHER_RATE * profile.waiting_speed:
                    found.append((key, ratio > 1, size / took))
        return found

    def _ask(self, profile: StepProfile, found: Pass, said: str = "") -> bool:
        """Ask for a plan and put it in force; without one, a pass that has one keeps that."""
        self.times_planned += 1
        answer = self._planner(profile)
        if isinstance(answer, Infeasible):
            if said:
                return False
            self._profiles[found.index] = profile
            self._plans.pop(found.index, None)
            raise OffloadInfeasibleError(answer)
        self._profiles[found.index] = profile
        check_offload_plan(answer, profile)
        if said:
            answer = replace(answer, log=(said, *answer.log))
        names = tuple(tensor.name for tensor in answer.tensors)
        ways = {t.name: t.recompute_s is not None for t in profile.tensors}
        again = [t.name for t in answer.named("recompute") if not ways.get(t.name)]
        if again or names != tuple(tensor.name for tensor in profile.tensors):
            raise SpecError(
                "offload plan: tensors",
                found=f"{again[0]} to recompute" if again else f"{len(names)} tensors",
                wanted="those of the profile, in its order, made again where it says how",
                fix="mend the planner",
            )
        self._plans[found.index] = (answer, tuple(record.signature for record in found.records))
        return True

    def _profile(self, found: Pass, end_s: float, moved: TransferCounts) -> StepProfile:
        room = [os.fstatvfs(file.descriptor) for file in self._files]
        disk_bytes = sum(stat.f_bavail * stat.f_frsize for stat in room)
        disk_bytes += sum(file.size_bytes for file in self._files)
        if not moved.write_s or not moved.read_s:
            raise OffloadInfeasibleError(
                Infeasible(
                    what="room in the offload folders, nothing could be written",
                    need=sum(record.size_bytes for record in found.records), have=disk_bytes,
                    unit="bytes", proved=False,
                    remedies=("free some of the disk", "give a folder on another disk"),
                )
            )  # fmt: skip
        tensors, forward_s, backward_s = found.profiled(end_s, self._settings.block_bytes)
        rates = first_rates(found, moved, **self._processors())
        limit = self._settings.limit_bytes
        if limit is None:
            limit = self._meter.read() + self._meter.free()
        profile = StepProfile(
            name=self._name, tensors=tensors, forward_s=forward_s, backward_s=backward_s,
            other_bytes=found.other_bytes, limit_bytes=limit,
            write_bytes_per_s=rates.write_bytes_per_s, read_bytes_per_s=rates.read_bytes_per_s,
            write_drag=rates.write_drag, read_drag=rates.read_drag,
            waiting_speed=rates.waiting_speed, recompute_depth=DEEPEST,
            pack_bytes_per_s=moved.packed_bytes / moved.pack_s if moved.pack_s else None,
            unpack_bytes_per_s=moved.unpacked_bytes / moved.unpack_s if moved.unpack_s else None,
            disk_bytes=disk_bytes, queue_bytes=self._settings.queue_bytes,
            machine=platform.node(),
        )  # fmt: skip
        return first_times(profile, found)
