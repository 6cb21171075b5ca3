"""A fair choice among several streams.

Judge: a model of the rule in plain Python, and counts of items under full load
(`tests/rtl/test_parts_streams.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from .._circuit import Timing
from ._part import Part, check_whole, log2_ceil, shape_name, shape_of, shape_text


class Arbiter(Part):
    """Merges streams into one, round robin: nobody waits for more than one item of each other.

    Parameters
    ----------
    shape : of an item
    inputs : how many streams, 2 or more

    Ports
    -----
    i0, i1, … : streams of `shape`
    o : stream of ``item`` (the `shape`) and ``source`` (number of the stream it came from)

    Timing
    ------
    Combinational from input to output. Among the streams that offer an item, the first at or after
    the *turn* is passed on; the turn then stands after it. An item that was offered and not taken
    stays the one offered, whoever comes in the meantime.

    Ignores
    -------
    Packets: two items of a stream may have others between them.

    Raises
    ------
    SpecError : fewer than two inputs, no payload
    """

    def __init__(self, shape: Any, *, inputs: int) -> None:
        self._shape = shape_of("Arbiter: shape", shape)
        inputs = self._inputs = check_whole("Arbiter: inputs", inputs, least=2)
        out = data.StructLayout({"item": self._shape, "source": log2_ceil(inputs)})
        super().__init__(
            {f"i{k}": In(stream.Signature(self._shape)) for k in range(inputs)}
            | {"o": Out(stream.Signature(out))},
            title=f"arbiter_{inputs}_of_{shape_name(self._shape)}",
            parameters={"shape": shape_text(self._shape), "inputs": inputs},
            timing=Timing(
                latency=0, interval=1, rule="an item passes in the cycle in which it is chosen"
            ),
            summary=f"Merges {inputs} streams into one, round robin.",
            meanings={f"i{k}": f"items of source {k}" for k in range(inputs)}
            | {"o": "the chosen item", "o__source": "number of the stream it came from"},
        )

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The input streams in the order of their numbers."""
        return tuple(getattr(self, f"i{k}") for k in range(self._inputs))

    def elaborate(self, platform: object) -> Module:
        """Choose the lowest of those at or after the turn, else the lowest of all."""
        m = Module()
        count = self._inputs
        turn = Signal(range(count))
        asking, due, candidates, grant = (
            Signal(count, name=name) for name in ("asking", "due", "candidates", "grant")
        )
        passed = Signal(count)  # bit k: the turn stands after k
        m.d.comb += [
            asking.eq(Cat(source.valid for source in self.inputs)),
            passed.eq(Cat(turn > k for k in range(count - 1))),
            due.eq(asking & ~passed),
            candidates.eq(Mux(due.any(), due, asking)),
            grant.eq(candidates & (~candidates + 1)[:count]),
        ]
        item, number = Value.cast(self.o.payload.item), self.o.payload.source
        m.d.comb += [
            self.o.valid.eq(asking.any()),
            item.eq(
                _any_of(
                    Value.cast(source.payload) & bit.replicate(len(item))
                    for source, bit in zip(self.inputs, grant)
                )
            ),
            number.eq(
                Cat(
                    _any_of(grant[k] for k in range(count) if k >> bit & 1)
                    for bit in range(len(number))
                )
            ),
        ]
        m.d.comb += [
            source.ready.eq(self.o.ready & grant[k]) for k, source in enumerate(self.inputs)
        ]
        # A stalled offer takes the turn, so that it is chosen again; a taken one passes it on.
        with m.If(self.o.valid):
            after = Mux(number == count - 1, 0, number + 1)
            m.d.sync += turn.eq(Mux(self.o.ready, after, number))
        return m


def _any_of(values: Iterable[Value]) -> Value:
    """Return the bits that are 1 in any of the values."""
    return reduce(or_, values)
