"""One lane: its column of weight bits, the pointer and the check window.

Judge: the window rule in Python (`tests/accel/bitlet/test_circuit.py`).
"""

from __future__ import annotations

from amaranth import C, Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from orrery.rtl import Timing
from orrery.rtl.parts import BarrelShifter, Part, Shared


class CheckWindow(Part):
    """What one look at the next bits of a lane finds, and how far the pointer moves.

    Parameters
    ----------
    window : bits looked at

    Ports
    -----
    bits : in, the next bits, the nearest lowest
    some : out, there is a one; place : out, where the first one is
    advance : out, by how much the pointer moves: to the second one if there are two, else by a
        whole window

    Timing
    ------
    Combinational.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        super().__init__(
            {
                "bits": In(window),
                "some": Out(1),
                "place": Out(range(window)),
                "advance": Out(range(window + 1)),
            },
            title=f"check_window_{window}",
            parameters={"window": window},
            timing=Timing(latency=0, interval=1, rule="combinational"),
            summary="First one of the window, and where the next window begins.",
            meanings={
                "bits": "the next bits of the lane, nearest first",
                "some": "there is a one",
                "place": "where the first one is",
                "advance": "to the second one, or a whole window",
            },
        )

    def elaborate(self, platform: object) -> Module:
        """Take the lowest one away, and the next one of what is left; number both."""
        m = Module()
        less, rest, less_2 = (Signal(self.window, name=n) for n in ("less", "rest", "rest_less"))
        first = Signal(self.window - 1)  # but for bit 0, whose number is 0 as of no bit
        second = Signal(self.window)
        m.d.comb += [
            less.eq(self.bits - 1),
            rest.eq(self.bits & less),
            less_2.eq(rest - 1),
            first.eq(self.bits[1:] & ~less[1:]),
            second.eq(rest & ~less_2),
            self.some.eq(self.bits.any()),
            self.place.eq(_number(Cat(C(0, 1), first))),
            self.advance.eq(_number(Cat(second, ~second.any()))),
        ]
        return m


def _number(one: Value) -> Value:
    """Return which bit is 1 of those of which at most one is; 0 where none is."""
    digits = range((len(one) - 1).bit_length())
    return Cat(Cat(one[k] for k in range(len(one)) if k >> d & 1).any() for d in digits)


class Lane(Part):
    """Pops the ones of one significance, one a cycle, each as the number of its weight.

    Parameters
    ----------
    group : weights of a group
    batch : weights that are aligned, and so written, in one cycle
    window : bits looked at in a cycle, at most `batch`, so that a pointer never overtakes writing
    digits : the column holds digits, each with a sign

    Ports
    -----
    enable : in, registers move only in cycles in which it is 1
    batch, batch_at, write : in, bits of one batch of weights and which batch it is
    start : in, a group begins with the next cycle; it may come with the last cycle of another
    last : in, the number of the group's last weight, steady while the group runs
    busy : out, the lane looks at a window in this cycle
    ending : out, it is idle, or this is its last window
    some, index : out, the weight whose bit is popped in this cycle
    batch_minus : in, with digits: which of the batch are -1
    minus : out, with digits: the popped digit is -1

    Timing
    ------
    As many cycles as `lane_passes` has entries.
    """

    def __init__(self, *, group: int, batch: int, window: int, digits: bool = False) -> None:
        self.group, self.batch_size, self.window, self.digits = group, batch, window, digits
        sign = {"batch_minus": In(batch), "minus": Out(1)} if digits else {}
        super().__init__(
            {
                **sign,
                "enable": In(1),
                "batch": In(batch),
                "batch_at": In(range(max(group // batch, 2))),
                "write": In(1),
                "start": In(1),
                "last": In(range(group)),
                "busy": Out(1),
                "ending": Out(1),
                "some": Out(1),
                "index": Out(range(group)),
            },
            title=f"lane_g{group}_b{batch}_w{window}" + "_signed" * digits,
            parameters={"group": group, "batch": batch, "window": window},
            timing=Timing(latency=None, interval=None, rule="one window a cycle"),
            summary="A lane: pops the ones of one significance.",
            meanings={},
        )

    def elaborate(self, platform: object) -> Module:
        """Keep the column, look at the bits from the pointer on, move the pointer."""
        m = Module()
        column = Signal(self.group, reset_less=True)
        pointer = Signal(range(self.group + self.window), reset_less=True)
        busy = Signal()
        # Zeros stand beyond the last weight.
        view = BarrelShifter(self.group + self.window - 1, direction="right",
                             most=self.group - 1, kept=self.window, largest_first=True)  # fmt: skip
        m.submodules.view = view = Shared(view, view.title)
        m.submodules.check = check = Shared(CheckWindow(self.window), f"check_window_{self.window}")
        after = Signal(range(self.group + 2 * self.window))
        m.d.comb += [
            view.value.eq(Cat(column, C(0, self.window - 1))),
            view.amount.eq(pointer),
            check.bits.eq(view.result),
            after.eq(pointer + check.advance),
            self.busy.eq(busy),
            self.ending.eq(~busy | (after > self.last)),
            self.some.eq(busy & check.some),
            self.index.eq(pointer + check.place),
        ]
        minus = Signal(self.group, reset_less=True)
        if self.digits:
            m.d.comb += self.minus.eq(minus.bit_select(self.index, 1))
        with m.If(self.enable):
            with m.If(self.write), m.Switch(self.batch_at):
                for k in range(self.group // self.batch_size):
                    with m.Case(k):
                        m.d.sync += column.word_select(k, self.batch_size).eq(self.batch)
                        if self.digits:
                            part = minus.word_select(k, self.batch_size)
                            m.d.sync += part.eq(self.batch_minus)
            with m.If(self.start):
                m.d.sync += [pointer.eq(0), busy.eq(1)]
            with m.Elif(busy):
                m.d.sync += [pointer.eq(after), busy.eq(~self.ending)]
        return m
