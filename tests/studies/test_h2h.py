"""The H2H study: tables, the released flow's figures, and the records of a small run."""

from __future__ import annotations

import pytest

from orrery.graph import build_model
from orrery.mapping import check_locality, four_steps, one_per_kind, safe_four_steps
from orrery.progress import Progress, Step
from orrery.report import Page, render_html, render_text
from orrery.studies import Record
from orrery.studies.h2h import h2h_study
from orrery.studies.h2h._accelerators import ACCELERATORS, ListedLayer, costs_s
from orrery.studies.h2h._cases import Effort, run_case
from orrery.studies.h2h._judges import RELEASED, WITHOUT_CROSS_EDGES, WORKLOAD_SIZES
from orrery.studies.h2h._workloads import WORKLOADS, build_problem, layers_of


def _agrees(value: float, text: str) -> bool:
    """Whether a value is the figure, which may have been rounded twice (0.62847, 0.6285, 0.629)."""
    return abs(value - float(text)) <= 0.55 * 10.0 ** -len(text.partition(".")[2])


@pytest.mark.parametrize("model", WORKLOADS)
def test_layer_tables_add_up_to_the_published_lists(model: str) -> None:
    layers, places, edges = layers_of(build_model(model))
    count, weights, macs = WORKLOAD_SIZES[model]
    assert len(layers) == len(places) == count
    assert _agrees(sum(layer.weight_words for layer in layers) / 1e6, weights)
    assert _agrees(sum(layer.macs for layer in layers) / 1e9, macs)
    assert len(edges) == len(set(edges))
    chains = {chain for chain, _ in places}
    inside = [edge for edge in edges if places[edge[0]][0] == places[edge[1]][0]]
    assert len(inside) >= count - len(chains)


@pytest.mark.parametrize(("model", "gb_per_s"), RELEASED)
def test_published_flow_equals_the_released_code(model: str, gb_per_s: float) -> None:
    """The judge is the released mapper, run on the same tables; nothing here is tuned to it."""
    row = RELEASED[model, gb_per_s]
    problem = build_problem(model, link_bytes_per_s=gb_per_s * 1e9)
    steps = four_steps(problem)
    for schedule, text in zip(steps, row.steps):
        assert _agrees(schedule.makespan_s, text), (schedule.makespan_s, text)
    rules = [fault.rule for fault in check_locality(problem, steps[-1])]
    assert (rules.count("order"), rules.count("overlap")) == (row.order, row.overlap)
    for valid in steps[:3]:
        assert check_locality(problem, valid) == ()
    assert _agrees(one_per_kind(problem).makespan_s, row.one)


@pytest.mark.parametrize("model", WITHOUT_CROSS_EDGES)
def test_published_flow_breaks_its_own_chains(model: str) -> None:
    text, order, overlap = WITHOUT_CROSS_EDGES[model]
    problem = build_problem(model, link_bytes_per_s=0.125e9, cross_edges=False)
    last = four_steps(problem)[-1]
    rules = [fault.rule for fault in check_locality(problem, last)]
    assert _agrees(last.makespan_s, text)
    assert (rules.count("order"), rules.count("overlap")) == (order, overlap)


def test_safe_flow_is_valid_where_the_published_one_is_not() -> None:
    problem = build_problem("casia-surf", link_bytes_per_s=0.25e9)
    assert check_locality(problem, four_steps(problem)[-1])
    for schedule in safe_four_steps(problem):
        assert check_locality(problem, schedule) == ()


def test_convolution_cost_by_hand() -> None:
    """One tile: weights and inputs in, 2·16·14·32·32·9 operations, outputs out, nothing at once."""
    vc707 = next(a for a in ACCELERATORS if a.name == "cnn_2")
    layer = ListedLayer(name="x", kind="CNN", gives=32, takes=32, rows=16, columns=14, kernel=3)
    port = 16 * 100e6  # words per second
    tile = (32 * 32 * 9 + 32 * 16 * 16) / port + 2 * 16 * 14 * 32 * 32 * 9 / 61.62e9
    compute, weights, inputs, outputs = costs_s(layer, vc707, 1e9)
    assert compute == pytest.approx(tile + 32 * 16 * 14 / port)
    assert weights == pytest.approx(32 * 32 * 9 * 4e-9)
    assert inputs == pytest.approx(32 * 4 * 16 * 14 * 4e-9)
    assert outputs == pytest.approx(32 * 16 * 14 * 4e-9)
    twice = ListedLayer(name="x", kind="CNN", gives=33, takes=32, rows=17, columns=15, kernel=3)
    assert costs_s(twice, vc707, 1e9)[0] == pytest.approx(8 * compute)


def test_recurrent_and_full_costs_by_hand() -> None:
    pynq = next(a for a in ACCELERATORS if a.name == "lstm_12")
    lstm = ListedLayer(name="x", kind="LSTM", gives=256, takes=34, steps=200)
    words = 4 * 256 * (256 + 34)
    compute, weights, inputs, outputs = costs_s(lstm, pynq, 1e9)
    assert compute == pytest.approx(200 * 2 * words / 0.8e9)
    assert (weights, inputs, outputs) == pytest.approx((words * 4e-9, 34 * 4e-9, 256 * 4e-9))
    ese = next(a for a in ACCELERATORS if a.name == "fc_10")
    full = ListedLayer(name="x", kind="FC", gives=4096, takes=25088)
    compute = costs_s(full, ese, 1e9)[0]
    assert compute == pytest.approx((4096 * 25088 + 25088) / (16 * 150e6))  # the port decides
    assert costs_s(full, pynq, 1e9)[0] == float("inf")


@pytest.mark.parametrize(("model", "gb_per_s"), [("cnn-lstm", 0.5), ("casia-surf", 1.25)])
def test_few_moves_already_beat_the_separate_annealing(model: str, gb_per_s: float) -> None:
    case = run_case(model, gb_per_s, Effort(steps=200_000, rounds=10, cases=10))
    assert case.found.makespan_s <= float(RELEASED[model, gb_per_s].annealed)
    assert case.path_s <= case.bound.value_s <= case.found.makespan_s * (1 + 1e-12)
    assert case.found.makespan_s <= min(
        s.makespan_s for s in (case.repaired, case.one, case.chance)
    )


def test_small_study_says_what_it_found() -> None:
    seen: list[Step] = []
    result = h2h_study(0.05, Progress(report=seen.append))
    by_name = {record.name: record for record in result.records}
    assert by_name["CNN-LSTM at 0.125 GB/s: ours"].status == "match"
    assert by_name["CNN-LSTM at 0.125 GB/s: published step 4"].judge_value == 0.0812
    claim = by_name["latency reduction against H2H, mean"]
    assert (claim.published, claim.ours, claim.status) == (59.4, None, "not reproducible")
    assert all(isinstance(record, Record) for record in result.records)
    assert {step.task for step in seen} >= {"h2h cases", "bound"}
    page = Page(title="t", sections=result.sections)
    for text in (render_text(page, width=400), render_html(page)):
        assert "as published" in text
        assert "CNN-LSTM" in text
    assert h2h_study(0.05).records[5].ours == result.records[5].ours
