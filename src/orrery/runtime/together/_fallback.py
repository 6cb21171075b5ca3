"""Ways of running one network in order of preference: when a worker fails, the next without it.

A worker is taken out once another way has answered what it failed at, or when it hung: a request
that every way fails at is taken for its own fault, and nobody is taken out for it.

Judge:   workers that are made to fail or to hang (tests/runtime/together/test_fallback.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import Future
from functools import partial

from orrery.errors import SpecError

from .._backend import Tensors
from ._executor import Outcome, PlacedNetwork
from ._pool import WorkerFailedError, WorkerHungError

__all__ = ["Fallback"]


class Fallback:
    """Serves requests by the first way whose workers all still work.

    Parameters
    ----------
    ways : name -> placed network, the preferred one first

    Attributes
    ----------
    notes : what failed, and what was done about it
    gone : workers that failed; ways with them are not tried again
    """

    def __init__(self, ways: Mapping[str, PlacedNetwork]) -> None:
        if not ways:
            raise SpecError("fallback", found="no way to run the network", wanted="one or more",
                            fix="place it at least once")  # fmt: skip
        self.ways = dict(ways)
        self._workers = {
            name: frozenset(step.worker for step in network.steps) for name, network in ways.items()
        }
        self.notes: list[str] = []
        self.gone: set[str] = set()

    @property
    def current(self) -> str | None:
        """The way that serves the next request; None when none is left."""
        return self._without(set())

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        """Serve one request, in as many ways as it takes.

        Raises
        ------
        SpecError : inputs that do not fit
        WorkerFailedError, WorkerHungError : the last way has failed too
        """
        failed: set[str] = set()
        while (name := self._without(failed)) is not None:
            try:
                outcome = self.ways[name].run(inputs, timeout_s=timeout_s)
            except (WorkerFailedError, WorkerHungError) as error:
                if not self._goes_on(name, error, failed):
                    raise
            else:
                self.gone |= failed
                return outcome
        raise self._nothing_left()

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        """Begin a request, which goes on in the next way where a worker fails; waits for no answer.

        A worker that hangs is not noticed: `run` with a time does that.

        Raises
        ------
        SpecError : inputs that do not fit
        """
        answer: Future[Outcome] = Future()
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self._attempt(inputs, answer, set())
        return answer

    def _attempt(self, inputs: Tensors, answer: Future[Outcome], failed: set[str]) -> None:
        while (name := self._without(failed)) is not None:
            try:
                begun = self.ways[name].submit(inputs)
            except WorkerFailedError as error:
                if not self._goes_on(name, error, failed):
                    answer.set_exception(error)
                    return
            else:
                begun.add_done_callback(partial(self._arrived, name, inputs, answer, failed))
                return
        answer.set_exception(self._nothing_left())

    def _arrived(
        self, name: str, inputs: Tensors, answer: Future[Outcome], failed: set[str],
        begun: Future[Outcome],
    ) -> None:  # fmt: skip
        error = begun.exception()
        if error is None:
            self.gone |= failed
            answer.set_result(begun.result())
        elif isinstance(error, WorkerFailedError) and self._goes_on(name, error, failed):
            self._attempt(inputs, answer, failed)
        else:
            answer.set_exception(error)

    def _without(self, failed: Set[str]) -> str | None:
        """Return the first way without workers that are gone or have failed."""
        out = self.gone | failed
        return next((name for name, who in self._workers.items() if not out & who), None)

    def _goes_on(
        self, name: str, error: WorkerFailedError | WorkerHungError, failed: set[str]
    ) -> bool:
        """Note that a worker failed at a request; return whether another way is left for it."""
        (self.gone if isinstance(error, WorkerHungError) else failed).add(error.worker)
        following = self._without(failed)
        self.notes.append(
            f"{name}: {error}; went on with {following}" if following else
            f"{name}: {error}; nothing is left to go on with"
        )  # fmt: skip
        return following is not None

    def _nothing_left(self) -> WorkerFailedError:
        return WorkerFailedError(
            ", ".join(sorted(self.gone)), "every subgraph", "failures of all ways before"
        )
