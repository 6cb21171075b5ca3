"""`orrery diff`: layers and limits, from the files that commands write."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.report import Table

from .arrays import SMALL


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One network on an array, and on the same with half the link."""
    root = tmp_path_factory.mktemp("diff")
    found = []
    for name, text in (("a", SMALL), ("b", SMALL.replace('"16 bit/cycle"', '"8 bit/cycle"'))):
        (root / f"{name}.yaml").write_text(text)
        network = build_model("alexnet", image=64, width=0.1)
        api.nest(network, on=str(root / f"{name}.yaml")).write(root / name)
        found.append(str(root / name))
    return found[0], found[1]


def test_layers_explain_the_change(folders: tuple[str, str]) -> None:
    compared = api.diff(*folders, fail_if="latency>+5%")
    assert not compared.within_limits
    latency = next(c for c in compared.changes if c.metric == "latency")
    assert latency.verdict == "worse"
    (table,) = [s for s in compared.page.sections
                if isinstance(s, Table) and s.title == "Time by layer"]  # fmt: skip
    assert latency.values is not None
    moved = sum((row[2] or 0) - (row[1] or 0) for row in table.rows)  # type: ignore[operator]
    assert moved == pytest.approx(latency.values[1] - latency.values[0])
    sizes = [abs(row[2] - row[1]) for row in table.rows]  # type: ignore[operator]
    assert sizes == sorted(sizes, reverse=True)


def test_a_result_equals_itself(folders: tuple[str, str], tmp_path: Path) -> None:
    compared = api.diff(folders[0], folders[0], fail_if=["latency>0%", "energy>0%"])
    assert compared.within_limits
    assert all(c.verdict in ("same", "not known") for c in compared.changes)
    assert compared.write(tmp_path / "out")["report"].exists()


def test_the_command_fails_a_build(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *folders, "--fail-if", "latency>+5%"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert main(["diff", *folders[::-1], "--fail-if", "latency>+5%"]) == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match=r"evidence\.json"):
        api.diff(folders[0], tmp_path / "empty")
    assert main(["diff", folders[0], "nowhere"]) == 2


def test_what_is_no_change_for_the_better_is_not_called_one(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    """A layer that fits nowhere any more; another network; another search."""
    (tmp_path / "tight.yaml").write_text(SMALL.replace('"4 KiB"', '"5 B"'))
    network = build_model("alexnet", image=64, width=0.1)
    result = api.nest(network, on=str(tmp_path / "tight.yaml"), objective="energy")
    failed = [layer.layer for layer in result.layers if layer.schedule is None]
    assert failed
    result.write(tmp_path / "tight")
    compared = api.diff(folders[0], tmp_path / "tight")
    latency = next(c for c in compared.changes if c.metric == "latency")
    assert latency.verdict == "not known"
    (table,) = [s for s in compared.page.sections
                if isinstance(s, Table) and s.title == "Time by layer"]  # fmt: skip
    rows = {row[0]: row for row in table.rows}
    assert rows[failed[0]][3] == "not known"
    said = [s for s in compared.page.sections if s.title == "Not the same question"]
    assert "energy" in str(said)
    other = build_model("alexnet", image=64, width=0.2)
    api.nest(other, on=str(tmp_path / "tight.yaml")).write(tmp_path / "other")
    compared = api.diff(folders[0], tmp_path / "other")
    assert "networks differ" in str(compared.page.sections)
