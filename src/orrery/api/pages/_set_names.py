"""The sets of a plan, and how sets, devices and splits are called on its page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from orrery.graph import Region
from orrery.plan import Assignment, Plan, Split

ALONE = "one device"

_IMAGE_AXES = {"axis0": "N", "axis1": "C", "axis2": "H", "axis3": "W"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSet:
    """Devices that work together, and the regions that they take."""

    name: str
    devices: tuple[str, ...]
    assignments: tuple[Assignment, ...]

    @property
    def label(self) -> str:
        """Name and devices."""
        return f"{self.name}: {devices_text(self.devices)}"


def sets_of(plan: Plan) -> tuple[DeviceSet, ...]:
    """Return the sets of a plan in order of first use."""
    members: dict[tuple[str, ...], list[Assignment]] = {}
    for assignment in plan.assignments:
        members.setdefault(tuple(sorted(assignment.devices, key=_natural)), []).append(assignment)
    return tuple(
        DeviceSet(name=f"set {number}", devices=devices, assignments=tuple(assignments))
        for number, (devices, assignments) in enumerate(members.items(), 1)
    )


def strategy_text(split: Split | None, *, brief: bool = False, image: bool = False) -> str:
    """Return how a region is split, e.g. ``Cout/2×H/2 + ring Cin of operand 1``.

    Parameters
    ----------
    brief : leave out the number of parts of a single loop (it is that of the set's devices), and
        call the channels of a result C whatever makes it, so that what is split alike reads alike
    image : what it makes is one: its axes have the names that a convolution gives them
    """
    if split is None or len(split.devices) == 1:
        return ALONE
    names = {**(_IMAGE_AXES if image else {}), **({"Cout": "C"} if brief else {})}
    shares = [(names.get(loop, loop), factor) for loop, factor in split.exclusive]
    text = "×".join(f"{loop}/{factor}" for loop, factor in shares) or "everybody all"
    if brief and len(shares) == 1:
        text = shares[0][0]
    if split.shared is not None:
        text += (
            f" + ring {names.get(split.shared[0], split.shared[0])} of operand {split.shared[1]}"
        )
    if split.combine != "all_reduce":
        text += f", {split.combine.replace('_', '-')}"
    return text


def is_image(region: Region) -> bool:
    """Whether a region makes tensors of four axes in a network of convolutions."""
    graph = region.graph
    ranks = {len(graph.types[name].shape) for name in region.outputs if name in graph.types}
    return ranks == {4} and any(node.op == "Conv" for node in graph.nodes)


def range_text(group: DeviceSet, place: Mapping[str, int]) -> str:
    """Return a set's first and last layer, and in how many pieces its layers lie."""
    names = [assignment.region for assignment in group.assignments]
    ranks = [place[name] for name in names]
    pieces = 1 + sum(after != before + 1 for before, after in pairwise(ranks))
    ends = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    return ends if pieces == 1 else f"{ends}, in {pieces} pieces"


def devices_text(devices: Sequence[str]) -> str:
    """Return names briefly: ``fpga0–3`` for neighbours that differ by number alone."""
    parts: list[str] = []

    def key(pair: tuple[int, str]) -> tuple[str, int]:
        stem, number = _stem(pair[1])
        return (stem, number - pair[0]) if number >= 0 else (pair[1], 0)

    for _, run in groupby(enumerate(devices), key):
        names = [name for _, name in run]
        last = _stem(names[-1])[1]
        parts.append(names[0] if len(names) == 1 else f"{names[0]}–{last}")
    return ", ".join(parts)


def _stem(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(\d{1,9})", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _natural(name: str) -> tuple[str, int]:
    return _stem(name)
