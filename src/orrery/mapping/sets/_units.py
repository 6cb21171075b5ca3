"""What a set of devices takes over one after the other: regions, with those that merely follow.

Models:  a unit is a region and the element-wise regions after it that read only what it makes (and
         perhaps a second tensor, as an addition does). All of a unit is split alike, so nothing
         moves inside it. Units stand in the order of their networks. A follower that would rather
         be elsewhere than the region that it follows is a unit of its own.
Ignores: other orders of a network's regions; what a follower gains on a larger set of like devices.
Judge:   every region stands in one unit; layouts inside units agree (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orrery.cost import Operand, Refusal, Sharding, Strategy, shard
from orrery.graph import Region

from .._tables import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Regions that are split alike.

    Attributes
    ----------
    network : number of the network it belongs to
    regions : by number in the workload; the first decides how all are split
    main : per follower, the tensor (by number) that it has from the region before it
    uses : tensors that are fetched, in order, with the position of the region that reads each
    outputs : tensors that others read, or the caller, with the position of the region that makes it
    """

    network: int
    regions: tuple[int, ...]
    main: tuple[int, ...]
    uses: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]


def units_of(
    workload: Workload, apart: Callable[[int, int], bool] = lambda first, follower: False
) -> tuple[Unit, ...]:
    """Return the units of a workload, networks one after the other.

    Parameters
    ----------
    apart : whether a region must not follow in the unit that another one begins
    """
    groups: list[list[int]] = []
    mains: list[list[int]] = []
    network_of = _networks(workload)
    shapes: dict[int, Sharding | Refusal] = {}
    for number, region in enumerate(workload.regions):
        main = -1
        if groups and network_of[groups[-1][0]] == network_of[number]:
            main = _followed(workload, groups[-1][-1], number, region, shapes)
        if main >= 0 and not apart(groups[-1][0], number):
            groups[-1].append(number)
            mains[-1].append(main)
        else:
            groups.append([number])
            mains.append([])
    return tuple(
        _unit(workload, network_of[group[0]], group, main) for group, main in zip(groups, mains)
    )


def _networks(workload: Workload) -> list[int]:
    numbers: list[int] = []
    graphs: list[int] = []
    for number, region in enumerate(workload.regions):
        prefix = workload.names[number][: -len(region.name)] if region.name else ""
        owner = next(
            (i for i, m in enumerate(workload.references) if m.prefix == prefix), len(graphs)
        )
        numbers.append(owner)
    return numbers


def _followed(
    workload: Workload, before: int, number: int, region: Region,
    shapes: dict[int, Sharding | Refusal],
) -> int:  # fmt: skip
    """Return the tensor by which a region follows the one before it, or -1."""
    made = set(workload.outputs[before])
    if len(workload.outputs[before]) != 1 or len(workload.outputs[number]) != 1:
        return -1
    main = workload.outputs[before][0]
    stays = main in workload.results or main in set(workload.states.values())
    if main not in made or workload.consumers[main] != (number,) or stays:
        return -1
    for one in (before, number):
        if one not in shapes:
            shapes[one] = shard(workload.regions[one], Strategy(), 1)
    first, found = shapes[before], shapes[number]
    if isinstance(found, Refusal) or isinstance(first, Refusal):
        return -1
    nest = found.nest
    if len(nest.results) != 1 or any(loop.sums for loop in nest.loops):
        return -1
    name = local_name(workload, number, main)
    result = nest.results[0]
    for operand in nest.operands:
        if operand.tensor == name and not operand.once and result.axes:
            return main if _alike(operand, result) else -1
    return -1


def _alike(operand: Operand, result: Operand) -> bool:
    """Whether both are cut alike, whatever is cut."""
    return len(operand.axes) == len(result.axes) and all(
        one.size == other.size
        and (one.size == 1 or (one.loop == other.loop and one.block == other.block == 1))
        and one.window is None and other.window is None
        for one, other in zip(operand.axes, result.axes)
    )  # fmt: skip


def _unit(workload: Workload, network: int, regions: list[int], main: list[int]) -> Unit:
    inside = set(main)
    uses = [
        (tensor, place)
        for place, region in enumerate(regions)
        for tensor in workload.inputs[region]
        if tensor not in inside
        and tensor not in workload.states
        and _rank(workload, region, tensor)
    ]
    outputs = [
        (tensor, place)
        for place, region in enumerate(regions)
        for tensor in workload.outputs[region]
        if tensor not in inside and _rank(workload, region, tensor)
    ]
    return Unit(
        network=network, regions=tuple(regions), main=tuple(main), uses=tuple(uses),
        outputs=tuple(outputs),
    )  # fmt: skip


def local_name(workload: Workload, region: int, tensor: int) -> str:
    """Return a tensor's name inside the network of a region, without the prefix of a plan."""
    prefix = len(workload.names[region]) - len(workload.regions[region].name)
    return workload.tensors[tensor][prefix:]


def _rank(workload: Workload, region: int, tensor: int) -> int:
    return workload.regions[region].graph.type(local_name(workload, region, tensor)).rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A unit as `shapes_of` asks for it; `names` are the signatures of its regions."""

    regions: tuple[Region, ...]
    names: tuple[str, ...]
    main: tuple[str, ...]
    uses: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


def case_of(workload: Workload, unit: Unit, names: Sequence[str]) -> Case:
    """Return a unit with its tensors as its own regions call them."""

    def local(tensor: int, place: int) -> str:
        return local_name(workload, unit.regions[place], tensor)

    return Case(
        regions=tuple(workload.regions[region] for region in unit.regions),
        names=tuple(names[region] for region in unit.regions),
        main=tuple(local(tensor, place + 1) for place, tensor in enumerate(unit.main)),
        uses=tuple((local(tensor, place), place) for tensor, place in unit.uses),
        outputs=tuple((local(tensor, place), place) for tensor, place in unit.outputs),
    )
