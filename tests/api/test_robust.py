"""Maps that regret least over link bandwidths: the page, the text, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery import api
from orrery.errors import SpecError
from orrery.hardware import System, load_system
from orrery.report import Table
from tests.mapping.random_graphs import residual_graph

TITLE = "If links were slower or faster"


def _system() -> System:
    system = load_system("aws-f1")
    devices = tuple(replace(device, designs=()) for device in system.devices[:2])
    links = tuple(
        link for link in system.links
        if all(end in ("host", *(d.name for d in devices)) for end in link.ends)
    )  # fmt: skip
    return replace(system, devices=devices, links=links)


def test_the_kept_plan_stands_first_with_its_latency_at_each_bandwidth() -> None:
    graph = residual_graph(5, least=4, most=5)
    result = api.map(graph, on=_system(), robust=(0.25, 4.0))
    assert result.plan.searcher == "robust-sets"
    assert result.plan.settings == {"robust": "0.25, 1, 4", "set_sizes": "1, 2"}
    table = next(s for s in result.page.sections if isinstance(s, Table) and s.title == TITLE)
    names = [column.name for column in table.columns]
    first = dict(zip(names, table.rows[0], strict=True))
    assert str(first["mapping"]).endswith("; kept")
    assert first["1 × bandwidth"] == result.plan.predicted_latency_s
    for number in (names.index(f"{f} × bandwidth") for f in ("0.25", "1", "4")):
        assert all(row[number] is None or row[number] > 0 for row in table.rows)  # type: ignore[operator]
    regrets = [row[names.index("most regret")] for row in table.rows]
    assert regrets[0] == min(r for r in regrets if r is not None)  # type: ignore[type-var]
    assert TITLE in result.text
    assert result.report.holds


def test_other_methods_are_compared_but_do_not_replace_it() -> None:
    graph = residual_graph(5, least=4, most=5)
    result = api.map(graph, on=_system(), robust=(0.25,), compare=["exact-sets", "single"])
    assert result.plan.searcher == "robust-sets"
    assert [tried.method for tried in result.tried] == ["robust-sets", "exact-sets", "single"]
    assert "Ways to map, compared" in result.text


def test_without_factors_nothing_is_said_of_other_bandwidths() -> None:
    result = api.map(residual_graph(5, least=4, most=5), on=_system())
    assert TITLE not in result.text


def test_factors_are_read_from_text() -> None:
    assert api.read_factors("0.25, 0.5,1,2") == (0.25, 0.5, 1.0, 2.0)
    assert api.read_factors("") == ()
    with pytest.raises(SpecError, match="fast"):
        api.read_factors("0.5,fast")


@pytest.mark.parametrize("factor", [0.0, -2.0, float("inf")])
def test_factors_that_are_no_bandwidth_are_refused(factor: float) -> None:
    with pytest.raises(SpecError, match="above zero"):
        api.map(residual_graph(5, least=4, most=5), on=_system(), robust=(factor,))
