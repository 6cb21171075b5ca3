"""A component that stands once in the text however often it is used.

Amaranth writes a module anew for every use of a component. Here the first use is converted and the
others name it, so that a design of 64 lanes holds one module ``lane`` and 64 instances of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import (
    Cat,
    ClockSignal,
    CombinationalCycle,
    Fragment,
    Instance,
    Module,
    ResetSignal,
    Shape,
    Signal,
)
from amaranth.hdl import Value as AmaranthValue
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In

from orrery.errors import SpecError

from .._verilog import KEYWORDS

#: What a module, a port or a stream may be called in RTLIL and Verilog alike.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: Modules that simulation puts around a circuit.
_OURS = ("harness",)
#: An input port in the text of one module.
_INPUT = re.compile(r"^  wire width \d+ input \d+ .*\\(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatPort:
    """One port of the Verilog module and the Amaranth value behind it.

    A member whose shape is a structure becomes one port a field, ``{member}__{field}``; the
    payload of a stream drops its own name then: ``{stream}__{field}``.

    Attributes
    ----------
    member : the whole member's value; `value` is the part of it that this port carries
    stream, role : the stream it belongs to and as what; both empty for a plain port
    """

    name: str
    direction: str
    width: int
    signed: bool
    value: Any
    member: Any
    stream: str = ""
    role: str = ""


def flat_ports(component: wiring.Component, *, name: str) -> tuple[FlatPort, ...]:
    """Return the ports of a component in the order of its signature; no port is 0 bits wide.

    Raises
    ------
    SpecError : two ports of one name, a name that is none in Verilog, a stream without valid or
        ready, a port called as clock, reset or the module are
    """
    ports = []
    streams = _streams(component.signature, component, ())
    for path, member, value in component.signature.flatten(component):
        inside = streams.get(path[:-1])
        role = str(path[-1]) if inside is not None else ""
        label = "__".join(map(str, path))
        if inside is not None and (inside.always_valid or inside.always_ready):
            raise SpecError(
                f"{name}: stream {'__'.join(map(str, path[:-1]))}",
                found="one that is always valid or always ready",
                wanted="a stream with both valid and ready",
                fix="leave always_valid and always_ready out of its signature",
            )
        whole = AmaranthValue.cast(value)
        belongs = "__".join(map(str, path[:-1])) if inside is not None else ""
        direction = "in" if member.flow == In else "out"
        base = belongs if role == "payload" else label
        for port, start, shape in _fields(member.shape, label, base):
            width = Shape.cast(shape).width
            if width:
                ports.append(
                    FlatPort(
                        name=port, direction=direction, width=width,
                        signed=Shape.cast(shape).signed, value=whole[start : start + width],
                        member=whole, stream=belongs, role=role,
                    )
                )  # fmt: skip
    _refuse_names(ports, name)
    return tuple(ports)


def _streams(
    signature: wiring.Signature, owner: Any, path: tuple[Any, ...]
) -> dict[tuple[Any, ...], stream.Signature]:
    """Return path -> signature of every stream below an interface."""
    found: dict[tuple[Any, ...], stream.Signature] = {}

    def walk(value: Any, member: wiring.Member, at: tuple[Any, ...], depth: int) -> None:
        if depth < len(member.dimensions):
            for index in range(member.dimensions[depth]):
                walk(value[index], member, (*at, index), depth + 1)
        elif isinstance(_unflipped(member.signature), stream.Signature):
            found[at] = _unflipped(member.signature)
        else:
            found.update(_streams(member.signature, value, at))

    for key, member in signature.members.items():
        if member.is_signature:
            walk(getattr(owner, key), member, (*path, key), 0)
    return found


def _unflipped(signature: Any) -> Any:
    return signature.flip() if isinstance(signature, wiring.FlippedSignature) else signature


def _fields(shape: Any, label: str, base: str) -> Iterator[tuple[str, int, Any]]:
    """Yield (port name, first bit, shape) of the fields of a structure, or of the whole."""
    layout = None
    if not isinstance(shape, Shape | int | range):
        try:
            layout = data.Layout.cast(shape)
        except TypeError:  # a shape that is no layout: an enumeration, a shape-castable
            layout = None
    if not isinstance(layout, data.StructLayout):
        yield label, 0, shape
        return
    for key, part in layout:
        for port, start, inner in _fields(part.shape, f"{base}__{key}", f"{base}__{key}"):
            yield port, part.offset + start, inner


def _refuse_names(ports: list[FlatPort], where: str) -> None:
    seen = {"clk", "rst", where}
    for port in ports:
        taken = port.name in seen
        if not _NAME.match(port.name) or taken or port.name in KEYWORDS:
            raise SpecError(
                f"{where}: port {port.name}",
                found="a name that is taken" if taken else "a name that Verilog does not know",
                wanted="letters, digits and underscores, once each, no keyword, not clk and rst, "
                "not the module's own name",
                fix="name the member or the field otherwise",
            )
        seen.add(port.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """A converted module: its text, its ports, whether it has clock and reset."""

    component: wiring.Component
    ports: tuple[FlatPort, ...]
    clocked: bool
    text: str


@dataclass(slots=True)
class ModuleLibrary:
    """The modules of one build, in the order in which they were finished: leaves first.

    It is what Amaranth calls the platform, through which `Shared` knows that a build is going on.
    """

    modules: dict[str, _Module] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def convert(self, component: wiring.Component, name: str) -> _Module:
        """Return the module of this name, converted when it is asked for the first time.

        Raises
        ------
        SpecError : another component bears the name, it holds itself, or has a second clock
        """
        _mark_used(component)  # also where it is refused
        if not _NAME.match(name) or name in KEYWORDS or name in _OURS:
            raise SpecError(
                f"module {name!r}", found=name,
                wanted="letters, digits and underscores, no keyword of Verilog, not "
                + ", ".join(_OURS),
                fix="give another name",
            )  # fmt: skip
        if name in self._open:
            raise SpecError(
                f"module {name}", found="a module that holds itself",
                wanted="modules without a circle", fix="give the inner one another name",
            )  # fmt: skip
        known = self.modules.get(name)
        if known is not None:
            if not _alike(known.component, component) and self._text(component, name) != known.text:
                raise SpecError(
                    f"module {name}", found="two different components of this name",
                    wanted="one module for one name",
                    fix="put the parameters that differ into the name",
                )  # fmt: skip
            return known
        ports = flat_ports(component, name=name)
        text = self._text(component, name)
        inputs = set(_INPUT.findall(text.split("\nend\n", 1)[0]))
        strange = inputs - {port.name for port in ports} - {"clk", "rst"}
        if strange:
            raise SpecError(
                f"module {name}", found=f"a second clock domain ({', '.join(sorted(strange))})",
                wanted="the domain sync alone", fix="drive every register from m.d.sync",
            )  # fmt: skip
        made = _Module(component=component, ports=ports, clocked="clk" in inputs, text=text)
        self.modules[name] = made
        return made

    def _text(self, component: wiring.Component, name: str) -> str:
        self._open.append(name)
        try:
            ports = flat_ports(component, name=name)
            fragment = Fragment.get(component, self)
            bound, statements = _bind(ports)
            if statements:
                fragment.add_statements("comb", *statements)
            text, _ = rtlil.convert_fragment(fragment, bound, name, emit_src=False)
        except CombinationalCycle as error:
            lines = [line.split(": ", 1)[-1].strip() for line in str(error).splitlines()[1:]]
            path = ", ".join(filter(None, lines))
            raise SpecError(
                f"module {name}", found=f"a loop without a register: {path}",
                wanted="logic that settles", fix="put a register into the loop",
            ) from None  # fmt: skip
        finally:
            self._open.pop()
        return str(text)


def _bind(ports: tuple[FlatPort, ...]) -> tuple[dict[str, Any], list[Any]]:
    """Return Amaranth's port table, and the statements that join split members to their ports."""
    from amaranth.hdl._ir import PortDirection

    table: dict[str, Any] = {}
    statements: list[Any] = []
    inputs: dict[int, tuple[Any, list[Any]]] = {}
    for port in ports:
        way = PortDirection.Input if port.direction == "in" else PortDirection.Output
        whole = port.member
        if isinstance(whole, Signal) and len(whole) == port.width:
            table[port.name] = (whole, way)
            continue
        own = Signal(Shape(port.width, port.signed), name=port.name)
        table[port.name] = (own, way)
        if port.direction == "out":
            statements.append(own.eq(port.value))
        else:
            inputs.setdefault(id(whole), (whole, []))[1].append(own)
    statements += [whole.eq(Cat(*parts)) for whole, parts in inputs.values()]
    return table, statements


def _alike(one: Any, other: Any) -> bool:
    """Whether two components are described alike: type, signature, every plain attribute.

    False means not known, as where an attribute is no plain value.
    """
    if one is other:
        return True
    if type(one) is not type(other) or one.signature != other.signature:
        return False
    ports = set(one.signature.members)
    mine, others = _attributes(one), _attributes(other)
    if mine.keys() != others.keys():
        return False
    return all(_plain_equal(mine[key], others[key]) for key in mine if key not in ports)


def _attributes(component: Any) -> Mapping[str, Any]:
    return {
        key: value
        for key, value in vars(component).items()
        if not key.startswith(("_MustUse", "_Elaboratable", "_Component"))
    }


def _plain_equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, wiring.Component):
        return _alike(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_plain_equal, one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_plain_equal(one[k], other[k]) for k in one)
    if isinstance(one, wiring.Signature | Shape):
        return bool(one == other)
    plain = (int, str, bool, float, bytes, frozenset, type(None), type)
    return isinstance(one, plain) and one == other


def _mark_used(component: Any) -> None:
    """Say to Amaranth that a component that is not converted again is used all the same."""
    component._MustUse__used = True
    for value in vars(component).values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, wiring.Component) and not part._MustUse__used:
                _mark_used(part)


class Shared(wiring.Component):
    """A component that a build converts once and then instantiates by name.

    It has the ports of `component`. Outside a build, as in Amaranth's own simulator, it elaborates
    in place. Inside, every `Shared` of this name must hold a component that is described alike.

    Trap: `ResetInserter` and `EnableInserter` do not reach into an instance; give the component a
    port for it.

    Parameters
    ----------
    component : of one clock domain ``sync``, or combinational
    name : of the module, part and parameters, e.g. ``fifo_d8_w16``
    """

    def __init__(self, component: wiring.Component, name: str) -> None:
        self.component = component
        self.module_name = name
        super().__init__(component.signature)

    def elaborate(self, platform: Any) -> Any:
        """Return an instance of the module, or the component itself outside a build."""
        if not isinstance(platform, ModuleLibrary):
            m = Module()
            m.submodules.inside = self.component
            wiring.connect(m, wiring.flipped(self), self.component)
            return m
        module = platform.convert(self.component, self.module_name)
        mine = flat_ports(self, name=self.module_name)
        links = [("i" if port.direction == "in" else "o", port.name, port.value) for port in mine]
        if module.clocked:
            links = [("i", "clk", ClockSignal()), ("i", "rst", ResetSignal()), *links]
        return Instance(self.module_name, *links)
