"""A network placed on this machine once, that answers requests for as long as it is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.plan import Plan
from orrery.progress import SILENT, Progress
from orrery.report import Page

from .._options import ModelOptions
from ..keeping import Placement
from ._open import opened
from ._ready import Ready

__all__ = ["PlacedModel", "place"]

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
        self._ready, self._stack, self._open = ready, stack, True

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
        timeout_s : a worker that takes longer counts as failed; None waits

        Raises
        ------
        SpecError : inputs that do not fit, or it is closed
        OrreryError : every way has failed
        """
        self._refuse_closed()
        return self._ready.served.run(inputs, timeout_s=timeout_s).outputs

    def submit(self, inputs: Arrays) -> Future[dict[str, NDArray[Any]]]:
        """Begin a request and return at once; its outputs arrive in the future, or the error.

        Raises
        ------
        SpecError : inputs that do not fit, or it is closed
        """
        self._refuse_closed()
        answer: Future[dict[str, NDArray[Any]]] = Future()
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled

        def done(outcome: Future[Any]) -> None:
            error = outcome.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(outcome.result().outputs)

        self._ready.served.submit(inputs).add_done_callback(done)
        return answer

    def export(self, path: str | Path) -> None:
        """Write the network as an ONNX file whose nodes say where they are placed."""
        Placement(plan=self.plan, graph=self._ready.graph).export(path)

    def close(self) -> None:
        """End the workers, after what they were told before; twice is once."""
        self._open = False
        self._stack.close()

    def __enter__(self) -> PlacedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_closed(self) -> None:
        if not self._open:
            raise SpecError(f"{self._ready.graph.name} on this machine", found="closed",
                            wanted="open", fix="ask inside its block")  # fmt: skip


def place(
    model: object,
    *,
    backends: Sequence[str] = (),
    inputs: str | Path | Arrays | None = None,
    seed: int = 0,
    repeats: int = 20,
    options: ModelOptions | None = None,
    plan_models: Sequence[object] = (),
    fresh: bool = False,
    progress: Progress = SILENT,
) -> PlacedModel:
    """Place a network on the workers of this machine and keep it ready for requests.

    >>> with orrery.place("wide-deep") as network:  # doctest: +SKIP
    ...     outputs = network.run(inputs)

    Parameters
    ----------
    model : as `run` takes it: an ONNX file, a library name, a `Graph`, or a plan.json that was
        made with ``on="this-machine"`` and is used as it is
    inputs : to time with, an .npz file or arrays by name; None draws them from `seed`
    backends, repeats, options, plan_models, fresh : as of `run`

    Raises
    ------
    SpecError, ModelError : as `run`
    """
    with ExitStack() as stack:
        ready, _ = stack.enter_context(opened(
            model, backends=backends, inputs=inputs, seed=seed, repeats=repeats, options=options,
            fresh=fresh, plan_models=plan_models, progress=progress,
        ))  # fmt: skip
        return PlacedModel(ready, stack.pop_all())
