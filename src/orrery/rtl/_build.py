"""From an Amaranth component to a `Circuit`: RTLIL for the engines, Verilog for people."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orrery.errors import MissingExtraError, SpecError, did_you_mean

from ._circuit import Circuit, Port, Stream, Timing
from ._rules import check_rules, guard_memories
from ._verilog import ModuleNotes, write_verilog

if TYPE_CHECKING:
    from .parts._shared import FlatPort

_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_CELL = re.compile(r"^  cell \\(\S+) ", re.MULTILINE)
_PICK = re.compile(r"^  cell \$shift (\S+)\n    parameter \\A_SIGNED ([01])$", re.MULTILINE)
_DOTTED = re.compile(r"^(module |  cell )\\(\S*\.\S*)", re.MULTILINE)


def build(
    component: Any, *, name: str, parameters: Mapping[str, int | str | bool], timing: Timing,
    summary: str, meanings: Mapping[str, str] | None = None,
) -> Circuit:  # fmt: skip
    """Return the circuit of an Amaranth component.

    Its ports are the members of ``component.signature``, its streams those that are
    ``amaranth.lib.stream.Signature``. A member whose shape is a structure becomes one port a
    field, ``{member}__{field}``, or ``{stream}__{field}`` where it is the payload of a stream; an
    array is one port, element 0 in its lowest bits. Members 0 bits wide are left out.

    Every register follows the rising edge of ``clk``; its reset is synchronous, or it has none. A
    read of a row that a memory does not have gives 0 and a write there does nothing; this costs a
    comparison and a multiplexer where the depth is no power of two, unless the memory has the
    attribute ``addresses_inside``, by which its author vouches that no address is beyond.

    Parameters
    ----------
    component : an Amaranth ``wiring.Component``; its registers stand in the domain ``sync``, or it
        has none and the circuit is combinational
    name : of the top module, part and parameters, e.g. ``fifo_d8_w16``
    parameters : what it was generated with, for header and README
    timing, summary : as in `Circuit`
    meanings : port or stream name -> what it means; a stream's meaning stands at its payload

    Raises
    ------
    SpecError : no ports, names that clash or that Verilog does not know, a loop without a register,
        a second clock domain, a register of the falling edge, with an asynchronous reset or a
        gated clock, the clock read as a value, a print or an assertion, two `Shared` components of
        one name that differ, a meaning of a port that is none
    MissingExtraError : Amaranth is not installed
    """
    try:
        from .parts._shared import ModuleLibrary
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "amaranth":
            raise
        raise MissingExtraError("amaranth", "rtl", purpose="building a circuit") from None
    library = ModuleLibrary()
    top = library.convert(component, name)
    rtlil = _one_text({key: module.text for key, module in library.modules.items()}, name)
    ports, streams = _interface(top.ports, dict(meanings or {}), name)
    modules = _counted(rtlil, name)
    check_rules(rtlil, name)
    rtlil = guard_memories(rtlil)
    clocked = {"clock": "clk", "reset": "rst"} if top.clocked else {"clock": "", "reset": ""}
    bare = Circuit(
        name=name, parameters=dict(parameters), ports=ports, streams=streams, timing=timing,
        summary=summary, verilog="", rtlil=rtlil, modules=modules, **clocked,
    )  # fmt: skip
    notes = {key: _notes(module) for key, module in library.modules.items()}
    return dataclasses.replace(bare, verilog=write_verilog(bare, notes))


def _notes(module: Any) -> ModuleNotes:
    """Return what a module's header says: the component's first sentence, its plain attributes."""
    component = module.component
    about = (type(component).__doc__ or "").strip().split("\n\n")[0]
    plain = {
        key: value
        for key, value in vars(component).items()
        if isinstance(value, int | str | bool) and not key.startswith("_")
    }
    ports = tuple(port.name for port in module.ports)
    return ModuleNotes(ports=ports, about=" ".join(about.split()), parameters=plain)


def _one_text(texts: Mapping[str, str], top: str) -> str:
    """Join the modules; names of inner modules lose their dots; one of them is marked as top.

    Trap: what ``$shift`` brings in above a signed operand differs between Yosys's own tools. Here
    it never shifts left, so it is written as the right shift that Amaranth means, on which all
    agree.
    """
    parts = []
    for key, text in texts.items():
        text = _DOTTED.sub(lambda found: f"{found[1]}\\{found[2].replace('.', '_')}", text)
        text = _PICK.sub(_as_right_shift, text)
        parts.append(text if key == top else text.replace("attribute \\top 1\n", "", 1))
    joined = "".join(parts)
    names = _MODULE.findall(joined)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(
            f"module {twice[0]}", found="two modules of this name", wanted="one",
            fix="give the submodule or the shared component another name",
        )  # fmt: skip
    return joined


def _as_right_shift(found: re.Match[str]) -> str:
    kind = "$sshr" if found[2] == "1" else "$shr"
    return f"  cell {kind} {found[1]}\n    parameter \\A_SIGNED {found[2]}"


def _counted(rtlil: str, top: str) -> dict[str, int]:
    """Return module -> instances in the whole design, inner modules first, the top once."""
    inside: dict[str, list[str]] = {}
    for text in re.split(r"^end$", rtlil, flags=re.MULTILINE):
        found = _MODULE.search(text)
        if found:
            inside[found[1]] = _CELL.findall(text)
    counts = dict.fromkeys(inside, 0)
    unknown = sorted({cell for cells in inside.values() for cell in cells} - counts.keys())
    if unknown:
        raise SpecError(
            f"module {top}", found=f"an instance of {unknown[0]}", wanted="modules of this design",
            fix="use Shared for what stands in a module of its own",
        )  # fmt: skip

    order: dict[str, None] = {}

    def add(name: str, times: int) -> None:
        counts[name] += times
        for cell in dict.fromkeys(inside[name]):
            add(cell, times * inside[name].count(cell))
        order.setdefault(name)

    add(top, 1)
    return {name: counts[name] for name in order}


def _interface(
    flat: tuple[FlatPort, ...], meanings: dict[str, str], name: str
) -> tuple[tuple[Port, ...], tuple[Stream, ...]]:
    """Return the ports and the streams of the record, in the order of the signature.

    A meaning is one line, in a comment of the Verilog and in a row of a table: its line breaks
    become spaces.
    """
    if not flat:
        raise SpecError(
            f"circuit {name}", found="no ports", wanted="a port or more",
            fix="give the component's signature a member of one bit or more",
        )  # fmt: skip
    meanings = {key: " ".join(text.split()) for key, text in meanings.items()}
    known = {port.name for port in flat} | {port.stream for port in flat if port.stream}
    for key in meanings:
        if key not in known:
            raise SpecError(
                f"circuit {name}: meanings", found=key, wanted="ports and streams it has",
                fix=f"correct the name{did_you_mean(key, known)}",
            )  # fmt: skip
    usual = {"valid": "an item is offered", "ready": "the offered item is taken"}
    ports: list[Port] = []
    payloads: dict[str, list[str]] = {}
    ways: dict[str, str] = {}
    for port in flat:
        meaning = meanings.get(port.name) or usual.get(port.role, "")
        if port.role == "payload":
            meaning = meanings.get(port.name) or meanings.get(port.stream, "")
            payloads.setdefault(port.stream, []).append(port.name)
            ways[port.stream] = port.direction
        elif port.stream:
            payloads.setdefault(port.stream, [])
            if port.role == "valid":
                ways[port.stream] = port.direction
        ports.append(
            Port(
                name=port.name, direction="in" if port.direction == "in" else "out",
                width=port.width, signed=port.signed, meaning=meaning,
            )
        )  # fmt: skip
    streams = tuple(
        Stream(name=key, direction="in" if ways[key] == "in" else "out", payload=tuple(names))
        for key, names in payloads.items()
    )
    return tuple(ports), streams
