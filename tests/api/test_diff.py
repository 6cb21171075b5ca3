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


def test_what_stays_and_tiles_are_told(tmp_path: Path) -> None:
    """What a layer's operands and tiles do differently is no other price of the same choice."""
    (tmp_path / "a.yaml").write_text(SMALL.replace("4 KiB", "2 KiB"))
    network = build_model("alexnet", image=64, width=0.1)
    for fuse in ("tails", "on-chip"):
        found = api.nest(network, on=str(tmp_path / "a.yaml"), fuse=fuse, objective="energy")
        found.write(tmp_path / fuse)
    cut = next(x.stage for x in found.layers if x.rows)
    kept = next(x for x in found.layers if x.kept_roles == ("input",) and not x.rows)
    said = _changed(api.diff(str(tmp_path / "tails"), str(tmp_path / "on-chip")))
    assert "in tiles of " in said[cut] and "another nest" not in said[cut]
    assert "stays in buffer: input" in said[kept.layer]
    back = _changed(api.diff(str(tmp_path / "on-chip"), str(tmp_path / "tails")))
    assert "no longer in tiles of " in back[cut]
    assert "no longer stays in buffer: input" in back[kept.layer]
    assert not any("same choice" in text for text in (*said.values(), *back.values()))


def _changed(compared: api.Comparison) -> dict[str, str]:
    (table,) = [s for s in compared.page.sections
                if isinstance(s, Table) and s.title == "Energy by layer"]  # fmt: skip
    return {str(row[0]): str(row[-1]) for row in table.rows}


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
