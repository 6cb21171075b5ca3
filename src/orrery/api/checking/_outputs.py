"""Outputs against the NumPy reference, with a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._inputs import agreement

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a comparison found.

    Attributes
    ----------
    error : largest |a - b| / (1 + |b|) of what was judged, and what it may be
    lines : what was compared, one sentence each; the last is the verdict
    failures : why it is not right, besides the error; none where it is
    """

    error: float
    tolerance: float
    lines: tuple[str, ...]
    failures: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether everything that was judged is right."""
        return not self.failures and self.error <= self.tolerance


def judge_outputs(outputs: Tensors, reference: Tensors, tolerance: float) -> Judgement:
    """Compare outputs with the reference, up to what rounding in another order explains."""
    error = agreement(outputs, reference)
    said = f"largest difference from the NumPy reference, |a - b| / (1 + |b|): {error:.2e}"
    failures = empty_outputs(outputs)
    allowed = f"{tolerance:.0e}, what rounding in another order explains"
    if failures:
        verdict = f"verdict: not judged: {'; '.join(failures)}"
    elif error <= tolerance:
        verdict = f"verdict: agrees, at most {allowed}"
    else:
        verdict = f"verdict: differs, by more than {allowed}"
    return Judgement(error=error, tolerance=tolerance, lines=(said, verdict), failures=failures)


def empty_outputs(outputs: Tensors) -> tuple[str, ...]:
    """Name the outputs in which every element is NaN: nothing of them can be compared."""
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    return tuple(
        f"every element of {name} is NaN"
        for name, array in arrays.items()
        if array.size and _is_float(array) and np.isnan(array.astype(np.float64)).all()
    )


def _is_float(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f" or "float" in array.dtype.name
