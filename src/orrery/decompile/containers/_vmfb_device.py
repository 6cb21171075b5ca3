"""Answers of a device that takes notes: one function for each thing a module asks of it.

Source: the runtime's import table (`hal.imports.mlir`): names and the order of operands.
"""

from __future__ import annotations

from typing import Any

from ._sequence import COPY, FILL, Kernel, KernelCall
from ._vmfb_calls import _Runner, _Span, _Thing, _whole, handles

__all__: list[str] = []


@handles("hal.devices.count")
def _count(run: _Runner, given: list[Any]) -> list[Any]:
    return [1]


@handles("hal.fence.await")
def _await(run: _Runner, given: list[Any]) -> list[Any]:
    return [0]


@handles("hal.buffer_view.buffer")
def _buffer_of(run: _Runner, given: list[Any]) -> list[Any]:
    return [given[0]]


@handles("hal.buffer_view.assert")
def _assert(run: _Runner, given: list[Any]) -> list[Any]:
    span = run.span(given[0])
    if span is not None and isinstance(given[-1], list):
        shape = tuple(_whole(extent) for extent in given[-1])
        span.memory.shape = span.memory.shape or shape
    return []


@handles("hal.buffer.assert")
def _assert_size(run: _Runner, given: list[Any]) -> list[Any]:
    span = run.span(given[0])
    if span is not None and span.memory.size is None:
        span.memory.size = _whole(given[3]) or None
    return []


@handles("hal.buffer_view.create")
def _view(run: _Runner, given: list[Any]) -> list[Any]:
    span = run.span(given[0])
    if span is None:
        return [_Thing("view", {})]
    shape = tuple(_whole(extent) for extent in given[-1]) if isinstance(given[-1], list) else None
    span = _Span(span.memory, span.offset + _whole(given[1]), _whole(given[2]))
    return [_Thing("view", {"span": span, "shape": shape})]


@handles("hal.buffer.subspan")
def _subspan(run: _Runner, given: list[Any]) -> list[Any]:
    span = run.span(given[0])
    if span is None:
        return [None]
    part = _Span(span.memory, span.offset + _whole(given[1]), _whole(given[2]))
    return [_Thing("buffer", {"span": part})]


@handles("hal.allocator.allocate")
def _allocate(run: _Runner, given: list[Any]) -> list[Any]:
    memory = run.memory("temporary", _whole(given[-1]))
    return [_Thing("buffer", {"span": _Span(memory)})]


@handles("hal.device.queue.alloca")
def _alloca(run: _Runner, given: list[Any]) -> list[Any]:
    # device, affinity, two fences, pool, memory types, usage, size, and flags since version 7
    memory = run.memory("temporary", _whole(given[7 if len(given) > 8 else -1]))
    return [_Thing("buffer", {"span": _Span(memory)})]


@handles("hal.allocator.import")
def _import(run: _Runner, given: list[Any]) -> list[Any]:
    # allocator, try, affinity, memory types, usage, source, offset, length
    span = run.constant(given[-3], _whole(given[-2]), _whole(given[-1]))
    return [_Thing("buffer", {"span": span}) if span is not None else None]


@handles("hal.executable.create")
def _executable(run: _Runner, given: list[Any]) -> list[Any]:
    for thing in given:
        segment = thing.data.get("segment") if isinstance(thing, _Thing) else None
        if segment is not None and segment.is_elf:
            return [_Thing("executable", {"segment": segment})]
    return [_Thing("executable", {})]


@handles("hal.executable.lookup.function")
def _lookup(run: _Runner, given: list[Any]) -> list[Any]:
    """Answer with a number a function: in the order in which an executable's are looked up."""
    executable = given[0].data if isinstance(given[0], _Thing) else {}
    label = given[1].data.get("segment") if isinstance(given[1], _Thing) else None
    key = label.number if label is not None else -1
    known = executable.setdefault("functions", {})
    number = known.setdefault(key, len(known))
    if label is not None:
        executable.setdefault("names", {})[number] = label.data.rstrip(b"\0").decode(
            "utf-8", "replace"
        )
    return [number]


@handles("hal.command_buffer.create")
def _commands(run: _Runner, given: list[Any]) -> list[Any]:
    return [_Thing("commands", {"commands": []})]


def _record(commands: Any, command: Any) -> list[Any]:
    if isinstance(commands, _Thing) and "commands" in commands.data:
        commands.data["commands"].append(command)
    return []


@handles("hal.command_buffer.dispatch")
def _dispatch(run: _Runner, given: list[Any]) -> list[Any]:
    executable, number = given[1], _whole(given[2])
    workgroups = (_whole(given[3]), _whole(given[4]), _whole(given[5]))
    constants, bindings = given[-2], given[-1]
    segment = executable.data.get("segment") if isinstance(executable, _Thing) else None
    held = [one.number for one in run.module.executables]
    part = held.index(segment.number) if segment is not None else -1
    names = executable.data.get("names", {}) if isinstance(executable, _Thing) else {}
    kernel = Kernel(name=names.get(number, ""), number=number, part=part)

    def command(table: Any) -> None:
        places = []
        for row in bindings:
            slot, buffer, offset, size = row[-4:]
            places.append(run.place(buffer, _whole(slot), _whole(offset), _whole(size), table))
        run.calls.append(KernelCall(
            kernel=kernel, arguments=tuple(places),
            constants=tuple(_whole(c) & 0xFFFFFFFF for c in constants), workgroups=workgroups,
        ))  # fmt: skip

    return _record(given[0], command)


@handles("hal.command_buffer.fill_buffer")
def _fill(run: _Runner, given: list[Any]) -> list[Any]:
    # commands, target buffer, offset, length, slot, pattern, length of the pattern
    commands, buffer, offset, length, slot, pattern = given[:6]
    wide = _whole(given[6]) if len(given) > 6 else 4

    def command(table: Any) -> None:
        place = run.place(buffer, _whole(slot), _whole(offset), _whole(length), table)
        run.calls.append(KernelCall(
            kernel=Kernel(name="fill", number=FILL), arguments=(place,),
            constants=(_whole(pattern), wide, _whole(length)),
        ))  # fmt: skip

    return _record(commands, command)


@handles("hal.command_buffer.copy_buffer")
def _copy(run: _Runner, given: list[Any]) -> list[Any]:
    # commands, source slot, target slot, source, its offset, target, its offset, length
    commands, from_slot, to_slot, source, begin, target, end, length = given[:8]

    def command(table: Any) -> None:
        size = _whole(length)
        places = (
            run.place(source, _whole(from_slot), _whole(begin), size, table),
            run.place(target, _whole(to_slot), _whole(end), size, table),
        )
        run.calls.append(KernelCall(
            kernel=Kernel(name="copy", number=COPY), arguments=places, constants=(size,),
        ))  # fmt: skip

    return _record(commands, command)


@handles("hal.device.queue.execute")
def _execute(run: _Runner, given: list[Any]) -> list[Any]:
    for commands in given:
        for one in commands if isinstance(commands, list) else [commands]:
            run.execute(one, [])
    return []


@handles("hal.device.queue.execute.indirect")
def _execute_indirect(run: _Runner, given: list[Any]) -> list[Any]:
    table = given[-1] if isinstance(given[-1], list) else []
    for one in given[:-1]:
        run.execute(one, table)
    return []
