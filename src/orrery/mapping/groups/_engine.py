"""Depth-first branch and bound over groups of loops, and what nests are worth, as machine code.

A node has decided some groups. Its bound is the value of its terms when every group left takes,
term by term, the best that any of its remaining choices has; values do not fall when a term grows
(those that are subtracted enter with their highest), so no completion is better. At a node every
choice of every group left is tried with the others at their best, and struck out when it cannot
fit or cannot beat the incumbent; what remains is tried again, since the best of it is now worse.
The group with the fewest choices left is decided next, the most promising choice first. With one
group left the trials are complete mappings. Where a group has many choices, those that are alike
make a block: a block whose best terms are no better than the incumbent is struck out whole, and a
block is decided on before the choice inside it.

Before a pattern is searched its choices are struck out as at a node, then those are left out that
another choice of their group *dominates*: no term of it is higher, and none that is subtracted is
lower. With the dominating choice in its place, a complete mapping takes no more and still fits, so
the best of what is left is the best of all. (Positions in use and the work on them, which only
sharpen bounds, are not compared: they do not change the price of a complete mapping.) A dominating
choice has no higher sum of terms, so it is enough to look among those that come before. All
patterns are prepared so, and a good mapping sought in each, before the first is searched.

`_value` knows no formula: it follows a list of instructions (`_tape`) for a block of vectors of
terms at once. Trap: the cache of machine code asks only whether this file has changed; touch it
when `_choices` does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from orrery.compiled import machine_code

from ._choices import ALIKE, arrange, bests, front, ranked
from ._tape import (
    ABOVE,
    ABOVE_C,
    ADD,
    ADD_C,
    CEILING,
    FILL,
    KEPT,
    LESS,
    MOST,
    MOST_C,
    NEAREST,
    OVER,
    SHARE,
    SHARE_C,
    STEPS,
    TIMES,
    TIMES_C,
)  # fmt: skip

#: Vectors of terms that are valued at once.
BLOCK = 64
#: Patterns that are tried by coordinate descent before the search proper begins.
HELPERS = 12


@cache
def engine() -> Callable[..., Any]:
    """Return `search` as machine code; loads the compiler on first use."""
    helpers = (ranked, _value, bests, _strike, front, _descend, _cut, arrange, _branch)
    return machine_code(search, calls=helpers, nogil=True, error_model="numpy")[0]


def search(
    columns: Any, constants: Any, uses: Any, masks: Any, masked: Any, starts: Any, roots: Any,
    enters: Any, compared: Any, program: Any, best: float, tolerance: float, budget: int,
    greedy: bool,
) -> Any:  # fmt: skip
    """Search all patterns, the most promising first.

    Parameters
    ----------
    columns : what terms may be, for all choices of all groups, shape (columns, choices)
    constants : what each column begins with
    uses : the column that is each term under a pattern, shape (patterns, terms)
    masks : which choices are allowed, shape (masks, choices)
    masked : the mask of each pattern
    starts : where each group's choices begin, with the end
    roots : terms with nothing decided, shape (patterns, terms)
    enters : what a bound takes of a term, a place in `ENTERS`
    compared : of a term between choices: 1: less is better, -1: more, 0: it does not matter
    best : value to beat
    tolerance : share of `best` by which a mapping must be better to count
    budget : evaluations allowed
    greedy : only look for a good mapping among all choices, see `_descend`

    Returns
    -------
    best, its pattern (-1: none better was found), its choice per group, complete mappings scored,
    evaluations, least bound of what was left (`inf`: nothing was)
    """
    patterns, terms = uses.shape
    groups = len(starts) - 1
    total = columns.shape[1]
    scratch = (np.zeros((program[2], BLOCK)), np.zeros(BLOCK), np.empty(BLOCK, np.int64),
               np.empty(total // ALIKE + groups + 1))  # fmt: skip
    grid = np.empty((terms, 0)), np.empty(0, np.int64)
    found, winner = np.full(groups, -1, np.int64), -1
    scored, spent, left = 0, 0, np.inf
    bounds = np.empty(patterns)
    for begin in range(0, patterns, BLOCK):
        n = min(BLOCK, patterns - begin)
        for t in range(terms):
            for k in range(n):
                scratch[0][t, k] = roots[begin + k, t]
        _value(scratch[0], n, program, scratch[1])
        for k in range(n):
            bounds[begin + k] = scratch[1][k]
    kept = np.zeros((patterns, total), np.bool_)
    ready = np.zeros(patterns, np.bool_)
    active = np.empty(total, np.int64)
    reached = np.empty(total)
    count = np.empty(groups, np.int64)
    extremes = np.ones((groups, terms))
    decided = np.empty(terms)
    everything = np.ones(groups, np.bool_)
    for stage in range(2):  # first a good mapping, then the best
        order = ranked(bounds, patterns)
        for rank in range(patterns):
            p = order[rank]
            if bounds[p] >= best * (1 - tolerance) or (stage == 0 and rank >= HELPERS):
                break
            if spent >= budget:
                left = bounds[p] if stage == 1 and bounds[p] < left else left
                break
            use = uses[p]
            for t in range(terms):
                decided[t] = constants[use[t]]
            alive = True
            for g in range(groups):
                n = starts[g]
                for c in range(starts[g], starts[g + 1]):
                    if kept[p, c] if ready[p] else masks[masked[p], c]:
                        active[n] = c
                        n += 1
                count[g] = n - starts[g]
                alive = alive and count[g] > 0
            if alive and groups == 0:
                scored, spent, best, winner = scored + 1, spent + 1, bounds[p], p
                continue
            if alive and not greedy and best < np.inf:
                for g in range(groups):
                    bests(columns, use, active, starts[g], count[g], enters, extremes[g])
                more, alive = _cut(
                    columns, use, grid, active, reached, starts, count, decided, extremes,
                    everything, enters, program, scratch, best, tolerance,
                )  # fmt: skip
                spent += more
            if not alive:
                bounds[p] = np.inf
                continue
            if not greedy and not ready[p]:
                ready[p] = True
                for g in range(groups):
                    count[g] = front(columns, use, active, starts[g], count[g], compared)
                    for n in range(starts[g], starts[g] + count[g]):
                        kept[p, active[n]] = True
            if stage == 0:
                new, chosen, some = _descend(
                    columns, use, grid, active, starts, count, decided, program, scratch, best
                )
                more = some
            else:
                new, chosen, some, more, rest = _branch(
                    columns, use, active, starts, count, decided, enters, program, scratch, best,
                    tolerance, budget - spent,
                )  # fmt: skip
                left = min(left, rest)
            scored, spent = scored + some, spent + more
            if new < best:
                best, winner = new, p
                for g in range(groups):
                    found[g] = chosen[g] - starts[g]
        if greedy:
            break
    return best, winner, found, scored, spent, left


def _branch(
    columns: Any, uses: Any, choices: Any, begins: Any, counts: Any, constants: Any, enters: Any,
    program: Any, scratch: Any, best: float, tolerance: float, budget: int,
) -> Any:  # fmt: skip
    """Search one pattern; return as `search` does, but for the pattern and with choices of all."""
    terms, groups = len(uses), len(counts)
    total = 0
    for g in range(groups):
        total += counts[g]
    starts = np.zeros(groups + 1, np.int64)
    which, block = np.empty(total, np.int64), np.empty(total, np.int64)
    blocks = 0
    for g in range(groups):
        starts[g + 1] = starts[g] + counts[g]
        for n in range(counts[g]):
            which[starts[g] + n] = choices[begins[g] + n]
        arrange(columns, uses, which, starts[g], starts[g + 1])
        for n in range(counts[g]):
            block[starts[g] + n] = blocks + n // ALIKE
        blocks += (counts[g] + ALIKE - 1) // ALIKE
    use, table = np.arange(terms), np.empty((terms, total))
    for t in range(terms):
        for n in range(total):
            table[t, n] = columns[uses[t], which[n]]
    corners, corner = np.empty((terms, blocks)), np.empty(terms)
    everything = np.arange(total)
    n = 0
    while n < total:
        end = n
        while end < total and block[end] == block[n]:
            end += 1
        bests(table, use, everything, n, end - n, enters, corner)
        for t in range(terms):
            corners[t, block[n]] = corner[t]
        n = end
    grid = corners, block
    chosen = np.full(groups, -1, np.int64)
    current = np.full(groups, -1, np.int64)
    scored, spent, left = 0, 0, np.inf
    deep = 2 * groups + 1
    decided = np.ones((deep, terms))
    for t in range(terms):
        decided[0, t] = constants[t]
    # Per depth: the choices left per group and the best of them; the group that is decided there,
    # whether block by block, its order.
    active = np.zeros((deep, total), np.int64)
    bounds = np.zeros((deep, total))
    count = np.zeros((deep, groups), np.int64)
    extremes = np.ones((deep, groups, terms))
    picked, roughly = np.full(deep, -1, np.int64), np.zeros(deep, np.bool_)
    order = np.zeros((deep, total), np.int64)
    worth = np.empty(total)
    length = np.zeros(deep, np.int64)
    at = np.zeros(deep, np.int64)
    open_ = np.ones(groups, np.bool_)
    for n in range(total):
        active[0, n] = n
    for g in range(groups):
        count[0, g] = starts[g + 1] - starts[g]
        bests(table, use, active[0], starts[g], count[0, g], enters, extremes[0, g])
    depth = 0
    fresh = True
    while depth >= 0:
        if fresh:
            fresh = False
            at[depth], length[depth] = 0, 0
            remaining, pick = 0, -1
            for g in range(groups):
                if open_[g]:
                    remaining, pick = remaining + 1, g
            if remaining == 1:
                _, new, leaf, more = _strike(
                    table, use, grid, active[depth], bounds[depth], starts[pick],
                    count[depth, pick], decided[depth], program, scratch, best, tolerance, True,
                )  # fmt: skip
                scored, spent = scored + more, spent + more
                if new < best:
                    best = new
                    for g in range(groups):
                        chosen[g] = leaf if g == pick else current[g]
                depth -= 1
                continue
            more, alive = _cut(
                table, use, grid, active[depth], bounds[depth], starts, count[depth],
                decided[depth], extremes[depth], open_, enters, program, scratch, best, tolerance,
            )  # fmt: skip
            spent += more
            if alive:
                for g in range(groups):
                    if open_[g] and count[depth, g] < count[depth, pick]:
                        pick = g
                picked[depth] = pick
                n, start = count[depth, pick], starts[pick]
                roughly[depth] = n > 2 * ALIKE
                children = 0
                for k in range(start, start + n):
                    entry = active[depth, k]
                    if roughly[depth] and k > start and block[entry] == block[active[depth, k - 1]]:
                        worth[children - 1] = min(worth[children - 1], bounds[depth, k])
                        continue
                    worth[children] = bounds[depth, k]
                    everything[children] = k
                    children += 1
                ranks = ranked(worth, children)
                for k in range(children):
                    order[depth, k] = everything[ranks[k]]
                length[depth] = children
        pick = picked[depth]
        if at[depth] < length[depth]:
            entry = order[depth, at[depth]]
            end, hope = entry + 1, bounds[depth, entry]
            if roughly[depth]:
                last, same = starts[pick] + count[depth, pick], block[active[depth, entry]]
                while end < last and block[active[depth, end]] == same:
                    hope = min(hope, bounds[depth, end])
                    end += 1
            if hope >= best * (1 - tolerance):
                at[depth] = length[depth]  # they are in order: none of the rest is better
                continue
            if spent >= budget:
                left = min(left, hope)
                at[depth] = length[depth]
                continue
            at[depth] += 1
            open_[pick] = roughly[depth]
            choice = active[depth, entry]
            current[pick] = -1 if roughly[depth] else choice
            for t in range(terms):
                factor = 1.0 if roughly[depth] else table[t, choice]
                decided[depth + 1, t] = decided[depth, t] * factor
            for g in range(groups):
                n = count[depth, g] if open_[g] else 0
                first = starts[g]
                if g == pick and roughly[depth]:
                    n, first = end - entry, entry
                count[depth + 1, g] = n
                for t in range(terms):
                    extremes[depth + 1, g, t] = extremes[depth, g, t]
                for k in range(n):
                    active[depth + 1, starts[g] + k] = active[depth, first + k]
                if g == pick and roughly[depth]:
                    bests(table, use, active[depth + 1], starts[g], n, enters,
                           extremes[depth + 1, g])  # fmt: skip
            depth += 1
            fresh = True
        else:
            # `picked` is what was decided here; a node that died decided nothing.
            if length[depth]:
                open_[pick] = True
                current[pick] = -1
            depth -= 1
    for g in range(groups):
        chosen[g] = which[chosen[g]]
    return best, chosen, scored, spent, left


def _cut(
    table: Any, use: Any, grid: Any, active: Any, bounds: Any, starts: Any, count: Any,
    decided: Any, extremes: Any, open_: Any, enters: Any, program: Any, scratch: Any, best: float,
    tolerance: float,
) -> Any:  # fmt: skip
    """Strike out choices of open groups until it no longer pays; say whether any are left."""
    groups = len(open_)
    base = np.empty(len(decided))
    spent = 0
    for _ in range(3):
        struck, total = 0, 0
        for g in range(groups):
            if not open_[g]:
                continue
            before = count[g]
            total += before
            for t in range(len(base)):
                base[t] = decided[t]
                for other in range(groups):
                    if open_[other] and other != g:
                        base[t] *= extremes[other, t]
            kept, _, _, more = _strike(table, use, grid, active, bounds, starts[g], before, base,
                                       program, scratch, best, tolerance, False)  # fmt: skip
            spent += more
            count[g] = kept
            struck += before - kept
            if kept == 0:
                return spent, False
            if kept < before:
                bests(table, use, active, starts[g], kept, enters, extremes[g])
        if struck * 8 < total:
            break
    return spent, True


def _strike(
    table: Any, use: Any, grid: Any, active: Any, bounds: Any, start: int, number: int, base: Any,
    program: Any, scratch: Any, best: float, tolerance: float, leaves: bool,
) -> Any:  # fmt: skip
    """Keep the choices that may be better; with `leaves` they are complete and the best wins.

    Of many choices whole blocks are tried first, with the best of every term in a block.
    """
    corners, block = grid
    x, reached, batch, rough = scratch
    kept, leaf, spent = 0, -1, 0
    terms, end = len(base), start + number
    coarse = corners.shape[1] > 0 and number > 2 * ALIKE
    if coarse:
        at = start
        while at < end:
            n = 0
            while at < end and n < BLOCK:
                here = block[active[at]]
                if n == 0 or batch[n - 1] != here:
                    batch[n] = here
                    n += 1
                at += 1
            for t in range(terms):
                column, row, factor = corners[t], x[t], base[t]
                for k in range(n):
                    row[k] = factor * column[batch[k]]
            _value(x, n, program, reached)
            for k in range(n):
                rough[batch[k]] = reached[k]
            spent += n
    at = start
    while at < end:
        n = 0
        while at < end and n < BLOCK:
            choice = active[at]
            if not coarse or rough[block[choice]] < best * (1 - tolerance):
                batch[n] = choice
                n += 1
            at += 1
        if n == 0:
            break
        for t in range(terms):
            column, row, factor = table[use[t]], x[t], base[t]
            for k in range(n):
                row[k] = factor * column[batch[k]]
        _value(x, n, program, reached)
        spent += n
        for k in range(n):
            if reached[k] < best * (1 - tolerance):
                if leaves:
                    best, leaf = reached[k], batch[k]
                else:
                    active[start + kept] = batch[k]
                    bounds[start + kept] = reached[k]
                    kept += 1
    return kept, best, leaf, spent


def _descend(
    table: Any, use: Any, grid: Any, active: Any, starts: Any, count: Any, constants: Any,
    program: Any, scratch: Any, best: float,
) -> Any:  # fmt: skip
    """Find a good mapping of one pattern: settle one group after the other, until nothing helps.

    Starts from the last choices, which cut everything outermost: no tile could be smaller.
    """
    groups, terms = len(count), len(use)
    found = np.full(groups, -1, np.int64)
    chosen = np.empty(groups, np.int64)
    base, none = np.empty(terms), np.empty(0)
    scored = 0
    for first in range(groups):
        for g in range(groups):
            chosen[g] = active[starts[g] + count[g] - 1]
            for k in range(starts[g], starts[g] + count[g]):
                chosen[g] = max(chosen[g], active[k])
        reached = np.inf
        better = True
        while better:
            better = False
            for turn in range(groups):
                g = (first + turn) % groups
                for t in range(terms):
                    base[t] = constants[t]
                    for other in range(groups):
                        if other != g:
                            base[t] *= table[use[t], chosen[other]]
                _, new, leaf, more = _strike(
                    table, use, grid, active, none, starts[g], count[g], base, program, scratch,
                    reached, 0.0, True,
                )  # fmt: skip
                scored += more
                if new < reached:
                    reached, chosen[g], better = new, leaf, True
        if reached < best:
            best = reached
            for g in range(groups):
                found[g] = chosen[g]
    return best, found, scored


def _value(rows: Any, n: int, program: Any, out: Any) -> None:
    """Put the values of `n` vectors of terms, the first rows, into `out`: follow the tape."""
    codes, constants, _ = program
    for line in range(len(codes)):
        code, c = codes[line, 0], constants[line]
        to, a, b = rows[codes[line, 1]], rows[codes[line, 2]], rows[codes[line, 3]]
        if code == TIMES_C:
            for k in range(n):
                to[k] = a[k] * c
        elif code == ADD:
            for k in range(n):
                to[k] = a[k] + b[k]
        elif code == MOST:
            for k in range(n):
                to[k] = a[k] if a[k] > b[k] else b[k]
        elif code == CEILING:
            for k in range(n):
                to[k] = np.ceil(a[k] * c)
        elif code == TIMES:
            for k in range(n):
                to[k] = a[k] * b[k]
        elif code == ADD_C:
            for k in range(n):
                to[k] = a[k] + c
        elif code == MOST_C:
            for k in range(n):
                to[k] = a[k] if a[k] > c else c
        elif code == LESS:
            for k in range(n):
                to[k] = a[k] - b[k]
        elif code == SHARE:
            for k in range(n):
                to[k] = a[k] / b[k] if b[k] > 0 else 0.0
        elif code == SHARE_C:
            for k in range(n):
                to[k] = c / a[k] if a[k] > 0 else 0.0
        elif code == ABOVE:
            for k in range(n):
                to[k] = 1.0 if a[k] > b[k] else 0.0
        elif code == ABOVE_C:
            for k in range(n):
                to[k] = 1.0 if a[k] > c else 0.0
        elif code == OVER:
            for k in range(n):
                to[k] = np.inf if a[k] > c else 0.0
        elif code == KEPT:
            for k in range(n):
                to[k] = a[k] if b[k] <= c else 0.0
        elif code == STEPS:
            for k in range(n):
                to[k] = np.floor(c / a[k])
        elif code == NEAREST:
            for k in range(n):
                to[k] = np.rint(a[k] * c)
        elif code == FILL:
            for k in range(n):
                to[k] = c
        else:  # LEAVE
            fits = False
            for k in range(n):
                fits = fits or a[k] < np.inf
            if not fits:
                for k in range(n):
                    out[k] = np.inf
                return
    last = rows[codes[len(codes) - 1, 1]]
    for k in range(n):
        out[k] = last[k]
