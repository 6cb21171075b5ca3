"""Compiled evaluation of mappings on flat arrays (see `Flat`, `Costs`, `State`).

Models:  `evaluate`: a tensor's way, a unit's step, each again on its own; what sets hold.
Ignores: nothing of its own.
Judge:   `evaluate` (tests of the evaluator that uses these).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from orrery.compiled import machine_code


class Compiled(NamedTuple):
    """Functions of flat arrays; those that change the state return (makespan, excess bytes)."""

    whole: Any
    again: Any
    choose: Any
    explore: Any
    descend: Any
    greedy: Any
    spread: Any


def _add(f: Any, m: Any, u: Any, difference: Any) -> None:
    n = f.network[u]
    m.total[n] += difference
    for r in range(f.result_at[n], f.result_at[n + 1]):
        if u <= f.result_unit[r]:
            m.prefix[r] += difference


def _step(f: Any, m: Any, u: Any) -> None:
    s = m.set_of[u]
    k = m.set_class[s]
    now = f.steps[f.step_at[u, k] + m.set_design[s] * f.options[u, k] + m.choice[u]]
    if now != m.step[u]:
        _add(f, m, u, now - m.step[u])
        m.step[u] = now


def _tensor(f: Any, c: Any, m: Any, t: Any) -> None:
    """Follow a tensor through the units that touch it."""
    there, layout = -1, 0
    for i in range(f.touch_at[t], f.touch_at[t + 1]):
        u = f.touch_unit[i]
        s = m.set_of[u]
        if s < 0:
            continue
        k = m.set_class[s]
        want = f.layouts[f.need_at[u, k] + m.choice[u] * f.width[u] + f.touch_slot[i]]
        cost = 0
        if f.touch_made[i]:
            there, layout = s, want
            if f.result_of[t] >= 0:
                m.back[f.result_of[t]] = c.pool[c.finish[t, k] + want]
        elif there < 0:
            cost = c.pool[c.start[t, k] + want]
            m.moved[i] = f.hosted
            there, layout = s, want
        else:
            at = c.move[t, k]
            if m.home[there] != m.home[s]:
                at = c.hand[t, m.set_class[there], k]
            cost = c.pool[at + layout * c.layouts[t, k] + want]
            m.moved[i] = cost >= 0
            if cost < 0:
                cost = 0
            else:
                there, layout = s, want
        if cost != m.touch[i]:
            _add(f, m, u, cost - m.touch[i])
            m.touch[i] = cost


def _value(m: Any, f: Any) -> Any:
    worst = 0
    for n in range(len(m.total)):
        worst = max(worst, m.total[n])
        for r in range(f.result_at[n], f.result_at[n + 1]):
            worst = max(worst, m.prefix[r] + m.back[r])
    return worst


def _excess(f: Any, m: Any) -> Any:
    """Return by how many bytes devices are too small (see `needs_bytes`)."""
    if not f.tight:
        return 0
    fixed, now, most, gone = m.room[0], m.room[1], m.room[2], m.room[3]
    where, size, clock, kept = m.lies[0], m.lies[1], m.clock, m.kept
    for s in range(len(m.home)):
        fixed[s], now[s], most[s], gone[s] = 0, 0, 0, 0
        for part in range(f.parts):
            kept[s, part] = False
    for t in range(len(f.arrives)):
        where[t], size[t] = -1, 0
    for n in range(len(clock)):
        clock[n] = 0
    for early in range(1 if f.hosted else 0, 2):
        for u in range(len(f.network)):
            if m.set_of[u] < 0:
                continue
            k, h = m.set_class[m.set_of[u]], m.home[m.set_of[u]]
            row = f.need_at[u, k] + m.choice[u] * f.width[u] - f.slot_at[u]
            if early == 0:  # without a host, inputs lie where they are needed
                for i in range(f.slot_at[u], f.slot_at[u + 1]):
                    t = f.slot_tensor[i]
                    if f.arrives[t] and where[t] < 0:
                        where[t], size[t] = h, f.held[row + i]
                        now[h] += size[t]
                continue
            n = f.network[u]
            for r in range(f.result_at[n], f.result_at[n + 1] if f.hosted else 0):
                t = f.result_tensor[r]
                home = m.prefix[r] + m.back[r] <= clock[n] and f.result_last[r] < u
                if home and where[t] >= 0:
                    now[where[t]] -= size[t]
                    where[t] = -1
            clock[n] += m.step[u]
            for i in range(f.slot_at[u], f.slot_at[u + 1]):
                clock[n] += m.touch[f.slot_touch[i]]
            fixed[h] += f.resident[f.choice_at[u, k] + m.choice[u]]
            at = f.share_at[u, k] + m.choice[u] * f.shared[u]
            for i in range(at, at + f.shared[u]):
                if kept[h, f.share[i]]:
                    fixed[h] -= f.share_bytes[i]
                kept[h, f.share[i]] = True
            for place in range(f.places[u]):
                for i in range(f.slot_at[u], f.slot_at[u + 1]):
                    t, touch = f.slot_tensor[i], f.slot_touch[i]
                    if f.slot_place[i] == place and (f.touch_made[touch] or m.moved[touch]):
                        if where[t] >= 0:
                            gone[where[t]] += size[t]
                        where[t], size[t] = h, f.held[row + i]
                        now[h] += size[t]
                extra = f.extra[f.extra_at[u, k] + m.choice[u] * f.places[u] + place]
                most[h] = max(most[h], now[h] + extra)
                for i in range(f.slot_at[u], f.slot_at[u + 1]):
                    t = f.slot_tensor[i]
                    if f.slot_place[i] == place and f.slot_ends[i] and where[t] >= 0:
                        gone[where[t]] += size[t]
                        where[t] = -1
                for other in range(len(m.home)):
                    most[other] = max(most[other], now[other])
                    now[other] -= gone[other]
                    gone[other] = 0
    over = 0
    for d in range(len(f.capacity)):
        need = f.standing[d]
        for s in range(len(m.home)):
            if m.on[s, d] and gone[m.home[s]] <= d:  # sets of the same devices count once
                need += fixed[m.home[s]] + most[m.home[s]]
                gone[m.home[s]] = d + 1
        over += max(0, need - f.capacity[d])
    return over


def _put(f: Any, c: Any, m: Any, u: Any, choice: Any) -> None:
    """Change one unit's choice and all that follows from it."""
    m.choice[u] = choice
    _step(f, m, u)
    for i in range(f.tensor_at[u], f.tensor_at[u + 1]):
        _tensor(f, c, m, f.tensors[i])


def _whole(f: Any, c: Any, m: Any) -> Any:
    for u in range(len(f.network)):
        if m.set_of[u] >= 0:
            _step(f, m, u)
    for t in range(len(f.touch_at) - 1):
        _tensor(f, c, m, t)
    return _value(m, f), _excess(f, m)


def _again(f: Any, c: Any, m: Any, units: Any, ways: Any) -> Any:
    """Evaluate what some units touch; `ways`: the tensors' ways too."""
    for u in units:
        _step(f, m, u)
        if ways:
            for i in range(f.tensor_at[u], f.tensor_at[u + 1]):
                _tensor(f, c, m, f.tensors[i])
    return _value(m, f), _excess(f, m)


def _choose(f: Any, c: Any, m: Any, u: Any, choice: Any) -> Any:
    _put(f, c, m, u, choice)
    return _value(m, f), _excess(f, m)


def _explore(f: Any, c: Any, m: Any, units: Any, choices: Any, out: Any) -> None:
    for i in range(len(units)):
        u = units[i]
        before = m.choice[u]
        _put(f, c, m, u, choices[i])
        out[i] = _value(m, f)
        _put(f, c, m, u, before)


def _better(value: Any, excess: Any, than: Any, than_excess: Any) -> Any:
    return excess < than_excess or (excess == than_excess and value < than)


def _answer(f: Any, c: Any, m: Any, u: Any) -> Any:
    """Give a unit its best choice as all others stand."""
    kept, value, excess = m.choice[u], _value(m, f), _excess(f, m)
    for choice in range(f.options[u, m.set_class[m.set_of[u]]]):
        if choice == kept:
            continue
        _put(f, c, m, u, choice)
        now, over = _value(m, f), _excess(f, m)
        if _better(now, over, value, excess):
            kept, value, excess = choice, now, over
    if m.choice[u] != kept:
        _put(f, c, m, u, kept)
    return value, excess


def _descend(f: Any, c: Any, m: Any, units: Any, sweeps: Any, follow: Any) -> Any:
    value, excess = _value(m, f), _excess(f, m)
    for _ in range(sweeps):
        improved = False
        for i in range(len(units)):
            u = units[i]
            now, over = _answer(f, c, m, u)
            if _better(now, over, value, excess):
                improved, value, excess = True, now, over
            if follow == 0:
                continue
            last = min(i + follow, len(units) - 1)
            before = m.choice[units[i : last + 1]].copy()
            for choice in range(f.options[u, m.set_class[m.set_of[u]]]):
                if choice == before[0]:
                    continue
                _put(f, c, m, u, choice)
                now, over = _value(m, f), _excess(f, m)
                for j in range(i + 1, last + 1):
                    now, over = _answer(f, c, m, units[j])
                if _better(now, over, value, excess):
                    improved, value, excess = True, now, over
                    before = m.choice[units[i : last + 1]].copy()
                else:
                    for j in range(i, last + 1):
                        if m.choice[units[j]] != before[j - i]:
                            _put(f, c, m, units[j], before[j - i])
        if not improved:
            break
    return value, excess


def _greedy(f: Any, c: Any, m: Any, units: Any, s: Any) -> Any:
    """Give units, that no set has taken, one after the other to a set, with what is best now."""
    for u in units:
        m.set_of[u] = s
        kept, value = 0, 0
        for choice in range(f.options[u, m.set_class[s]]):
            m.choice[u] = choice
            _step(f, m, u)
            for i in range(f.tensor_at[u], f.tensor_at[u + 1]):
                _tensor(f, c, m, f.tensors[i])
            now = _value(m, f)
            if choice == 0 or now < value:
                kept, value = choice, now
        m.choice[u] = kept
        _step(f, m, u)
        for i in range(f.tensor_at[u], f.tensor_at[u + 1]):
            _tensor(f, c, m, f.tensors[i])
    return _value(m, f), _excess(f, m)


def _spread(f: Any, c: Any, m: Any, units: Any, wishes: Any, length: Any) -> Any:
    """Give runs of units, at most so long, choices of one kind where the whole run gains."""
    value, excess = _value(m, f), _excess(f, m)
    for kind in range(len(wishes)):
        for i in range(len(units)):
            if wishes[kind, i] < 0 or wishes[kind, i] == m.choice[units[i]]:
                continue
            last, kept = min(i + length, len(units)), i
            before = m.choice[units[i:last]].copy()
            for j in range(i, last):
                wish = wishes[kind, j]
                if wish < 0 or wish == m.choice[units[j]]:
                    continue
                _put(f, c, m, units[j], wish)
                now, over = _value(m, f), _excess(f, m)
                if _better(now, over, value, excess):
                    value, excess, kept = now, over, j + 1
            for j in range(kept, last):
                if m.choice[units[j]] != before[j - i]:
                    _put(f, c, m, units[j], before[j - i])
    return value, excess


@cache
def compiled() -> Compiled:
    """Compile on first use (once per machine, where the cache can be written)."""
    helpers = (_add, _step, _tensor, _value, _excess, _put, _better, _answer)
    functions = (_whole, _again, _choose, _explore, _descend, _greedy, _spread)
    return Compiled(*machine_code(*functions, calls=helpers, nogil=True))
