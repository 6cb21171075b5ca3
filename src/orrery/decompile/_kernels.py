"""Where the kernels of a framework's container are in the code, and how they take arguments.

Models:  kernels by linked name where names are, through the wrapper that unpacks arguments where
         there is one; tables of functions where names are not.
Judge:   networks built by these frameworks, with and without names (tests/decompile).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Row
from dataclasses import dataclass, replace

from ._code import ImageCode
from ._functions import Functions
from ._opening import Opened
from ._wrapper import arguments_handed_on
from .containers import Kernel, KernelCall, Sequence, kernel_table
from .forms import Routine
from .images import Image

__all__ = ["Place", "find_kernels", "in_order"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a kernel is.

    Attributes
    ----------
    part : number of the image
    address : of the code that computes
    wrapper : of the code that unpacks its arguments and calls it; the same where there is none
    """

    part: int
    address: int
    wrapper: int


def find_kernels(
    opened: Opened, sequence: Sequence, functions: Row[Functions]
) -> tuple[dict[int, Place], tuple[str, ...]]:
    """Return where each kernel of a container is, by its number, and what was not found."""
    kernels = {call.kernel.number: call.kernel for call in sequence.calls}
    places: dict[int, Place] = {}
    notes = []
    for number, kernel in kernels.items():
        if opened.module is not None:
            place = _in_table(opened.images, kernel)
        else:
            place = _by_name(opened.images[0], functions[0], kernel)
        if place is not None:
            places[number] = place
        else:
            notes.append(f"kernel {kernel.name or number}: no code was found for it; where it "
                         "lies in another library, give that one")  # fmt: skip
    return places, tuple(notes)


def _by_name(image: Image, functions: Functions, kernel: Kernel) -> Place | None:
    if not kernel.name:
        return None
    named = [s for s in image.symbols if s.kind == "function" and s.name.endswith(kernel.name)]
    if not named:
        return None
    symbol = min(named, key=lambda s: (len(s.name), s.address))
    own = functions.at(symbol.address)
    inner = [one for to in (own.calls if own else ()) if (one := functions.at(to)) is not None
             and one.address == to]  # fmt: skip
    exact = [one for one in inner if one.name == f"{kernel.name}_compute_"]
    working = [one for one in inner if one.loops or one.floats]
    if not exact and not working and inner:
        working = inner
    for one in (*exact, *sorted(working, key=lambda f: f.end - f.address, reverse=True)):
        return Place(part=0, address=one.address, wrapper=symbol.address)
    return Place(part=0, address=symbol.address, wrapper=symbol.address)


def _in_table(images: Row[Image], kernel: Kernel) -> Place | None:
    """Return a kernel of an executable that is reached through a table of functions."""
    if kernel.part >= len(images):
        return None
    table = kernel_table(images[kernel.part])
    if kernel.number >= len(table):
        return None
    if kernel.number < 0:
        return None
    thumb = images[kernel.part].architecture in ("armv7", "thumb")
    address = table[kernel.number] & (~1 if thumb else ~0)
    return Place(part=kernel.part, address=address, wrapper=address)


def in_order(
    sequence: Sequence, places: Mapping[int, Place], codes: Row[ImageCode],
    routines: Mapping[tuple[int, int], Routine],
) -> tuple[Sequence, tuple[str, ...]]:  # fmt: skip
    """Return the calls with arguments in the order in which the computing code takes them."""
    orders: dict[int, tuple[int, ...]] = {}
    notes = []
    for number, place in places.items():
        routine = routines.get((place.part, place.address))
        if place.wrapper == place.address or routine is None:
            continue
        order = arguments_handed_on(
            codes[place.part], place.wrapper, place.address, len(routine.arguments)
        )
        if order is None:
            notes.append(f"the code at {place.wrapper:#x} hands arguments on in a way that was "
                         "not understood: they are taken in their order")  # fmt: skip
        else:
            orders[number] = order
    calls = tuple(_ordered(call, orders.get(call.kernel.number)) for call in sequence.calls)
    return replace(sequence, calls=calls), tuple(notes)


def _ordered(call: KernelCall, order: tuple[int, ...] | None) -> KernelCall:
    if order is None or any(at >= len(call.arguments) for at in order):
        return call
    return replace(call, arguments=tuple(call.arguments[at] for at in order))
