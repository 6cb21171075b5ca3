"""A network placed on this machine once, that answers requests for as long as it is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.progress import SILENT, Progress

from .._options import ModelOptions
from ._open import opened
from ._placed_model import PlacedModel

Arrays = Mapping[str, NDArray[Any]]


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
