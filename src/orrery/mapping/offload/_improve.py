"""Each tensor dealt with as is cheapest: changes of one tensor, and exchanges of two.

Models
    A plan is as good as `time_step` says: first the seconds, then the bytes written. A change is
    mended until it fits, and taken when it is better. No step is shorter than what its choices take
    of the computation, so a change that takes too much is not tried.
Ignores
    Exchanges of three and more tensors at once; `_exact` says how much that costs.
Judge
    Every combination of choices for few tensors, and the bound of `_exact`
    (``tests/mapping/offload``).
"""

from __future__ import annotations

from collections.abc import Iterator

from orrery.progress import Progress

from ._mend import SAME, Standing, mend
from ._problem import DROP, KEEP, Columns
from ._select import Selection


def improve(
    columns: Columns, start: Standing, *, least_bytes: int, evaluations: int, progress: Progress
) -> tuple[Standing, int]:
    """Return a plan that no change of one tensor betters, and how many plans were timed.

    Where the step is delayed still, no exchange of a moved tensor for a kept one betters it either,
    unless `evaluations` were not enough.
    """
    if not start.moved_bytes and start.timing.step_s <= columns.plain_s * (1 + SAME):
        return start, 0  # nothing can be better
    trial = _Trial(columns, start, least_bytes, evaluations, progress)
    while trial.one_by_one() and trial.pairs():
        pass
    return trial.best, trial.spent


class _Trial:
    """The state of one improvement; it lives in `improve` only."""

    def __init__(
        self, columns: Columns, start: Standing, least: int, most: int, progress: Progress
    ) -> None:
        self.columns, self.best, self.least, self.most = columns, start, least, most
        self.progress, self.spent = progress, 0
        self._of: Standing | None = None  # whose choices take so many seconds
        self._taken_s = 0.0

    def one_by_one(self) -> bool:
        """Change tensor after tensor until no change helps; return whether the search may go on."""
        columns = self.columns
        choices = self.best.choices
        rows = sorted(range(len(columns.size)), key=lambda n: (
            choices[n] == KEEP, -columns.taken_s(n, choices[n]), -n))  # fmt: skip
        at = quiet = 0  # quiet: tensors looked at since the last change
        while quiet < len(rows):
            n = rows[at % len(rows)]
            at, quiet = at + 1, quiet + 1
            for choice in self._others(n):
                if self._hopeless({n: choice}):
                    continue
                if self.spent >= self.most:
                    return False
                if self._better({n: choice}):
                    quiet = 0
        return True

    def pairs(self) -> bool:
        """Exchange a moved tensor for a kept one; return at the first that helps, if any does."""
        columns = self.columns
        if self.best.timing.step_s <= columns.plain_s * (1 + SAME):
            return False
        rows = range(len(columns.size))
        stay = [n for n in rows if self.best.choices[n] == KEEP and len(columns.allowed[n]) > 1]
        leave = [n for n in rows if self.best.choices[n] != KEEP]
        # What costs most is exchanged first.
        leave.sort(key=lambda n: -self._seconds(n, self.best.choices[n]))
        for n in leave:
            for m in stay:
                for choice in self._others(m):
                    if self._hopeless({n: KEEP, m: choice}):
                        continue
                    if self.spent >= self.most:
                        return False
                    if self._better({n: KEEP, m: choice}):
                        return True
        return False

    def _seconds(self, n: int, choice: int) -> float:
        columns = self.columns
        again = columns.again_s[n] if choice == DROP else 0.0
        return columns.write_s[n][choice] + columns.read_s[n][choice] + again

    def _others(self, n: int) -> Iterator[int]:
        small = self.columns.size[n] < self.least
        for choice in self.columns.allowed[n]:
            if choice != self.best.choices[n] and not (small and choice != KEEP):
                yield choice

    def _hopeless(self, change: dict[int, int]) -> bool:
        """Whether a change takes more of the computation than the step is long, or moves more."""
        best, columns = self.best, self.columns
        if self._of is not best:
            self._of = best
            self._taken_s = sum(columns.taken_s(n, c) for n, c in enumerate(best.choices))
        least_s, fewer = columns.plain_s + self._taken_s, 0
        for n, choice in change.items():
            now = best.choices[n]
            least_s += columns.taken_s(n, choice) - columns.taken_s(n, now)
            fewer += columns.moved[n][now] - columns.moved[n][choice]
        longer = least_s - best.timing.step_s
        near = SAME * best.timing.step_s
        return longer > near or (longer > -near and fewer <= 0)

    def _better(self, change: dict[int, int]) -> bool:
        """Mend what a change leaves too large, without taking it back; keep what is better."""
        self.spent += 1
        choices = tuple(change.get(n, choice) for n, choice in enumerate(self.best.choices))
        selection = Selection(choices=choices, label=self.best.label)
        found = mend(self.columns, selection, least_bytes=self.least)
        self.progress.step("offload plan", self.spent, self.most, best=self.best.timing.step_s)
        if found is None or any(found.choices[n] != choice for n, choice in change.items()):
            return False
        better = found.better_than(self.best)
        if better:
            self.best = found
        return better
