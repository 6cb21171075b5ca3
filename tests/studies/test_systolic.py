"""The systolic study: closed forms, an array walked cycle by cycle, and the engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.cost.nest import Index, NestMapping, NestProblem, NestTensor, nest_cost
from orrery.progress import SILENT
from orrery.studies.systolic import systolic_study
from orrery.studies.systolic._array import output_stationary, stationary_operand
from orrery.studies.systolic._study import FLOWS, _array, engine_time


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


def test_sets_say_that_references_are_a_form_and_speak_for_no_other_array() -> None:
    for one in systolic_study(0.3, SILENT).sets:
        assert one.against.startswith("a closed form") and "computed here" in one.source
        assert one.adapted


@pytest.mark.parametrize("flow", FLOWS)
def test_the_engine_charges_steps_loading_and_the_wavefront(flow: str) -> None:
    time = engine_time(flow, 7)
    loading = 0 if flow == "output-stationary" else 7
    assert (time.compute, time.wavefront) == (7, 12)
    assert time.cycles == 7 + loading + 12


@pytest.mark.parametrize(
    ("rows", "cols", "each", "passes"), [(3, 5, 4, 3), (4, 2, 6, 2), (2, 2, 2, 1)]
)
def test_passes_overlap_their_wavefronts(rows: int, cols: int, each: int, passes: int) -> None:
    """Walked: what moves carries its pass, and an element turns to the next weights with it."""
    draw = np.random.default_rng(rows * cols)
    moving = draw.integers(-9, 9, (passes * each, rows))
    held = draw.integers(-9, 9, (passes, rows, cols))
    right, sums = np.zeros((rows, cols), np.int64), np.zeros((rows, cols), np.int64)
    which = np.full((rows, cols), -1)
    found, last = np.zeros((passes * each, cols), np.int64), -1
    for cycle in range(passes * each + rows + cols):
        right[:, 1:], which[:, 1:] = right[:, :-1].copy(), which[:, :-1].copy()
        for k in range(rows):
            here = 0 <= cycle - k < passes * each
            right[k, 0] = moving[cycle - k, k] if here else 0
            which[k, 0] = (cycle - k) // each if here else -1
        busy = which >= 0
        weights = np.take_along_axis(held, which.clip(0)[None], axis=0)[0]
        above = np.vstack((np.zeros((1, cols), np.int64), sums[:-1]))
        sums = np.where(busy, above + right * weights, 0)
        for j in np.flatnonzero(busy[-1]):
            found[cycle - (rows - 1) - j, j] = sums[-1, j]
        last = cycle if busy.any() else last
    for n in range(passes):
        part = slice(n * each, (n + 1) * each)
        assert np.array_equal(found[part], moving[part] @ held[n])

    def tensor(role: str, *along: tuple[str, int]) -> NestTensor:
        axes = tuple(Index(size=size, terms=((loop, 1),)) for loop, size in along)
        return NestTensor(name=role, role=role, axes=axes)

    n, made, read = ("N", each), ("Cout", cols * passes), ("Cin", rows)
    problem = NestProblem(loops=(n, made, read), tensors=(
        tensor("input", n, read), tensor("weight", made, read), tensor("output", n, made),
    ))  # fmt: skip
    nest = NestMapping(temporal=((("Cout", passes),), (("N", each),), ()),
                       spatial={"rows": (("Cin", rows),), "cols": (("Cout", cols),)})  # fmt: skip
    machine = _array("weight-stationary", 2)
    sizes = {"rows": rows, "cols": cols}
    machine = replace(
        machine, axes=tuple(replace(axis, size=sizes[axis.name]) for axis in machine.axes),
        levels=(machine.levels[0], replace(machine.levels[1], read_bits_per_cycle=8.0 * cols),
                machine.levels[2]),
    )  # fmt: skip
    # The walk has the first weights in place; here a row of them enters every cycle before it.
    assert nest_cost(problem, nest, machine).cycles == rows + last + 1


def test_the_sets_leave_no_error() -> None:
    sets = systolic_study(1.0, SILENT).sets
    assert [one.worst for one in sets] == [0.0, 0.0, 0.0]


def test_a_small_scale_takes_small_arrays() -> None:
    assert len(systolic_study(0.3, SILENT).records) == 6
