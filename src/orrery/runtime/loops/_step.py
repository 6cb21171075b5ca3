"""A step that a training loop begins in one of its events and ends in another.

Models:  nothing; this enters and leaves a session where a ``with`` cannot stand.
Ignores: what the loop does between two steps: none of it is part of one.
Judge:   losses and weights of real training loops, bit for bit (tests/runtime/loops).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..offload import StepReport


class Session(Protocol):
    """What `orrery.offload` returns: entered and left once for each step."""

    @property
    def reports(self) -> Sequence[StepReport]: ...

    def __enter__(self) -> object: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...


class LoopStep:
    """The step of a session that a loop is in, if it is in one.

    Parameters
    ----------
    session : is entered and left; who made it closes it
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open = False
        self._told = len(session.reports)

    def begin(self) -> None:
        """Begin a step; one that an error left open is given up first.

        Raises
        ------
        OrreryError : a step of another session is under way
        """
        self.give_up()
        self._session.__enter__()
        self._open = True

    def end(self) -> None:
        """End the step, if there is one; after the first, plan.

        Raises
        ------
        OrreryError : no plan keeps the limit, or nothing can be planned
        """
        if self._open:
            self._open = False
            self._session.__exit__(None, None, None)

    def give_up(self) -> None:
        """End the step, if there is one, as when an error was raised in it: nothing is planned."""
        if self._open:
            self._open = False
            error = InterruptedError("the step was not ended")
            self._session.__exit__(type(error), error, None)

    def figures(self) -> dict[str, float]:
        """Return what the steps since the last call did, for a log; empty if there were none.

        Returns
        -------
        Seconds are means of a step, mebibytes written and read are sums, the peak is the highest.
        """
        fresh = self._session.reports[self._told :]
        self._told += len(fresh)
        if not fresh:
            return {}
        waited_s = sum(report.waited_s for report in fresh)
        busy_s = sum(report.moved.busy_s for report in fresh)
        found = {
            "offload_step_s": sum(report.step_s for report in fresh) / len(fresh),
            "offload_waited_s": waited_s / len(fresh),
            "offload_written_mib": sum(report.moved.written_bytes for report in fresh) / 2**20,
            "offload_read_mib": sum(report.moved.read_bytes for report in fresh) / 2**20,
            "offload_peak_mib": max(report.peak_bytes for report in fresh) / 2**20,
        }
        if busy_s:
            found["offload_hidden_share"] = max(0.0, 1 - waited_s / busy_s)
        return found
