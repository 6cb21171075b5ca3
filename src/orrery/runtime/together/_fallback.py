"""Ways of running one network in order of preference: when a worker fails, the next without it.

Judge:   workers that are made to fail or to hang (tests/runtime/together/test_fallback.py).
"""

from __future__ import annotations

from collections.abc import Mapping

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
        self.notes: list[str] = []
        self.gone: set[str] = set()

    @property
    def current(self) -> str | None:
        """The way that serves the next request; None when none is left."""
        for name, network in self.ways.items():
            if not self.gone.intersection(step.worker for step in network.steps):
                return name
        return None

    def run(self, inputs: Tensors, *, timeout_s: float | None = None) -> Outcome:
        """Serve one request, in as many ways as it takes.

        Raises
        ------
        SpecError : inputs that do not fit
        WorkerFailedError, WorkerHungError : the last way has failed too
        """
        while (name := self.current) is not None:
            try:
                return self.ways[name].run(inputs, timeout_s=timeout_s)
            except (WorkerFailedError, WorkerHungError) as error:
                self.gone.add(error.worker)
                following = self.current
                self.notes.append(
                    f"{name}: {error}; went on with {following}" if following else
                    f"{name}: {error}; nothing is left to go on with"
                )  # fmt: skip
                if following is None:
                    raise
        raise WorkerFailedError(
            ", ".join(sorted(self.gone)), "every subgraph", "failures of all ways before"
        )
