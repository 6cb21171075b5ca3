"""The page of a real network on sets of devices, priced and replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

import orrery
from orrery.api._machines import cost_models
from orrery.api.figures import plan_figures
from orrery.api.pages import map_page
from orrery.cost import expand, price
from orrery.graph import Graph, build_model
from orrery.hardware import System, load_system
from orrery.mapping import MapSearch
from orrery.plan import Plan, write_plan
from orrery.report import Page, Table, TimelineChart, make_scorecard, render_html
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
    assert page.subtitle.endswith(f"lower bound 100 µs, gap {100 * gap:.3g} %")
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
    whole = orrery.map(graph, on=system, search=MapSearch(search="greedy"))
    assert "Sets of devices" not in whole.text
