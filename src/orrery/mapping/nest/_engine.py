"""Depth-first branch and bound over groups of loops, and what a nest is worth, as machine code.

A node has decided some groups. Its bound is the value of its terms when every group left takes,
term by term, the best that any of its remaining choices has; values do not fall when a term grows
(those that are subtracted enter with their highest), so no completion is better. At a node every
choice of every group left is tried with the others at their best, and struck out when it cannot
fit or cannot beat the incumbent; what remains is tried again, since the best of it is now worse.
The group with the fewest choices left is decided next, the most promising choice first. With one
group left the trials are complete mappings.

`value` is `orrery.cost.nest.nest_cost` again. Of complete nests it is the price itself, up to
rounding; of terms that are each the best that some nests have it is at most the price of any of
them: no value falls when a term grows, but for what an inner level's results count as begun from
zero (their term enters with its highest). All stands in one file, since the cache of machine code
asks only whether the file of its entry has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from orrery.timeline import PS_PER_S

__all__ = ["CHILD", "ENTERS", "EVER", "FIRSTS", "IN", "IN_MOST", "LARGEST", "OUT", "engine"]


# Columns of a flow: what it is, then the places of its terms.
UP, PARENT, CHILD, FEEDS, HIDDEN, ROLE = range(6)
OUT, OUT_BUSY, IN, IN_BUSY, IN_MOST, LARGEST, EVER, FIRST_OUT, FIRST_IN = range(6, 15)
FIRSTS = {"outer": FIRST_OUT, "inner": FIRST_IN}
#: What of a group that is not decided enters a bound.
ENTERS = ("least", "most", "one")
# Numbers of a flow.
WIDTH, FINAL, WIDE, SHARE, WHOLE, TILE, HOPS, HOPS_BACK, OUT_EVEN, IN_EVEN = range(10)
# Numbers of a level.
WORD, READ_J, WRITE_J, READ_WAY, WRITE_WAY, ONE_PORT, ROOM = range(7)
# Numbers of the whole.
(GOAL, TIMES, MACS, PERFORMED, CONSTANT_J, STEP_J, HOP_J, STATIC_W, CLOCK, LIMIT) = range(10)
TINY = 1e-12


@cache
def engine() -> Callable[..., Any]:
    """Return `search` as machine code; loads the compiler on first use."""
    from numba import njit
    from numba.extending import register_jitable

    for inner in (_port, _returned, _bits, value, _bests, _strike, _bound, _descend):
        register_jitable(inner)
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(search)  # type: ignore[no-any-return]
    except RuntimeError:  # neither beside this file nor in the user's cache may it write
        return njit(nogil=True, error_model="numpy")(search)  # type: ignore[no-any-return]


def search(
    tables: Any, starts: Any, constants: Any, enters: Any, program: Any, best: float,
    tolerance: float, budget: int, greedy: bool,
) -> Any:  # fmt: skip
    """Search one pattern.

    Parameters
    ----------
    tables : terms of all choices of all groups, shape (choices, terms)
    starts : where each group's choices begin, with the end
    constants : what the terms begin with
    enters : what a bound takes of a term, a place in `ENTERS`
    best : value to beat
    tolerance : share of `best` by which a mapping must be better to count
    budget : evaluations allowed
    greedy : only look for a good mapping, see `_descend`

    Returns
    -------
    best, choice per group (-1: none better was found), complete mappings scored, evaluations,
    least bound of what was left (`inf`: nothing was)
    """
    groups, terms = len(starts) - 1, tables.shape[1]
    chosen = np.full(groups, -1, np.int64)
    current = np.full(groups, -1, np.int64)
    scored, spent, left = 0, 0, np.inf
    decided = np.ones((groups + 1, terms))
    decided[0] = constants
    # Per depth: the choices left per group, the group that is decided there, its order.
    active = np.zeros((groups + 1, len(tables)), np.int64)
    bounds = np.zeros((groups + 1, len(tables)))
    count = np.zeros((groups + 1, groups), np.int64)
    picked = np.full(groups + 1, -1, np.int64)
    order = np.zeros((groups + 1, len(tables)), np.int64)
    length = np.zeros(groups + 1, np.int64)
    at = np.zeros(groups + 1, np.int64)
    open_ = np.ones(groups, np.bool_)
    extremes = np.ones((groups, terms))
    vector = np.empty(terms)

    if greedy:
        best, chosen, scored = _descend(tables, starts, constants, program, best)
        return best, chosen, scored, scored, 0.0
    if groups == 0:
        reached = value(constants, program)
        return (reached, chosen, 1, 1, left) if reached < best else (best, chosen, 1, 1, left)
    active[0] = np.arange(len(tables))
    for g in range(groups):
        count[0, g] = starts[g + 1] - starts[g]
    depth = 0
    fresh = True
    while depth >= 0:
        if fresh:
            fresh = False
            at[depth], length[depth] = 0, 0
            remaining = 0
            for g in range(groups):
                if open_[g]:
                    remaining += 1
            alive = True
            for _ in range(3):
                for g in range(groups):
                    if open_[g]:
                        _bests(
                            tables, active[depth], starts[g], count[depth, g], enters, extremes[g]
                        )
                struck = 0
                total = 0
                for g in range(groups):
                    if not open_[g]:
                        continue
                    before = count[depth, g]
                    spent += before
                    total += before
                    _bound(decided[depth], extremes, open_, g, vector)
                    best_before = best
                    kept, best, leaf = _strike(
                        tables, active[depth], bounds[depth], starts[g], before, vector, program,
                        best, tolerance, remaining == 1,
                    )  # fmt: skip
                    if remaining == 1:
                        scored += before
                        if best < best_before:
                            chosen[:] = current
                            chosen[g] = leaf - starts[g]
                        alive = False
                        break
                    count[depth, g] = kept
                    struck += before - kept
                    if kept == 0:
                        alive = False
                        break
                    if kept < before:
                        _bests(tables, active[depth], starts[g], kept, enters, extremes[g])
                if not alive or struck * 8 < total:
                    break
            if alive:
                pick = -1
                for g in range(groups):
                    if open_[g] and (pick < 0 or count[depth, g] < count[depth, pick]):
                        pick = g
                picked[depth] = pick
                n, start = count[depth, pick], starts[pick]
                ranks = np.argsort(bounds[depth, start : start + n])
                for k in range(n):
                    order[depth, k] = start + ranks[k]
                length[depth] = n
                open_[pick] = False
        pick = picked[depth]
        if at[depth] < length[depth]:
            entry = order[depth, at[depth]]
            if bounds[depth, entry] >= best * (1 - tolerance):
                at[depth] = length[depth]  # they are in order: none of the rest is better
                continue
            if spent >= budget:
                left = min(left, bounds[depth, entry])
                at[depth] = length[depth]
                continue
            at[depth] += 1
            choice = active[depth, entry]
            current[pick] = choice - starts[pick]
            decided[depth + 1] = decided[depth] * tables[choice]
            active[depth + 1] = active[depth]
            count[depth + 1] = count[depth]
            depth += 1
            fresh = True
        else:
            # `picked` is what was decided here; a node that died decided nothing.
            if length[depth]:
                open_[pick] = True
                current[pick] = -1
            depth -= 1
    return best, chosen, scored, spent, left


def _bests(tables: Any, active: Any, start: int, number: int, enters: Any, into: Any) -> None:
    """Put the best of every term over the choices left into `into`."""
    into[:] = tables[active[start]]
    for k in range(start + 1, start + number):
        row = tables[active[k]]
        for t in range(len(into)):
            if (row[t] > into[t]) if enters[t] == 1 else (row[t] < into[t]):
                into[t] = row[t]
    for t in range(len(into)):
        if enters[t] == 2:
            into[t] = 1.0


def _bound(decided: Any, extremes: Any, open_: Any, group: int, into: Any) -> None:
    into[:] = decided
    for g in range(len(open_)):
        if open_[g] and g != group:
            into *= extremes[g]


def _strike(
    tables: Any, active: Any, bounds: Any, start: int, number: int, base: Any, program: Any,
    best: float, tolerance: float, leaves: bool,
) -> Any:  # fmt: skip
    """Keep the choices that may be better; with `leaves` they are complete and the best wins."""
    kept, leaf = 0, -1
    vector = np.empty_like(base)
    for k in range(start, start + number):
        choice = active[k]
        for t in range(len(base)):
            vector[t] = base[t] * tables[choice, t]
        reached = value(vector, program)
        if reached < best * (1 - tolerance):
            if leaves:
                best, leaf = reached, choice
            else:
                active[start + kept] = choice
                bounds[start + kept] = reached
                kept += 1
    return kept, best, leaf


def _descend(tables: Any, starts: Any, constants: Any, program: Any, best: float) -> Any:
    """Find a good mapping of one pattern: settle one group after the other, until nothing helps.

    Starts from the last choices, which cut everything outermost: no tile could be smaller.
    """
    groups, terms = len(starts) - 1, tables.shape[1]
    found = np.full(groups, -1, np.int64)
    chosen = np.empty(groups, np.int64)
    base, vector = np.empty(terms), np.empty(terms)
    scored = 0
    for first in range(groups):
        for g in range(groups):
            chosen[g] = starts[g + 1] - 1
        reached = np.inf
        better = True
        while better:
            better = False
            for turn in range(groups):
                g = (first + turn) % groups
                base[:] = constants
                for other in range(groups):
                    if other != g:
                        base *= tables[chosen[other]]
                for choice in range(starts[g], starts[g + 1]):
                    for t in range(terms):
                        vector[t] = base[t] * tables[choice, t]
                    new = value(vector, program)
                    if new < reached:
                        reached, chosen[g], better = new, choice, True
                scored += starts[g + 1] - starts[g]
        if reached < best:
            best = reached
            for g in range(groups):
                found[g] = chosen[g] - starts[g]
    return best, found, scored


def value(x: Any, program: Any) -> Any:
    """Return cycles, joules or joules times seconds of these terms; infinity: it does not fit."""
    flows, numbers, levels, shares, axes, whole, outermost, scratch = program
    depth, count = len(levels), len(flows)
    for n in range(len(axes)):
        if x[int(axes[n, 0])] > axes[n, 1]:
            return np.inf
    scratch[4:] = 0.0
    back, ratio, out_bits, in_bits = scratch[0], scratch[1], scratch[2], scratch[3]
    wide, need, read, written = scratch[4], scratch[5], scratch[6], scratch[7]
    reads, writes, sent, stored = scratch[8], scratch[9], scratch[10], scratch[11]
    _bits(x, flows, numbers, back, ratio, out_bits, in_bits, wide)
    # Room.
    for f in range(count):
        if flows[f, FEEDS] == 0:
            need[3 * flows[f, CHILD] + flows[f, ROLE]] += x[flows[f, LARGEST]] * numbers[f, TILE]
    for role in range(3):
        need[role] += outermost[role]
    for place in range(depth):
        if wide[place] > 0:
            need[3 * place + 2] *= numbers[0, WIDE] / numbers[0, FINAL]
        left = levels[place, ROOM]
        for role in range(3):
            if shares[place, role] == np.inf:
                left -= need[3 * place + role]
            elif need[3 * place + role] > shares[place, role] * (1 + TINY):
                return np.inf
        if left < -TINY * levels[place, ROOM]:
            return np.inf
    # Time: what each port is busy with, then what each tile without a second buffer waits for.
    # The steps of what is decided, but for the work on all positions that may be left.
    positions = 1.0
    for n in range(len(axes)):
        used = x[int(axes[n, 0]) + 1]
        positions *= used * np.floor(axes[n, 1] / used)
    steps = max(x[1], np.ceil(x[2] / positions * (1 - TINY)))
    compute = np.ceil(np.ceil(steps / whole[MACS]) * whole[PERFORMED] * (1 - TINY))
    for f in range(count):
        parent, child = flows[f, PARENT], flows[f, CHILD]
        busy = max(x[flows[f, OUT_BUSY]], x[flows[f, OUT]] * numbers[f, OUT_EVEN])
        if flows[f, UP] == 0:
            read[parent] += busy * numbers[f, WIDTH]
        elif x[flows[f, OUT]] > 0:
            share = numbers[f, SHARE]
            written[parent] += out_bits[f] / x[flows[f, OUT]] * busy * share
            read[parent] += ratio[f] * numbers[f, WIDE] * busy * share
        if flows[f, HIDDEN] == 1:
            busy = max(x[flows[f, IN_BUSY]], x[flows[f, IN]] * numbers[f, IN_EVEN])
            if flows[f, UP] == 0:
                written[child] += busy * numbers[f, WIDTH]
            elif x[flows[f, IN]] > 0:
                read[child] += in_bits[f] / x[flows[f, IN]] * busy
                written[child] += _returned(x, flows, numbers, f, back[f]) * busy
    now, beside, f = compute, 0.0, 0
    while f < count and flows[f, FEEDS] == 1:
        f += 1
    for place in range(depth - 1, -1, -1):
        now = max(now, _port(levels[place], read[place], written[place]))
        into_first, out_first, first = 0.0, 0.0, f
        while f < count and flows[f, CHILD] == place:  # flows are in the order of their child
            parent = flows[f, PARENT]
            outer = inner = numbers[f, WIDTH]
            returned, again = 0.0, 0.0
            if flows[f, UP] == 1:
                outer = out_bits[f] / x[flows[f, OUT]] if x[flows[f, OUT]] > 0 else 0.0
                inner = in_bits[f] / x[flows[f, IN]] if x[flows[f, IN]] > 0 else 0.0
                returned = _returned(x, flows, numbers, f, back[f])
                again = ratio[f] * numbers[f, WIDE]
            if flows[f, HIDDEN] == 1:
                if flows[f, UP] == 1:
                    stored[parent] += outer * x[flows[f, FIRST_OUT]]
                    out_first += inner * x[flows[f, FIRST_IN]]
                else:
                    sent[parent] += outer * x[flows[f, FIRST_OUT]]
                    into_first += inner * x[flows[f, FIRST_IN]]
            else:
                there = max(x[flows[f, OUT_BUSY]], x[flows[f, OUT]] * numbers[f, OUT_EVEN])
                here = max(x[flows[f, IN_BUSY]], x[flows[f, IN]] * numbers[f, IN_EVEN])
                if flows[f, UP] == 1:
                    now += max(_port(levels[place], inner * here, returned * here),
                               _port(levels[parent], again * there, outer * there))  # fmt: skip
                else:
                    now += max(_port(levels[place], 0.0, inner * here),
                               _port(levels[parent], outer * there, 0.0))  # fmt: skip
            f += 1
        ramp, drain = _port(levels[place], 0.0, into_first), _port(levels[place], out_first, 0.0)
        for g in range(first, f):
            parent = flows[g, PARENT]
            ramp = max(ramp, _port(levels[parent], sent[parent], 0.0))
            drain = max(drain, _port(levels[parent], 0.0, stored[parent]))
        for g in range(first, f):
            sent[flows[g, PARENT]] = stored[flows[g, PARENT]] = 0.0
        beside += ramp + drain
    cycles = np.ceil((now + beside) * (1 - TINY) - TINY) * whole[TIMES]
    if cycles > whole[LIMIT]:
        return np.inf
    if whole[GOAL] == 0:
        return cycles
    # Energy: words per level and role, hops, the rest.
    hops = 0.0
    for f in range(count):
        role = flows[f, ROLE]
        out = 3 * flows[f, PARENT] + role
        if flows[f, UP] == 1:
            share = numbers[f, SHARE]
            moved = np.ceil(out_bits[f] * share * (1 - TINY))
            again = np.ceil(back[f] * numbers[f, WIDE] * share * (1 - TINY))
            writes[out] += moved
            reads[out] += again
            if flows[f, FEEDS] == 0:
                reads[3 * flows[f, CHILD] + role] += in_bits[f]
                writes[3 * flows[f, CHILD] + role] += again
            hops += again * numbers[f, HOPS_BACK]
        else:
            moved = np.ceil(out_bits[f] * (1 - TINY))
            reads[out] += moved
            if flows[f, FEEDS] == 0:
                writes[3 * flows[f, CHILD] + role] += np.ceil(in_bits[f] * (1 - TINY))
        hops += moved * numbers[f, HOPS]
    joules = np.ceil(hops * (1 - TINY)) * whole[HOP_J]
    for place in range(depth):
        for role in range(3 * place, 3 * place + 3):
            word = levels[place, WORD]
            joules += np.ceil(reads[role] / word * (1 - TINY)) * levels[place, READ_J]
            joules += np.ceil(writes[role] / word * (1 - TINY)) * levels[place, WRITE_J]
    joules *= whole[TIMES]
    joules += whole[CONSTANT_J] + whole[STEP_J] * compute
    joules += np.rint(cycles * PS_PER_S / whole[CLOCK]) / PS_PER_S * whole[STATIC_W]
    if whole[GOAL] == 1:
        return joules
    return joules * cycles / whole[CLOCK]


def _bits(
    x: Any, flows: Any, numbers: Any, back: Any, ratio: Any, out_bits: Any, in_bits: Any, wide: Any
) -> None:
    """Say how many bits each flow moves: what comes back, what is final, where sums go on."""
    from_zero, before, sole = 0.0, 0.0, True
    for f in range(len(flows) - 1, -1, -1):  # a tensor's flows from outside in
        width = numbers[f, WIDTH]
        out, into = x[flows[f, OUT]], x[flows[f, IN]]
        if flows[f, UP] == 0:
            out_bits[f], in_bits[f] = out * width, into * width
            continue
        final, partial = numbers[f, FINAL], numbers[f, WIDE]
        complete = numbers[f, WHOLE]
        if flows[f, PARENT] == 0:
            from_zero, before, sole = complete, 0.0, True
        ratio[f] = max(0.0, 1 - from_zero / out) if out > 0 else 0.0
        back[f] = max(out - from_zero, before)
        if not sole or out > complete:
            wide[flows[f, PARENT]] = 1.0
        kept = complete if sole else 0.0
        out_bits[f] = kept * final + max(0.0, out - kept) * partial
        if flows[f, FEEDS] == 0:
            sole = sole and x[flows[f, EVER]] <= complete
            kept = complete if sole else 0.0
            in_bits[f] = kept * final + max(0.0, into - kept) * partial
            from_zero = x[flows[f, IN_MOST]] - back[f]
            before = back[f]


def _returned(x: Any, flows: Any, numbers: Any, f: int, back: float) -> Any:
    """Return the bits that come back per element that leaves a level."""
    most = x[flows[f, IN_MOST]]
    return back * numbers[f, WIDE] / most if most > 0 else 0.0


def _port(level: Any, read: float, written: float) -> Any:
    """Return the cycles that reading and writing so many bits keeps a level busy."""
    if level[ONE_PORT] > 0:
        return (read + written) * level[READ_WAY]
    return max(read * level[READ_WAY], written * level[WRITE_WAY])
