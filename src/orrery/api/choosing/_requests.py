"""Single requests of a network that is placed: how long to wait, what it gave, a typical one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from orrery.runtime.together import Outcome, PlacedNetwork

#: A first request may take so long and so many times its prediction before it counts as hung.
_PATIENCE_S, _PATIENCE = 30.0, 50.0

#: For so long, and so many, requests are looked at to show a typical one.
_LOOK_S, _LOOKS = 1.0, 9


def patience_s(usual_s: float) -> float:
    """Return how long a request may take of which so much is expected."""
    return _PATIENCE_S + _PATIENCE * usual_s


def hang_s(seconds: NDArray[np.float64]) -> float:
    """Return how long a worker may be at a step, however placements cut it, until it hangs.

    Parameters
    ----------
    seconds : subgraphs × workers; infinite where one is refused
    """
    whole_s = np.where(np.isfinite(seconds), seconds, 0.0).sum(axis=0)
    return patience_s(float(whole_s.max()))


def answered(outcome: Outcome) -> dict[str, NDArray[Any]]:
    """Return copies of outputs: a later request may use their memory again."""
    return {name: value.copy() for name, value in outcome.outputs.items()}


def typical_request(
    network: PlacedNetwork, inputs: Mapping[str, NDArray[Any]], usual_s: float
) -> Outcome:
    """Return the request, of a few, that took most nearly what one usually takes.

    Raises
    ------
    WorkerFailedError, WorkerHungError : one was not answered
    """
    count = max(1, min(_LOOKS, int(_LOOK_S / max(usual_s, 1e-6))))
    longest_s = patience_s(usual_s)
    seen = [network.run(inputs, timeout_s=longest_s) for _ in range(count)]
    return min(seen, key=lambda outcome: abs(outcome.latency_s - usual_s))
