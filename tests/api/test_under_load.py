"""A plan under load on its card, its page and in the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orrery import api
from orrery.api.exploring._under_load import INPUTS, under_load
from orrery.api.judging import plan_seconds
from orrery.api.judging._durations import check
from orrery.api.judging._seconds import period_s
from orrery.cli import main
from orrery.graph import Graph, Node, TensorType
from orrery.hardware import System, load_system
from orrery.plan import Plan
from orrery.report import Table, Text, parse_needs

SYSTEM = Path(__file__).parent / "four-boards.yaml"


def chain(**how: object) -> Graph:
    shape = TensorType(dtype="float32", shape=(64, 64))
    nodes = tuple(Node(name=f"n{i}", op="Relu", inputs=(f"t{i}",), outputs=(f"t{i + 1}",))
                  for i in range(6))  # fmt: skip
    graph = Graph(name="chain", nodes=nodes, inputs=("t0",), outputs=("t6",), types={"t0": shape})
    return replace(graph, **how).infer()  # type: ignore[arg-type]


def mapped(graph: Graph, **settings: object) -> api.MapResult:
    search = api.MapSearch(objective="throughput", **settings)  # type: ignore[arg-type]
    return api.map(graph, on=str(SYSTEM), search=search)


def paragraphs(result: api.MapResult) -> str:
    (text,) = (s for s in result.page.sections if s.title == INPUTS[0])
    assert isinstance(text, Text)
    return "\n".join(text.paragraphs)


@pytest.mark.parametrize("search", ["exact-sets", "greedy"])
def test_a_plan_for_throughput_shows_what_was_searched_and_what_was_replayed(search: str) -> None:
    result = mapped(chain(), search=search)
    said = paragraphs(result)
    assert "Searched period" in said and "One input leaves every" in said
    value = {e.metric: e.value for e in result.evidence}
    searched = period_s(result.plan, result.system, result.price)
    assert searched >= max(result.price.busy_s.values()) * (1 - 1e-9)
    assert value["period"] >= searched * (1 - 1e-6)
    assert value["throughput"] == pytest.approx(1 / value["period"])
    assert value["latency under load"] >= value["latency"] * (1 - 1e-9)
    (table,) = (s for s in result.page.sections if s.title == INPUTS[1])
    assert isinstance(table, Table)
    assert {row[0] for row in table.rows} >= {d for a in result.plan.assignments for d in a.devices}
    if value["period"] > searched * 1.001:
        assert " %: " in said
    else:
        assert "the replay's is the same" in said


def test_one_clock_compares_plans_of_all_forms_for_throughput() -> None:
    """Links count, both ways together where they are not duplex, in whole and in split plans."""
    graph, links = chain(), load_system(str(SYSTEM)).links
    slow = tuple(replace(x, bandwidth_bytes_per_s=1e6, duplex=False) for x in links)
    system = replace(load_system(str(SYSTEM)), links=slow)
    judge = plan_seconds([graph], system, "throughput")
    search = api.MapSearch(objective="throughput", search="exact-sets")
    result = api.map(graph, on=system, search=search, compare=["single", "greedy"])
    there_and_back = 2 * 4 * 64 * 64 / 1e6
    for one in result.tried:
        assert isinstance(one.outcome, Plan) and one.seconds == judge(one.outcome)
        devices = {d for a in one.outcome.assignments for d in a.devices}
        least = there_and_back / min(2, len(devices))  # another link may carry the results
        assert one.seconds >= least * (1 - 1e-9)
    value = {e.metric: e.value for e in result.evidence}
    assert value["period"] == pytest.approx(judge(result.plan), rel=1e-3)


def test_a_certificate_states_the_period_and_the_checker_doubts_it() -> None:
    graph = chain()
    result = mapped(graph, search="exact-sets")
    true = result.certificate
    assert result.report.holds and "lower bound of the period" in result.text
    assert true.period_ps is not None and true.lower_bound_period_ps is not None
    assert 0 < true.lower_bound_period_ps <= true.period_ps
    forged: list[dict[str, object]] = [
        {"period_ps": true.lower_bound_period_ps // 2}, {"period_ps": None},
        {"lower_bound_period_ps": true.period_ps}, {"period_bound": "any plan"},
    ]  # fmt: skip
    for change in forged:
        found = check(replace(true, **change), result.plan, [graph], result.system)  # type: ignore[arg-type]
        assert {violation.kind for violation in found.violations} == {"claim"}, change


def test_needs_are_judged_by_the_inputs_in_a_row() -> None:
    graph = chain()
    result = mapped(graph, search="exact-sets")
    alone = 1 / result.timeline.makespan_s
    period = next(e.value for e in result.evidence if e.metric == "period")
    assert period is not None
    wanted = parse_needs([f"throughput>{0.9 / period}/s", f"throughput>{1.1 / period}/s"])
    judged = under_load(result, [graph], wanted)
    assert [v.status for v in judged.verdicts] == ["pass", "fail"]
    assert 1 / period >= alone * (1 - 1e-9)


def test_states_are_told_apart_from_inputs() -> None:
    shape = TensorType(dtype="float32", shape=(64, 64))
    nodes = (Node(name="sum", op="Add", inputs=("s", "x"), outputs=("sum",)),
             Node(name="next", op="Relu", inputs=("sum",), outputs=("next",)))  # fmt: skip
    graph = Graph(name="kept", nodes=nodes, inputs=("x", "s"), outputs=("next",),
                  types={"x": shape, "s": shape}, states={"s": "next"}).infer()  # fmt: skip
    result = mapped(graph, search="greedy")
    assert "none waits for the state" in paragraphs(result)
    one = next(e for e in result.evidence if e.metric == "throughput")
    assert one.value == pytest.approx(1 / result.timeline.makespan_s)


def test_memory_that_inputs_on_their_way_overfill_is_said() -> None:
    graph = chain()
    result = mapped(graph, search="exact-sets")
    assert "Memory:" not in paragraphs(result)
    small = tuple(
        replace(d, memories=tuple(replace(m, size_bytes=4) for m in d.memories))
        for d in result.system.devices
    )
    system: System = replace(result.system, devices=small)
    tight = under_load(replace(result, system=system), [graph])
    text = next(s for s in tight.page.sections if s.title == INPUTS[0])
    assert isinstance(text, Text) and text.tone == "warning"
    assert any("fewer can be on their way" in line for line in text.paragraphs)


def test_any_plan_is_played_in_a_row_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["map", "squeezenet1_1", "--on", str(SYSTEM), "--search", "greedy"]
    assert main([*plan, "--out", str(tmp_path / "out")]) == 0
    assert INPUTS[0] not in capsys.readouterr().out
    again = ["simulate", str(tmp_path / "out" / "plan.json"), "--inferences"]
    assert main([*again, "8"]) == 0
    text = " ".join(capsys.readouterr().out.split())  # lines break where the terminal ends
    assert INPUTS[0] in text and "busy per input" in text
    assert main([*again, "2"]) == 2
    assert "4 or more" in capsys.readouterr().err
