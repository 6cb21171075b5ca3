"""Where the kernels of a framework's container are in the code, and how they take arguments.

Models:  kernels by the shapes of tensors that their code checks, by linked name where that leaves
         several, through the wrapper that unpacks arguments; or by an executable's own table.
Ignores: kernels that check nothing and have no name.
Judge:   networks built by these frameworks, with and without names (tests/decompile).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Row
from dataclasses import dataclass, replace

from .._code import ImageCode
from .._functions import Functions
from ..containers import PREFIX, Kernel, KernelCall, Sequence, kernel_table
from ..forms import Routine
from ..images import Image
from ._checks import Checks, read_checks
from ._wrapper import arguments_handed_on


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


#: So long code is looked at for what it checks; that of a network takes seconds.
_LOOKING_S = 120.0

#: Part and number of a kernel in the container's own table.
Key = tuple[int, int]


def find_kernels(
    sequence: Sequence, functions: Row[Functions], codes: Row[ImageCode], *, dispatched: bool
) -> tuple[dict[Key, Place], tuple[str, ...]]:
    """Return where each kernel of a container is, and what was not found.

    Parameters
    ----------
    functions, codes : of each of the container's executables
    dispatched : whether kernels stand in a table of their executable, as IREE's do
    """
    kernels = {(call.kernel.part, call.kernel.number): call.kernel for call in sequence.calls}
    places: dict[Key, Place] = {}
    notes: list[str] = []
    if dispatched:
        images = [code.image for code in codes]
        for key, kernel in kernels.items():
            place = _in_table(images, kernel)
            if place is not None:
                places[key] = place
    else:
        places, notes = _linked(sequence, functions[0], codes[0], kernels)
    for key, kernel in kernels.items():
        if key not in places and kernel.number >= 0:
            notes.append(f"kernel {kernel.name or kernel.number}: no code was found for it; where "
                         "it lies in another library, give that one")  # fmt: skip
    return places, tuple(notes)


def _linked(
    sequence: Sequence, functions: Functions, code: ImageCode, kernels: Mapping[Key, Kernel]
) -> tuple[dict[Key, Place], list[str]]:
    """Link calls to code by what the code checks of its arguments; names decide between equals.

    The program says how many tensors a call hands over and of which shapes, and the code refuses
    others: what fits one call alone is that call's, whatever either is called.
    """
    wrappers: dict[int, Checks] = {}
    deadline, notes = time.monotonic() + _LOOKING_S, list[str]()
    for one in functions.each:
        if one.floats:  # what checks computes nothing
            continue
        if time.monotonic() > deadline:
            notes.append("not all code was looked at for the shapes that it checks: the time for "
                         "that was over")  # fmt: skip
            break
        checks = read_checks(code, _entry(code, one.address), one.end)
        if checks is not None:
            wrappers[one.address] = checks
    fitting = {
        key: {at for at, checks in wrappers.items() if all(checks.fit(row) for row in rows)}
        for key, rows in _handed(sequence).items()
    }
    known = {key: kernel.address for key, kernel in kernels.items() if kernel.address is not None}
    by_shape = _alone({key: row for key, row in fitting.items() if key not in known})
    named = {
        key: symbol for key, kernel in kernels.items()
        if key not in known and key not in by_shape
        and (symbol := _named(code.image, kernel)) is not None
    }  # fmt: skip
    places = {}
    for key, at in {**named, **by_shape, **known}.items():
        inner = wrappers[at].inner if at in wrappers else None
        computing = _computing(functions, at, inner)
        places[key] = Place(part=0, address=computing, wrapper=at)
    if by_shape:
        notes.append(f"{len(by_shape)} of {len(kernels)} kernels were linked to code by the shapes "
                     "that it checks")  # fmt: skip
    if named:
        notes.append(f"{len(named)} of {len(kernels)} kernels were linked to code by their names: "
                     "the shapes that code checks did not decide")  # fmt: skip
    return places, notes


def _entry(code: ImageCode, address: int) -> int:
    return address | 1 if code.image.is_thumb(address) else address


def _handed(sequence: Sequence) -> dict[Key, list[list[tuple[int, ...] | None]]]:
    """Return the shapes of what is handed over, call by call of each kernel."""
    found: dict[Key, list[list[tuple[int, ...] | None]]] = {}
    for call in sequence.calls:
        shapes = [None if isinstance(one, int) else one.shape for one in call.arguments]
        found.setdefault((call.kernel.part, call.kernel.number), []).append(shapes)
    return found


def _alone(fitting: Mapping[Key, set[int]]) -> dict[Key, int]:
    """Return what fits one alone, as long as taking it away leaves another such.

    Code that is the only one left for two of them is neither's: nothing says whose it is.
    """
    left = {key: set(row) for key, row in fitting.items()}
    found: dict[Key, int] = {}
    while True:
        single = [(next(iter(row)), key) for key, row in left.items() if len(row) == 1]
        wanted = Counter(at for at, _ in single)
        taken = {at: key for at, key in single if wanted[at] == 1}
        if not taken:
            return found
        for at, key in taken.items():
            found[key] = at
            del left[key]
        for row in left.values():
            row.difference_update(taken)


def _named(image: Image, kernel: Kernel) -> int | None:
    """Return the function that a loader would find by a kernel's name."""
    if not kernel.name:
        return None
    for name in (kernel.name, PREFIX + kernel.name):
        symbol = image.symbol(name)
        if symbol is not None and image.is_code(symbol.address):
            return symbol.address
    return None


def _computing(functions: Functions, wrapper: int, inner: int | None) -> int:
    """Return the code that computes, of a function that checks its arguments first."""
    if inner is not None:
        one = functions.at(inner)
        if one is not None:
            return one.address
    own = functions.at(wrapper)
    called = [one for to in (own.calls if own else ()) if (one := functions.at(to)) is not None
              and one.address == to]  # fmt: skip
    working = [one for one in called if one.loops or one.floats] or called
    largest = max(working, key=lambda f: f.end - f.address, default=None)
    return wrapper if largest is None else largest.address


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
    sequence: Sequence, places: Mapping[Key, Place], codes: Row[ImageCode],
    routines: Mapping[tuple[int, int], Routine],
) -> tuple[Sequence, tuple[str, ...]]:  # fmt: skip
    """Return the calls with arguments in the order in which the computing code takes them."""
    orders: dict[Key, tuple[int, ...]] = {}
    notes = []
    for key, place in places.items():
        routine = routines.get((place.part, place.address))
        if place.wrapper == place.address or routine is None:
            continue
        code = codes[place.part]
        order = arguments_handed_on(
            code, _entry(code, place.wrapper), place.address, len(routine.arguments)
        )
        if order is None:
            notes.append(f"the code at {place.wrapper:#x} hands arguments on in a way that was "
                         "not understood: they are taken in their order")  # fmt: skip
        else:
            orders[key] = order
    calls = tuple(
        _ordered(call, orders.get((call.kernel.part, call.kernel.number)))
        for call in sequence.calls
    )
    return replace(sequence, calls=calls, doubts=(*sequence.doubts, *notes)), ()


def _ordered(call: KernelCall, order: tuple[int, ...] | None) -> KernelCall:
    if order is None or any(at >= len(call.arguments) for at in order):
        return call
    return replace(call, arguments=tuple(call.arguments[at] for at in order))
