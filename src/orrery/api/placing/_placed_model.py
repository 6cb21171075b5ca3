"""A placed network that answers requests for as long as it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.plan import Plan
from orrery.report import Page

from ..keeping import Placement
from ._asked import Asked, check_request
from ._ready import Ready, patience

Arrays = Mapping[str, NDArray[Any]]


class PlacedModel:
    """A network on the workers of this machine; made by `place`.

    Any thread may ask, and requests may overlap. Leave its block, or call `close`, to end the
    workers.

    Attributes
    ----------
    plan : who runs what in the preferred way
    evidence : measured latencies, that of the preferred way first
    page : the report of the choice, for `orrery.report`'s writers
    """

    def __init__(self, ready: Ready, stack: ExitStack) -> None:
        self.plan: Plan = ready.plan
        self.evidence: tuple[Evidence, ...] = ready.figures
        self.page = Page(title=f"{ready.graph.name} on this machine", sections=ready.sections)
        self._ready, self._stack, self._asked = ready, stack, Asked()

    @property
    def notes(self) -> tuple[str, ...]:
        """What failed so far, and what was done about it."""
        return tuple(self._ready.served.notes)

    @property
    def way(self) -> str | None:
        """How the next request is served; None when every way has failed."""
        return self._ready.served.current

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> dict[str, NDArray[Any]]:
        """Return the network's outputs by name; where a worker fails, by the next way without it.

        Parameters
        ----------
        timeout_s : a worker that is longer at one subgraph hangs, and the next way answers; what
            a request waits for its turn does not count. None waits

        Raises
        ------
        SpecError : inputs that do not fit, or it is closed
        OrreryError : every way has failed
        """
        token = object()
        try:
            self._begin(token)
            longest_s = check_request(inputs, timeout_s)
            return self._ready.served.run(inputs, timeout_s=longest_s).outputs
        finally:
            self._asked.end(token)

    def submit(self, inputs: Arrays) -> Future[dict[str, NDArray[Any]]]:
        """Begin a request and return at once; its outputs arrive in the future, or the error.

        Arrays that can be written to are copied: the caller may fill them again.

        Raises
        ------
        SpecError : inputs that do not fit, or it is closed
        """
        from orrery.runtime.together import Interrupts

        answer: Future[dict[str, NDArray[Any]]] = Future()
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled

        def done(outcome: Future[Any]) -> None:
            error = outcome.exception()
            with self._asked.answering():
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(outcome.result().outputs)
            self._asked.end(token)

        token = object()
        with Interrupts():  # what a handler raises in a callback is printed and lost
            try:
                self._begin(token)
                check_request(inputs, None)
                begun = self._ready.served.submit(inputs)
            except BaseException:
                self._asked.end(token)
                raise
            begun.add_done_callback(done)
        return answer

    def export(self, path: str | Path) -> None:
        """Write the network as an ONNX file whose nodes say where they are placed."""
        Placement(plan=self.plan, graph=self._ready.graph).export(path)

    def close(self) -> None:
        """End the workers, after what was asked before is answered; twice is once.

        However long that takes, as long as answers come: when none comes for 30 s, and for 50
        times what one took before, somebody hangs, and what is left fails. A block that a Ctrl-C
        leaves waits for nothing.

        Raises
        ------
        SpecError : called in a callback of `submit`
        """
        self._asked.check_close()
        self._asked.close(patience(self.evidence[0].value))
        self._stack.close()

    def __enter__(self) -> PlacedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *rest: Any
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):  # the user's Ctrl-C
            self._asked.close(0.0)
            self._stack.__exit__(kind, error, *rest)
        else:
            self.close()

    def _begin(self, token: object) -> None:
        """Note a request that begins.

        Raises
        ------
        SpecError : it is closed
        """
        if not self._asked.begin(token):
            raise SpecError(f"{self._ready.graph.name} on this machine", found="closed",
                            wanted="open", fix="ask inside its block")  # fmt: skip
