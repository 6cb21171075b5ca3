"""The page of a real network on sets of devices, priced and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

import orrery
from orrery.api._machines import cost_models
from orrery.api.figures import plan_figures
from orrery.api.judging import judge_plan
from orrery.api.pages import map_page
from orrery.cost import expand, price
from orrery.graph import Graph, build_model
from orrery.hardware import System, load_system
from orrery.mapping import MapSearch
from orrery.plan import Plan, write_plan
from orrery.report import (
    Page,
    Strip,
    Table,
    TimelineChart,
    make_scorecard,
    render_html,
    render_text,
)
from orrery.sim import replay_split

from .split_plans import plan_on_sets


def _page(graph: Graph, system: System, plan: Plan) -> Page:
    cost = price(plan, [graph], system, cost_models(system))
    played = replay_split(
        plan, system, expand(plan, [graph], system),
        lambda a, party, turn: cost.steps[a.region].party_s[turn][party],
    )  # fmt: skip
    timeline = played.timeline
    figures = plan_figures([graph], system, plan, cost, timeline)
    card = make_scorecard(figures[0].subject, figures)
    return map_page([graph], system, plan, cost, timeline, card, [])


def test_the_page_of_a_real_plan_shows_sets_bound_and_gap() -> None:
    graph, system = build_model("alexnet", image=64, width=0.25), load_system("aws-f1")
    sets = [("fpga0", "fpga1"), ("fpga2", "fpga4")]
    plan = plan_on_sets(graph, system, sets, bound_s=1e-4)
    page = _page(graph, system, plan)
    assert "2 sets of devices" in page.subtitle
    chart = next(s for s in page.sections if isinstance(s, TimelineChart))
    assert chart.marks == {"lower bound": 10**8}
    gap = chart.timeline.makespan_s / 1e-4 - 1
    assert page.subtitle.endswith(f"lower bound 100 µs, gap {100 * gap:.3g} % among {plan.bound}")
    tables = {s.title: s for s in page.sections if isinstance(s, Table)}
    assert {row[1] for row in tables["Sets of devices"].rows} <= {
        "fpga0–1", "fpga2, fpga4", "fpga0", "fpga2"}  # fmt: skip
    assert sum(row[2] for row in tables["Sets of devices"].rows) == pytest.approx(100)  # type: ignore[misc]
    assert len(tables["How each layer is split"].rows) == len(plan.assignments)
    shared = {row[0]: row[1] for row in tables["Devices"].rows}
    assert shared["fpga1"] == sum("fpga1" in a.devices for a in plan.assignments) > 0
    assert "The mapping at a glance" in render_html(page)


def test_a_bound_above_the_replay_is_called_wrong() -> None:
    graph, system = build_model("alexnet", image=64, width=0.25), load_system("aws-f1")
    plan = plan_on_sets(graph, system, [("fpga0", "fpga1")], bound_s=10.0)
    notes = next(s for s in _page(graph, system, plan).sections if s.title.startswith("What the"))
    assert notes.tone == "warning"  # type: ignore[union-attr]
    assert any("one of the two is wrong" in text for text in notes.paragraphs)  # type: ignore[union-attr]


def test_the_shell_shows_the_sets_of_a_split_plan(tmp_path: Path) -> None:
    graph, system = build_model("alexnet", image=64, width=0.25), load_system("aws-f1")
    plan = plan_on_sets(graph, system, [("fpga0", "fpga1"), ("fpga2",)], bound_s=1e-4)
    write_plan(tmp_path / "plan.json", plan)
    result = orrery.simulate(tmp_path / "plan.json", models=[graph], on=system)
    assert "set 1: fpga0–1  " in result.text
    assert "Sets of devices" in result.text
    alone = orrery.map(graph, on="a100", search=MapSearch(search="greedy"))
    assert "Sets of devices" not in alone.text


@pytest.mark.parametrize(
    ("search", "covered"),
    [
        (MapSearch(search="random", draws=1), "whole layers, links shared in any way"),
        (MapSearch(search="uniform"), "sets of 1, 2, 4, 8 equal devices in series, layers in"),
        (MapSearch(search="uniform", set_sizes=(1, 3)), "sets of 1, 3 equal devices in series"),
    ],
)
def test_page_and_shell_say_what_the_gap_covers(search: MapSearch, covered: str) -> None:
    usual = search.search == "uniform" and not search.set_sizes
    graph = build_model("memn2n") if usual else build_model("alexnet", image=64, width=0.25)
    tried = orrery.map(graph, on="aws-f1", search=search).tried
    plan = next(one.outcome for one in tried if one.method == search.search)
    assert isinstance(plan, Plan)
    result = judge_plan([graph], load_system("aws-f1"), plan)
    page = " ".join(render_text(result.page).split())
    gap = f"gap {100 * (result.certificate.gap or 0):.3g} %"
    assert f"{gap} among {covered}" in page
    for text in (page, " ".join(result.text.split())):
        assert all(title in text for title in ("The mapping at a glance", "Sets of devices"))
        assert gap in text and f"({covered}" in text
        assert "On the whole machine no plan is faster than" in text


def test_a_layer_that_follows_a_convolution_reads_like_it() -> None:
    graph = build_model("alexnet", image=64, width=0.25)
    result = orrery.map(graph, on="aws-f1", search=MapSearch(search="uniform"))
    conv, relu = (next(n.name for n in graph.nodes if n.op == op) for op in ("Conv", "Relu"))
    table = next(s for s in result.page.sections if s.title == "How each layer is split")
    assert isinstance(table, Table)
    split = {row[0]: row[2] for row in table.rows}
    assert not any("axis2" in str(text) for text in split.values())
    strip = next(s for s in result.page.sections if isinstance(s, Strip))
    letters = {tile.name: tile.letter for tile in strip.tiles}
    assert letters[conv] == letters[relu] != ""
