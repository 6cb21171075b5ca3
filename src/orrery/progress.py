"""How a long task says how far it is; rooms report, only the command line draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import CancelledError

__all__ = ["SILENT", "Progress", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One report: `done` of `total` (None when nobody knows), and what a search holds so far."""

    task: str
    done: int
    total: int | None = None
    best: float | None = None
    bound: float | None = None


def _ignore(step: Step) -> None:
    del step


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A callback for reports and a question whether to stop."""

    report: Callable[[Step], None] = _ignore
    cancelled: Callable[[], bool] = _never

    def step(
        self,
        task: str,
        done: int,
        total: int | None = None,
        *,
        best: float | None = None,
        bound: float | None = None,
    ) -> None:
        """Report, and raise `CancelledError` when the user asked to stop."""
        if self.cancelled():
            raise CancelledError(f"{task}: stopped at {done} of {total if total else 'unknown'}")
        self.report(Step(task=task, done=done, total=total, best=best, bound=bound))


SILENT = Progress()
