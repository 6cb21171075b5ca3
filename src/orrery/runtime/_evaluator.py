"""What computes regions: functions given by device, and a look at what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from orrery.errors import OrreryError, SpecError
from orrery.graph import Region, numpy_dtype

from ._backend import Tensors

#: (region, its inputs by tensor name) -> its outputs by tensor name
Evaluator = Callable[[Region, Tensors], Tensors]


class DeviceFailedError(OrreryError):
    """A device could not finish a region; everything else was stopped."""

    def __init__(self, device: str, region: str, found: str) -> None:
        self.device, self.region = device, region
        what = f"region {region!r}: " if region else ""
        super().__init__(
            f"device {device!r}: {what}found {found}, wanted its outputs; correct the model or "
            "give the device another evaluator"
        )


def checked_outputs(device: str, region: Region, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an evaluator made, in the region's order.

    Raises
    ------
    SpecError : an output is missing, or has another shape or element type
    """
    values = {}
    for name in region.outputs:
        where = f"evaluator of {device!r}: tensor {name!r}"
        if name not in outputs:
            raise SpecError(where, found="nothing", wanted="every output of the region",
                            fix="return it by this name")  # fmt: skip
        value: Any = outputs[name]
        if isinstance(value, np.generic):
            value = np.asarray(value)
        _check_type(where, region, name, value)
        values[name] = value
    return values


def _check_type(where: str, region: Region, name: str, value: Any) -> None:
    want = region.graph.types.get(name)
    if want is None or not isinstance(value, np.ndarray):
        return
    fits = value.ndim == want.rank and all(
        isinstance(w, str) or w == h for w, h in zip(want.shape, value.shape)
    )
    if not fits or (want.dtype != "string" and value.dtype != numpy_dtype(want.dtype)):
        raise SpecError(where, found=f"{value.dtype}{value.shape}", wanted=str(want),
                        fix="correct the evaluator")  # fmt: skip


def read_only(value: Any) -> Any:
    """Return a view of an array that nobody can write to; anything else as it is."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def owned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays that nobody can write to: copies of those that somebody could."""
    return {
        name: read_only(
            value.copy() if isinstance(value, np.ndarray) and value.flags.writeable else value
        )
        for name, value in values.items()
    }
