"""Parts that hold items on their way: queue, register slice, skid buffer.

All three move any payload unchanged and in order, one item a cycle where neither side stalls.
Judge: a deque driven with random stalls (`tests/rtl/test_parts_streams.py`).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import (
    Elaboratable,
    Fragment,
    MemoryInstance,
    Module,
    Mux,
    Signal,
    Value,
)
from amaranth.lib import data, fifo, stream
from amaranth.lib.wiring import In, Out

from .._circuit import Timing
from .._rules import INSIDE
from ._part import Part, check_whole, shape_name, shape_of, shape_text, shared


class Fifo(Part):
    """A first-in, first-out queue of `depth` items between two streams.

    Parameters
    ----------
    shape : of an item
    depth : items it holds, 1 or more
    buffered : read the memory through a register, as block RAMs must be (one cycle more)

    Ports
    -----
    i, o : stream of `shape`
    level : items held

    Timing
    ------
    An item that finds the queue empty is offered 1 cycle later, 2 where `buffered` and deeper than
    1. One item a cycle; one every other cycle at depth 1, and at depth 2 where `buffered`.
    `i.ready` comes from registers: a full queue takes no item in the cycle in which one leaves.

    Ignores
    -------
    Errors of the memory, and a second clock domain.

    Raises
    ------
    SpecError : no depth, no payload
    """

    def __init__(self, shape: Any, *, depth: int, buffered: bool = False) -> None:
        self._shape = shape_of("Fifo: shape", shape)
        depth = self._depth = check_whole("Fifo: depth", depth, least=1)
        self._buffered = bool(buffered)
        slow = depth <= 1 + self._buffered
        after = 2 if self._buffered and depth > 1 else 1
        super().__init__(
            {
                "i": In(stream.Signature(self._shape)),
                "o": Out(stream.Signature(self._shape)),
                "level": Out(range(depth + 1)),
            },
            title=f"fifo_{depth}_of_{shape_name(self._shape)}{'_block' if self._buffered else ''}",
            parameters={
                "shape": shape_text(self._shape), "depth": depth, "buffered": self._buffered,
            },
            timing=Timing(
                latency=after, interval=2 if slow else 1,
                rule=f"an item entering an empty queue is offered {after} cycle"
                f"{'s' if after > 1 else ''} later"
                + (", one item every other cycle" if slow else ", one item a cycle"),
            ),
            summary=f"First-in, first-out queue of {depth} items.",
            meanings={"i": "items in", "o": "items out, in order", "level": "items held"},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Wire Amaranth's queue to the two streams."""
        m = Module()
        payload = Value.cast(self.i.payload)
        if isinstance(self._shape, data.Layout):  # the queue itself knows no fields
            flat = Fifo(len(payload), depth=self._depth, buffered=self._buffered)
            m.submodules.items = items = shared(flat)
            m.d.comb += [
                items.i.payload.eq(payload),
                items.i.valid.eq(self.i.valid),
                self.i.ready.eq(items.i.ready),
                Value.cast(self.o.payload).eq(items.o.payload),
                self.o.valid.eq(items.o.valid),
                items.o.ready.eq(self.o.ready),
                self.level.eq(items.level),
            ]
            return m
        # Of one item Amaranth's buffered queue is a register, the other a memory of one row.
        make = fifo.SyncFIFOBuffered if self._buffered or self._depth == 1 else fifo.SyncFIFO
        queue = make(width=len(payload), depth=self._depth)
        m.submodules.queue = _Vouched(queue)
        m.d.comb += [
            queue.w_data.eq(payload),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            Value.cast(self.o.payload).eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
            self.level.eq(queue.level),
        ]
        return m


class _Vouched(Elaboratable):
    """A component whose memories see no address beyond their rows: pointers that turn back."""

    def __init__(self, inside: Elaboratable) -> None:
        self._inside = inside

    def elaborate(self, platform: object) -> Fragment:
        """Return the component with the attribute at each memory."""
        whole = Fragment.get(self._inside, platform)
        todo = [whole]
        while todo:
            fragment = todo.pop()
            if isinstance(fragment, MemoryInstance):
                fragment._attrs[INSIDE] = 1
            todo += [inner for inner, *_ in fragment.subfragments]
        return whole


class RegisterSlice(Part):
    """A register that cuts the path of valid and payload; ready passes through it.

    Parameters
    ----------
    shape : of an item

    Ports
    -----
    i, o : stream of `shape`

    Timing
    ------
    Latency 1, an item a cycle. `o.valid` and `o.payload` come from registers; `i.ready` depends on
    `o.ready` in the same cycle (a `SkidBuffer` cuts that path).

    Raises
    ------
    SpecError : no payload
    """

    def __init__(self, shape: Any) -> None:
        self._shape = shape_of("RegisterSlice: shape", shape)
        super().__init__(
            {"i": In(stream.Signature(self._shape)), "o": Out(stream.Signature(self._shape))},
            title=f"register_slice_{shape_name(self._shape)}",
            parameters={"shape": shape_text(self._shape)},
            timing=Timing(latency=1, interval=1, rule="offered the cycle after it was taken"),
            summary="Register between two streams; cuts the path of valid and payload.",
            meanings={"i": "items in", "o": "items out, one cycle later"},
        )

    def elaborate(self, platform: object) -> Module:
        """Take an item when the register is empty or is being emptied."""
        m = Module()
        held = Signal(len(Value.cast(self.i.payload)), reset_less=True)
        full = Signal()
        m.d.comb += [
            self.o.valid.eq(full),
            Value.cast(self.o.payload).eq(held),
            self.i.ready.eq(~full | self.o.ready),
        ]
        with m.If(self.i.ready):
            m.d.sync += full.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += held.eq(Value.cast(self.i.payload))
        return m


class SkidBuffer(Part):
    """A buffer that cuts the path of ready: what arrives in the cycle of a stall is kept.

    Parameters
    ----------
    shape : of an item
    registered : cut the path of valid and payload too, by a register at the output

    Ports
    -----
    i, o : stream of `shape`

    Timing
    ------
    Latency 0, or 1 where `registered`; an item a cycle. `i.ready` comes from a register.

    Raises
    ------
    SpecError : no payload
    """

    def __init__(self, shape: Any, *, registered: bool = False) -> None:
        self._shape = shape_of("SkidBuffer: shape", shape)
        self._registered = bool(registered)
        latency = int(self._registered)
        super().__init__(
            {"i": In(stream.Signature(self._shape)), "o": Out(stream.Signature(self._shape))},
            title=f"skid_buffer_{shape_name(self._shape)}" + ("_registered" if latency else ""),
            parameters={"shape": shape_text(self._shape), "registered": self._registered},
            timing=Timing(
                latency=latency, interval=1,
                rule="offered the cycle after it was taken" if latency
                else "offered in the cycle in which it is taken, later if stalled",
            ),
            summary="Buffer between two streams; cuts the path of ready"
            + (" and of valid and payload." if latency else "."),
            meanings={"i": "items in", "o": "items out"},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Keep the item that came while the way on was shut; offer it before any other."""
        m = Module()
        payload = Value.cast(self.i.payload)
        kept = Signal(len(payload), reset_less=True)
        keeping = Signal()
        passing = Signal(len(payload))
        on = Signal()  # the way on is open
        offered = Signal()
        m.d.comb += [
            self.i.ready.eq(~keeping),
            passing.eq(Mux(keeping, kept, payload)),
            offered.eq(keeping | self.i.valid),
        ]
        with m.If(on):
            m.d.sync += keeping.eq(0)
        with m.Elif(self.i.valid & ~keeping):
            m.d.sync += [kept.eq(payload), keeping.eq(1)]
        if not self._registered:
            m.d.comb += [
                self.o.valid.eq(offered),
                Value.cast(self.o.payload).eq(passing),
                on.eq(self.o.ready),
            ]
            return m
        held = Signal(len(payload), reset_less=True)
        full = Signal()
        m.d.comb += [
            on.eq(~full | self.o.ready),
            self.o.valid.eq(full),
            Value.cast(self.o.payload).eq(held),
        ]
        with m.If(on):
            m.d.sync += full.eq(offered)
            with m.If(offered):
                m.d.sync += held.eq(passing)
        return m
