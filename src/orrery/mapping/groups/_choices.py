"""What the engine needs to do with choices of a group: best terms, dominance, likeness, order.

Plain functions that `_engine` compiles with its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: Choices of a group that are tried together first.
ALIKE = 16
#: A choice is compared with so many others of its group, the least ones.
RIVALS = 512


def bests(
    table: Any, use: Any, active: Any, start: int, number: int, enters: Any, into: Any
) -> None:
    """Put the best of every term over the choices left into `into`."""
    for t in range(len(use)):
        column = table[use[t]]
        found = 1.0
        if enters[t] == 0:
            found = np.inf
            for k in range(start, start + number):
                found = min(found, column[active[k]])
        elif enters[t] == 1:
            found = -np.inf
            for k in range(start, start + number):
                found = max(found, column[active[k]])
        into[t] = found


def front(table: Any, use: Any, active: Any, start: int, number: int, compared: Any) -> int:
    """Leave out choices that another one dominates; return how many stay, the least first."""
    terms = 0
    for t in range(len(use)):
        terms += compared[t] != 0
    rows = np.empty((number, terms))
    sums = np.zeros(number)
    n = 0
    for t in range(len(use)):
        if compared[t] == 0:
            continue
        column = table[use[t]]
        most = 0.0
        for k in range(number):
            most = max(most, column[active[start + k]])
        for k in range(number):
            rows[k, n] = compared[t] * column[active[start + k]]
            sums[k] += rows[k, n] / most if most > 0 else 0.0
        n += 1
    order = ranked(sums, number)
    stays = np.empty(number, np.int64)
    kept = 0
    for k in order:
        out = False
        for other in range(min(kept, RIVALS)):
            rival, dominates = stays[other], True
            for t in range(terms):
                if rows[rival, t] > rows[k, t]:
                    dominates = False
                    break
            if dominates:
                out = True
                break
        if not out:
            stays[kept] = k
            kept += 1
    for n in range(kept):
        stays[n] = active[start + stays[n]]
    for n in range(kept):
        active[start + n] = stays[n]
    return kept


def arrange(columns: Any, uses: Any, which: Any, start: int, end: int) -> None:
    """Put choices that are alike side by side: halve along the term that varies most, again."""
    firsts, lasts = np.empty(64, np.int64), np.empty(64, np.int64)
    firsts[0], lasts[0] = start, end
    keys, spare = np.empty(end - start), np.empty(end - start, np.int64)
    held = 1
    while held:
        held -= 1
        low, high = firsts[held], lasts[held]
        if high - low <= ALIKE:
            continue
        widest, spread = 0, 1.0
        for t in range(len(uses)):
            least, most = np.inf, 0.0
            for n in range(low, high):
                entry = columns[uses[t], which[n]]
                least, most = min(least, entry), max(most, entry)
            if (most + 1) / (least + 1) > spread:
                widest, spread = t, (most + 1) / (least + 1)
        if spread == 1.0:
            continue
        number = high - low
        for n in range(number):
            keys[n] = columns[uses[widest], which[low + n]]
            spare[n] = which[low + n]
        order = ranked(keys, number)
        for n in range(number):
            which[low + n] = spare[order[n]]
        middle = low + (number // ALIKE + 1) // 2 * ALIKE
        firsts[held], lasts[held], firsts[held + 1], lasts[held + 1] = low, middle, middle, high
        held += 2


def ranked(keys: Any, number: int) -> Any:
    """Return the places of the first `number` keys, the least first, equal ones in their order.

    `numpy.argsort` does the same; as machine code it takes many times longer to make.
    """
    order, spare = np.empty(number, np.int64), np.empty(number, np.int64)
    for k in range(number):
        order[k] = k
    width = 1
    while width < number:
        low = 0
        while low < number:
            middle, high = min(low + width, number), min(low + 2 * width, number)
            a, b = low, middle
            for k in range(low, high):
                if a < middle and (b >= high or keys[order[a]] <= keys[order[b]]):
                    spare[k] = order[a]
                    a += 1
                else:
                    spare[k] = order[b]
                    b += 1
            low = high
        order, spare = spare, order
        width *= 2
    return order
