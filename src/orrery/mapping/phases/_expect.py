"""What a placement should take, from its prediction and from how others that ran turned out.

Models:  a request takes a fixed time (asking, waking, handing over) and a factor times what is
         predicted from its parts (they were timed at another time, in other company). Both follow
         from other placements of the same subgraphs that ran: the line with the least sum of
         relative deviations, no part of it negative.
Ignores: that fixed time and factor differ between placements; what the placement itself took.
Judge:   planted lines with and without noise (tests/mapping/phases/test_expect.py); rounds after
         those that it is drawn from (the study).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

#: Of fewer runs a fixed time cannot be told from a factor.
_LINE = 3


def expected_s(predicted_s: float, others: Sequence[tuple[float, float]]) -> float | None:
    """Return what a placement should take, in seconds; None: too few others ran to tell.

    Parameters
    ----------
    predicted_s : from its parts
    others : (predicted, measured) seconds of other placements; three tell a fixed time from a
        factor, and of one or two the ratio is theirs alone: they may be of quite another kind
    """
    ran = [(p, m) for p, m in others if p > 0 and m > 0]
    if len(ran) < _LINE:
        return None
    lines = [line for p, m in ran for line in ((0.0, m / p), (m, 0.0))]
    for (p, m), (q, n) in combinations(ran, 2):
        if p != q:
            factor = (n - m) / (q - p)
            lines.append((m - factor * p, factor))
    # Some line of least deviations passes through two of the points, or through one with a part of
    # nought.
    fixed, factor = min(
        (line for line in lines if min(line) >= 0),
        key=lambda line: (sum(abs(line[0] + line[1] * p - m) / m for p, m in ran), line),
    )
    return fixed + factor * predicted_s
