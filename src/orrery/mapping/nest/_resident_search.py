"""The choice of tensors and nests for a whole network, by prices of a cycle.

Models:  for one price of a cycle the best choice is a shortest path, and its length less the price
         of the cycles allowed is a bound (Lagrange). The nests found for some prices are then
         combined exactly, way by way, keeping those that no other beats in both.
Ignores: nests that are best for no price of a cycle.
Judge:   all subsets of tensors and all combinations of nests, priced one by one (tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise

from orrery.plan import Infeasible

from ._resident_front import ROUNDED, Chosen, Way, front, shortest
from ._resident_price import Goal, Prices
from ._resident_space import Steps

#: Prices of a cycle that are tried at most, and a gap that is not worth another.
PRICES, CLOSE = 12, 1e-4
#: a price of a cycle at which joules only decide between equally fast ways
_DEAR = 1e3
#: shares of the joules per cycle at which cycles only decide between equally frugal nests, and ways
_CHEAP, _CHEAPEST = 1e-7, 1e-12


class Search:
    """Prices of a cycle tried so far, the ways they led to, what they prove."""

    def __init__(
        self,
        steps: Steps,
        prices: Prices,
        most_cycles: float | None,
        most_energy_j: float | None,
        remedy: str,
    ) -> None:
        self.steps, self.prices, self.remedy = steps, prices, remedy
        self.most_cycles = math.inf if most_cycles is None else most_cycles
        self.most_energy_j = math.inf if most_energy_j is None else most_energy_j
        self.lines: list[tuple[float, float]] = []  # price -> what joules and priced cycles exceed
        self.least_cycles = 0.0
        self.rate = 0.0  # joules per cycle of the most frugal way

    def run(self, objective: str) -> Chosen | Infeasible:
        limited = self.most_cycles < math.inf or self.most_energy_j < math.inf
        if objective == "energy" and not limited:
            self.priced(0.0)
            first = self.best(objective)
            if isinstance(first, Chosen):
                chosen = dict.fromkeys(step.setting for step in first.steps)
                self.prices.fill(chosen, _CHEAP * self.rate)
            return self.best(objective)
        fast = self.solve(None, lambda cycles, energy: cycles)
        self.least_cycles = fast.bound
        if fast.cycles > self.most_cycles * ROUNDED:
            return Infeasible(
                what="cycles of all loop nests", need=fast.cycles, have=self.most_cycles,
                unit="cycles", remedies=("allow more cycles", self.remedy),
                proved=fast.bound > self.most_cycles * ROUNDED,
            )  # fmt: skip
        if objective == "latency" and self.most_energy_j == math.inf:
            if self.is_priced():
                self.priced(_DEAR * fast.energy_j / max(fast.cycles, 1))
            return self.best(objective)
        fast, slow = self.priced(_DEAR * fast.energy_j / max(fast.cycles, 1)), self.priced(0.0)
        if slow.energy_j > self.most_energy_j:
            return Infeasible(
                what="energy of all loop nests", need=slow.energy_j, have=self.most_energy_j,
                unit="J", remedies=("allow more energy", self.remedy),
                proved=slow.bound > self.most_energy_j,
            )  # fmt: skip
        self.refine(fast, slow, objective)
        found = self.best(objective)
        if isinstance(found, Infeasible) and objective != "energy":
            self.refine(fast, slow, "energy")  # the least joules within the cycles
            return self.best(objective)
        return found

    def is_priced(self) -> bool:
        """Return whether the energy of nests is known."""
        return all(not one.cost.unpriced for points in self.prices.points.values()
                   for point in points.values() for one in point.nests)  # fmt: skip

    def solve(self, goal: Goal, worth: Callable[[float, float], float]) -> Way:
        bounds = self.prices.fill(self.steps.settings, goal)
        return shortest(self.steps, self.prices.points, bounds, worth)

    def priced(self, price: float) -> Way:
        """Return the best way at a price of a cycle, and note what it proves."""
        way = self.solve(price, lambda cycles, energy: energy + price * cycles)
        self.lines.append((price, way.bound))
        if not price:
            self.rate = way.energy_j / max(way.cycles, 1)
        return way

    def refine(self, fast: Way, slow: Way, objective: str) -> None:
        """Try the prices that lie where the best way under the ceilings may be."""
        hull = sorted({(w.cycles, w.energy_j) for w in (fast, slow)})
        closed: set[tuple[tuple[float, float], tuple[float, float]]] = set()
        while len(self.lines) < PRICES:
            open_ones = [(self._promise(a, b, objective), a, b) for a, b in pairwise(hull)
                         if (a, b) not in closed and a[1] > b[1]]  # fmt: skip
            if not open_ones:
                return
            promise, a, b = min(open_ones)
            if promise == math.inf or self._near(hull, objective):
                return
            price = (a[1] - b[1]) / (b[0] - a[0])
            way = self.priced(price)
            new = way.cycles, way.energy_j
            if way.energy_j + price * way.cycles >= (a[1] + price * a[0]) * (1 - 1e-9):
                closed.add((a, b))
            elif a[0] < new[0] < b[0]:
                hull = sorted({*hull, new})
            else:
                closed.add((a, b))

    def _near(self, hull: list[tuple[float, float]], objective: str) -> bool:
        """Return whether one of the ways is as good as proven best."""
        worth = [{"latency": cycles, "energy": joules, "edp": joules * cycles}[objective]
                 for cycles, joules in hull
                 if cycles <= self.most_cycles and joules <= self.most_energy_j]  # fmt: skip
        return bool(worth) and self.bound(objective, 1.0) >= min(worth) * (1 - CLOSE)

    def _promise(self, a: tuple[float, float], b: tuple[float, float], objective: str) -> float:
        """Return how good ways between two may be: infinite where none is of use."""
        if a[0] > self.most_cycles or b[1] > self.most_energy_j:
            return math.inf
        if objective == "edp":
            return min(a[0] * a[1], b[0] * b[1])
        if objective == "energy":
            return b[1] if b[0] > self.most_cycles else math.inf
        return a[0] if a[1] > self.most_energy_j else math.inf

    def best(self, objective: str) -> Chosen | Infeasible:
        ranks = {
            "latency": lambda w: (w.cycles, w.energy_j),
            # Sums in another order differ by a rounding: joules that near are the same.
            "energy": lambda w: (w.energy_j + _CHEAPEST * self.rate * w.cycles, w.cycles),
            "edp": lambda w: (w.cycles * w.energy_j, w.cycles),
        }  # fmt: skip
        found = front(self.steps, self.prices.points, rank=ranks[objective],
                      most_cycles=self.most_cycles, most_energy_j=self.most_energy_j)  # fmt: skip
        if found is None:
            least = front(self.steps, self.prices.points, rank=ranks["energy"],
                          most_cycles=self.most_cycles)  # fmt: skip
            return Infeasible(
                what=f"energy of all loop nests within {self.most_cycles:,.0f} cycles",
                need=math.inf if least is None else least.energy_j, have=self.most_energy_j,
                unit="J", remedies=("allow more cycles", "allow more energy", self.remedy),
                proved=self.bound("energy", 1.0) > self.most_energy_j,
            )  # fmt: skip
        return found

    def bound(self, objective: str, clock_hz: float) -> float:
        """Return what no way within the ceilings is below."""
        if not self.steps.complete:
            return 0.0
        if objective == "latency":
            short = [(g - self.most_energy_j) / price for price, g in self.lines if price]
            return max(self.least_cycles, *short, 0.0)
        if objective == "energy":
            return max((g - price * self.most_cycles if price else g for price, g in self.lines),
                       default=0.0)  # fmt: skip
        candidates = {self.least_cycles}
        for (p, g), (q, h) in combinations(self.lines, 2):
            if p != q and (crossing := (g - h) / (p - q)) > self.least_cycles:
                candidates.add(crossing)
        return min(c * max((g - price * c for price, g in self.lines), default=0.0)
                   for c in candidates) / clock_hz  # fmt: skip
