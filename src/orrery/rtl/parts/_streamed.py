"""A handshake around a part of fixed latency.

Judge: the part's own model, driven with random stalls on both sides.
"""

from __future__ import annotations

from amaranth import Module, Shape, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Flow, In, Out

from orrery.errors import SpecError

from .._circuit import Timing
from ._part import Part, shape_text, shared


class Streamed(Part):
    """Gives a part with plain ports a stream of inputs and a stream of outputs.

    Parameters
    ----------
    part : with plain ports and a fixed latency, e.g. ``FloatAdd(FP16, registers=2)``; where it has
        registers, its ``enable`` moves them

    Ports
    -----
    i : stream of the part's inputs, a field each, without ``enable``
    o : stream of its outputs, a field each

    Timing
    ------
    The part's latency; an item a cycle. While a result is offered and not taken the whole pipeline
    stands still; gaps between items are kept, except that a gap at the end is not waited for.
    `i.ready` depends on `o.ready` in the same cycle.

    Raises
    ------
    SpecError : the part has streams of its own, no fixed latency, or no inputs or outputs
    """

    def __init__(self, part: Part) -> None:
        where = f"Streamed: {part.title}"
        self._part = part
        fields: dict[Flow, dict[str, Shape]] = {In: {}, Out: {}}
        for name, member in part.signature.members.items():
            if not member.is_port:
                raise SpecError(
                    where, found=f"the stream {name}", wanted="plain ports only",
                    fix="use the part as it is",
                )  # fmt: skip
            if name != "enable":
                fields[member.flow][name] = member.shape
        latency = part.timing.latency
        if latency is None or part.timing.interval != 1 or not (fields[In] and fields[Out]):
            raise SpecError(
                where, found=part.timing.rule, wanted="inputs, outputs and a fixed latency",
                fix="give the part a handshake of its own",
            )  # fmt: skip
        self._latency = latency
        layouts = {flow: data.StructLayout(shapes) for flow, shapes in fields.items()}
        super().__init__(
            {"i": In(stream.Signature(layouts[In])), "o": Out(stream.Signature(layouts[Out]))},
            title=f"{part.title}_stream",
            parameters=part.parameters,
            timing=Timing(
                latency=latency, interval=1,
                rule=f"a result is offered {latency} cycle{'' if latency == 1 else 's'} after its "
                "inputs were taken, one a cycle; a result that waits stops the pipeline",
            ),
            summary=f"{part.summary} Behind a handshake.",
            meanings={
                "i": f"inputs: {shape_text(layouts[In])}",
                "o": f"results: {shape_text(layouts[Out])}",
            }
            | {
                f"{'i' if flow == In else 'o'}__{name}": part.meanings[name]
                for flow, shapes in fields.items()
                for name in shapes
                if name in part.meanings
            },
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Carry a valid bit beside the part's registers."""
        m = Module()
        m.submodules[self._part.title] = part = shared(self._part)
        m.d.comb += [
            Value.cast(getattr(part, name)).eq(Value.cast(self.i.payload[name]))
            for name in self.i.payload.shape().members
        ]
        m.d.comb += [
            Value.cast(self.o.payload[name]).eq(Value.cast(getattr(part, name)))
            for name in self.o.payload.shape().members
        ]
        if not self._latency:
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
            return m
        moving = Signal()
        valid = Signal(self._latency)  # bit k: the registers k + 1 from the input hold an item
        m.d.comb += [
            moving.eq(~self.o.valid | self.o.ready),
            part.enable.eq(moving),
            self.i.ready.eq(moving),
            self.o.valid.eq(valid[-1]),
        ]
        with m.If(moving):
            m.d.sync += valid.eq((valid << 1) | self.i.valid)
        return m
