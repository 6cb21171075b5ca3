"""Which devices are alike, and which sets of them differ in anything but names.

Models:  two devices are alike when exchanging them leaves the system as it is: equal but for name
         and group, and every link of one has its like at the other. A class of sets is a number of
         devices of each group of like ones, all of one kind.
Ignores: symmetries that exchange more than two devices at once, or devices that are not next to
         each other in number; sets of different kinds.
Judge:   prices of random sets of one class are equal (tests).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from .._tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClass:
    """Sets that differ in names only.

    Attributes
    ----------
    counts : devices of each group of like ones
    devices : one such set, by number, rising
    """

    counts: tuple[int, ...]
    devices: tuple[int, ...]

    @property
    def parties(self) -> int:
        return len(self.devices)

    def placed(self, groups: Sequence[Sequence[int]], taken: Sequence[int]) -> tuple[int, ...]:
        """Return the set that is left when so many of each group are taken already."""
        return tuple(sorted(
            device for group, count, gone in zip(groups, self.counts, taken, strict=True)
            for device in group[gone : gone + count]
        ))  # fmt: skip


def like_devices(tables: Tables) -> tuple[tuple[int, ...], ...]:
    """Return the groups of devices that may be exchanged, each in order."""
    links: Counter[_Link] = Counter(
        ((min(x.ends), max(x.ends)) if x.duplex else x.ends,
         (x.bandwidth_bytes_per_s, x.latency_s, x.energy_j_per_byte), x.duplex)
        for x in tables.system.links
    )  # fmt: skip
    groups: list[list[int]] = []
    for device in range(len(tables.of_device)):
        # Only neighbours in number: whom a device fetches from depends on the order of numbers.
        alike = groups and tables.kind[groups[-1][0]] == tables.kind[device] and _exchangeable(
            links, tables.ends[groups[-1][0]], tables.ends[device], tables.system.host or ""
        )  # fmt: skip
        if alike:
            groups[-1].append(device)
        else:
            groups.append([device])
    return tuple(map(tuple, groups))


_Link = tuple[tuple[str, ...], tuple[float, float, float | None], bool]


def _exchangeable(links: Counter[_Link], one: str, other: str, host: str) -> bool:
    if host in (one, other):
        return False
    swap = {one: other, other: one}
    for (ends, numbers, duplex), count in links.items():
        if one in ends or other in ends:
            new = tuple(swap.get(end, end) for end in ends)
            if duplex:
                new = (min(new), max(new))
            if links[new, numbers, duplex] != count:
                return False
    return True


def set_classes(
    tables: Tables, groups: Sequence[Sequence[int]], sizes: Sequence[int] | None, limit: int
) -> tuple[SetClass, ...]:
    """List the classes of sets, small ones first.

    Parameters
    ----------
    sizes : numbers of devices that a set may have; any when None
    limit : beyond so many classes, only sets inside one group, and whole groups joined
    """
    wanted = None if sizes is None else set(sizes)
    found: dict[tuple[int, ...], None] = {}
    kinds: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        kinds.setdefault(tables.kind[group[0]], []).append(number)
    for members in kinds.values():
        possible = 1
        for number in members:
            possible *= len(groups[number]) + 1
        for counts in (
            product(*(range(len(groups[n]) + 1) for n in members))
            if possible <= limit
            else _plain(groups, members)
        ):
            total = sum(counts)
            if total and (wanted is None or total in wanted):
                whole = [0] * len(groups)
                for number, count in zip(members, counts):
                    whole[number] = count
                found[tuple(whole)] = None
    none = (0,) * len(groups)
    classes = [
        SetClass(counts=counts, devices=SetClass(counts=counts, devices=()).placed(groups, none))
        for counts in found
    ]
    return tuple(sorted(classes, key=lambda c: (c.parties, tuple(-n for n in c.counts))))


def _plain(groups: Sequence[Sequence[int]], members: Sequence[int]) -> list[tuple[int, ...]]:
    """Return powers of two inside each group, and the first 2, 4, 8, … whole groups together."""
    found = []
    for place, number in enumerate(members):
        size = 1
        while size <= len(groups[number]):
            found.append(tuple(size if i == place else 0 for i in range(len(members))))
            size *= 2
        found.append(tuple(len(groups[number]) if i == place else 0 for i in range(len(members))))
    count = 2
    while count <= len(members):
        found.append(tuple(len(groups[n]) if i < count else 0 for i, n in enumerate(members)))
        count *= 2
    found.append(tuple(len(groups[n]) for n in members))
    return found
