"""The middle stages: which functions there are, which may be the network's, and each one read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ._code import ImageCode, own_stubs
from ._frame import Records
from ._functions import Functions, find_functions
from ._limits import Lost, each
from ._opening import Container, Opened, Request, named_entry
from .containers import CallKey, Sequence
from .forms import Routine
from .images import Image
from .lifting import lift
from .linking import (
    Place,
    find_kernels,
    in_order,
    lift_dispatched,
    moved,
    own_kernel,
    runtime_pointers,
)
from .topology import PART_BYTES

#: So many functions are tried as the network's entry, and so many are read at most.
_MOST_ENTRIES, _MOST_READ = 12, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class AllFunctions:
    """Functions of every image.

    Attributes
    ----------
    entries : candidates for the network's entry, the likeliest first; of the first image
    """

    of: tuple[Functions, ...]
    entries: tuple[int, ...] = ()

    @property
    def found(self) -> str:
        said = "; ".join(one.found for one in self.of)
        return f"{said}; {len(self.entries)} candidates" if self.entries else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """Functions as loops and stores.

    Attributes
    ----------
    routines : by number of the image and address
    lost : number of the image, address, and why there is no routine
    sequence : the container's calls with arguments as their kernels take them; None without one
    kernels : key of a call of the container -> its routine
    """

    routines: Mapping[tuple[int, int], Routine]
    lost: tuple[tuple[int, int, str], ...] = ()
    sequence: Sequence | None = None
    kernels: Mapping[CallKey, Routine] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        every = {id(one): one for one in (*self.routines.values(), *self.kernels.values())}
        whole = sum(1 for one in every.values() if not one.unread)
        parts = len(every) - whole
        return (f"{whole} functions read" + (f", {parts} in part" if parts else "")
                + (f", {len(self.lost)} lost" if self.lost else ""))  # fmt: skip


def list_functions(records: Records) -> AllFunctions:
    """Find functions, and those from which a network may be entered."""
    request, opened = records[Request], records[Opened]
    of = tuple(find_functions(image) for image in opened.images)
    if records[Container].sequence is not None:
        return AllFunctions(of=of)
    return AllFunctions(of=of, entries=_entries(request, opened.images[0], of[0]))


def _entries(request: Request, image: Image, functions: Functions) -> tuple[int, ...]:
    """Return where a network may begin: functions that lead to loops over floats."""
    if (named := named_entry(request, image)) is not None:
        return (named,)
    counts, lone = {}, {}
    called = {to for one in functions.each for to in one.calls if to != one.address}
    computing = {one.address for one in functions.each if one.computes}
    stubs = own_stubs(image)  # each is but another way into a function
    for one in functions.each:
        if one.address in stubs:
            continue
        reached = functions.reached(one.address)
        kernels = sum(1 for f in reached if f.floats and f.loops)
        worth = (kernels, one.exported, one.address not in called, -one.address)
        if any(f.products and f.loops for f in reached):  # whatever learns multiplies
            counts[one.address] = worth
        elif computing and computing <= {f.address for f in reached}:
            lone[one.address] = worth
    # Where nothing multiplies, a single operator may still be all that the file computes.
    counts = counts or lone
    ranked = sorted(counts, key=counts.__getitem__, reverse=True)
    return tuple(ranked[:_MOST_ENTRIES])


#: Number of the image, address, and which of the container's calls means it; -1: any.
_Item = tuple[int, int, int]


def read_functions(records: Records) -> Lifted:
    """Read the functions that may belong to the network, each for itself."""
    request, opened, container = records[Request], records[Opened], records[Container]
    functions = records[AllFunctions].of
    codes = [ImageCode(image) for image in opened.images]
    sequence = container.sequence
    places: dict[tuple[int, int], Place] = {}
    notes: tuple[str, ...] = ()
    of_call: dict[CallKey, _Item] = {}
    if sequence is not None:
        dispatched = opened.module is not None
        if not dispatched:  # pointers of a runtime, which a file without names has as well
            codes[0] = ImageCode(opened.images[0], runtime_pointers(codes[0], functions[0]))
        places, notes = find_kernels(sequence, functions, codes, dispatched=dispatched)
        of_call = _items(sequence, places, dispatched=dispatched)

    stubs = [own_stubs(image) for image in opened.images]
    lifted: dict[tuple[int, int], Routine] = {}

    def read(item: _Item) -> Routine:
        part, address, number = item
        address = codes[part].plain(stubs[part].get(address, address))
        shift, start = part * PART_BYTES, _with_mode(opened.images[part], address)
        if sequence is not None and number >= 0:
            return lift_dispatched(codes[part], start, sequence.calls[number], shift)
        if (part, address) not in lifted:  # a function and the stub that leads to it are read once
            lifted[part, address] = moved(lift(codes[part], start), shift)
        return lifted[part, address]

    deadline = time.monotonic() + request.lifting_s
    reader = _Reader(records, read, request.function_s, deadline)
    first = dict.fromkeys(of_call.values() if sequence is not None else
                          [(0, entry, -1) for entry in records[AllFunctions].entries])  # fmt: skip
    reader.take(first)
    # What is entered and could not be read leads to nothing that could be used.
    inner = dict.fromkeys(
        (part, one.address, -1)
        for part, address, number in first
        if (part, address, number) in reader.routines
        for one in functions[part].reached(address)[1:]
    )
    reader.take({one: None for one in inner if one not in first})
    routines, lost = reader.routines, reader.lost
    plain = {(part, at): one for (part, at, number), one in routines.items() if number < 0}
    kernels: dict[CallKey, Routine] = {}
    if sequence is not None:
        if opened.module is None:
            sequence, more = in_order(sequence, places, codes, plain)
            notes = (*notes, *more)
        kernels = {key: routines[item] for key, item in of_call.items() if item in routines}
        kernels |= {call.key: own for call in sequence.calls
                    if (own := own_kernel(call)) is not None}  # fmt: skip
    return Lifted(routines=plain, lost=tuple(lost), sequence=sequence, kernels=kernels, notes=notes)


class _Reader:
    """Reads functions one by one within a time for all."""

    def __init__(
        self, records: Records, read: Callable[[_Item], Routine], function_s: float, deadline: float
    ) -> None:
        self._records, self._read = records, read
        self._function_s, self._deadline = function_s, deadline
        self.routines: dict[_Item, Routine] = {}
        self.lost: list[tuple[int, int, str]] = []

    def take(self, wanted: Iterable[_Item]) -> None:
        items = list(wanted)[: _MOST_READ - len(self.routines) - len(self.lost)]
        reading = each(items, self._read, limit_s=self._function_s, deadline_s=self._deadline)
        for done, unit in enumerate(reading, 1):
            self._records.progress.step("reading functions", done, len(items))
            if isinstance(unit.result, Lost):
                part, address, _ = unit.item
                self.lost.append((part, address, unit.result.reason))
            else:
                self.routines[unit.item] = unit.result


def _items(
    sequence: Sequence, places: Mapping[tuple[int, int], Place], *, dispatched: bool
) -> dict[CallKey, _Item]:
    """Return what is to be read for each call; calls with the same key mean the same code."""
    found: dict[CallKey, _Item] = {}
    for number, call in enumerate(sequence.calls):
        place = places.get((call.kernel.part, call.kernel.number))
        if place is not None:
            found.setdefault(call.key, (place.part, place.address, number if dispatched else -1))
    return found


def _with_mode(image: Image, address: int) -> int:
    """Return an address as a call states it: odd where Thumb code begins."""
    return address | 1 if image.is_thumb(address) else address
