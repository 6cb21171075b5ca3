"""The value of a nest, written down as a formula in its terms (`_terms`).

It is what `orrery.cost.nest.nest_cost` says, up to rounding. Of terms that are each the best that
some nests have it is at most the price of any of them: no value falls when a term grows, but for
what an inner level's results count as begun from zero (their term enters bounds with its highest).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from orrery.cost.nest import Zeros
from orrery.hardware import ROLES, Architecture, Level
from orrery.timeline import PS_PER_S

from ..groups import Row, Tape, Value
from ._terms import Space, Term

#: Nothing, so far.
ZERO: Value = 0.0
ONE: Value = 1.0
#: By how much a number may be above a whole one before it is rounded up.
DOWN = 1 - 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """A tensor's way between two levels: numbers, and rows of the formula.

    Attributes
    ----------
    parent, child : places of levels; the arithmetic is the child `depth`
    hidden : whether the child has a second buffer
    width, share : bits per element; of them those that multipliers ask for
    timed_width, timed_share : the same, as ports are busy with them
    ratio : of what leaves to the parent the share that comes back, with its bits
    out_bits, in_bits, back_bits : bits that leave to the parent, leave the child, come back
    """

    boundary: int
    role: str
    parent: int
    child: int
    hidden: bool
    width: float
    share: float
    timed_width: float
    timed_share: float
    ratio: Value = 0.0
    out_bits: Value = 0.0
    in_bits: Value = 0.0
    back_bits: Value = 0.0
    returned: Value = 0.0


class Formula:
    """The value of a nest, in its terms."""

    def __init__(self, space: Space, zeros: Zeros) -> None:
        self.space, self.zeros, self.tape = space, zeros.of(space.problem.macs), Tape()
        self.inputs: dict[Term, Row] = {}
        self.architecture: Architecture = space.architecture
        self.levels: tuple[Level, ...] = self.architecture.levels
        self.depth = len(self.levels)

    def term(self, what: str, **where: Any) -> Row:
        """Return the row of a term."""
        term = Term(what=what, **where)
        if term not in self.inputs:
            self.inputs[term] = self.tape.input()
        return self.inputs[term]

    def moved(self, flow: _Flow, side: str, **how: Any) -> Row:
        """Return the elements that move over a boundary."""
        return self.term("moved", boundary=flow.boundary, side=side, **how)

    def value(
        self, objective: str, most_cycles: int | None, most_energy_j: float | None = None
    ) -> Value:
        """Return cycles, joules, or joules times seconds; infinity: it does not fit."""
        tape, over = self.tape, ZERO
        wide: dict[int, Value] = {}
        for axis in self.architecture.axes:
            used = self.term("positions", axis=axis.name)
            over = tape.add(over, tape.over(used, axis.size))
        flows = self._flows(wide)
        over = tape.add(over, self._overfull(wide))
        tape.leave(over)
        compute = self._compute()
        cycles = tape.times(self._cycles(flows, compute), float(self.space.problem.times))
        if most_cycles is not None:
            over = tape.add(over, tape.over(cycles, float(most_cycles)))
        worth = cycles
        if objective != "latency" or most_energy_j is not None:
            joules = self._joules(flows, compute, cycles)
            worth = cycles if objective == "latency" else joules
            if most_energy_j is not None:
                over = tape.add(over, tape.over(joules, most_energy_j))
        if objective == "edp":
            seconds = tape.times(cycles, 1 / self.architecture.clock_hz)
            beside = (self.architecture.overhead_s or 0.0) * self.space.problem.times
            worth = tape.times(worth, tape.add(seconds, beside))
        return tape.add(worth, over)

    def _flows(self, wide: dict[int, Value]) -> list[_Flow]:
        """Return all flows; note in `wide` at which levels sums go on."""
        tape, problem, found = self.tape, self.space.problem, []
        bits, partial = self.architecture.bits, float(self.architecture.partial_sum_bits)
        from_zero: Value = 0.0
        before: Value = 0.0
        kept: Value = 0.0
        home = self.architecture.chain("output")[0]  # a result that stays lives further in
        for n, b in enumerate(self.space.boundaries):  # a tensor's flows from outside in
            tensor = problem.tensors[b.tensor]
            feeds, up = b.child == self.depth, tensor.role == "output"
            shares = [float(zeros.at_multipliers(tensor.role)) if feeds else 1.0
                      for zeros in (self.zeros, self.zeros.timed)]  # fmt: skip
            stored = float(bits["output"])
            if not up:
                stored = float(self.zeros.stored(tensor.role, bits[tensor.role], read=feeds))
            widths = [stored if up else stored * share for share in shares]
            hidden = not feeds and self.levels[b.child].hides(tensor.role)
            flow = _Flow(boundary=n, role=tensor.role, parent=b.parent, child=b.child,
                         width=widths[0], share=shares[0], timed_width=widths[1],
                         timed_share=shares[1], hidden=hidden)  # fmt: skip
            if not up:
                found.append(flow)
                continue
            # What of the results is final and what comes back.
            complete, final = float(self.space.whole(b.tensor)), float(bits["output"])

            def mixed(total: Row, kept: Value, final: float = final) -> Value:
                rest = tape.most(tape.less(total, kept), 0.0)
                return tape.add(tape.times(kept, final), tape.times(rest, partial))

            if b.parent == home:
                from_zero, before, kept = complete, 0.0, complete
            out = self.moved(flow, "outer")
            ratio = tape.most(tape.less(1.0, tape.share(from_zero, out)), 0.0)
            back = tape.most(tape.less(out, from_zero), before)
            wide[b.parent] = tape.above(out, kept)
            flow = replace(flow, ratio=tape.times(ratio, partial), out_bits=mixed(out, kept),
                           back_bits=tape.times(back, partial))  # fmt: skip
            if not feeds:
                into = self.moved(flow, "inner")
                most = self.moved(flow, "inner", enters="most")
                kept = tape.kept(kept, self.term("ever", boundary=n), complete)
                flow = replace(flow, in_bits=mixed(into, kept),
                               returned=tape.share(flow.back_bits, most))  # fmt: skip
                from_zero, before = tape.less(most, back), back
            found.append(flow)
        return found

    def _overfull(self, wide: dict[int, Value]) -> Value:
        """Return infinity where a tile does not fit, else 0."""
        tape, bits, problem = self.tape, self.architecture.bits, self.space.problem
        over: Value = 0.0
        growth = self.architecture.partial_sum_bits / bits["output"]
        for place, level in enumerate(self.levels):
            shared: Value = 0.0
            for role in ROLES:
                twice = 2.0 if role in level.double_buffered else 1.0
                need: Value = 0.0
                if place == 0:  # what the outermost level holds for good
                    whole = [self.space.whole(t) for t, tensor in enumerate(problem.tensors)
                             if tensor.role == role]  # fmt: skip
                    need = float(sum(whole) * bits[role] * twice)
                for n, b in enumerate(self.space.boundaries):
                    if b.child == place and problem.tensors[b.tensor].role == role:
                        tile = self.term("largest", boundary=n)
                        need = tape.add(need, tape.times(tile, bits[role] * twice))
                if role == "output" and growth > 1 and place in wide:
                    grown = tape.add(tape.times(wide[place], growth - 1), 1.0)
                    need = tape.times(need, grown)
                if role in level.shares_bits:
                    over = tape.add(over, tape.over(need, level.shares_bits[role] / DOWN))
                else:
                    shared = tape.add(shared, need)
            if level.capacity_bits is not None and set(level.holds) - set(level.shares_bits):
                room = level.capacity_bits - sum(level.shares_bits.values())
                over = tape.add(over, tape.over(shared, room / DOWN))
        return over

    def _compute(self) -> Value:
        """Return cycles with every operand at hand.

        The steps of what is decided, but for the work on all positions that may be left.
        """
        tape, positions = self.tape, ONE
        for axis in self.architecture.axes:
            used = self.term("positions", axis=axis.name, enters="one")
            positions = tape.times(positions, tape.times(used, tape.steps(axis.size, used)))
        steps: Value = self.term("steps")
        if isinstance(positions, Row):
            steps = tape.most(steps, tape.ceiling(tape.share(self.term("work"), positions), DOWN))
        whole = tape.ceiling(steps, 1 / self.architecture.macs_per_cycle * DOWN)
        return tape.ceiling(whole, float(self.zeros.performed) * DOWN)

    def _timed(self, place: int) -> bool:
        level = self.levels[place]
        return bool(level.read_bits_per_cycle or level.write_bits_per_cycle
                    or level.network_bits_per_cycle)  # fmt: skip

    def _port(self, place: int, read: Value, written: Value) -> Value:
        """Return the cycles that reading and writing so many bits keeps a level busy."""
        tape, level = self.tape, self.levels[place]
        one, two = level.read_bits_per_cycle, level.write_bits_per_cycle
        if level.one_port:
            return tape.times(tape.add(read, written), 1 / one if one else 0.0)
        ways = [tape.times(bits, 1 / rate) for bits, rate in ((read, one), (written, two)) if rate]
        ways = [way for way in ways if isinstance(way, Row) or way]
        return 0.0 if not ways else ways[0] if len(ways) == 1 else tape.most(*ways)

    def _wires(self, place: int, traffic: Iterable[tuple[str, Value, Value]]) -> Value:
        """Return the cycles that the busiest network of a level needs for bits of these roles."""
        tape, rates, found = self.tape, self.levels[place].network_bits_per_cycle, ZERO
        ways: dict[tuple[str, bool], Value] = {}
        for role, read, written in traffic:
            for back, bits in ((False, read), (True, written)):
                ways[role, back] = tape.add(ways.get((role, back), 0.0), bits)
        for (role, _), bits in ways.items():
            if role in rates:
                found = tape.most(found, tape.times(bits, 1 / rates[role]))
        return found

    def _first_at(self, flow: _Flow, side: str) -> Value:
        """Return the elements of the first fetch at the busiest instance."""
        return self.term("first", boundary=flow.boundary, side=side, busiest=True)

    def _busiest(self, flow: _Flow, side: str) -> Value:
        """Return the elements at the busiest instance, no fewer than on average."""
        level = self.levels[flow.parent if side == "outer" else flow.child]
        busiest = self.moved(flow, side, busiest=True)
        if not level.per:
            return busiest
        even = 1 / self.architecture.instances(level)
        return self.tape.most(busiest, self.tape.times(self.moved(flow, side), even))

    def _ways(self, flow: _Flow, *, first: bool = False) -> tuple[Value, ...]:
        """Return bits read and written at the busiest parent and child, or of the first fetch."""
        tape, up = self.tape, flow.role == "output"
        there: Value = 0.0
        here: Value = 0.0
        if self._timed(flow.parent):
            there = self._first_at(flow, "outer") if first else self._busiest(flow, "outer")
        if flow.child < self.depth and self._timed(flow.child):
            here = self._first_at(flow, "inner") if first else self._busiest(flow, "inner")
        if not up:
            wide = flow.timed_width
            return tape.times(there, wide), 0.0, 0.0, tape.times(here, wide)
        read = written = drained = returned = ZERO
        if isinstance(there, Row):
            read = tape.times(flow.ratio, there)
            written = tape.times(tape.share(flow.out_bits, self.moved(flow, "outer")), there)
        if isinstance(here, Row):
            drained = tape.times(tape.share(flow.in_bits, self.moved(flow, "inner")), here)
            returned = tape.times(flow.returned, here)
        return read, written, drained, returned

    def _cycles(self, flows: list[_Flow], compute: Value) -> Value:
        """Return the cycles of one run: what ports are busy with, and what is waited for."""
        tape = self.tape
        now, beside = compute, ZERO
        ways = [self._ways(flow) for flow in flows]
        for place in range(self.depth - 1, -1, -1):
            read, written, apart = ZERO, ZERO, []
            for flow, (out, back, drained, into) in zip(flows, ways, strict=True):
                if flow.parent == place:
                    share = flow.timed_share if flow.role == "output" else 1.0
                    sent = tape.times(out, share), tape.times(back, share)
                    apart.append((flow.role, *sent))
                    read, written = tape.add(read, sent[0]), tape.add(written, sent[1])
                if flow.child == place and flow.hidden:
                    read, written = tape.add(read, drained), tape.add(written, into)
            busy = tape.most(self._port(place, read, written), self._wires(place, apart))
            now = tape.most(now, busy) if isinstance(busy, Row) or busy else now
            above = [(f, w) for f, w in zip(flows, ways, strict=True) if f.child == place]
            for flow, (out, back, drained, into) in above:
                if not flow.hidden:
                    here = self._port(place, drained, into)
                    wires = self._wires(flow.parent, [(flow.role, out, back)])
                    there = tape.most(self._port(flow.parent, out, back), wires)
                    now = tape.add(now, tape.most(here, there))
            hidden = [flow for flow, _ in above if flow.hidden]
            for up in (False, True):
                beside = tape.add(
                    beside,
                    self._first(place, [flow for flow in hidden if (flow.role == "output") == up]),
                )
        total = tape.times(tape.add(now, beside), DOWN)
        whole = tape.ceiling(tape.add(total, DOWN - 1))
        return tape.add(whole, float(self.architecture.wavefront_cycles))

    def _first(self, place: int, flows: list[_Flow]) -> Value:
        """Return the cycles of the first tiles' way into a level, or of the last ones' way out."""
        tape, found = self.tape, ZERO
        sides: dict[int, tuple[Value, Value]] = {}
        apart: dict[int, list[tuple[str, Value, Value]]] = {}
        for flow in flows:
            read, written, drained, into = self._ways(flow, first=True)
            if flow.role == "output":  # the last results only leave
                read, into = 0.0, 0.0
            apart.setdefault(flow.parent, []).append((flow.role, read, written))
            for at, (more, also) in ((-1, (drained, into)), (flow.parent, (read, written))):
                before = sides.get(at, (0.0, 0.0))
                sides[at] = tape.add(before[0], more), tape.add(before[1], also)
        for at, (read, written) in sides.items():
            found = tape.most(found, self._port(place if at < 0 else at, read, written))
        for at, sent in apart.items():
            found = tape.most(found, self._wires(at, sent))
        return found

    def _joules(self, flows: list[_Flow], compute: Value, cycles: Value) -> Value:
        """Return the joules of all runs: words per level and role, hops, the rest."""
        tape, architecture, times = self.tape, self.architecture, float(self.space.problem.times)
        read: dict[tuple[int, str], Value] = {}
        written: dict[tuple[int, str], Value] = {}
        hops: Value = 0.0

        def note(into: dict[tuple[int, str], Value], place: int, role: str, bits: Value) -> None:
            if place < self.depth:
                into[place, role] = tape.add(into.get((place, role), 0.0), bits)

        below = architecture.fans_out_below()
        for flow in flows:
            joins = self.levels[flow.parent]
            crossed = [a for a in architecture.axes if flow.parent <= below[a.name] < flow.child]
            if flow.role == "output":
                moved: Value = tape.ceiling(flow.out_bits, flow.share * DOWN)
                again = tape.ceiling(flow.back_bits, flow.share * DOWN)
                note(written, flow.parent, flow.role, moved)
                note(read, flow.parent, flow.role, again)
                note(read, flow.child, flow.role, flow.in_bits)
                note(written, flow.child, flow.role, again)
                half = sum((a.size - 1) * 0.5 for a in crossed)
                hops = tape.add(hops, tape.times(again, half))
                near = joins.reduces
            else:
                moved = tape.ceiling(self.moved(flow, "outer"), flow.width * DOWN)
                note(read, flow.parent, flow.role, moved)
                if flow.child < self.depth:
                    into = tape.ceiling(self.moved(flow, "inner"), flow.width * DOWN)
                    note(written, flow.child, flow.role, into)
                near = joins.multicast
            way = sum((a.size - 1) * (1.0 if a.name in near else 0.5) for a in crossed)
            hops = tape.add(hops, tape.times(moved, way))
        joules = tape.times(tape.ceiling(hops, DOWN), architecture.hop_energy_j_per_bit or 0.0)
        for table, price in ((read, "read_energy_j"), (written, "write_energy_j")):
            for (place, _), bits in table.items():
                words = tape.ceiling(bits, DOWN / self.levels[place].word_bits)
                joules = tape.add(
                    joules, tape.times(words, getattr(self.levels[place], price) or 0.0)
                )
        problem = self.space.problem
        operations = self.zeros.operations(problem.operations * problem.times)
        idle = architecture.idle_mac_energy_j or 0.0
        joules = tape.add(
            tape.times(joules, times),
            operations.worked * ((architecture.mac_energy_j or 0.0) - idle),
        )
        each = idle * architecture.elements * architecture.macs_per_cycle * times
        joules = tape.add(joules, tape.times(compute, each))
        static = (architecture.static_power_w or 0.0) + sum(
            (level.static_power_w or 0.0) * architecture.instances(level) for level in self.levels
        )
        picoseconds = tape.nearest(cycles, PS_PER_S / architecture.clock_hz)
        return tape.add(joules, tape.times(picoseconds, static / PS_PER_S))
