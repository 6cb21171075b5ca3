"""Ways of running one network in order of preference: when a worker fails, the next without it.

A worker is taken out once another way has answered what it failed at: a request that every way
fails at is taken for its own fault, and nobody is taken out for it. One that hangs is out until it
comes back. Too little memory, while other requests are under way, is the request's fault: it goes
on in the next way, and where none is left it is tried again alone.

Judge:   workers that are made to fail or to hang (tests/runtime/together/test_fallback.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from orrery.errors import SpecError

from .._backend import Tensors
from .._evaluator import owned
from ._capacity import is_shortage
from ._executor import Outcome, PlacedNetwork
from ._interrupts import Interrupts
from ._pool import WorkerFailedError, WorkerHungError

#: How often a request waits for the others to be over where new ones come in between.
_TRIES = 10


@dataclass(slots=True)
class _Tries:
    """What one request has been through.

    Attributes
    ----------
    failed : workers that are taken out once another way answers
    ways : that were tried, and are not tried again
    short : ways that had too little memory beside other requests
    """

    failed: set[str] = field(default_factory=set)
    ways: set[str] = field(default_factory=set)
    short: list[str] = field(default_factory=list)


class Fallback:
    """Serves requests by the first way whose workers all still work.

    Parameters
    ----------
    ways : name -> placed network, the preferred one first

    Attributes
    ----------
    notes : what failed, and what was done about it
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
        self._gone: set[str] = set()
        #: worker -> the thread that hung
        self._hung: dict[str, str] = {}
        self._told_short: set[tuple[str, str]] = set()
        self._one_at_a_time = threading.Lock()
        self._first = next(iter(self.ways.items()))

    @property
    def current(self) -> str | None:
        """The way that serves the next request; None when none is left."""
        return self._next(_Tries())

    @property
    def gone(self) -> set[str]:
        """Workers that failed, or hung and have not come back; ways with them are not tried."""
        pools = {network.pool for network in self.ways.values()}
        for worker, thread in list(self._hung.items()):
            back = not any(thread in pool.lost for pool in pools)
            if back and self._hung.pop(worker, None) is not None:
                self.notes.append(f"worker {worker!r} has come back and is asked again")
        return self._gone | self._hung.keys()

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        """Serve one request, in as many ways as it takes.

        Parameters
        ----------
        timeout_s : a worker that is longer at one subgraph, or copy, hangs; what a request waits
            for its turn does not count. None waits

        Raises
        ------
        SpecError : inputs that do not fit
        WorkerFailedError, WorkerHungError : the last way has failed too
        """
        if self._gone or self._hung:
            return self._run_on(inputs, timeout_s, _Tries())
        name, network = self._first  # nothing has failed so far: no bookkeeping
        try:
            return network.run(inputs, timeout_s=timeout_s)
        except (WorkerFailedError, WorkerHungError) as error:
            tries = _Tries()
            if not self._goes_on(name, error, tries):
                if not tries.short:
                    raise
                return self._alone(inputs, tries, timeout_s)
        return self._run_on(inputs, timeout_s, tries)

    def _run_on(self, inputs: Tensors, timeout_s: float | None, tries: _Tries) -> Outcome:
        """Serve a request in the ways that are left for it."""
        while (name := self._next(tries)) is not None:
            try:
                outcome = self.ways[name].run(inputs, timeout_s=timeout_s)
            except (WorkerFailedError, WorkerHungError) as error:
                if not self._goes_on(name, error, tries):
                    if not tries.short:
                        raise
                    return self._alone(inputs, tries, timeout_s)
            else:
                self._gone |= tries.failed
                return outcome
        raise self._nothing_left()

    def leave_out(self, error: WorkerHungError) -> None:
        """Try no way with a worker that hung while somebody else watched it.

        Raises
        ------
        WorkerHungError : the same, where no way is left
        """
        self._gone.add(error.worker)
        if (following := self.current) is None:
            raise error
        self.notes.append(f"{error}; went on with {following}")

    def submit(self, inputs: Tensors) -> Future[Outcome]:
        """Begin a request, which goes on in the next way where a worker fails; waits for no answer.

        A worker that hangs is not noticed: `run` with a time does that. Arrays that can be written
        to are copied, so that the caller may fill them again.

        Raises
        ------
        SpecError : inputs that do not fit
        """
        answer: Future[Outcome] = Future()
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        with Interrupts():  # what a handler raises in a callback is printed and lost
            self._attempt(owned(inputs), answer, _Tries())
        return answer

    def _attempt(self, inputs: Tensors, answer: Future[Outcome], tries: _Tries) -> None:
        while (name := self._next(tries)) is not None:
            try:
                begun = self.ways[name].submit(inputs)
            except WorkerFailedError as error:
                if not self._goes_on(name, error, tries):
                    self._ends(inputs, answer, tries, error)
                    return
            else:
                begun.add_done_callback(partial(self._arrived, name, inputs, answer, tries))
                return
        answer.set_exception(self._nothing_left())

    def _arrived(
        self, name: str, inputs: Tensors, answer: Future[Outcome], tries: _Tries,
        begun: Future[Outcome],
    ) -> None:  # fmt: skip
        error = begun.exception()
        if error is None:
            self._gone |= tries.failed
            answer.set_result(begun.result())
        elif not isinstance(error, WorkerFailedError):
            answer.set_exception(error)
        elif self._goes_on(name, error, tries):
            self._attempt(inputs, answer, tries)
        else:
            self._ends(inputs, answer, tries, error)

    def _ends(
        self, inputs: Tensors, answer: Future[Outcome], tries: _Tries, error: WorkerFailedError
    ) -> None:
        """Answer what no way has answered; in a thread of its own where that takes waiting."""
        if not tries.short:
            answer.set_exception(error)
            return

        def again() -> None:
            try:
                answer.set_result(self._alone(inputs, tries, None))
            except BaseException as found:  # whoever asked must hear of it, whatever it is
                answer.set_exception(found)

        threading.Thread(target=again, daemon=True).start()

    def _alone(self, inputs: Tensors, tries: _Tries, timeout_s: float | None) -> Outcome:
        """Serve a request that found too little memory once the others under way are over.

        Raises
        ------
        WorkerFailedError, WorkerHungError : it has failed alone too
        """
        with self._one_at_a_time:
            for number in count():
                name = tries.short.pop(0)
                wait([one.future for one in list(self.ways[name].pool.under_way)], timeout_s)
                try:
                    return self.ways[name].run(inputs, timeout_s=timeout_s)
                except (WorkerFailedError, WorkerHungError) as error:
                    if number < _TRIES and is_shortage(error) and not getattr(error, "alone", True):
                        tries.short.append(name)  # others came in between
                    elif not tries.short:
                        self._hears_of(error)
                        raise
        raise self._nothing_left()

    def _next(self, tries: _Tries) -> str | None:
        """Return the first way without workers that are gone or have failed."""
        out = self.gone | tries.failed
        return next((
            name for name, who in self._workers.items() if name not in tries.ways and not out & who
        ), None)  # fmt: skip

    def _goes_on(
        self, name: str, error: WorkerFailedError | WorkerHungError, tries: _Tries
    ) -> bool:
        """Note that a worker failed at a request; return whether another way is left for it."""
        tries.ways.add(name)
        short = is_shortage(error) and not getattr(error, "alone", True)
        if short:
            tries.short.append(name)
        elif not self._hears_of(error):
            tries.failed.add(error.worker)
        following = self._next(tries)
        if short and (name, error.worker) in self._told_short:
            return following is not None
        what = f"{name}: {error}"
        if short:
            self._told_short.add((name, error.worker))
            what += " (beside other requests; it stays in, and this is said once)"
        self.notes.append(
            f"{what}; went on with {following}" if following else
            f"{what}; tried again alone" if tries.short else
            f"{what}; nothing is left to go on with"
        )  # fmt: skip
        return following is not None

    def _hears_of(self, error: WorkerFailedError | WorkerHungError) -> bool:
        """Return whether a worker failed as it hangs; it is out until it comes back."""
        if error.lost is not None:
            self._hung[error.worker] = error.lost
        return error.lost is not None

    def _nothing_left(self) -> WorkerFailedError:
        return WorkerFailedError(
            ", ".join(sorted(self.gone)), "every subgraph", "failures of all ways before"
        )
