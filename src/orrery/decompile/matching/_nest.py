"""Counters of a loop nest, joined and cut until each lies along one axis of a tensor.

Tiled, flattened and unrolled loops all count through the same axes. Here a counter is a run of
digits; two are joined where every address agrees, one is cut where it goes beyond an axis.

Models:  integer linear maps from counters to positions, axes in row-major order.
Judge:   tests write one operator in many loop orders and tilings and want one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from math import gcd, prod

from ..forms import Linear, Symbol
from ..tensors import Tensor, Tensors, common


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """``low <= form < high`` for all turns that count; None where nothing bounds it."""

    form: Linear
    low: int | None
    high: int | None

    def position(self, size: int) -> int:
        """Return where on an axis of so many elements the form's constant stands."""
        if self.low is not None:
            return self.form.constant - self.low
        return self.form.constant - (self.high or 0) + size

    def fits(self, size: int) -> bool:
        """Whether it says nothing else than that positions are on an axis."""
        if self.low is None or self.high is None:
            return True
        return self.high - self.low == size


@dataclass(slots=True, kw_only=True)
class Axis:
    """One axis of a tensor and how counters walk along it.

    Attributes
    ----------
    terms : counter number -> how far a turn of it goes
    offset : position where all counters are 0; negative in padding
    guarded : whether positions outside are skipped: below (`low`) and above (`high`)
    """

    size: int
    step: int
    terms: dict[int, int] = field(default_factory=dict)
    offset: int = 0
    guarded: bool = False
    low: bool = False
    high: bool = False


class Nest:
    """Counters by number, each a run of digits of the loops that the code has."""

    def __init__(
        self, extents: Mapping[Symbol, int], outer: Sequence[Symbol], inner: Sequence[Symbol],
        address: Linear, ranges: Sequence[Range], weighted: frozenset[Symbol],
    ) -> None:  # fmt: skip
        self.sizes: list[int] = []  # of digits
        self.owners: dict[Symbol, list[int]] = {}
        self.counters: dict[int, list[int]] = {}  # number -> digits
        self.role: dict[int, tuple[bool, bool]] = {}  # (in the result, in the weights)
        self.factors: dict[int, int] = {}
        self.slopes: list[dict[int, int]] = [{} for _ in ranges]
        self.ranges = list(ranges)
        self.offset = address.constant
        self._next = 0
        for symbol in (*outer, *inner):
            number = self._number()
            self.sizes.append(extents[symbol])
            digit = len(self.sizes) - 1
            self.owners[symbol] = [digit]
            self.counters[number] = [digit]
            self.role[number] = (symbol in outer, symbol in weighted)
            self.factors[number] = address.factor(symbol)
            for slope, bound in zip(self.slopes, ranges, strict=True):
                slope[number] = bound.form.factor(symbol)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def extent(self, counter: int) -> int:
        return prod(self.sizes[d] for d in self.counters[counter])

    # -- changing ----------------------------------------------------------------------------

    def copy(self) -> Nest:
        made = object.__new__(Nest)
        made.sizes = list(self.sizes)
        made.owners = {s: list(d) for s, d in self.owners.items()}
        made.counters = {c: list(d) for c, d in self.counters.items()}
        made.role, made.factors = dict(self.role), dict(self.factors)
        made.slopes = [dict(s) for s in self.slopes]
        made.ranges, made.offset, made._next = self.ranges, self.offset, self._next
        return made

    def drop_single_turns(self) -> None:
        for counter in [c for c in self.counters if self.extent(c) == 1]:
            self._forget(counter)

    def _forget(self, counter: int) -> None:
        del self.counters[counter], self.role[counter], self.factors[counter]
        for slope in self.slopes:
            del slope[counter]

    def join_all(self) -> None:
        """Join counters that count through one run of positions together."""
        changed = True
        while changed:
            changed = False
            for a, b in permutations(list(self.counters), 2):
                if self._joinable(a, b):
                    self._join(a, b)
                    changed = True
                    break

    def _joinable(self, a: int, b: int) -> bool:
        if self.role[a] != self.role[b]:
            return False
        size = self.extent(b)
        tables = [self.factors, *self.slopes]
        return any(t[b] for t in tables) and all(t[a] == t[b] * size for t in tables)

    def _join(self, a: int, b: int) -> None:
        digits = self.counters[a] + self.counters[b]
        number = self._number()
        self.counters[number] = digits
        self.role[number] = self.role[b]
        self.factors[number] = self.factors[b]
        for slope in self.slopes:
            slope[number] = slope[b]
        self._forget(a)
        self._forget(b)

    def cut(self, counter: int, inner: int) -> tuple[int, int] | None:
        """Cut a counter into an outer one and an inner one of so many turns."""
        total = self.extent(counter)
        if not 1 < inner < total or total % inner:
            return None
        digits = self.counters[counter]
        below, at = 1, len(digits)
        while below < inner:
            at -= 1
            below *= self.sizes[digits[at]]
        if below != inner:
            spare = below // self.sizes[digits[at]]
            if inner % spare or (below // inner) * inner != below:
                return None
            self._cut_digit(digits[at], inner // spare)
            digits = self.counters[counter]
            at += 1
        one, two = self._number(), self._number()
        self.counters[one], self.counters[two] = digits[:at], digits[at:]
        for table in (self.factors, *self.slopes):
            table[one], table[two] = table[counter] * inner, table[counter]
        self.role[one] = self.role[two] = self.role[counter]
        self._forget(counter)
        return one, two

    def _cut_digit(self, digit: int, inner: int) -> None:
        self.sizes.append(inner)
        new = len(self.sizes) - 1
        self.sizes[digit] //= inner
        for runs in (*self.owners.values(), *self.counters.values()):
            if digit in runs:
                runs.insert(runs.index(digit) + 1, new)

    def flip(self, counter: int) -> None:
        """Count a counter downwards."""
        last = self.extent(counter) - 1
        self.offset += self.factors[counter] * last
        moved = []
        for slope, bound in zip(self.slopes, self.ranges, strict=True):
            moved.append(replace(bound, form=bound.form + slope[counter] * last))
            slope[counter] = -slope[counter]
        self.ranges = moved
        self.factors[counter] = -self.factors[counter]

    # -- tensors over counters ---------------------------------------------------------------

    def digits_of(self, symbols: Sequence[Symbol]) -> list[int]:
        return [d for s in symbols for d in self.owners[s]]

    def digits_in(self, counters: Sequence[int]) -> list[int]:
        return [d for c in counters for d in self.counters[c]]

    def rearrange(
        self, tensors: Tensors, x: Tensor, have: Sequence[int], want: Sequence[int],
        shape: Sequence[int],
    ) -> Tensor:  # fmt: skip
        """Return a tensor whose digits lie as `have` with its digits as `want`."""
        rest = [d for d in have if self.sizes[d] != 1]
        aim = [d for d in want if self.sizes[d] != 1]
        assert sorted(rest) == sorted(aim), "a rearrangement keeps all digits"
        return tensors.rearrange(
            x, [self.sizes[d] for d in rest], [rest.index(d) for d in aim], shape
        )

    # -- axes --------------------------------------------------------------------------------

    def along(self, sizes: Sequence[int], *, known: bool = True) -> tuple[Nest, list[Axis]] | None:
        """Return a nest each of whose counters walks along one axis of a tensor, and the axes.

        Sizes may be cut where guards or the addresses themselves show finer axes. None where no
        way is found in which at most one counter of the result and one of the sum meet.
        """
        plain = self._with_ranges([s for s in sizes if s != 1])
        if plain is None:
            return None
        for wanted in self._proposals(plain, known=known):
            nest = self.copy()
            axes = nest._laid(wanted)
            if axes is not None and nest._proper(axes):
                return nest, axes
        return None

    def _with_ranges(self, sizes: list[int]) -> list[int] | None:
        """Cut sizes at the axes that guards speak of."""
        found: Sequence[int] | None = sizes
        total = prod(sizes)
        for slope, bound in zip(self.slopes, self.ranges, strict=True):
            step = self._step_of(slope)
            if step is None:
                return None
            cuts = [step]
            if bound.low is not None and bound.high is not None:
                cuts.append(step * (bound.high - bound.low))
            for cut in cuts:
                if 1 < cut < total:
                    if total % cut or found is None:
                        continue
                    found = common(found, (total // cut, cut)) or found
        return list(found) if found is not None else None

    def _step_of(self, slope: Mapping[int, int]) -> int | None:
        """Return the step of the axis that a guard is about."""
        steps = {
            self.factors[c] // f if f and self.factors[c] % f == 0 else 0
            for c, f in slope.items()
            if f
        }
        return steps.pop() if len(steps) == 1 and 0 not in steps else None

    def _proposals(self, sizes: list[int], *, known: bool) -> list[list[int]]:
        """Return axes to try: as known, then cut at what pairs of counters have in common."""
        total = prod(sizes)
        # Where only the size is known the loops say more.
        found = [sizes] if known or len(sizes) > 1 else []
        outs = [c for c in self.counters if self.role[c] == (True, False) and self.factors[c]]
        sums = [c for c in self.counters if not self.role[c][0] and self.factors[c]]
        if len(outs) > 6 or len(sums) > 6:
            return [*found, sizes]
        counts = list(range(min(len(outs), len(sums)) + 1))
        if self._runs() > 1:
            counts.reverse()
        for count in counts:
            for chosen in combinations(outs, count):
                for partners in permutations(sums, count):
                    cuts = [
                        gcd(self.factors[o], self.factors[k])
                        for o, k in zip(chosen, partners, strict=True)
                    ]
                    paired = {*chosen, *partners}
                    cuts += [
                        abs(self.factors[c]) for c in self.counters
                        if c not in paired and self.factors[c]
                    ]  # fmt: skip
                    fine: Sequence[int] | None = sizes
                    for cut in sorted(set(cuts)):
                        if fine is not None and 1 < cut < total:
                            fine = common(fine, (total // cut, cut)) if total % cut == 0 else None
                    if fine is not None and list(fine) not in found:
                        found.append(list(fine))
        return [*found[:200], sizes]

    def _runs(self) -> int:
        """Return in how many stretches of memory, from far to near, counters of the sum lie.

        Rows times columns have one; windows have one for the channels and one for each axis.
        """
        order = sorted(
            (c for c in self.counters if self.factors[c]), key=lambda c: -abs(self.factors[c])
        )
        summed = [not self.role[c][0] for c in order]
        return sum(now and not before for before, now in zip([False, *summed], summed))

    def _laid(self, sizes: Sequence[int]) -> list[Axis] | None:
        """Give every counter its axis; cut those that go beyond one."""
        steps = [prod(sizes[k + 1 :]) for k in range(len(sizes))]
        axes = [Axis(size=s, step=t) for s, t in zip(sizes, steps, strict=True)]
        offset = self.offset
        own: dict[int, Axis] = {}
        for slope, bound in zip(self.slopes, self.ranges, strict=True):
            step = self._step_of(slope)
            axis = next((a for a in axes if a.step == step), None)
            if axis is None:
                return None
            if not bound.fits(axis.size):
                return None  # it cuts off more than what lies outside of the image
            axis.guarded = True
            axis.offset = bound.position(axis.size)
            offset -= axis.offset * axis.step
            axis.low, axis.high = bound.low is not None, bound.high is not None
            own.update((c, axis) for c, f in slope.items() if f)
        for axis in sorted(axes, key=lambda a: -a.step):
            if not axis.guarded:
                axis.offset, offset = divmod(offset, axis.step)
        if offset:
            return None
        pending = [c for c in self.counters if self.factors[c]]
        while pending:
            counter = pending.pop()
            factor = self.factors[counter]
            axis = own.get(counter) or next(
                (a for a in axes if abs(factor) >= a.step and factor % a.step == 0), None
            )
            if axis is None:
                return None
            reach, far = factor // axis.step, self.extent(counter)
            room = -(-axis.size // abs(reach))
            if not axis.guarded and far > room and axis.size % abs(reach) == 0:
                parts = self.cut(counter, room)
                if parts is not None:
                    pending.extend(parts)
                    continue
            axis.terms[counter] = reach
        return axes

    def _proper(self, axes: list[Axis]) -> bool:
        for axis in axes:
            result = [c for c in axis.terms if self.role[c] == (True, False)]
            both = [c for c in axis.terms if self.role[c] == (True, True)]
            summed = [c for c in axis.terms if not self.role[c][0]]
            if len(result) > 1 or len(summed) > 1 or len(both) > 1 or (result and both):
                return False
            low = axis.offset + sum(min(0, m * (self.extent(c) - 1)) for c, m in axis.terms.items())
            high = axis.offset + sum(
                max(0, m * (self.extent(c) - 1)) for c, m in axis.terms.items()
            )
            if (low < 0 and not axis.low) or (high >= axis.size and not axis.high):
                return False
        return True
