"""Ways in one piece that are near each other, raced until one is told to be the quicker."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ..choosing import Choice, Effort, Ways

#: Ways within this share of each other are equally good; so near they race.
_EVEN, _NEAR = 0.02, 0.1

#: Rounds after which is asked who is out; a median is then known to 2 % on a machine that is quiet.
_LOOKS = (22, 34, 53, 83, 130, 200, 310)


def told_apart(choice: Choice, ways: Ways, effort: Effort) -> Choice:
    """Race the quickest way in one piece on against those near it: few rounds tell too little."""
    from orrery.runtime.together import race

    found, best = choice.comparison, choice.single
    near = []
    for one in choice.alone:
        ratio, (low, _) = found.speedup(best, one)
        sure = found.confidence >= 0.95 and low > 1 / (1 + _EVEN) and ratio > 1 + _NEAR
        near += [one] if one != best and not sure else []
    if not near:
        return choice
    field = [best, *sorted(near, key=found.median_s)]
    raced = ways.watched(lambda ask: race(
        [partial(ask, choice.networks[one], ways.inputs) for one in field], looks=_LOOKS,
        least_gain=_EVEN, most_s=effort.alone_s, short_s=math.inf))  # fmt: skip
    rounds = max(map(len, raced.times_s))
    failed = [f"On {one} it failed while near ways raced on: {why}"
              for one, why in zip(field, raced.failures, strict=True) if why]  # fmt: skip
    choice = replace(choice, notes=(*choice.notes, *failed))
    if raced.winner is None or rounds == 0:
        return choice
    # Of those who stayed to the end nobody may be surely the quickest.
    over = {k: raced.quicker(k, raced.winner) for k, times in enumerate(raced.times_s)
            if len(times) == rounds}  # fmt: skip
    first = max(over, key=lambda k: over[k] or (0.0,))
    said, even = [], False
    for k, one in enumerate(field):
        if k != first and (by := raced.quicker(first, k)) is not None:
            ratio, low, high = by
            said.append(f"{ratio:.3f} times ({low:.3f} to {high:.3f}, 95 %) as quick as on {one}")
            even |= low < 1 / (1 + _EVEN)
    note = (f"Ways in one piece that were near each other raced on for {rounds} rounds: on "
            f"{field[first]} it was {', '.join(said)}"
            + ("; that does not tell them apart, and the quicker one then is taken." if even else
               "."))  # fmt: skip
    return replace(choice, told=field[first], notes=(*choice.notes, note))
