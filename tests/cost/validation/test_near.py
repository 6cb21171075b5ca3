"""Reference sets: errors by their definition, and who speaks for which figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost.nest import nest_problem
from orrery.cost.validation import (
    OUTSIDE,
    Nearest,
    ValidationRow,
    ValidationSet,
    catalogued,
    dataflow_of,
    measured_set,
    nearest_set,
    operator_kind,
    over_parts,
    read_sets,
    recorded_sets,
    sets_text,
)
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.hardware.spatial import (
    architecture_text,
    load_architecture,
    read_architecture_text,
)


def _set(
    name: str = "known", errors: tuple[float, ...] = (0.1, -0.3, 0.2), **more: object
) -> ValidationSet:
    rows = [ValidationRow(name=f"row {i}", reference=10.0, ours=10 * (1 + e),
                          operations=1000 * (i + 1))
            for i, e in enumerate(errors)]  # fmt: skip
    values: dict[str, object] = {
        "study": "none", "quantity": "latency", "unit": "s", "against": "silicon",
        "dataflow": "weight-stationary", "operators": ("Conv",), "bits": (8,), "covers": "squares",
        "explained": "rain", "source": "nowhere", **more,
    }  # fmt: skip
    return measured_set(name, rows, **values)  # type: ignore[arg-type]  # as the fields are


def _near(sets: list[ValidationSet] | None = None, **changed: object) -> Nearest:
    asked: dict[str, object] = {
        "quantity": "latency", "dataflow": "weight-stationary", "operator": "Conv", "bits": 8,
        "operations": 1500, **changed,
    }  # fmt: skip
    return nearest_set(sets=[_set()] if sets is None else sets, **asked)  # type: ignore[arg-type]  # as the parameters are


def test_errors_are_relative_and_the_bias_has_a_sign() -> None:
    one = _set(errors=(0.1, -0.3, -0.2, -0.4, -0.5))
    assert one.median == pytest.approx(0.3)
    assert one.p90 == pytest.approx(0.46)  # between the two largest, 0.6 of the way
    assert (one.worst, one.bias) == (pytest.approx(0.5), pytest.approx(-0.3))
    assert (one.count, one.least_operations, one.most_operations) == (5, 1000, 5000)


@given(st.lists(st.floats(-0.9, 9), min_size=1, max_size=30))
def test_quantiles_are_in_order(errors: list[float]) -> None:
    one = _set(errors=tuple(errors))
    assert 0 <= one.median <= one.p90 <= one.worst
    assert abs(one.bias) <= one.worst + 1e-12


@pytest.mark.parametrize("rows", [
    [],
    [ValidationRow(name="a", reference=1.0, ours=1.0, operations=1)] * 2,
    [ValidationRow(name="a", reference=0.0, ours=1.0, operations=1)],
    [ValidationRow(name="a", reference=1.0, ours=float("nan"), operations=1)],
])  # fmt: skip
def test_a_set_without_meaning_is_refused(rows: list[ValidationRow]) -> None:
    with pytest.raises(SpecError, match="validation set 'x'"):
        measured_set("x", rows, study="", quantity="", unit="", against="", dataflow="",
                     operators=(), covers="", explained="", source="")  # fmt: skip


def test_a_set_speaks_for_its_own_kind_only() -> None:
    inside = _near()
    assert (inside.error, inside.name) == (pytest.approx(0.2), "known")
    assert "3 rows against silicon" in inside.how
    assert _near(quantity="throughput").name == "known"  # follows from the latency
    for changed, said in (
        ({"quantity": "energy"}, "no set of energy"),
        ({"dataflow": "output-stationary"}, "on output-stationary arrays"),
        ({"operator": "Softmax"}, "of Softmax"),
        ({"bits": 16}, "at 16 bits"),
        ({"operations": 99}, "of layers of 99 multiplications"),
        ({"operations": 30_001}, "of layers of 30,001 multiplications"),
    ):
        outside = _near(**changed)
        assert (outside.error, outside.name) == (None, OUTSIDE)
        assert outside.how.endswith(said) or outside.how == said
    assert _near(operations=100).name == _near(operations=30_000).name == "known"


def test_the_reference_is_said_as_multiples_of_ours() -> None:
    # ours is a half, a quarter and three quarters of 10
    one = _set(errors=(-0.5, -0.75, -0.25), architecture="mine")
    assert one.multiples == pytest.approx((4 / 3, 2.0, 4.0))  # too few rows for percentiles
    near = _near([one], architecture="mine")
    assert near.said == "measured 2x this (1.3x to 4x) on known, 3 rows"
    assert "another array (mine)" in _near([one]).said
    rate = _near([one], architecture="mine", quantity="throughput")
    assert rate.said == "measured 0.5x this (0.25x to 0.75x) on known, 3 rows"
    assert rate.inverse().said == near.said
    assert _near([_set(against="a simulator (X)")]).said.startswith("reference ")
    many = _set(errors=tuple(1 / m - 1 for m in range(1, 12)))
    assert many.multiples == pytest.approx((2.0, 6.0, 10.0))  # P10 and P90 of 1 to 11
    assert _near(quantity="energy").said == ""


def test_doubts_of_a_set_stand_beside_the_figure() -> None:
    one = _set(source="a paper, from memory, unconfirmed", reserve="capacities not checked",
               architecture="mine")  # fmt: skip
    near = _near([one], architecture="mine")
    assert near.label == "known, 3 rows, unconfirmed, capacities not checked"
    assert near.how.startswith("the same array; ")
    assert near.how.endswith("; capacities not checked")


def test_networks_match_by_their_layers() -> None:
    whole = _set(layers=(10, 20))
    assert (whole.least_operations, whole.most_operations) == (10, 20)
    assert _near([whole], operations=150).name == "known"
    assert _near([whole], operations=1500).name == OUTSIDE


def test_multiples_of_a_sum_are_added_by_share() -> None:
    a, b = (Nearest(error=0.1, name=n, how=n, multiples=m, label=f"{n}, 2 rows", measured=n == "a")
            for n, m in (("a", (1.0, 2.0, 3.0)), ("b", (2.0, 4.0, 12.0))))  # fmt: skip
    assert over_parts([(3.0, a), (1.0, b)]).said == (
        "reference 2.5x this (1.2x to 5.2x) on 75 % of it: a, 2 rows; 25 % of it: b, 2 rows"
    )


def test_an_adapted_set_speaks_for_nothing() -> None:
    assert _near([_set(adapted="a constant")]).name == OUTSIDE


def test_the_same_array_first_then_most_rows() -> None:
    small = _set("small", errors=(0.1,), architecture="mine")
    large, other = _set("large"), _set("other", errors=(0.1, 0.1))
    assert _near([other, large, small]).name == "large"
    assert _near([other, large, small], architecture="mine").name == "small"
    assert "same array" in _near([small], architecture="mine").how
    assert "another array (mine)" in _near([small]).how
    gemm = _set(operators=("MatMul",), bits=())
    assert _near([gemm], operator="Gemm", bits=4).name == "known"


def test_a_sum_takes_the_errors_of_its_parts_by_share() -> None:
    a, b = (Nearest(error=e, name=n, how=n, label=n) for n, e in (("a", 0.1), ("b", 0.3)))
    out = Nearest(error=None, name=OUTSIDE, how="no set")
    assert over_parts([(1.0, a)]) == a
    both = over_parts([(3.0, a), (1.0, b)])
    assert both.error == pytest.approx(0.15)
    assert both.name == "a (75 % of it), b (25 % of it)"
    part = over_parts([(3.0, a), (1.0, out)])
    assert (part.error, part.name) == (pytest.approx(0.1), "a (75 % of it)")
    assert part.how == "a; no set"
    little = over_parts([(1.0, a), (3.0, out)])
    assert (little.error, little.name) == (None, OUTSIDE)
    assert little.how == "25 % of it in a; the rest: no set"
    assert over_parts([]).error is None
    assert over_parts([(0.0, a)]).error is None


@pytest.mark.parametrize(("name", "flow"), [
    ("eyeriss-v1", "row-stationary"), ("eyeriss-v2", "row-stationary"),
    ("gemmini-16", "weight-stationary"), ("nvdla-like", "weight-stationary"),
    ("output-stationary-32", "output-stationary"), ("input-stationary-32", "input-stationary"),
    ("tpu-v1", "weight-stationary"), ("tpu-like-32", "weight- and output-stationary"),
])  # fmt: skip
def test_the_dataflow_is_what_an_element_keeps(name: str, flow: str) -> None:
    assert dataflow_of(load_architecture(name)) == flow


def test_a_depthwise_convolution_is_an_operator_of_its_own() -> None:
    graph = build_model("mobilenet_v2", image=32, width=0.25)
    kinds = {}
    for region in graph.regions():
        problems = nest_problem(region)
        if region.members[0].operator == "Conv" and isinstance(problems, tuple):
            group = int(region.members[0].attributes.get("group", 1))  # type: ignore[call-overload]  # a whole number
            kinds.setdefault(operator_kind("Conv", problems[0]), set()).add(group > 1)
    assert kinds == {"Conv": {False}, "depthwise Conv": {True}}
    assert _near(operator="depthwise Conv").how.endswith("of depthwise Conv")


def test_dataflows_of_arrays_without_a_name() -> None:
    chip = load_architecture("eyeriss-v1")
    assert dataflow_of(replace(chip, levels=chip.levels[:2])) == "no local reuse"
    free = tuple(replace(axis, loops=("Cout",)) for axis in chip.axes)
    assert dataflow_of(replace(chip, axes=free)) == "all-stationary"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    many = _set("many", errors=tuple(0.01 * i for i in range(41)))
    few = _set(adapted="a constant", bits=())
    path = tmp_path / "sets.yaml"
    path.write_text(sets_text([many, few]))
    back = {one.name: one for one in read_sets(path)}
    assert back["known"].rows[1].name == "row 1"
    assert replace(back["known"], rows=()) == replace(
        few,
        rows=(),
        median=0.2,
        p90=pytest.approx(few.p90),
        worst=0.3,
        bias=0.1,
        multiples=pytest.approx(few.multiples),
    )
    assert (back["many"].rows, back["many"].count) == ((), 41)
    path.write_text("- {name: x, nam: y}\n")
    with pytest.raises(SpecError, match="nam"):
        read_sets(path)
    path.write_text("- {name: [\n")
    with pytest.raises(SpecError, match="YAML"):
        read_sets(path)


def test_recorded_figures_follow_from_their_rows() -> None:
    sets = recorded_sets()
    assert len({one.name for one in sets}) == len(sets) >= 12
    for one in (one for one in sets if one.rows):
        again = measured_set(
            one.name, one.rows, study=one.study, quantity=one.quantity, unit=one.unit,
            against=one.against, dataflow=one.dataflow, operators=one.operators,
            covers=one.covers, explained=one.explained, source=one.source,
        )  # fmt: skip
        for figure in ("median", "p90", "worst", "bias", "count"):
            assert getattr(again, figure) == pytest.approx(getattr(one, figure), rel=1e-6, abs=1e-6)


def test_a_changed_array_of_the_name_was_not_measured() -> None:
    one = _set(errors=(-0.5, -0.75, -0.25), architecture="mine")
    near = _near([one], architecture="mine", same=lambda _: False)
    assert near.said == "measured 2x ours (1.3x to 4x) on known, 3 rows, a changed mine"
    assert (near.elsewhere, near.error) == ("a changed mine", one.median)
    assert "same array" not in near.how
    own = replace(_near([one], architecture="mine"), name="own")
    whole = over_parts([(1.0, near), (1.0, own)])
    assert whole.elsewhere == "a changed mine"
    assert "2x ours" in whole.said


def test_an_array_of_the_catalogue_is_known_by_its_numbers() -> None:
    chip = load_architecture("eyeriss-v1")
    assert catalogued(chip, "eyeriss-v1")
    assert not catalogued(chip, "eyeriss-v2") and not catalogued(chip, "nobody")
    copy = read_architecture_text(architecture_text("eyeriss-v1").replace("eyeriss-v1", "mine", 1))
    assert copy.name == "mine"
    assert catalogued(copy, "eyeriss-v1")
    assert nearest_set(
        "latency", dataflow="row-stationary", operator="Conv", bits=16, architecture="mine",
        same=lambda name: catalogued(copy, name),
    ).elsewhere == ""  # fmt: skip
    bus = replace(chip.levels[0], read_bits_per_cycle=1920.0)
    for changed in (
        replace(chip, levels=(bus, *chip.levels[1:])),
        replace(chip, axes=(replace(chip.axes[0], size=24), *chip.axes[1:])),
        replace(chip, clock_hz=2 * chip.clock_hz),
        replace(chip, bits={**chip.bits, "weight": 8}),
    ):
        assert not catalogued(changed, "eyeriss-v1")
