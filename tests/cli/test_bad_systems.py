"""Systems on which nothing can be mapped: what is short, by how much, and what would help."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.plan import Infeasible

FOUR = (Path(__file__).parent.parent / "api/four-boards.yaml").read_text()


def _system(folder: Path, **changes: tuple[str, str]) -> str:
    """Write the four boards with some text replaced by other text."""
    text = FOUR
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "system.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ports: ["@fast", "@slow"]', 'ports: ["@fast"]', ("slow0", "no route", "add a link")),
        ('bandwidth: "4 GB/s"', 'bandwidth: "0 B/s"', ("bandwidth", "0 B/s", "above zero")),
    ],
    ids=["unreachable device", "zero bandwidth"],
)
def test_what_no_system_can_be_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: tuple[str, ...]
) -> None:
    path = _system(tmp_path, change=(old, new))
    assert main(["map", "alexnet", "--on", path]) == 2
    error = capsys.readouterr().err
    assert all(text in error for text in ("system.yaml:", *said))
    with pytest.raises(SpecError):
        api.map("alexnet", on=path)


@pytest.mark.parametrize("search", ["auto", "exact-sets", "four-steps"])
def test_a_network_that_no_set_can_hold(tmp_path: Path, search: str) -> None:
    path = _system(tmp_path, change=('size: "1 GiB"', 'size: "20 MiB"'))
    with pytest.raises(api.InfeasibleError) as refused:
        api.map("alexnet", on=path, search=api.MapSearch(search=search))
    why = refused.value.infeasible
    assert why.unit == "bytes"
    assert why.need > why.have > 0
    assert any("more memory" in remedy for remedy in why.remedies)


def test_json_says_why_there_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _system(tmp_path, change=('size: "1 GiB"', 'size: "20 MiB"'))
    assert main(["map", "alexnet", "--on", path, "--search", "single", "--json"]) == 2
    said = capsys.readouterr()
    assert "no plan" in said.err
    document = json.loads(said.out)
    assert document["orrery"]["kind"] == "infeasible"
    why = document["infeasible"]
    assert why["unit"] == "bytes"
    assert why["need"] > why["have"] > 0
    assert why["remedies"]


def test_need_and_have_without_end_are_plain_data() -> None:
    why = Infeasible(what="time", need=math.inf, have=1.0, unit="s", remedies=())
    assert why.document["infeasible"]["need"] is None


@pytest.mark.parametrize("search", ["exact-sets", "two-level", "four-steps"])
def test_memories_that_never_fill(tmp_path: Path, search: str) -> None:
    path = _system(tmp_path, change=('size: "1 GiB"', 'size: "1e13 GB"'))
    fast = api.MapSearch(search=search, set_sizes=(1, 2), population=4, generations=1)
    assert api.map("memn2n", on=path, search=fast).report.holds


def test_sets_of_more_devices_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at most 4, the devices of"):
        api.map("memn2n", on=_system(tmp_path), search=api.MapSearch(set_sizes=(1, 99)))


@pytest.mark.parametrize("search", ["auto", "exact-sets", "four-steps", "single"])
def test_designs_that_support_none_of_the_layers(tmp_path: Path, search: str) -> None:
    kind = "    kind: asic\n"
    path = _system(
        tmp_path,
        change=(kind, kind + '    operators: [Softmax]\n    designs: ["winograd(tile=2)"]\n'),
    )
    with pytest.raises(api.InfeasibleError) as refused:
        api.map("alexnet", on=path, search=api.MapSearch(search=search))
    why = refused.value.infeasible
    assert why.need > why.have
    assert "conv1" in why.what
    assert any("operators" in remedy for remedy in why.remedies)


_OVER_SETS = ["exact-sets", "two-level", "uniform", "random-sets", "robust-sets"]


@pytest.mark.parametrize("search", _OVER_SETS)
def test_sets_larger_than_all_of_a_kind(search: str, tmp_path: Path) -> None:
    with pytest.raises(api.InfeasibleError) as refused:
        api.map("alexnet", on=_system(tmp_path),
                search=api.MapSearch(search=search, set_sizes=(4,)))  # fmt: skip
    why = refused.value.infeasible
    assert "4 devices" in why.what and why.unit == "sets"
    assert any("--set-sizes" in remedy for remedy in why.remedies)


def test_other_plans_are_kept_where_there_are_no_sets(tmp_path: Path) -> None:
    search, on = api.MapSearch(set_sizes=(4,)), _system(tmp_path)
    result = api.map("alexnet", on=on, search=search, pareto=True, explain=True)
    assert result.plan.searcher == "greedy"
    assert result.report.holds
