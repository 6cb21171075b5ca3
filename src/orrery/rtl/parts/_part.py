"""What every part of the library is: an Amaranth component that says what it was made with.

Also the two things that most parts share: where `registers` pipeline registers stand in a chain of
stages, and the checks of whole-number parameters.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Any, SupportsIndex

from amaranth import Const, Module, Shape, Signal, Value
from amaranth.lib import data, wiring

from orrery.errors import SpecError
from orrery.store import content_hash

from .._circuit import Circuit, Timing
from ._shared import Shared


class Part(wiring.Component):
    """A component of the library: its ports are its `signature`, the rest stands beside them.

    Parameters
    ----------
    members : port or stream name -> `In(…)` or `Out(…)`
    title : name of the module where nobody gives another; parts that differ differ in it
    parameters : every parameter written out
    timing : when results come
    summary : what it does, one paragraph
    meanings : port or stream name -> what it carries; of ports this part does not have, ignored
    """

    #: A part may be made only to ask for its timing; Amaranth would complain of it.
    _MustUse__silence = True

    def __init__(
        self, members: Mapping[str, Any], *, title: str, parameters: Mapping[str, int | str | bool],
        timing: Timing, summary: str, meanings: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.title, self.parameters, self.timing = title, dict(parameters), timing
        self.summary = summary
        self.meanings: Mapping[str, str] = {}
        super().__init__(wiring.Signature(dict(members)))
        there = {
            name
            for name, member in members.items()
            if not member.is_port or Shape.cast(member.shape).width
        }
        self.meanings = {
            name: meaning for name, meaning in meanings.items() if name.partition("__")[0] in there
        }

    def stages(self, module: Module, count: int, registers: int) -> Stages:
        """Return its stages, of which so many end in registers that its `enable` moves."""
        enable = self.enable if registers else Const(1)
        return Stages(module, enable, registered_stages(count, registers))


def part_circuit(part: Part, *, name: str = "") -> Circuit:
    """Build a part as a circuit of its own, named after its `title` unless a name is given."""
    from .. import build

    return build(
        part, name=name or part.title, parameters=part.parameters, timing=part.timing,
        summary=part.summary, meanings=part.meanings,
    )  # fmt: skip


def shared(part: Part) -> Shared:
    """Return a part as a module of its own that stands once in the text, named by its title."""
    return Shared(part, part.title)


class Stages:
    """Hands values from one stage of a part to the next, through registers where asked.

    Parameters
    ----------
    module : the part's module
    enable : the registers move in cycles in which this is 1
    registered : numbers of the stages, counted from 1, that end in registers

    The registers have no reset: what they hold before the first value is not meant to be read.
    """

    def __init__(self, module: Module, enable: Value, registered: Collection[int]) -> None:
        self._module, self._enable, self._registered = module, enable, frozenset(registered)

    def end(self, stage: int, name: str, value: Value) -> Value:
        """Return `value` as the next stage sees it: a signal called `name`, or what it was."""
        m = self._module
        value = Value.cast(value)
        if stage not in self._registered:
            if isinstance(value, Signal | Const):
                return value
            signal = Signal(value.shape(), name=name)
            m.d.comb += signal.eq(value)
            return signal
        signal = Signal(value.shape(), name=f"{name}_q", reset_less=True)
        with m.If(self._enable):
            m.d.sync += signal.eq(value)
        return signal


def registered_stages(stages: int, registers: int) -> frozenset[int]:
    """Spread registers over stages 1, 2, …: the last always stands at the output.

    Before: ``stages=4, registers=2``; after: ``{2, 4}``.
    """
    return frozenset(-(-stages * k // registers) for k in range(1, registers + 1))


def pipeline_timing(registers: int, what: str) -> Timing:
    """Return the timing of a part with an `enable` and this many registers on every path."""
    if not registers:
        return Timing(latency=0, interval=1, rule=f"combinational: {what} in the same cycle")
    cycles = "cycle" if registers == 1 else "cycles"
    return Timing(
        latency=registers, interval=1,
        rule=f"{what} {registers} {cycles} in which enable is 1 after its inputs; "
        "new inputs in every such cycle",
    )  # fmt: skip


def check_whole(where: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number in [least, most].

    Raises
    ------
    SpecError : it is not
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = operator.index(value)
        if least <= number and (most is None or number <= most):
            return number
    wanted = f"a whole number from {least}" + (f" to {most}" if most is not None else " upwards")
    raise SpecError(where, found=value, wanted=wanted, fix="give another number")


def shape_of(where: str, shape: Any, *, least: int = 1) -> Any:
    """Return a shape of at least `least` bits as Amaranth knows it; a number means unsigned bits.

    Raises
    ------
    SpecError : it is no shape, or too narrow
    """
    try:
        cast = Shape.cast(shape)
    except (TypeError, ValueError):
        raise SpecError(
            where, found=shape, wanted="a shape: bits, unsigned(n), signed(n) or a layout",
            fix="give one of these",
        ) from None  # fmt: skip
    if cast.width < least:
        raise SpecError(
            where, found=f"{cast.width} bits", wanted=f"{least} bits or more", fix="widen the shape"
        )
    return shape if isinstance(shape, data.Layout) else cast


def shape_text(shape: Any) -> str:
    """Return a shape in words, e.g. ``unsigned(8)`` or ``value:signed(4),last:unsigned(1)``."""
    if isinstance(shape, data.StructLayout):
        return ",".join(f"{name}:{shape_text(member)}" for name, member in shape.members.items())
    cast = Shape.cast(shape)
    return f"{'signed' if cast.signed else 'unsigned'}({cast.width})"


def shape_name(shape: Any) -> str:
    """Return a shape as part of a module's name: ``8``, ``s8``, or a width and a hash."""
    cast = Shape.cast(shape)
    if isinstance(shape, data.Layout):
        return f"{cast.width}_{digest(shape_text(shape))}"
    return f"{'s' if cast.signed else ''}{cast.width}"


def digest(text: str) -> str:
    """Return six hexadecimal digits that tell texts apart, for names of modules."""
    return content_hash(text.encode())[:6]


def log2_ceil(count: int) -> int:
    """Return how many bits number `count` things: 0 for one thing."""
    return max(count - 1, 0).bit_length()
