"""A few subgraphs in a row placed anew, as well as can be, while all others stay.

Models:  a window of subgraphs that follow each other in the problem's order: every placement of
         them, by branch and bound over what the whole then takes. A phase, a phase with the next
         one, and moves that pay only together all lie in one.
Ignores: gains of changes that lie further apart than a window; with company, choices that another
         one is likely to be as good as.
Judge:   every placement of every window, by brute force
         (tests/mapping/phases/test_windows.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from ._problem import PlacementProblem
from ._state import State
from ._tree import Placement, worthwhile

#: Subgraphs of a window; how many may be put somewhere in one, and in all.
_WIDTH, _LOOKS, _ALL_LOOKS = 7, 3_000, 150_000

#: A gain below this share is none: sums are rounded.
_SAME = 1e-9


def better_windows(
    problem: PlacementProblem, placement: Placement, *, width: int = _WIDTH, looks: int = _LOOKS,
    all_looks: int = _ALL_LOOKS,
) -> Placement:  # fmt: skip
    """Return a placement that no window is predicted to better, as far as was looked.

    Parameters
    ----------
    width : subgraphs of a window
    looks, all_looks : how often one may be put somewhere on the way, for one window and for all
    """
    order, choices = problem.order, worthwhile(problem)
    windows = [order[k : k + width] for k in range(max(1, len(order) - width + 1))]
    seconds, turn, idle = problem.timing(placement).makespan_s, 0, 0
    while idle < len(windows) and all_looks > 0:
        one = _Window(problem, placement, windows[turn % len(windows)], seconds)
        one.search(choices, looks)
        all_looks -= looks - one.left
        turn, idle = turn + 1, idle + 1
        if one.best != placement:
            placement, seconds, idle = one.best, one.seconds, 0
    return placement


class _Window:
    """The search of one window.

    Attributes
    ----------
    best, seconds : the quickest placement so far
    left : how often a subgraph may be put somewhere yet
    """

    def __init__(
        self, problem: PlacementProblem, placement: Placement, members: Sequence[int],
        seconds: float,
    ) -> None:  # fmt: skip
        self.problem, self.members = problem, members
        self.best, self.seconds, self.left = placement, seconds, 0
        first = problem.order.index(members[0])
        self.after = problem.order[first + len(members) :]
        self.chosen = list(placement)
        self.state = State(problem)
        for number in problem.order[:first]:
            self.state.put(number, placement[number], for_good=True)
        # What comes later stays where it is, so that the way to the end is known the better.
        own = [
            float(problem.seconds[k].min() if k in members else problem.seconds[k, w])
            for k, w in enumerate(placement)
        ]
        tails = problem.tails_of(own)
        self.beyond = [tail - seconds for tail, seconds in zip(tails, own, strict=True)]

    def search(self, choices: Sequence[Sequence[int]], looks: int) -> None:
        """Try every choice of the members."""
        self.left = looks
        self._member(0, choices)

    def _member(self, depth: int, choices: Sequence[Sequence[int]]) -> None:
        if depth == len(self.members):
            self._others()
            return
        number = self.members[depth]
        for worker in choices[number]:
            if self.left <= 0:
                return
            if self._put(number, worker):
                self._member(depth + 1, choices)
            self.state.take_back(number)

    def _others(self) -> None:
        """Put what comes after, and keep the whole where it has become quicker."""
        put = []
        for number in self.after:
            put.append(number)
            if not self._put(number, self.chosen[number]):
                break
        else:
            made = self.state.timing().makespan_s
            if made < self.seconds * (1 - _SAME):
                self.best, self.seconds = tuple(self.chosen), made
        for number in reversed(put):
            self.state.take_back(number)

    def _put(self, number: int, worker: int) -> bool:
        """Put a subgraph; say whether the whole may become quicker yet."""
        self.left -= 1
        self.chosen[number] = worker
        end = self.state.put(number, worker)
        return end + self.beyond[number] < self.seconds * (1 - _SAME)
