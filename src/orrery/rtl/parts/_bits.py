"""Parts that look for bits and move them: leading one, barrel shifter.

Judge: Python integers (`tests/rtl/test_parts_bits.py`).
"""

from __future__ import annotations

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from orrery.errors import SpecError, check_choice

from ._part import (
    Part,
    check_whole,
    log2_ceil,
    pipeline_timing,
)


class LeadingOne(Part):
    """Finds the highest bit that is 1 (or the lowest), as a tree of halves.

    Parameters
    ----------
    width : bits of the value, 2 or more
    lowest : find the lowest instead

    Ports
    -----
    value : in, `width` bits
    position : out, the number of that bit, counted from the least significant; 0 where none is 1
    none : out, no bit is 1

    Timing
    ------
    Combinational, log2(width) levels.

    Raises
    ------
    SpecError : too few bits
    """

    def __init__(self, width: int, *, lowest: bool = False) -> None:
        width = self._width = check_whole("LeadingOne: width", width, least=2)
        self._lowest = bool(lowest)
        which = "lowest" if self._lowest else "highest"
        super().__init__(
            {"value": In(width), "position": Out(range(width)), "none": Out(1)},
            title=f"{'trailing' if self._lowest else 'leading'}_one_{width}",
            parameters={"width": width, "lowest": self._lowest},
            timing=pipeline_timing(0, "the position"),
            summary=f"Position of the {which} bit that is 1, of {width} bits.",
            meanings={
                "value": "where to look",
                "position": f"number of the {which} bit that is 1; 0 where none is",
                "none": "no bit is 1",
            },
        )

    def elaborate(self, platform: object) -> Module:
        """Ask both halves, and take the answer of the preferred one if it has any."""
        m = Module()

        def look(low: int, levels: int) -> tuple[Value, Value]:
            """Return (position within 2**levels bits from `low`, whether there is one)."""
            if not levels:
                return C(0, 0), self.value[low]
            half = 1 << (levels - 1)
            low_at, low_some = look(low, levels - 1)
            if low + half >= self._width:  # nothing stands in the upper half
                return Cat(low_at, C(0, 1)), low_some
            high_at, high_some = look(low + half, levels - 1)
            upper = high_some & ~low_some if self._lowest else high_some
            last = min(low + 2 * half, self._width) - 1
            position = Signal(levels, name=f"position_{last}_{low}")
            some = Signal(name=f"some_{last}_{low}")
            m.d.comb += [
                some.eq(low_some | high_some),
                position.eq(Cat(Mux(upper, high_at, low_at), upper) if levels > 1 else upper),
            ]
            return position, some

        position, some = look(0, log2_ceil(self._width))
        m.d.comb += [self.position.eq(position), self.none.eq(~some)]
        return m


class BarrelShifter(Part):
    """Shifts or rotates by any amount: a level of multiplexers for each bit of the amount.

    All bits of the amount that shift everything out share one level.

    Parameters
    ----------
    width : bits of the value, 2 or more
    direction : "left", "right", or "both": then the port `right` chooses
    fill : what comes in at the open end: "zero"; "sign", the top bit where the shift is to the
        right, zero where it is to the left; "rotate", what went out at the other end
    most : the largest amount, by default ``width - 1``. Greater amounts that the port can carry
        shift further all the same; a rotation is by the amount modulo `width`
    sticky : add the port `sticky`, whether any 1 was shifted out (not of a rotation)
    kept : only so many bits of the result are wanted: the lowest of a shift to the right, the
        highest of one to the left. Levels are then narrower the later they come
    largest_first : shift by the greatest power of two first, which makes the most of `kept`; the
        smallest comes first otherwise
    registers : pipeline registers, spread over the levels

    Ports
    -----
    value : in; amount : in, as many bits as `most` needs; right : in, where direction is "both"
    result : out; sticky : out, where asked for
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, new inputs in every cycle.

    Raises
    ------
    SpecError : too few bits, nothing to shift by, more registers than levels, an unknown choice
    """

    def __init__(
        self, width: int, *, direction: str = "left", fill: str = "zero", most: int | None = None,
        sticky: bool = False, kept: int | None = None, largest_first: bool = False,
        registers: int = 0,
    ) -> None:  # fmt: skip
        width = self._width = check_whole("BarrelShifter: width", width, least=2)
        self._direction = check_choice(
            "BarrelShifter: direction", direction, ("left", "right", "both")
        )
        self._fill = check_choice("BarrelShifter: fill", fill, ("zero", "sign", "rotate"))
        if sticky and fill == "rotate":
            raise SpecError(
                "BarrelShifter: sticky", found="fill 'rotate'", wanted="bits that are shifted out",
                fix="leave sticky out: a rotation loses nothing",
            )  # fmt: skip
        most = width - 1 if most is None else check_whole("BarrelShifter: most", most, least=1)
        if kept is not None and (fill == "rotate" or direction == "both"):
            raise SpecError(
                "BarrelShifter: kept", found=f"direction {direction!r}, fill {fill!r}",
                wanted="a shift one way", fix="leave kept out, and cut the result where it is used",
            )  # fmt: skip
        self._kept = check_whole("BarrelShifter: kept", kept or width, least=1, most=width)
        bits = log2_ceil(most + 1)
        apart = bits if fill == "rotate" else min(bits, log2_ceil(width))
        self._steps = [(bit, bit + 1) for bit in range(apart)] + [(apart, bits)] * (apart < bits)
        if largest_first:
            self._steps.reverse()
        self._levels = len(self._steps)
        self._sticky = bool(sticky)
        registers = self._registers = check_whole(
            "BarrelShifter: registers", registers, least=0, most=self._levels
        )
        members = {"value": In(width), "amount": In(bits), "result": Out(self._kept)}
        members |= {"right": In(1)} if direction == "both" else {}
        members |= {"sticky": Out(1)} if sticky else {}
        members |= {"enable": In(1, init=1)} if registers else {}
        verb = "rotates" if fill == "rotate" else "shifts"
        way = "left or right" if direction == "both" else direction
        super().__init__(
            members,
            title=f"{'rotate' if fill == 'rotate' else 'shift'}_{direction}_{width}_by_{most}"
            + ("_signed" if fill == "sign" else "")
            + ("_sticky" if sticky else "")
            + (f"_to_{self._kept}" if self._kept < width else "")
            + ("_largest_first" if largest_first else "")
            + (f"_r{registers}" if registers else ""),
            parameters={
                "width": width, "direction": direction, "fill": fill, "most": most,
                "sticky": self._sticky, "kept": self._kept, "largest_first": bool(largest_first),
                "registers": registers,
            },
            timing=pipeline_timing(registers, "the result"),
            summary=f"Barrel shifter: {verb} {width} bits {way}, "
            + ("" if fill == "rotate" else f"{fill} comes in, ")
            + f"by 0 to {most}.",
            meanings={
                "value": "what is shifted", "amount": "by how many bits",
                "right": "1: to the right, 0: to the left", "result": "the shifted value",
                "sticky": "a 1 was shifted out", "enable": "1: the registers move",
            },
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Shift by powers of two; either way is to the right, between two mirrors or none."""
        m = Module()
        stages = self.stages(m, self._levels, self._registers)
        both = self._direction == "both"
        right: Value = self.right if both else C(int(self._direction == "right"))
        leftward = self._direction == "left"  # else every level shifts to the right

        def mirrored(value: Value) -> Value:
            """Return the value, mirrored where a shift to the right is to act to the left."""
            return Mux(right, value, value[::-1]) if both else value

        value = self.value
        if both:
            value = Signal(self._width, name="level_0")
            m.d.comb += value.eq(mirrored(self.value))
        top: Value = right & self.value[-1] if self._fill == "sign" else C(0, 1)
        lost: Value | None = None
        amount: Value = self.amount
        for level, (first, end) in enumerate(self._steps, 1):
            near = min(1 << first, len(value))  # a step may be wider than the value
            moving = amount[first:end].any()
            coming = top.replicate(near)
            still = sum(
                (1 << last) - (1 << low)
                for low, last in self._steps[level:]
                if self._sticky or 1 << low < self._width  # else nothing of the value is left
            )
            needed = min(self._kept + still, len(value))
            if leftward:
                out = value[len(value) - near :]
                moved = Cat(coming, value[: len(value) - near])[-needed:]
                staying = value[-needed:]
            else:
                out = value[:near]
                moved = Cat(value[near:], coming)[:needed]
                staying = value[:needed]
            if self._fill == "rotate":
                turn = value.rotate_left if leftward else value.rotate_right
                moved = turn((1 << first) % self._width)
            if self._sticky:
                going = moving & out.any()
                lost = stages.end(level, f"sticky_{level}", going if lost is None else lost | going)
            value = stages.end(level, f"level_{level}", Mux(moving, moved, staying))
            amount = stages.end(level, f"amount_{level}", amount)
            if both:
                right = stages.end(level, f"right_{level}", right)
            if self._fill == "sign":
                top = stages.end(level, f"top_{level}", top)
        m.d.comb += self.result.eq(mirrored(value))
        if self._sticky:
            m.d.comb += self.sticky.eq(lost)
        return m
