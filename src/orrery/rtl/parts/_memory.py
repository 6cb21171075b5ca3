"""A memory with one port to write and one to read.

Judge: a list in Python under random reads and writes (`tests/rtl/test_parts_streams.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Module, Mux, Signal
from amaranth.lib import memory
from amaranth.lib.wiring import In, Out

from orrery.errors import SpecError

from .._circuit import Timing
from .._rules import INSIDE
from ._part import Part, check_whole, digest


class MemoryWrapper(Part):
    """Rows of bits that are written at the clock's edge and read a cycle later.

    Parameters
    ----------
    width : bits of a row
    depth : rows, 2 or more
    granularity : write parts of this many bits apart, each with its own bit of `write_enable`;
        by default the whole row
    initial : what the rows hold at the start; those not given hold 0
    forward : a row read in the cycle in which it is written is read new; without, old

    Ports
    -----
    write_enable, write_address, write_data : in
    read_enable, read_address : in; read_data : out

    Timing
    ------
    `read_data` shows the row one cycle after `read_enable`, and keeps it until the next read.
    Reset does not clear the rows.

    Notes
    -----
    Where `depth` is no power of two there are addresses without a row: a write there does nothing,
    a read gives 0 (which costs a comparison, and a multiplexer behind the memory).

    Raises
    ------
    SpecError : no rows or bits, parts that do not divide the row, initial contents that do not fit
    """

    def __init__(
        self, width: int, *, depth: int, granularity: int | None = None,
        initial: Sequence[int] = (), forward: bool = False,
    ) -> None:  # fmt: skip
        width = self._width = check_whole("MemoryWrapper: width", width, least=1)
        depth = self._depth = check_whole("MemoryWrapper: depth", depth, least=2)
        self._granularity = check_whole(
            "MemoryWrapper: granularity", granularity or width, least=1, most=width
        )
        if width % self._granularity:
            raise SpecError(
                "MemoryWrapper: granularity", found=granularity,
                wanted=f"a number that divides the width, {width}", fix="give another number",
            )  # fmt: skip
        self._initial = tuple(
            check_whole(f"MemoryWrapper: initial[{k}]", row, least=0, most=(1 << width) - 1)
            for k, row in enumerate(initial)
        )
        if len(self._initial) > depth:
            raise SpecError(
                "MemoryWrapper: initial", found=f"{len(self._initial)} rows",
                wanted=f"{depth} or fewer, the depth", fix="give fewer rows or more depth",
            )  # fmt: skip
        self._forward = bool(forward)
        parts = width // self._granularity
        super().__init__(
            {
                "write_enable": In(parts),
                "write_address": In(range(depth)),
                "write_data": In(width),
                "read_enable": In(1),
                "read_address": In(range(depth)),
                "read_data": Out(width),
            },
            title=f"memory_{depth}_of_{width}"
            + (f"_by_{self._granularity}" if parts > 1 else "")
            + ("_forward" if self._forward else "")
            + (f"_{digest(repr(self._initial))}" if self._initial else ""),
            parameters={
                "width": width, "depth": depth, "granularity": self._granularity,
                "initial_rows": len(self._initial),
                "initial_hash": digest(repr(self._initial)) if self._initial else "",
                "forward": self._forward,
            },
            timing=Timing(
                latency=1, interval=1, rule="a row shows one cycle after read_enable and stays"
            ),
            summary=f"Memory of {depth} rows of {width} bits, one port to write, one to read.",
            meanings={
                "write_enable": "the row is written"
                if parts == 1
                else f"bit k: bits {self._granularity}k and up of the row are written",
                "write_address": "which row",
                "write_data": "what is written",
                "read_enable": "a row is read",
                "read_address": "which row",
                "read_data": "the row last read",
            },
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Wire the ports to Amaranth's memory, and addresses without a row to nothing."""
        m = Module()
        m.submodules.rows = rows = memory.Memory(
            shape=self._width, depth=self._depth, init=list(self._initial),
            attrs={INSIDE: 1},
        )  # fmt: skip
        write = rows.write_port(granularity=self._granularity)
        read = rows.read_port(transparent_for=(write,) if self._forward else ())
        beside = bool(self._depth & (self._depth - 1))
        writable, readable = Signal(), Signal()
        m.d.comb += [
            writable.eq(self.write_address < self._depth if beside else 1),
            readable.eq(self.read_address < self._depth if beside else 1),
            # Engines may stop at an address without a row even where nothing is written.
            write.addr.eq(Mux(writable, self.write_address, 0)),
            write.data.eq(self.write_data),
            write.en.eq(Mux(writable, self.write_enable, 0)),
            read.addr.eq(self.read_address),
            read.en.eq(self.read_enable & readable),
            self.read_data.eq(read.data),
        ]
        if beside:
            there = Signal(reset_less=True)  # as what the memory shows
            with m.If(self.read_enable):
                m.d.sync += there.eq(readable)
            with m.If(~there):
                m.d.comb += self.read_data.eq(0)
        return m
