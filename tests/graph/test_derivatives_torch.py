"""Every derivative against PyTorch's automatic one, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from .derivative_cases import CASES
from .derivative_kit import Case, by_torch, gradients

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_pytorch(case: Case) -> None:
    values, seeds, ours = gradients(case, np.random.default_rng(7))
    theirs_values, theirs = by_torch(case, seeds)
    for found, want in zip(values, theirs_values, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)
    for found, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, want, rtol=case.tolerance, atol=case.tolerance)
