"""Lower bounds on the makespan of any valid schedule.

Models:  three bounds, each at least as strong as the one before: (1) the longest path with every
         layer computed on its fastest accelerator and nothing sent; (2) that, or the load that the
         accelerators of a kind must share however it is divided; (3) a Lagrangian bound in which
         paths, loads, transfers and memories are weighed against each other.
Ignores: in (3): that an assignment is one for all rows at once (the bound equals that of a linear
         program), and gaps on an accelerator among the layers that a row counts.
Judge:   brute force on small problems: never above the optimum; the published figures of (1).

Why (3) holds. Let d be the seconds of each layer in a valid schedule of makespan T. For every path
Q of the graph, Σ d over Q ≤ T. For every accelerator a, and every set S of layers that all come
after the end of a path H and before the start of a path Q, Σ d over H, Q and the layers of S on a
is at most T, because what S does on a happens one after the other between H and Q. The same holds
with numbers in place of H and Q: if no layer of S can start before time t, and at least u must
pass after the end of each, t + u + Σ d over the layers of S on a is at most T. Each row r says
c_r + Σ g_r(layer, accelerator of the layer) · d(layer) ≤ T, with g of 0 or 1. With weights λ_r ≥ 0
that add up to 1, T ≥ Σ λ_r c_r + Σ W(layer, its accelerator) · d(layer), W = Σ λ_r g_r. This, with
the memories' limits weighed by ν ≥ 0 too, is at least its minimum over all assignments; every
chain of layers has its own, found by dynamic programming over accelerators: two neighbours of a
chain save their transfers only on one accelerator. Any λ and ν give a valid bound; good ones come
from a multiplicative subgradient method, and new rows from the average of the minimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code
from orrery.progress import SILENT, Progress

from ._problem import LocalityProblem

Array = NDArray[Any]

#: Kept below the computed value, so that rounding cannot lift a bound above the truth.
_ROUNDING = 1e-9

#: Rows in use; those that weigh least make room for new ones.
_ROWS = 80

#: Times before and after which a row may count layers; more are thinned out evenly.
_TIMES = 40

#: Layers per kind whose packing is tried, and cases into which that may divide the bound.
_HEAVIEST, _CASES = 6, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityBound:
    """No valid schedule ends before `value_s`.

    Attributes
    ----------
    reason : which of the bounds is the largest
    path_s : longest path, every layer on its fastest accelerator, nothing sent
    load_s : the load that accelerators must share
    weighed_s : paths, loads, transfers and memories weighed against each other
    branched_s : the same over all cases of a search tree (`branch_bound`); 0 without one
    """

    value_s: float
    reason: str
    path_s: float
    load_s: float
    weighed_s: float
    branched_s: float = 0.0


def critical_path_s(problem: LocalityProblem) -> float:
    """Return the longest path with every layer computed where that is fastest, nothing sent."""
    fastest = problem.compute_s.min(axis=1)
    ends = _longest(fastest, problem.topological(), problem.producers())[0]
    return float(ends.max())


def locality_bound(
    problem: LocalityProblem, *, rounds: int = 60, steps: int = 600, progress: Progress = SILENT
) -> LocalityBound:
    """Return the best lower bound found.

    Where memories cannot hold the heaviest weights together, at least one of those layers is not
    bound: the bound is then the least over which one it is.

    Parameters
    ----------
    rounds : how often rows are added
    steps : changes of the weights in a round; more of both only tighten the bound
    """
    path = critical_path_s(problem)
    load = Rows(problem, frozenset()).loads_alone(steps)
    best = min(
        bound_rows(Rows(problem, sent), rounds, steps, progress) for sent in sent_cases(problem)
    )
    found = {"path": path, "load": load, "weighed": best}
    reason = max(found, key=found.__getitem__)
    return LocalityBound(
        value_s=found[reason], reason=reason, path_s=path, load_s=load, weighed_s=best
    )


def bound_rows(rows: Rows, rounds: int, steps: int, progress: Progress) -> float:
    """Return bound (3), bettering weights and adding rows by turns."""
    best = 0.0
    for number in range(rounds):
        progress.step("bound", number, rounds, bound=best)
        best = max(best, rows.improve(steps, 0.5 / (1 + number) ** 0.5))
        if not rows.separate(best) and number > rounds // 2:
            break
    return best


def sent_cases(problem: LocalityProblem) -> list[frozenset[int]]:
    """Return sets of layers; in every valid schedule the weights of one of the sets are sent."""
    found: list[frozenset[int]] = []
    waiting: list[frozenset[int]] = [frozenset()]
    while waiting:
        sent = waiting.pop(0)
        small = len(found) + len(waiting) < _CASES
        heavy = _cannot_all_stay(problem, sent) if small else ()
        waiting.extend(sorted({sent | {layer} for layer in heavy} - {*waiting}, key=sorted))
        if not heavy:
            found.append(sent)
    return found


def _cannot_all_stay(problem: LocalityProblem, sent: frozenset[int]) -> tuple[int, ...]:
    """Return the heaviest layers of a kind that no division over its memories can hold together.

    Empty when all fit, or when more layers than can be tried one by one are needed to show it.
    """
    kinds: dict[tuple[int, ...], list[int]] = {}
    for layer, devices in enumerate(problem.runs_on):
        if layer not in sent:
            kinds.setdefault(devices, []).append(layer)
    for devices, layers in kinds.items():
        heaviest = sorted(layers, key=lambda n: -int(problem.weight_words[n]))[:_HEAVIEST]
        room = tuple(int(problem.capacity_words[a]) for a in devices)
        for count in range(1, len(heaviest) + 1):
            sizes = [int(problem.weight_words[n]) for n in heaviest[:count]]
            if sum(sizes) > min(room, default=0) and not _packs(sizes, room):
                return tuple(heaviest[:count])
    return ()


def _packs(sizes: list[int], room: tuple[int, ...]) -> bool:
    """Return whether items, heaviest first, can be divided over rooms."""
    if not sizes:
        return True
    for place in sorted({have: a for a, have in enumerate(room)}.values()):
        left = room[place] - sizes[0]
        if left >= 0 and _packs(sizes[1:], (*room[:place], left, *room[place + 1 :])):
            return True
    return False


class Rows:
    """The rows in use, their weights, and the average of the minimisers."""

    def __init__(self, problem: LocalityProblem, sent: frozenset[int]) -> None:
        self.problem = problem
        self.compute = problem.compute_s
        layers, devices = problem.compute_s.shape
        self.order = np.array(problem.topological(), np.int64)
        self.before = np.array(problem.before, np.int64)
        # chains front to back, so that the dynamic programme meets a layer after its neighbour
        self.sequence = np.array(
            sorted(range(layers), key=lambda n: (problem.chain[n], problem.place[n])), np.int64
        )
        self.after = np.array(problem.after, np.int64)
        reach = _reach(problem)
        producers, consumers = problem.producers(), problem.consumers()
        self.forks = [None, *(n for n in range(layers) if len(consumers[n]) > 1)]
        self.joins = [None, *(n for n in range(layers) if len(producers[n]) > 1)]
        self.between = {
            (h, j): np.logical_and(
                reach[h] if h is not None else np.ones(layers, bool),
                reach[:, j] if j is not None else np.ones(layers, bool),
            )
            for h in self.forks for j in self.joins
            if h is None or j is None or reach[h, j]
        }  # fmt: skip
        words = problem.weight_words[:, None] / np.maximum(problem.capacity_words, 1)[None, :]
        self.share = np.where(problem.capacity_words[None, :] > 0, words, np.inf)
        finite = np.isfinite(problem.compute_s)
        self.share[sorted(sent)] = np.inf
        self.tight = bool(
            (np.where(finite & np.isfinite(self.share), self.share, 0.0).sum(axis=0) > 1).any()
        )
        self.price = np.zeros(devices)
        self.rows: list[Array] = []
        self.offsets: list[float] = []
        self.sent = sent
        self._window: tuple[Array, Array] | None = None
        self.keys: set[bytes] = set()
        self.weights = np.zeros(0)
        self.average = np.zeros((layers, devices))
        fastest = np.where(
            problem.compute_s == problem.compute_s.min(axis=1, keepdims=True),
            problem.compute_s, 0.0,
        )  # fmt: skip
        self._add(self._path_row(fastest.max(axis=1)))
        for device in range(devices):
            self._add(self._load_row(device, np.ones(layers, bool)))

    def branch(self, compute: Array) -> Rows:
        """Return a copy for fewer placements: `compute` is infinite at those not allowed."""
        other = copy(self)
        other.compute, other._window = compute, None
        other._keep(_ROWS // 2)
        return other

    def _keep(self, count: int) -> None:
        """Forget all but the `count` rows with the largest weights."""
        used = sorted(np.argsort(-self.weights, kind="stable")[:count].tolist())
        self.rows = [self.rows[k] for k in used]
        self.offsets = [self.offsets[k] for k in used]
        self.keys = {_key(row, offset) for row, offset in zip(self.rows, self.offsets)}
        self.weights = self.weights[used] / self.weights[used].sum()

    def loads_alone(self, steps: int) -> float:
        """Return the bound from whole accelerators' loads only."""
        weights = np.full(len(self.rows), 1.0 / (len(self.rows) - 1))
        weights[0] = 0.0
        return self._run(weights, self.price.copy(), steps, 0.3)[0]

    def improve(self, steps: int, rate: float) -> float:
        """Better the weights; return the best bound on the way."""
        value, weights, price, average = self._run(self.weights, self.price, steps, rate)
        self.weights, self.price, self.average = weights, price, average
        if len(self.rows) > _ROWS:
            self._keep(_ROWS)
        return value

    def separate(self, value: float) -> bool:
        """Add the rows that the average breaks most; return whether there were any."""
        d = self.average.sum(axis=1)
        ends, into = _longest(d, self.problem.topological(), self.problem.producers())
        tails, out_of = _longest(d, reversed(self.problem.topological()),
                                 self.problem.consumers())  # fmt: skip
        found = [(float(ends.max()), self._path_row(d), 0.0), *self._windows(value)]
        for (h, j), inside in self.between.items():
            fixed = (0.0 if h is None else ends[h]) + (0.0 if j is None else tails[j])
            load = self.average[inside].sum(axis=0)
            for device in np.argsort(-load)[:3]:
                total = float(load[device] + fixed)
                if total <= value * (1 + 1e-4):
                    continue
                row = self._load_row(int(device), inside)
                for layer in [*_walk(h, into), *_walk(j, out_of)]:
                    row[layer, :] = 1.0
                found.append((total, row, 0.0))
        found.sort(key=lambda item: -item[0])
        added = [
            self._add(row, offset)
            for total, row, offset in found[:8] if total > value * (1 + 1e-4)
        ]  # fmt: skip
        return any(added)

    def _windows(self, value: float) -> list[tuple[float, Array, float]]:
        """Return, per accelerator, the layers that share it between two times and break most."""
        if self._window is None:
            self._window = _earliest(self)
        heads, tails = self._window
        from_, until = (
            times[:: 1 + len(times) // _TIMES] for times in (np.unique(heads), np.unique(tails))
        )
        late, early = heads[:, None] >= from_[None, :], tails[:, None] >= until[None, :]
        # without a layer between them, two such times may lie in any order
        empty = late.T.astype(float) @ early.astype(float) < 0.5
        found = []
        for device in range(self.average.shape[1]):
            load = self.average[:, device]
            if not load.any():
                continue
            total = (late * load[:, None]).T @ early.astype(float)
            total += from_[:, None] + until[None, :]
            total[empty] = 0.0
            t, u = np.unravel_index(int(total.argmax()), total.shape)
            if total[t, u] > value * (1 + 1e-4):
                row = self._load_row(device, late[:, t] & early[:, u])
                found.append((float(total[t, u]), row, float(from_[t] + until[u])))
        return found

    def _add(self, row: Array, offset: float = 0.0) -> bool:
        key = _key(row, offset)
        if key in self.keys:
            return False
        self.keys.add(key)
        self.rows.append(row)
        self.offsets.append(offset)
        share = 1.0 / len(self.rows)
        self.weights = np.append(self.weights * (1 - share), share)
        return True

    def _path_row(self, seconds: Array) -> Array:
        ends, into = _longest(seconds, self.problem.topological(), self.problem.producers())
        row = np.zeros(self.problem.compute_s.shape)
        for layer in _walk(int(ends.argmax()), into):
            row[layer, :] = 1.0
        return row

    def _load_row(self, device: int, inside: Array) -> Array:
        row = np.zeros(self.problem.compute_s.shape)
        row[inside, device] = 1.0
        return row

    def _run(
        self, weights: Array, price: Array, steps: int, rate: float
    ) -> tuple[float, Array, Array, Array]:
        p = self.problem
        value, weights, price, average = _compiled()(
            np.array(self.rows), np.array(self.offsets), weights, price, steps, rate,
            self.compute, p.weight_s, p.input_s, p.output_s, self.share, self.sequence,
            self.before, self.after, self.tight,
        )  # fmt: skip
        return float(value) * (1 - _ROUNDING), weights, price, average


def _key(row: Array, offset: float) -> bytes:
    return row.astype(np.int8).tobytes() + np.float64(offset).tobytes()


def _earliest(rows: Rows) -> tuple[Array, Array]:
    """Return per layer a time before which it cannot start, and one that must pass after its end.

    By dynamic programming over accelerators along the graph; a transfer counts where it cannot be
    saved: between neighbours of a chain on two accelerators, at both ends of a chain.
    """
    p = rows.problem
    producers, consumers = p.producers(), p.consumers()
    compute = rows.compute.copy()
    compute[sorted(rows.sent)] += p.weight_s[sorted(rows.sent)]
    layers, devices = compute.shape
    done, left = np.zeros((layers, devices)), np.zeros((layers, devices))
    heads, tails = np.zeros(layers), np.zeros(layers)
    order = p.topological()
    for n in order:  # `done`: earliest end of the computation, nothing sent out yet
        chained, at = int(rows.before[n]), np.zeros(devices)
        for q in producers[n]:
            ends = done[q] + (p.output_s[q] if rows.after[q] < 0 else 0.0)
            heads[n] = max(heads[n], float(ends.min()))
            if q != chained:
                at = np.maximum(at, ends.min())
        if chained < 0:
            at = at + p.input_s[n]
        elif chained in producers[n]:
            elsewhere = np.maximum(at, (done[chained] + p.output_s[chained]).min())
            at = np.minimum(np.maximum(at, done[chained]), elsewhere + p.input_s[n])
        done[n] = at + compute[n]
    for n in reversed(order):  # `left`: from the start of the computation to the end of all
        chained, after = int(rows.after[n]), np.zeros(devices)
        for c in consumers[n]:
            tails[n] = max(tails[n], float(left[c].min()))
            if c != chained:
                after = np.maximum(after, left[c].min())
        if chained < 0:
            after = after + p.output_s[n]
        elif chained in consumers[n]:
            elsewhere = (left[chained] + p.input_s[chained]).min() + p.output_s[n]
            after = np.maximum(after, np.minimum(left[chained], elsewhere))
        left[n] = after + compute[n]
    return heads, tails


def _reach(problem: LocalityProblem) -> Array:
    """Return whether one layer comes strictly before another, shape [L, L]."""
    layers = len(problem.layers)
    reach = np.zeros((layers, layers), bool)
    consumers = problem.consumers()
    for layer in reversed(problem.topological()):
        for consumer in consumers[layer]:
            reach[layer, consumer] = True
            reach[layer] |= reach[consumer]
    return reach


def _longest(
    seconds: Array, order: Iterable[int], beside: Sequence[Sequence[int]]
) -> tuple[Array, list[int]]:
    """Return per layer the longest path to it, and the layer that is next to it there.

    Parameters
    ----------
    order : of the layers, each after those `beside` it: its producers, or its consumers for paths
        that start with it
    """
    longest, via = np.zeros(len(seconds)), [-1] * len(seconds)
    for layer in order:
        via[layer] = max(beside[layer], key=lambda p: longest[p], default=-1)
        longest[layer] = seconds[layer] + (longest[via[layer]] if via[layer] >= 0 else 0.0)
    return longest, via


def _walk(layer: int | None, along: list[int]) -> list[int]:
    walked = []
    while layer is not None and layer >= 0:
        walked.append(layer)
        layer = along[layer]
    return walked


def _weigh(
    rows: Array, offsets: Array, weights: Array, price: Array, steps: int, rate: float,
    compute: Array, weight: Array, inputs: Array, outputs: Array, share: Array, sequence: Array,
    before: Array, after: Array, tight: bool,
) -> tuple[float, Array, Array, Array]:  # fmt: skip
    """Multiplicative subgradient steps on the weights; the best bound, the averages."""
    count, layers, devices = rows.shape
    weights, price = weights.copy(), price.copy()
    mean_weights, mean_price = np.zeros(count), np.zeros(devices)
    average, seconds = np.zeros((layers, devices)), np.zeros(layers)
    w = np.zeros((layers, devices))
    cost, back = np.zeros((layers, devices)), np.zeros((layers, devices), np.int64)
    device, binds = np.zeros(layers, np.int64), np.zeros((layers, devices), np.int8)
    values, used = np.zeros(count), np.zeros(devices)
    best = 0.0
    best_weights, best_price = weights.copy(), price.copy()
    for step in range(steps + 1):
        if step == steps:  # the average is often better than any it came from
            weights[:], price[:] = mean_weights / steps, mean_price / steps
        w[:] = 0.0
        for r in range(count):
            if weights[r] > 0.0:
                for n in range(layers):
                    for a in range(devices):
                        w[n, a] += weights[r] * rows[r, n, a]
        total = 0.0
        for r in range(count):
            total += weights[r] * offsets[r]
        for a in range(devices):
            total -= price[a]
        for k in range(layers):
            n = sequence[k]
            q = before[n]
            for a in range(devices):
                if not np.isfinite(compute[n, a]):
                    cost[n, a] = np.inf
                    continue
                sent = w[n, a] * weight[n, a]
                held = price[a] * share[n, a] if price[a] > 0.0 else 0.0
                if not np.isfinite(share[n, a]):
                    held = np.inf
                binds[n, a] = 1 if held <= sent else 0
                here = w[n, a] * compute[n, a] + min(sent, held)
                if after[n] < 0:
                    here += w[n, a] * outputs[n, a]
                if q < 0:
                    cost[n, a] = here + w[n, a] * inputs[n, a]
                    continue
                least, which = np.inf, a
                for b in range(devices):
                    via = cost[q, b]
                    if b != a:
                        via += w[q, b] * outputs[q, b] + w[n, a] * inputs[n, a]
                    if via < least:
                        least, which = via, b
                cost[n, a] = here + least
                back[n, a] = which
            if after[n] < 0:
                total += cost[n].min()
        if total > best:
            best = total
            best_weights[:], best_price[:] = weights, price
        if step == steps:
            break
        used[:] = 0.0
        for k in range(layers - 1, -1, -1):
            n = sequence[k]
            following = after[n]
            a = back[following, device[following]] if following >= 0 else cost[n].argmin()
            device[n] = a
            d = compute[n, a]
            if binds[n, a]:
                used[a] += share[n, a]
            else:
                d += weight[n, a]
            if following < 0 or device[following] != a:
                d += outputs[n, a]
            if before[n] < 0 or back[n, a] != a:
                d += inputs[n, a]
            seconds[n] = d
            average[n, a] += d / steps
        high = 0.0
        for r in range(count):
            values[r] = offsets[r]
            for n in range(layers):
                values[r] += rows[r, n, device[n]] * seconds[n]
            high = max(high, values[r])
        mean_weights += weights
        mean_price += price
        size = rate / np.sqrt(step + 1.0)
        norm = 0.0
        for r in range(count):
            weights[r] *= np.exp(size * (values[r] - high) / high)
            norm += weights[r]
        weights /= norm
        if tight:
            for a in range(devices):
                price[a] = max(0.0, price[a] + size * best * 0.1 * (used[a] - 1.0))
    return best, best_weights, best_price, average


@cache
def _compiled() -> Callable[..., Any]:
    """Return `_weigh` as machine code; loads the compiler on first use."""
    return machine_code(_weigh)[0]
