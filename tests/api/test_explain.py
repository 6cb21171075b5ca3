"""The page of a mapping says what every other choice would cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.api.exploring import EXPLAINED
from orrery.cli import main
from orrery.report import Table, Text


def _section(result: api.MapResult, title: str) -> Table | Text:
    (found,) = (section for section in result.page.sections if section.title == title)
    assert isinstance(found, Table | Text)
    return found


def test_every_layer_of_a_split_plan_has_its_next_best_choice() -> None:
    result = api.map("alexnet", on="aws-f1", search=api.MapSearch(set_sizes=(1, 8)))
    units, designs, classes = (_section(result, title) for title in EXPLAINED)
    assert isinstance(units, Table) and isinstance(designs, Table) and isinstance(classes, Table)
    names = [column.name for column in units.columns]
    rows = [dict(zip(names, row, strict=True)) for row in units.rows]
    regions = {a.region for a in result.plan.assignments}
    assert all(str(row["layers"]).split(" and ")[0] in regions for row in rows)
    # the plan is proved best of its kind, so nothing else is faster
    slower = [row["all slower by"] for row in rows]
    assert slower and all(isinstance(s, float) and s >= 0 for s in slower)
    assert any(s > 0 for s in slower if isinstance(s, float))
    assert {str(row["longest"]) for row in rows} & {"compute", "resharding", "rotation"}
    links = {link.name for link in result.system.links}
    shares = [(row["busiest link"], row["link's share"]) for row in rows if row["busiest link"]]
    assert shares and all(link in links for link, _ in shares)
    assert all(isinstance(share, float) and 0 < share <= 100 for _, share in shares)
    for row in designs.rows:
        assert row[1] != row[2]
        assert all(isinstance(cell, float) and cell >= 0 for cell in row[3:])
    by_class = {row[0]: row for row in classes.rows}
    assert "Conv 11×11 /4" in by_class and "systolic" in str(by_class["Conv 11×11 /4"][2])
    assert by_class["Relu"][1] == 7


def test_the_text_comes_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--set-sizes", "1", "--set-sizes", "8"]
    assert main(["map", "alexnet", "--on", "aws-f1", *few, "--explain"]) == 0
    text = capsys.readouterr().out
    assert all(title in text for title in EXPLAINED)
    assert main(["map", "alexnet", "--on", "aws-f1", "--search", "greedy"]) == 0
    assert EXPLAINED[0] not in capsys.readouterr().out


def test_every_whole_layer_has_its_next_best_place() -> None:
    search = api.MapSearch(search="greedy")
    result = api.map("alexnet", on=str(Path(__file__).parent / "four-boards.yaml"), search=search,
                     explain=True)  # fmt: skip
    places, classes = _section(result, EXPLAINED[0]), _section(result, EXPLAINED[2])
    assert isinstance(places, Table) and isinstance(classes, Table) and len(classes.rows) >= 4
    assert [row[0] for row in places.rows] == [a.region for a in result.plan.assignments]
    assert "by the list schedule in this plan's order" in places.caption
    devices = {device.name for device in result.system.devices}
    for row in places.rows:
        assert row[5] is not None and str(row[5]).split(",")[0] in devices
        assert isinstance(row[6], float)


def test_a_layer_without_another_place_says_none() -> None:
    result = api.map("alexnet", on="a100", explain=True)
    places = _section(result, EXPLAINED[0])
    assert isinstance(places, Table) and all(row[5:] == (None,) * 3 for row in places.rows)
