"""Where the kernels of a framework's container are in the code, and how they take arguments.

Models:  kernels by linked name where names are, through the wrapper that unpacks arguments where
         there is one; tables of functions where names are not.
Judge:   networks built by these frameworks, with and without names (tests/decompile).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Row
from dataclasses import dataclass, replace

from ._functions import Functions
from ._opening import Opened
from .containers import Kernel, KernelCall, Sequence, kernel_table
from .forms import Call, Index, Linear, Load, Operation, Reduction, Routine, Symbol, Value
from .images import Image

__all__ = ["Place", "find_kernels", "in_order"]

#: Of a packed argument: bytes each, and where its value stands.
_PACKED_BYTES, _VALUE_AT = 16, 8


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

    @property
    def read(self) -> tuple[int, ...]:
        return (self.address,) if self.wrapper == self.address else (self.address, self.wrapper)


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
    address = table[kernel.number] & ~1 if kernel.number >= 0 else 0
    return Place(part=kernel.part, address=address, wrapper=address)


def in_order(
    sequence: Sequence, places: Mapping[int, Place], routines: Mapping[tuple[int, int], Routine]
) -> tuple[Sequence, tuple[str, ...]]:
    """Return the calls with arguments in the order in which the computing code takes them."""
    orders: dict[int, tuple[int, ...]] = {}
    notes = []
    for number, place in places.items():
        if place.wrapper == place.address:
            continue
        wrapper = routines.get((place.part, place.wrapper))
        order = None if wrapper is None else _handed_on(wrapper, place.address)
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


def _handed_on(wrapper: Routine, target: int) -> tuple[int, ...] | None:
    """Return which packed argument each argument of the inner call is made of."""
    for step in wrapper.steps:
        if isinstance(step, Call) and isinstance(step.target, int) and step.target & ~1 == target:
            found = [_packed(argument, wrapper.arguments) for argument in step.arguments]
            known = [one for one in found if one is not None]
            # Registers that a call does not use look like arguments; they come last.
            if known and found[: len(known)] == known:
                return tuple(known)
    return None


def _packed(value: Value, arguments: tuple[Symbol, ...]) -> int | None:
    """Return the one packed argument that a value is read through."""
    if len(arguments) < 2:
        return None
    numbers = set()
    for load in _loads(value):
        address = load.address
        if len(address.terms) == 1 and address.terms[0] == (arguments[1], 1):
            number, rest = divmod(address.constant, _PACKED_BYTES)
            if rest == _VALUE_AT:
                numbers.add(number)
    return numbers.pop() if len(numbers) == 1 else None


def _loads(value: Value | Linear) -> Iterator[Load]:
    """Yield every load that a value depends on."""
    if isinstance(value, Linear):
        for term, _ in value.terms:
            if isinstance(term, Load | Operation):
                yield from _loads(term)
    elif isinstance(value, Index):
        yield from _loads(value.value)
    elif isinstance(value, Load):
        yield value
        yield from _loads(value.address)
    elif isinstance(value, Operation):
        for one in value.inputs:
            yield from _loads(one)
    elif isinstance(value, Reduction):
        for one in (value.body, value.start):
            yield from _loads(one)
