"""Whether the splits of a plan are ones that their regions can have.

Models:  devices that exist, each once, the assignment's own first; a finite speed above zero for
         each; factors that multiply to their number; a strategy that the region's loops allow; no
         transfers, because messages are derived; regions after all those whose outputs they read,
         and after nothing else; residents as the derived layouts need them.
Ignores: whether any of it is good, and whether it fits (`price` says).
Judge:   every single edit of a valid plan that changes what it says is refused (tests).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Assignment, Plan

from .._cost import Refusal
from .._expand import Expansion, expand
from .._plan_regions import PlannedRegion
from ..sharding import Nest, nest_of

_AGAIN = "make the plan again"
_ENDS = ("all_reduce", "reduce_scatter")


def check_split(
    plan: Plan, graphs: Sequence[Graph], system: System, regions: Mapping[str, PlannedRegion]
) -> Expansion:
    """Refuse a split plan that contradicts its networks, its system or itself.

    Returns
    -------
    the plan written out

    Raises
    ------
    SpecError : says which region's split, order or residents are wrong
    UnknownNameError : a device that does not exist
    """
    if plan.transfers:
        raise SpecError(
            "plan: transfers", found=f"{len(plan.transfers)} of them in a plan with split regions",
            wanted="none: every message follows from the splits", fix="remove them",
        )  # fmt: skip
    for assignment in plan.assignments:
        if assignment.split is not None:
            _check_devices(assignment, system)
            _check_strategy(assignment, regions[assignment.region])
    _check_order(plan, regions)
    expansion = expand(plan, graphs, system)
    _check_residents(plan, expansion, system)
    return expansion


def _check_devices(assignment: Assignment, system: System) -> None:
    split = assignment.split
    if split is None:
        return
    where = f"plan: region {assignment.region!r}: split"
    for device in split.devices:
        system.device(device)
    if len(set(split.devices)) != len(split.devices) or not split.devices:
        raise SpecError(f"{where}: devices", found=", ".join(split.devices) or "none",
                        wanted="one or more, each once", fix="correct them")  # fmt: skip
    if split.devices[0] != assignment.device:
        raise SpecError(f"{where}: devices", found=f"{split.devices[0]} first",
                        wanted=f"{assignment.device!r}, the device of the assignment, first",
                        fix="put it first, or correct the device")  # fmt: skip
    if len(split.weights) != len(split.devices):
        raise SpecError(f"{where}: weights", found=f"{len(split.weights)} of them",
                        wanted=f"{len(split.devices)}, one for each device",
                        fix="correct them")  # fmt: skip
    for device, weight in zip(split.devices, split.weights):
        if not (math.isfinite(weight) and weight > 0):
            raise SpecError(f"{where}: weights", found=f"{weight} for {device}",
                            wanted="finite numbers above zero",
                            fix="correct it, or leave the device out")  # fmt: skip
    if split.combine not in _ENDS:
        raise SpecError(f"{where}: combine", found=split.combine, wanted="one of "
                        f"{', '.join(_ENDS)}{did_you_mean(split.combine, _ENDS)}",
                        fix="correct it")  # fmt: skip
    names = [name for name, _ in split.exclusive]
    if len(set(names)) != len(names):
        raise SpecError(f"{where}: exclusive", found=", ".join(names), wanted="each loop once",
                        fix="multiply its factors")  # fmt: skip
    factors = [factor for _, factor in split.exclusive]
    if any(factor < 2 for factor in factors) or (
        factors and math.prod(factors) != len(split.devices)
    ):
        raise SpecError(
            f"{where}: exclusive", found="×".join(map(str, factors)), fix="correct the factors",
            wanted=f"factors of 2 or more that multiply to the {len(split.devices)} devices",
        )  # fmt: skip


def _check_strategy(assignment: Assignment, planned: PlannedRegion) -> None:
    """Name what is wrong with loops and operands; the rules themselves are the sharding's."""
    split = assignment.split
    if split is None or (not split.exclusive and split.shared is None):
        return
    where = f"plan: region {assignment.region!r}: split"
    nest = nest_of(planned.region)
    if isinstance(nest, Refusal):
        raise SpecError(where, found=nest.reason, wanted="one device for it, and no split",
                        fix=_AGAIN)  # fmt: skip
    if split.shared is not None:
        _check_shared(split.shared, nest, where)


def _check_shared(shared: tuple[str, int], nest: Nest, where: str) -> None:
    loop, position = shared
    known = [found.name for found in nest.loops]
    if loop not in known and loop not in nest.fixed:
        raise SpecError(f"{where}: shared", found=loop, fix="correct it", wanted="a loop of it: "
                        f"{', '.join(known)}{did_you_mean(loop, known)}")  # fmt: skip
    positions = [operand.index for operand in nest.operands]
    if position not in positions:
        raise SpecError(f"{where}: shared", found=f"operand {position}", fix="correct it",
                        wanted=f"one of {', '.join(map(str, positions))}")  # fmt: skip


def _check_order(plan: Plan, regions: Mapping[str, PlannedRegion]) -> None:
    """Every region comes after, and says that it comes after, all whose outputs it reads."""
    maker: dict[str, str] = {}
    for assignment in plan.assignments:
        planned = regions[assignment.region]
        for tensor in planned.region.outputs:
            maker[planned.prefix + tensor] = assignment.region
    done: set[str] = set()
    for assignment in plan.assignments:
        planned = regions[assignment.region]
        for tensor in planned.region.inputs:
            name = planned.prefix + tensor
            producer = maker.get(name)
            if producer is None:
                continue
            if producer not in assignment.after:
                raise SpecError(
                    f"plan: region {assignment.region!r}: after", found=_some(assignment.after),
                    wanted=f"{producer!r} as well, whose output {name!r} it reads", fix="add it",
                )  # fmt: skip
            if producer not in done:
                raise SpecError(
                    f"plan: region {assignment.region!r}", fix="reorder the assignments",
                    found=f"it before {producer}, whose output {name} it reads",
                    wanted="producers before consumers",
                )  # fmt: skip
        done.add(assignment.region)


def _check_residents(plan: Plan, expansion: Expansion, system: System) -> None:
    names = [device.name for device in system.devices]
    needed = {end: sum(held.values()) for end, held in zip(expansion.ends, expansion.residents)}
    for name in dict.fromkeys((*plan.resident_bytes, *names)):
        if name not in names:
            raise UnknownNameError(f"device of {system.name}", name, names)
        claimed = plan.resident_bytes.get(name, 0)
        if claimed != needed[name]:
            raise SpecError(
                f"plan: resident_bytes of {name!r}", found=claimed, fix="correct it",
                wanted=f"the {needed[name]} of its parts of weights and states",
            )  # fmt: skip


def _some(names: Iterable[str]) -> str:
    listed = [*names]
    return ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "") if listed else "none"
