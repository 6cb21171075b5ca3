"""The middle stages: which functions there are, which may be the network's, and each one read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ._code import ImageCode
from ._frame import Records
from ._functions import Functions, find_functions
from ._kernels import Place, find_kernels, in_order
from ._limits import Lost, each
from ._opening import Container, Opened, Request
from .containers import Sequence
from .forms import Routine
from .images import Image, ImageError
from .lifting import lift

__all__ = ["AllFunctions", "Lifted", "list_functions", "read_functions"]

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
    kernels : number of the kernel in the container -> its routine
    """

    routines: Mapping[tuple[int, int], Routine]
    lost: tuple[tuple[int, int, str], ...] = ()
    sequence: Sequence | None = None
    kernels: Mapping[int, Routine] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        whole = sum(1 for one in self.routines.values() if not one.unread)
        parts = len(self.routines) - whole
        return (f"{whole} functions read" + (f", {parts} in part" if parts else "")
                + (f", {len(self.lost)} lost" if self.lost else ""))  # fmt: skip


def list_functions(records: Records) -> AllFunctions:
    """Find functions, and those from which a network may be entered.

    Raises
    ------
    ImageError : an entry that was named is not there
    """
    request, opened = records[Request], records[Opened]
    of = tuple(find_functions(image) for image in opened.images)
    if records[Container].sequence is not None:
        return AllFunctions(of=of)
    return AllFunctions(of=of, entries=_entries(request, opened.images[0], of[0]))


def _entries(request: Request, image: Image, functions: Functions) -> tuple[int, ...]:
    """Return where a network may begin: functions that lead to loops over floats."""
    if isinstance(request.entry, int):
        if not image.is_code(request.entry & ~1):
            raise ImageError(image.name, found=f"no code at {request.entry:#x}",
                             wanted="the address of a function", fix="correct --entry")  # fmt: skip
        return (request.entry,)
    if request.entry is not None:
        symbol = image.symbol(request.entry)
        if symbol is None:
            raise ImageError(
                image.name, found=f"no function named {request.entry!r}",
                wanted="a linked name, or an address", fix="name one that the file has",
            )  # fmt: skip
        return (symbol.address,)
    counts = {}
    called = {to for one in functions.each for to in one.calls if to != one.address}
    for one in functions.each:
        reached = functions.reached(one.address)
        kernels = sum(1 for f in reached if f.floats and f.loops)
        if any(f.products and f.loops for f in reached):  # whatever learns multiplies
            counts[one.address] = (kernels, one.exported, one.address not in called, -one.address)
    ranked = sorted(counts, key=counts.__getitem__, reverse=True)
    return tuple(ranked[:_MOST_ENTRIES])


def read_functions(records: Records) -> Lifted:
    """Read the functions that may belong to the network, each for itself."""
    request, opened, container = records[Request], records[Opened], records[Container]
    functions = records[AllFunctions].of
    places: dict[int, Place] = {}
    notes: tuple[str, ...] = ()
    wanted: dict[tuple[int, int], None] = {}
    if container.sequence is not None:
        places, notes = find_kernels(opened, container.sequence, functions)
        for place in places.values():
            for one in functions[place.part].reached(place.address):
                wanted[place.part, one.address] = None
    else:
        for entry in records[AllFunctions].entries:
            reached = functions[0].reached(entry)
            wanted[0, entry] = None
            wanted |= dict.fromkeys((0, one.address) for one in reached)
    items = list(wanted)[:_MOST_READ]
    codes = [ImageCode(image) for image in opened.images]
    routines: dict[tuple[int, int], Routine] = {}
    lost = []

    def read(item: tuple[int, int]) -> Routine:
        part, address = item
        return lift(codes[part], _with_mode(opened.images[part], address))

    deadline = time.monotonic() + request.lifting_s
    for done, unit in enumerate(
        each(items, read, limit_s=request.function_s, deadline_s=deadline), 1
    ):
        records.progress.step("reading functions", done, len(items))
        if isinstance(unit.result, Lost):
            lost.append((*unit.item, unit.result.reason))
        else:
            routines[unit.item] = unit.result
    sequence, kernels = container.sequence, {}
    if sequence is not None:
        sequence, more = in_order(sequence, places, codes, routines)
        notes = (*notes, *more)
        kernels = {
            number: routines[place.part, place.address] for number, place in places.items()
            if (place.part, place.address) in routines
        }  # fmt: skip
    return Lifted(
        routines=routines, lost=tuple(lost), sequence=sequence, kernels=kernels, notes=notes
    )


def _with_mode(image: Image, address: int) -> int:
    """Return an address as a call states it: odd where Thumb code begins."""
    return address | 1 if image.is_thumb(address) else address
