"""The systolic study: closed forms, an array walked cycle by cycle, and the engine."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.progress import SILENT
from orrery.studies.systolic import systolic_study
from orrery.studies.systolic._array import output_stationary, stationary_operand
from orrery.studies.systolic._study import FLOWS, engine_cycles


@pytest.mark.parametrize("walk", [output_stationary, stationary_operand])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_walked_array_multiplies(walk: object, size: int) -> None:
    draw = np.random.default_rng(size)
    a, b = draw.integers(-9, 9, (size, size)), draw.integers(-9, 9, (size, size))
    product, last = walk(a, b)  # type: ignore[operator]  # a function
    assert np.array_equal(product, a @ b)
    assert last == (3 if walk is output_stationary else 4) * size - 3


def test_figures_are_those_of_the_closed_forms() -> None:
    records = systolic_study(1.0, SILENT).records
    assert len(records) == 12
    for record in records:
        assert record.status == "match", record
        assert record.ours == record.published == record.judge_value


@pytest.mark.parametrize("flow", FLOWS)
def test_the_engine_charges_steps_and_loading(flow: str) -> None:
    assert engine_cycles(flow, 7) == (7 if flow == "output-stationary" else 14)


def test_a_small_scale_takes_small_arrays() -> None:
    assert len(systolic_study(0.3, SILENT).records) == 6
