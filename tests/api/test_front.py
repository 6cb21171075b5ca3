"""Plans that trade one figure for another, and the best of them under ceilings."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.api._machines import cost_models
from orrery.api.exploring import FRONT
from orrery.cli import main
from orrery.cost import price
from orrery.errors import SpecError
from orrery.graph import Graph, Node, TensorType
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import fill_problem, mapping_of
from orrery.mapping.trade import fill_joules, front_plans
from orrery.progress import Progress, Step
from orrery.report import Series, Table

FOUR = Path(__file__).parent / "four-boards.yaml"


def _rows(result: api.MapResult) -> list[dict[str, object]]:
    (table,) = (s for s in result.page.sections if s.title == FRONT[0])
    assert isinstance(table, Table)
    return [dict(zip((c.name for c in table.columns), row, strict=True)) for row in table.rows]


@pytest.fixture(scope="module")
def front() -> api.MapResult:
    return api.map("alexnet", on=str(FOUR), pareto=True)


def test_the_front_trades_latency_for_energy_and_devices(front: api.MapResult) -> None:
    rows = _rows(front)
    assert [row["note"] for row in rows].count("chosen") == 1
    latency = [float(str(row["latency"])) for row in rows]
    energy = [float(str(row["energy"])) for row in rows]
    assert latency == sorted(latency)
    assert rows[0]["note"] == "chosen"
    assert min(energy) < energy[0] / 2  # the slow boards take a twentieth of the energy per MAC
    figures = [tuple(row[k] for k in ("latency", "period", "energy", "peak memory", "devices"))
               for row in rows]  # fmt: skip
    for one in figures:
        assert not any(
            other != one and all(float(str(a)) <= float(str(b)) for a, b in zip(other, one))
            for other in figures
        )
    assert front.report.holds
    titles = [s.title for s in front.page.sections if isinstance(s, Series)]
    assert set(FRONT[1:]) <= set(titles)


def test_ceilings_choose_and_the_rest_is_named(front: api.MapResult) -> None:
    rows = _rows(front)
    least = min(float(str(row["energy"])) for row in rows)
    fast = float(str(rows[0]["latency"]))
    kept = api.map("alexnet", on=str(FOUR), pareto=True, needs=[f"energy<{1.5 * least:.9g}J"])
    assert kept.needs_met
    assert kept.timeline.makespan_s > fast
    chosen = min(float(str(r["latency"])) for r in rows if float(str(r["energy"])) < 1.5 * least)
    assert kept.timeline.makespan_s == pytest.approx(chosen, rel=1e-9)
    both = [f"latency<{1.01 * fast:.9g}s", f"energy<{1.5 * least:.9g}J", "devices<=4"]
    with pytest.raises(api.InfeasibleError) as refused:
        api.map("alexnet", on=str(FOUR), pareto=True, needs=both)
    why = refused.value.infeasible
    assert both[0] in why.what and both[1] in why.what and both[2] not in why.what
    assert why.unit == "s" and why.need == pytest.approx(1.01 * fast)
    assert why.have == pytest.approx(chosen, rel=1e-6)
    assert any("relax" in text for text in why.remedies)


def _short() -> Graph:
    """Two layers: enough where a ceiling is out of reach of any plan."""
    types = {"x": TensorType(dtype="float32", shape=(1, 64, 56, 56))}
    nodes = tuple(
        Node(name=op, op=op, inputs=(before,), outputs=(after,))
        for op, before, after in (("Relu", "x", "y"), ("Sigmoid", "y", "z"))
    )
    return Graph(name="short", nodes=nodes, inputs=("x",), outputs=("z",), types=types).infer()


def test_one_ceiling_too_low_and_ceilings_that_exclude_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(api.InfeasibleError) as refused:
        api.map(_short(), on=str(FOUR), pareto=True, needs=["latency<1us"])
    assert refused.value.infeasible.have > refused.value.infeasible.need == pytest.approx(1e-6)
    contradictory = ["--need", "latency<1ms", "--need", "latency>2s"]
    assert main(["map", "alexnet", "--on", str(FOUR), "--pareto", *contradictory]) == 2
    assert "latency<1ms" in capsys.readouterr().err
    with pytest.raises(SpecError, match="not known"):
        api.map(_short(), on="aws-f1", pareto=True, needs=["energy<1J"])


@pytest.mark.parametrize("pareto", [False, True])
def test_needs_that_contradict_are_named_before_anything_is_searched(pareto: bool) -> None:
    seen: list[Step] = []
    needs = ["devices<=2", "latency<5ms", "latency>10ms"]
    with pytest.raises(api.InfeasibleError, match="contradict") as refused:
        api.map("alexnet", on=str(FOUR), pareto=pareto, needs=needs,
                progress=Progress(report=seen.append))  # fmt: skip
    why = refused.value.infeasible
    assert "latency<5ms" in why.what and "latency>10ms" in why.what and "devices" not in why.what
    assert (why.need, why.have, why.unit) == (pytest.approx(5e-3), pytest.approx(10e-3), "s")
    assert len(why.remedies) == 2 and not seen
    with pytest.raises(api.InfeasibleError, match="contradict"):
        api.map("alexnet", on=str(FOUR), pareto=pareto, needs=["devices<2", "devices>=2"])


def _priced(tmp_path: Path, link: str = "2 GB/s") -> str:
    """Two cheap boards and two dear ones, twice as fast, at one switch."""
    boards = "".join(f"""
  - name: c{n}
    kind: fpga
    compute: {{macs: {{float32: "{20 * (1 + n // 2)} GMAC/s"}}, others: "20 Gop/s"}}
    memories: [{{name: dram, size: "4 GiB", bandwidth: "19.2 GB/s", offchip: true}}]
    price: "{100 * 10 ** (n // 2)} USD\"""" for n in range(4))  # fmt: skip
    path = tmp_path / "priced.yaml"
    path.write_text(f"""name: priced
host: host
source: s
sources: {{s: {{basis: assumed, where: "test", note: "test"}}}}
devices:{boards}
links:
  - switch: pcie
    ports: [host, c0, c1, c2, c3]
    bandwidth: "{link}"
    latency: "1 us"
""")
    return str(path)


def test_a_ceiling_of_price_is_searched_on_the_devices_it_allows(tmp_path: Path) -> None:
    result = api.map("alexnet", on=_priced(tmp_path), pareto=True, needs=["price<250USD"])
    assert result.needs_met and result.report.holds
    used = {d for a in result.plan.assignments for d in a.devices}
    assert used == {"c0", "c1"}
    assert result.plan.lower_bound_s == pytest.approx(result.timeline.makespan_s, rel=1e-6)
    assert "that keeps to" in result.plan.bound and "c0 and c1" in result.plan.bound
    with pytest.raises(api.InfeasibleError, match="no plan: price") as refused:
        api.map("alexnet", on=_priced(tmp_path), pareto=True, needs=["price<50USD"])
    assert refused.value.infeasible.have == 100.0
    slow = ["price<250USD", f"latency<{0.9 * result.timeline.makespan_s}s"]
    with pytest.raises(api.InfeasibleError, match=r"none of the \d+ plans tried") as unproved:
        api.map("alexnet", on=_priced(tmp_path), pareto=True, needs=slow)
    assert "no plan found" in str(unproved.value) and not unproved.value.infeasible.proved


def test_the_best_plan_for_throughput_is_not_dropped_by_a_need_for_it(tmp_path: Path) -> None:
    search = api.MapSearch(objective="throughput", set_sizes=(1, 2))
    alone = api.map("alexnet", on=_priced(tmp_path, "8 GB/s"), search=search)
    value = {e.metric: e.value for e in alone.evidence}
    assert value["period"] is not None and value["latency"] is not None
    rate = 0.98 / value["period"]
    assert rate > 1 / value["latency"]  # so that one input at a time would not meet the need
    kept = api.map("alexnet", on=_priced(tmp_path, "8 GB/s"), search=search, pareto=True,
                   needs=[f"throughput>{rate:.9g}/s"])  # fmt: skip
    assert kept.needs_met and kept.plan.objective == "throughput"
    assert kept.plan.lower_bound_s is None and kept.plan.lower_bound_period_s is not None
    found = {e.metric: e for e in kept.evidence}
    assert found["throughput"].context["overlap"] == "inputs following each other"
    assert kept.plan.lower_bound_period_s <= (found["period"].value or 0.0) * (1 + 1e-9)
    text = " ".join(api.under_load_text(kept).split())
    assert "Lower bound of the period: 8.42 ms, gap 0.467 %" in text


def test_energies_of_plans_are_those_of_their_price() -> None:
    graph, system = api.load_model("alexnet"), api.load_system(str(FOUR))
    models = cost_models(system)
    tables = fill_tables(number_workload([graph]), system, models)
    problem = fill_problem(tables, models, tables.capacity_bytes, sizes=(1, 2), dimensions=1)
    joules = fill_joules(problem, models)
    for plan in front_plans(problem, models):
        cost = price(plan, [graph], system, models)
        mapping = mapping_of(problem, plan)
        assert joules.dynamic_j(mapping) == pytest.approx(cost.dynamic_energy_j, rel=1e-9)
        assert joules.energy_j(mapping) == pytest.approx(cost.total.energy_j, rel=1e-9)
        if plan.lower_bound_j is not None:
            assert plan.lower_bound_j == pytest.approx(cost.total.energy_j, rel=1e-6)


def test_the_least_energy_is_a_plan_with_a_bound(front: api.MapResult) -> None:
    result = api.map("alexnet", on=str(FOUR), search=api.MapSearch(objective="energy"))
    joules = result.price.total.energy_j
    assert joules is not None and result.plan.objective == "energy" and result.report.holds
    assert result.plan.lower_bound_j == pytest.approx(joules, rel=1e-6)
    assert joules <= min(float(str(row["energy"])) for row in _rows(front)) * (1 + 1e-9)
    assert "takes less energy" in result.text and "gap 0 %" in result.text
    assert result.needs_met and {t.method for t in result.tried} >= {"greedy", "exact-sets"}
    with pytest.raises(SpecError, match="idle power is known for fpga0") as unknown:
        api.map("alexnet", on="aws-f1", search=api.MapSearch(objective="energy"))
    assert "idle_power" in str(unknown.value)


def test_a_ceiling_of_energy_bounds_a_search_for_latency(front: api.MapResult) -> None:
    rows = _rows(front)
    least = min(float(str(row["energy"])) for row in rows)
    kept = api.map("alexnet", on=str(FOUR), needs=[f"energy<{1.5 * least:.9g}J"])
    assert kept.needs_met and kept.plan.objective == "latency" and kept.report.holds
    assert "that keeps energy at most" in kept.plan.bound
    bound = kept.plan.lower_bound_s
    assert bound is not None and bound <= kept.timeline.makespan_s <= 1.05 * bound
    slow = api.map("alexnet", on=str(FOUR), search=api.MapSearch(objective="energy"),
                   needs=[f"latency<{0.999 * kept.timeline.makespan_s:.9g}s"])  # fmt: skip
    assert slow.needs_met and slow.plan.lower_bound_j is not None
    joules = slow.price.total.energy_j
    assert joules is not None and joules >= slow.plan.lower_bound_j * (1 - 1e-9)
    with pytest.raises(api.InfeasibleError) as refused:
        api.map("alexnet", on=str(FOUR), needs=[f"energy<{0.9 * least:.9g}J"])
    why = refused.value.infeasible
    assert why.unit == "J" and why.need < why.have == pytest.approx(least, rel=1e-4)
    with pytest.raises(api.InfeasibleError, match="relax") as refused:
        api.map("alexnet", on=str(FOUR), needs=[f"energy<{1.5 * least:.9g}J", "latency<5ms"])
    assert "latency at most 5.00 ms" in refused.value.infeasible.what


def test_a_front_that_is_stopped_keeps_what_it_found() -> None:
    seen: list[str] = []
    alone = Progress(report=lambda step: seen.append(step.task),
                     cancelled=lambda: "energy of choices" in seen)  # fmt: skip
    result = api.map("alexnet", on=str(FOUR), pareto=True, progress=alone)
    assert result.interrupted
    assert "interrupted" in result.plan.notes[-1]
    assert result.plan.lower_bound_s is not None
    assert result.report.holds
    found_by = {row["found by"] for row in _rows(result)}
    assert "front: energy" not in found_by and len(found_by) >= 2


def test_the_page_of_a_need_that_is_kept_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")  # a narrow table shortens its notes
    code = main(["map", "alexnet", "--on", str(FOUR), "--pareto", "--need", "devices<=1"])
    text = capsys.readouterr().out
    assert code == 0
    assert FRONT[0] in text and "misses devices<=1" in text and "chosen" in text
