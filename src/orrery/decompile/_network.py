"""The last stage: routines become a network, tried from one entry after another."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from orrery.errors import OrreryError
from orrery.graph import Graph, graph_from_bytes, onnx_bytes
from orrery.store import strict_convert

from ._evidence import RecoveredNode, RecoveredWeight
from ._frame import Records
from ._functions import Functions
from ._judging import Verdict, judge
from ._limits import Lost, each
from ._opening import Container, Opened, Request
from ._reading import AllFunctions, Lifted
from ._recovery import Recovery, recover_program
from .forms import Program, Routine
from .images import Image
from .leaks import ORDINARY, Leak, find_leaks
from .matching import Unmatched
from .topology import PART_BYTES, program_of_calls, program_of_routines

__all__ = ["Leaks", "Network", "Tried", "Verdict", "list_leaks", "make_network", "pack", "unpack"]

_HEAD = struct.Struct("<Q")
#: So many functions of other files are named.
_MOST_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One entry that was tried, and what came of it."""

    entry: int
    name: str
    operators: int
    unmatched: int
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What was recovered.

    Attributes
    ----------
    verdict : ``whole``, ``partial`` (something is left that was not matched) or ``none``
    reason : why it is not whole, or why there is none; for people
    entry : address of the function that computes it; None where a container calls its kernels
    function : the entry's name or the container's; a hint
    arguments : of the entry, in order
    leaks : what the file gives away unread, where that was asked
    loose : operators that were recognised where there is no network, for people
    """

    verdict: Verdict
    reason: str
    recovery: Recovery
    entry: int | None = None
    function: str = ""
    arguments: tuple[str, ...] = ()
    container: str = ""
    tried: tuple[Tried, ...] = ()
    loose: tuple[RecoveredNode, ...] = ()
    notes: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()

    @property
    def found(self) -> str:
        if self.recovery.graph is None or self.verdict == "none":
            return "no network"
        return (f"{len(self.recovery.nodes)} operators, {len(self.recovery.unmatched)} places "
                "unmatched")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What a file gives away before its code is read; empty where nobody asked."""

    each: tuple[Leak, ...] = ()

    @property
    def found(self) -> str:
        return f"{len(self.each)} found" if self.each else "not asked"


def list_leaks(records: Records) -> Leaks:
    """Look for what the file gives away, if that is asked, and keep it whatever happens next."""
    if not records[Request].leaks:
        return Leaks()
    opened, container = records[Opened], records[Container]
    held = {} if container.sequence is None else container.sequence.buffers
    asked = [(name, one.size_bytes) for name, one in held.items()
             if one.role in ("temporary", "output") and one.size_bytes]  # fmt: skip
    found: dict[Leak, None] = {}
    for image in opened.images:
        found |= dict.fromkeys(find_leaks(image, opened.data, container.programs, asked))
    leaks = Leaks(each=tuple(found))
    records.keep(Network(verdict="none", reason="its code was not read to the end",
                         recovery=Recovery(graph=None), leaks=leaks.each))  # fmt: skip
    return leaks


def make_network(records: Records) -> Network:
    """Return the network, or the best part of one, from the routines."""
    made = replace(_made(records), leaks=records[Leaks].each)
    records.keep(made)
    return made


def _made(records: Records) -> Network:
    request, opened = records[Request], records[Opened]
    container, lifted = records[Container], records[Lifted]
    stem = opened.name.partition(".")[0] or "recovered"
    notes = (*records.notes, *container.notes, *lifted.notes)
    if lifted.sequence is not None:
        program = program_of_calls(lifted.sequence, lifted.kernels, opened.images)
        routines = {
            address + part * PART_BYTES: one for (part, address), one in lifted.routines.items()
        }

        def attempt(_: int) -> bytes:
            recovery = recover_program(program, routines, name=stem)
            verdict, reason = judge(recovery, contained=True, named=True, alone=False)
            return pack(Network(verdict=verdict, reason=reason, recovery=recovery))

        # In a fork: what goes wrong there must not take the container along.
        (unit,) = each([0], attempt, limit_s=request.lifting_s)
        if isinstance(unit.result, Lost):
            reason = f"its kernels could not be matched: {unit.result.reason}"
            one = Network(verdict="none", reason=reason, recovery=Recovery(graph=None))
        else:
            one = unpack(unit.result)
        return replace(one, container=container.kind, function=lifted.sequence.entry, notes=notes)
    return _best(records, request, opened, lifted, stem, notes)


def _best(
    records: Records, request: Request, opened: Opened, lifted: Lifted, stem: str,
    notes: tuple[str, ...],
) -> Network:  # fmt: skip
    """Try one entry after another; keep the first whole network, else the largest part."""
    routines = {address: one for (_, address), one in lifted.routines.items()}
    entries = [one for one in records[AllFunctions].entries if one & ~1 in routines
               or one in routines]  # fmt: skip
    named, functions = request.entry is not None, records[AllFunctions].of[0]

    def attempt(entry: int) -> bytes:
        routine = routines.get(entry) or routines[entry & ~1]
        program: Program = program_of_routines(routine, routines, opened.images[0])
        recovery = recover_program(program, routines, name=stem)
        doubts = _may_change(recovery, functions, entry)
        recovery = replace(recovery, unmatched=(*recovery.unmatched, *doubts))
        verdict, reason = judge(
            recovery, contained=False, named=named, alone=functions.alone(entry)
        )
        return pack(Network(
            verdict=verdict, reason=reason, recovery=recovery, entry=entry,
            function=routine.name, arguments=tuple(s.name for s in routine.arguments),
        ))  # fmt: skip

    found: list[Network] = []
    tried: list[Tried] = []
    refused: set[int] = set()  # what leads to code that was no network by itself
    deadline = time.monotonic() + request.lifting_s
    for done, unit in enumerate(each(entries, attempt, limit_s=request.function_s * 4,
                                     deadline_s=deadline), 1):  # fmt: skip
        records.progress.step("matching", done, len(entries))
        name = _name(routines, unit.item)
        if isinstance(unit.result, Lost):
            tried.append(Tried(entry=unit.item, name=name, operators=0, unmatched=0,
                               result=unit.result.reason))  # fmt: skip
            continue
        one = unpack(unit.result)
        if unit.item in refused and not named:
            verdict, reason = judge(one.recovery, contained=False, named=False, alone=False)
            one = replace(one, verdict=verdict, reason=reason)
        if one.verdict == "none" and one.recovery.graph is not None:
            refused |= {inner.address for inner in functions.reached(unit.item)}
        found.append(one)
        tried.append(Tried(
            entry=unit.item, name=name, operators=len(one.recovery.nodes),
            unmatched=len(one.recovery.unmatched), result=one.verdict,
        ))  # fmt: skip
        records.keep(replace(max(found, key=_worth), leaks=records[Leaks].each))
        if one.verdict == "whole":
            break
    if not found:
        reason = "no function computes with floats in a loop"
        if lifted.lost:
            _, where, why = lifted.lost[0]
            reason = f"its functions could not be read, the first, {where:#x}: {why}"
        if entries:
            reason = f"none of {len(entries)} functions that compute with floats could be matched"
            reason += f"; the likeliest: {tried[0].result}" if tried else ""
        reason += _elsewhere(opened.images[0])
        return Network(verdict="none", reason=reason, recovery=Recovery(graph=None),
                       tried=tuple(tried), notes=notes)  # fmt: skip
    best = max(found, key=_worth)
    if tried[0].result not in ("whole", "partial", "none"):
        first = f"the likeliest function, {tried[0].entry:#x}, failed: {tried[0].result}"
        best = replace(best, reason=f"{first}; {best.reason}" if best.reason else first)
    if best.verdict == "none":
        loose = {(n.address, n.operator): n for one in found for n in one.recovery.nodes}
        best = replace(best, recovery=replace(best.recovery, graph=None, nodes=(), weights=()),
                       loose=tuple(loose.values()),
                       reason=best.reason + _elsewhere(opened.images[0]))  # fmt: skip
    return replace(best, tried=tuple(tried), notes=notes)


def _elsewhere(image: Image) -> str:
    """Return what stands in other files that may hold the network instead."""
    if not image.foreign:
        return ""
    named = ", ".join(image.foreign[:_MOST_NAMED])
    more = len(image.foreign) - _MOST_NAMED
    named += f" and {more} more" if more > 0 else ""
    linked = [one for one in image.needed if one.partition(".")[0] not in ORDINARY]
    where = f"in {', '.join(linked)}" if linked else "in files that it does not name"
    return (f"; it calls functions of other files ({named}), {where}: if the network is there, "
            "give that file")  # fmt: skip


def _may_change(recovery: Recovery, functions: Functions, entry: int) -> Iterator[Unmatched]:
    """Yield code elsewhere that has the address of writable memory the network reads."""
    known = {one.address for one in functions.reached(entry)}
    for at, to in functions.data:
        one = functions.at(at)
        owner = at if one is None else one.address
        if owner not in known and any(low <= to < high for low, high in recovery.writable):
            known.add(owner)
            yield Unmatched(address=at, reason=f"has the address of numbers at {to:#x} that the "
                            "network uses, and may have changed them before it runs")  # fmt: skip


def _name(routines: Mapping[int, Routine], entry: int) -> str:
    found = routines.get(entry) or routines.get(entry & ~1)
    return found.name if found is not None else ""


def _worth(network: Network) -> tuple[int, int, int]:
    order = {"none": 0, "partial": 1, "whole": 2}[network.verdict]
    recovery = network.recovery
    return order, len(recovery.nodes), -len(recovery.unmatched)


class _Packed(msgspec.Struct, forbid_unknown_fields=True):
    """A network as plain data; its graph follows as ONNX."""

    verdict: Verdict
    reason: str
    entry: int | None
    function: str
    arguments: tuple[str, ...]
    container: str
    tried: tuple[Tried, ...]
    loose: tuple[RecoveredNode, ...]
    notes: tuple[str, ...]
    nodes: tuple[RecoveredNode, ...]
    weights: tuple[RecoveredWeight, ...]
    unmatched: tuple[Unmatched, ...]
    recovery_notes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    leaks: tuple[Leak, ...]
    has_graph: bool


def pack(record: object) -> bytes:
    """Return a network as bytes that are safe to read, whoever wrote them."""
    if not isinstance(record, Network):
        raise TypeError(f"a {type(record).__name__} is not kept")
    one, kept = record, record.recovery
    said = _Packed(
        verdict=one.verdict, reason=one.reason, entry=one.entry, function=one.function,
        arguments=one.arguments, container=one.container, tried=one.tried, loose=one.loose,
        notes=one.notes, nodes=kept.nodes, weights=kept.weights, unmatched=kept.unmatched,
        recovery_notes=kept.notes, inputs=kept.inputs, outputs=kept.outputs,
        leaks=one.leaks, has_graph=kept.graph is not None,
    )  # fmt: skip
    head = msgspec.json.encode(said)
    graph = b"" if kept.graph is None else onnx_bytes(kept.graph)
    return _HEAD.pack(len(head)) + head + graph


def unpack(data: bytes) -> Network:
    """Return a packed network.

    Raises
    ------
    OrreryError : it is none; whoever wrote it was taken over
    """
    try:
        size = _HEAD.unpack_from(data)[0]
        body: Any = msgspec.json.decode(data[_HEAD.size : _HEAD.size + size])
        said = strict_convert(body, _Packed, where="recovered network")
        graph: Graph | None = None
        if said.has_graph:
            graph = graph_from_bytes(data[_HEAD.size + size :], "recovered")
    except (struct.error, msgspec.DecodeError) as error:
        raise OrreryError(
            f"recovered network: found {error}, wanted a record of this program; the binary has "
            "taken over the process that read it: do not trust the file"
        ) from None
    return Network(
        verdict=said.verdict, reason=said.reason, entry=said.entry, function=said.function,
        arguments=said.arguments, container=said.container, tried=said.tried, loose=said.loose,
        notes=said.notes, leaks=said.leaks,
        recovery=Recovery(
            graph=graph, nodes=said.nodes, weights=said.weights, unmatched=said.unmatched,
            notes=said.recovery_notes, inputs=said.inputs, outputs=said.outputs,
        ),
    )  # fmt: skip
