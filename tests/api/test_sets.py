"""The page's view of sets, by hand: three convolutions on two devices."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from orrery.api.pages._set_names import devices_text, sets_of, strategy_text
from orrery.api.pages._sets import set_sections
from orrery.api.pages._terms import terms_of
from orrery.cost import StepCost
from orrery.plan import Assignment, Plan, Split
from orrery.report import (
    Strip,
    Table,
)

PAIR = Split(devices=("d0", "d1"), weights=(1.0, 1.0), exclusive=(("Cout", 2),))
RING = replace(PAIR, exclusive=(("H", 2),), shared=("Cin", 1))


def _step(**changes: Any) -> StepCost:
    plain: dict[str, Any] = {
        "devices": ("d0", "d1"), "arrival_s": 0.0, "compute_s": (4.0,), "rotate_s": (0.0,),
        "party_s": ((4.0, 3.0),), "combine_s": 0.0, "return_s": 0.0, "moved_bytes": 0,
    }  # fmt: skip
    return StepCost(**(plain | changes))


def _chain() -> tuple[Plan, Any, dict[str, StepCost]]:
    """Return three convolutions: two split over both devices, the last on one."""
    plan = SimpleNamespace(
        assignments=tuple(
            Assignment(region=name, nodes=(name,), device="d0", split=split, design=design)
            for name, split, design in (
                ("conv1", PAIR, "tiled"), ("conv2", RING, "tiled"), ("conv3", None, None))
        ),
        is_split=True,
    )  # fmt: skip
    steps = {
        "conv1": _step(arrival_s=1.0, return_s=0.5),
        "conv2": _step(compute_s=(2.0, 2.0), rotate_s=(5.0, 1.0), combine_s=0.5, link="d0--d1"),
        "conv3": _step(devices=("d0",), arrival_s=3.0, compute_s=(2.0,), link="d0--d1"),
    }
    return plan, SimpleNamespace(transfers=(), per_region={}), steps  # type: ignore[return-value]


def test_terms_add_up_and_only_waiting_counts() -> None:
    # judge: by hand; of the rotation, 5 s meet 2 s of computing and 1 s hides behind 2 s
    terms = terms_of(*_chain())
    assert {name: term.total_s for name, term in terms.items()} == {
        "conv1": 5.0, "conv2": 7.5, "conv3": 5.0}  # fmt: skip
    assert {name: term.total_s for name, term in terms.items()} == {
        name: step.duration_s for name, step in _chain()[2].items()
    }
    assert terms["conv2"].waiting_s == 3.0
    assert terms["conv2"].communication_s == 3.5
    assert [term.critical for term in terms.values()] == ["compute", "rotation", "resharding"]


def test_two_sets_on_a_page() -> None:
    plan, cost, steps = _chain()
    first, second = sets_of(plan)
    assert (first.label, second.label) == ("set 1: d0–1", "set 2: d0")
    strip, sets, splits = set_sections(plan, cost, steps)
    assert isinstance(strip, Strip)
    assert [(t.letter, t.group, t.value, t.part) for t in strip.tiles] == [
        ("C", "set 1: d0–1", 5.0, 1.0), ("H", "set 1: d0–1", 7.5, 3.5), ("", "set 2: d0", 5.0, 3.0)
    ]  # fmt: skip
    assert strip.letters == {"C": "C", "H": "H + ring Cin of operand 1"}
    assert strip.tiles[1].note == "design tiled\nlongest: rotation, d0--d1"
    assert isinstance(sets, Table)
    assert sets.rows == (
        ("set 1", "d0–1", pytest.approx(100 * 12.5 / 17.5), 8.0, 4.5, 2, "conv1 … conv2", "tiled"),
        ("set 2", "d0", pytest.approx(100 * 5 / 17.5), 2.0, 3.0, 1, "conv3", "as it is"),
    )
    assert isinstance(splits, Table)
    assert [column.name for column in splits.columns] == [
        "layer", "set", "split", "time", "compute", "resharding", "rotation", "sums", "return",
        "longest", "busiest link",
    ]  # fmt: skip
    assert splits.rows[1] == ("conv2", "set 1", "H/2 + ring Cin of operand 1", 7.5, 4.0, 0.0, 6.0,
                              0.5, 0.0, "rotation", "d0--d1")  # fmt: skip
    assert splits.rows[0][-1] is None


def test_what_has_no_price_is_not_known() -> None:
    plan, cost, steps = _chain()
    strip, _, splits = set_sections(plan, cost, {"conv1": steps["conv1"]})
    assert [tile.value for tile in strip.tiles] == [5.0, None, None]  # type: ignore[union-attr]
    assert splits.rows[2][3:] == (None,) * 6  # type: ignore[union-attr]
    empty = set_sections(plan, cost, {})[1]
    assert [row[2] for row in empty.rows] == [None, None]  # type: ignore[union-attr]


def test_one_device_needs_no_view_of_sets() -> None:
    plan, cost, _ = _chain()
    alone = SimpleNamespace(assignments=plan.assignments[2:], is_split=False)
    assert set_sections(alone, cost, {}) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("devices", "text"),
    [
        (("fpga0", "fpga1", "fpga2", "fpga3"), "fpga0–3"), (("fpga0", "fpga2"), "fpga0, fpga2"),
        (("a0", "b1"), "a0, b1"), (("cpu", "gpu9", "gpu10"), "cpu, gpu9–10"), (("cpu",), "cpu"),
        (("01", "2"), "01–2"), ((), ""),
    ],
)  # fmt: skip
def test_neighbours_are_named_together(devices: tuple[str, ...], text: str) -> None:
    assert devices_text(devices) == text


def test_splits_in_words() -> None:
    assert strategy_text(None) == "one device"
    assert strategy_text(replace(PAIR, exclusive=())) == "everybody all"
    both = replace(PAIR, exclusive=(("Cin", 2), ("H", 2)), combine="reduce_scatter")
    assert strategy_text(both, brief=True) == "Cin/2×H/2, reduce-scatter"
    assert strategy_text(PAIR, brief=True) == "C"
    rows = replace(PAIR, exclusive=(("axis1", 2), ("axis3", 2)))
    assert strategy_text(rows) == "axis1/2×axis3/2"
    assert strategy_text(rows, image=True) == "C/2×W/2"
