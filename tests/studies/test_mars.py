"""The MARS study on one network; `price` and searches of their own are judges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.cost import price
from orrery.graph import build_model, count_parameters
from orrery.mapping import balanced, fill_tables, number_workload
from orrery.mapping.sets import best_mapping, evaluate, fill_problem, plan_of, scale_links
from orrery.plan import Plan
from orrery.progress import Progress, Step
from orrery.report import Page, Table, render_html, render_text
from orrery.studies import StudyResult
from orrery.studies.mars import mars_study
from orrery.studies.mars._case import BASELINES
from orrery.studies.mars._platform import (
    ARCHITECTURES,
    CLAIMS,
    DESIGN_SWEEP,
    DESIGNS,
    NETWORKS,
    Effort,
    models_of,
    platform,
    with_designs,
)
from orrery.timeline import PS_PER_S


@pytest.fixture(scope="module")
def small() -> StudyResult:
    seen: list[Step] = []
    result = mars_study(0.1, Progress(report=seen.append))
    assert any(step.task == "networks" for step in seen)
    return result


def _table(result: StudyResult, title: str) -> list[dict[str, object]]:
    found = next(s for s in result.sections if isinstance(s, Table) and s.title == title)
    names = [column.name for column in found.columns]
    return [dict(zip(names, row, strict=True)) for row in found.rows]


def test_searches_meet_their_judges(small: StudyResult) -> None:
    by_name = {record.name: record for record in small.records}
    for search in ("exact search", "exact search, replayed", "two-level search"):
        assert by_name[f"AlexNet: {search}"].status == "match"
    assert by_name["AlexNet: rules that certificates break"].ours == 0


def test_claims_need_all_networks_and_every_baseline_has_its_own(small: StudyResult) -> None:
    claims = [record for record in small.records if record.published is not None]
    assert len(claims) == len(CLAIMS) * len(BASELINES)
    assert {record.published for record in claims} == set(CLAIMS.values())
    assert {record.status for record in claims} == {"not reproducible"}
    assert all(record.ours is None for record in claims)


def test_every_way_is_certified_and_none_beats_the_bound(small: StudyResult) -> None:
    rows = _table(small, "Ways to map")
    names = [row["way"] for row in rows]
    assert {"single device", *BASELINES, "two-level", "exact"} <= set(names)
    assert {row["certificate"] for row in rows} == {"holds"}
    assert min(row["gap"] for row in rows if row["way"] != "list schedule") >= 0  # type: ignore[type-var]


def test_ablations_are_never_faster_than_with_all(small: StudyResult) -> None:
    rows = _table(small, "What each idea is worth")
    assert {f"only {design}" for design in DESIGNS.values()} <= {row["with"] for row in rows}
    for row in rows:
        assert row["longer than with all"] is None or row["longer than with all"] >= 0  # type: ignore[operator]
    assert any(row["longer than with all"] > 1 for row in rows)  # type: ignore[operator]


def test_a_bandwidth_of_the_sweep_is_the_price_on_that_system(small: StudyResult) -> None:
    """Filled, searched, written and priced anew on the scaled system."""
    row = next(r for r in _table(small, "Other bandwidths") if r["times bandwidth"] == 0.25)
    base, models, graph = platform(), models_of(tuple(DESIGNS.values())), build_model("alexnet")
    system = replace(base, links=scale_links(base, 0.25))
    tables = fill_tables(number_workload([graph]), system, models)
    problem = fill_problem(tables, models, tables.capacity_bytes, sizes=(1, 2, 4, 8))
    found = best_mapping(problem)
    assert isinstance(found, tuple)
    plan = plan_of(problem, found[1], searcher="test")
    total = price(plan, [graph], system, models).total.latency_s
    assert row["best latency"] == pytest.approx(total, abs=1e-12)
    greedy = balanced(tables)
    assert isinstance(greedy, Plan)
    assert greedy.predicted_latency_s is not None
    assert row["below greedy by layers"] == pytest.approx(
        100 * (1 - total / greedy.predicted_latency_s)
    )
    assert total == evaluate(problem, found[1]).makespan_ps / PS_PER_S


def test_the_first_row_of_designs_changes_nothing(small: StudyResult) -> None:
    first, *others = _table(small, "Other designs")
    exact = next(r for r in _table(small, "Ways to map") if r["way"] == "exact")
    assert first["best latency"] == exact["predicted"]
    assert others
    assert others[0]["with"] == DESIGN_SWEEP[0][1]
    assert others[0]["best latency"] >= first["best latency"]  # type: ignore[operator]


def test_the_study_shows_as_text_and_page(small: StudyResult) -> None:
    page = Page(title="Study", sections=small.sections)
    assert "How to read this" in render_text(page)
    assert "Regret over bandwidths" in render_html(page)


def test_networks_are_the_public_architectures() -> None:
    for network, (convolutions, parameters) in ARCHITECTURES.items():
        graph = build_model(network)
        assert sum(node.operator == "Conv" for node in graph.nodes) == convolutions
        assert count_parameters(graph) / 1e6 == pytest.approx(parameters, abs=0.05)


def test_swept_designs_exist_and_replace_one_of_their_kind() -> None:
    texts = [text for _, text in DESIGN_SWEEP]
    assert len(set(texts)) == len(texts)
    assert set(models_of(texts)) == {"", *texts}
    for kind, text in DESIGN_SWEEP:
        assert text.startswith(f"{kind}(")
        assert text not in DESIGNS.values()
    changed = with_designs(platform(), texts[:1])
    assert {device.designs for device in changed.devices} == {(texts[0],)}


def test_scales_grow() -> None:
    small, whole = Effort.at(0.1), Effort.at(1.0)
    assert small.networks == ("alexnet",)
    assert whole.networks == tuple(NETWORKS)
    assert set(small.factors) <= set(whole.factors)
    assert small.swept < whole.swept == len(DESIGN_SWEEP)
