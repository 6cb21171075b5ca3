"""A program from its functions: one entry that calls the others, or a container's list of calls.

Models:  arguments that are read first as inputs, arguments that are stored to as outputs; memory
         of the binary itself as constants where nobody writes, zeros or initial bytes where the
         program does.
Ignores: pointers that are read from memory and that nothing binds.
Judge:   tests/decompile/topology and the binaries of tests/decompile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..forms import (
    Buffer,
    Call,
    Index,
    Invocation,
    Program,
    Routine,
    Symbol,
    Unread,
    View,
    linear,
)
from ..matching import IMAGE, arguments_used

if TYPE_CHECKING:
    from ..containers import CallKey, KernelCall
    from ..containers import Sequence as CallSequence
    from ..images import Image, Segment

#: So far apart stand the executables of one container, each of which begins near 0.
PART_BYTES = 1 << 44


def program_of_routines(
    entry: Routine, routines: Mapping[int, Routine] | None = None, image: Image | None = None, *,
    sizes_bytes: Mapping[str, int] | None = None, notes: Sequence[str] = (),
) -> Program:  # fmt: skip
    """Return the program of one function that computes the whole network.

    Parameters
    ----------
    routines : functions that it calls, by address
    image : the binary, for constants
    sizes_bytes : of the memory behind arguments, by the argument's name, where known
    """
    read, written = arguments_used(entry, routines or {})
    sizes = sizes_bytes or {}
    buffers: dict[str, Buffer] = dict(_image_buffers(image)) if image is not None else {}
    bindings: dict[Symbol, View | int] = {}
    inputs, outputs = [], []
    for symbol in entry.arguments:
        name = symbol.name
        role = "input" if name in read else "output" if name in written else ""
        if not role:
            continue
        if name in read:
            inputs.append(name)
        if name in written:
            outputs.append(name)
        buffers[name] = Buffer(name=name, role=role, size_bytes=sizes.get(name))
        bindings[symbol] = View(buffer=name)
    return Program(
        buffers=buffers, invocations=(Invocation(routine=entry, bindings=bindings),),
        inputs=tuple(inputs), outputs=tuple(outputs), notes=tuple(notes),
    )  # fmt: skip


def program_of_calls(
    sequence: CallSequence, routines: Mapping[CallKey, Routine], images: Sequence[Image] = (), *,
    notes: Sequence[str] = (),
) -> Program:  # fmt: skip
    """Return the program of a container's calls.

    Parameters
    ----------
    routines : by the call's key; a kernel whose routine is missing is a call that was not read,
        and what depends on it is not recovered
    images : the container's executables, for constants; what lies in the second stands
        `PART_BYTES` above its own address, and so on
    """
    buffers: dict[str, Buffer] = dict(sequence.buffers)
    for part, image in enumerate(images):
        buffers.update(_image_buffers(image, part * PART_BYTES))
    invocations: list[Invocation] = []
    doubts = tuple(Unread(instruction=0, reason=one) for one in sequence.doubts)
    if doubts:
        invocations.append(Invocation(routine=Routine(address=0, unread=doubts)))
    for call in sequence.calls:
        routine = routines.get(call.key)
        if routine is None:
            routine = _missing(call)
        bindings: dict[Symbol, View | int] = {}
        for symbol, argument in zip(routine.arguments, call.arguments, strict=False):
            if isinstance(argument, int):
                bindings[symbol] = argument
            else:
                bindings[symbol] = View(buffer=argument.buffer, offset=argument.offset)
        invocations.append(Invocation(routine=routine, bindings=bindings))
    return Program(
        buffers=buffers, invocations=tuple(invocations), inputs=sequence.inputs,
        outputs=sequence.outputs, notes=(*sequence.notes, *notes),
    )  # fmt: skip


def _missing(call: KernelCall) -> Routine:
    """Return a routine of which nothing is known but that it is called."""
    what = call.kernel.name or f"number {call.kernel.number}"
    given = tuple(Symbol(f"given {k}", "argument") for k in range(len(call.arguments)))
    values = tuple(Index(linear(0, {one: 1})) for one in given)
    step = Call(target=f"the kernel {what}", arguments=values, result=Symbol("lost", "unknown"),
                instruction=call.kernel.address or 0)  # fmt: skip
    return Routine(address=step.instruction, arguments=given, steps=(step,))


def _image_buffers(image: Image, base: int = 0) -> Mapping[str, Buffer]:
    """Return the binary's own memory that holds data, section by section where it has any."""
    found: dict[str, Buffer] = {}
    for begin, end in image.elsewhere:  # the first that holds an address counts
        label, given = f"{IMAGE}@{begin + base:#018x}", image.given.get(begin)
        if given is not None:
            found[label] = Buffer(name=label, role="constant", size_bytes=len(given.data),
                                  data=given.data, origin=given.origin)  # fmt: skip
            continue
        name = image.imports.get(begin)
        found[label] = Buffer(name=label, role="constant", size_bytes=end - begin,
                              origin=f"{name} of another file" if name else "")  # fmt: skip
    for segment in image.segments:
        if not segment.readable:
            continue
        for begin, end, name in _stretches(image, segment):
            start = begin - segment.address
            role = "constant" if image.is_constant(begin, end - begin) else "temporary"
            label = f"{IMAGE}@{begin + base:#x}"
            found[label] = Buffer(
                name=label, role=role, size_bytes=end - begin, origin=name,
                data=segment.data[start : start + end - begin],
            )  # fmt: skip
    return found


def _stretches(image: Image, segment: Segment) -> Iterator[tuple[int, int, str]]:
    """Yield a segment's stretches, named by sections as far as these do not overlap."""
    at = segment.address
    bounds = sorted((s.address, s.address + s.size_bytes, s.name) for s in image.sections)
    for begin, end, name in (*bounds, (segment.end, segment.end, "")):
        if at < min(begin, segment.end):
            yield at, min(begin, segment.end), f"{segment.name or 'memory'} at {at:#x}"
            at = min(begin, segment.end)
        if begin == at < (stop := min(end, segment.end)):
            yield at, stop, name
            at = stop
