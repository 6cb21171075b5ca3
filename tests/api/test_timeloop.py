"""`orrery timeloop` and networks on an array that Timeloop's files describe."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.cost.nest import nest_cost, nest_of_timeloop, problem_of_timeloop
from orrery.errors import SpecError
from orrery.graph import Graph, Node, TensorType
from orrery.hardware import load_architecture, read_timeloop
from orrery.report import Table, Text

from ..hardware.spatial.timeloop_files import ERT, MAPPING, NEW, PROBLEM, written


def test_the_page_prices_the_mapping_of_the_files(tmp_path: Path) -> None:
    files = written(tmp_path, array=NEW, ert=ERT, layer=PROBLEM, nest=MAPPING)
    said = read_timeloop(*files)
    cost = nest_cost(problem_of_timeloop(said.problem), nest_of_timeloop(said),  # type: ignore[arg-type]
                     said.architecture)  # fmt: skip
    page = api.timeloop(files, objective="energy", bill=True)
    tables = {s.title: s for s in page.sections if isinstance(s, Table)}
    given, best = tables["What it takes"].rows
    assert given[:3] == ("given mapping", cost.operations.nominal, cost.cycles)
    assert given[4] == cost.time.compute <= given[3] <= given[2]
    assert given[6] == pytest.approx(cost.energy_j)
    assert best[0] == "best for energy" and best[6] <= given[6]
    assert sum(row[4] for row in tables["Bill of energy"].rows) == pytest.approx(best[6])
    assert {row[0] for row in tables["How far off such figures were"].rows} >= {"latency", "energy"}
    notes = next(s for s in page.sections if isinstance(s, Text))
    assert notes.paragraphs == said.architecture.notes


def test_networks_run_on_the_array_and_the_page_says_what_was_left_out(tmp_path: Path) -> None:
    written(tmp_path, array=NEW, ert=ERT)
    network = Graph(
        name="one", nodes=(Node(name="conv", op="Conv", inputs=("x", "w"), outputs=("y",)),),
        inputs=("x", "w"), outputs=("y",),
        types={"x": TensorType(dtype="int8", shape=(1, 3, 10, 10)),
               "w": TensorType(dtype="int8", shape=(4, 3, 3, 3))},
    ).infer()  # fmt: skip
    result = api.nest(network, on=str(tmp_path))
    titles = [section.title for section in result.page.sections]
    assert "Assumed, or not taken over" in titles
    assert "!Container" in result.text_of_array and "ERT:" in result.text_of_array


def test_the_command_and_what_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in written(tmp_path, array=NEW, layer=PROBLEM, nest=MAPPING)]
    assert main(["timeloop", *files]) == 0
    shown = capsys.readouterr().out
    assert "given mapping" in shown and "no energy reference table" in shown
    assert main(["timeloop", files[1]]) == 2
    assert "no `architecture:`" in capsys.readouterr().err
    with pytest.raises(SpecError, match="orrery nest MODEL"):
        api.timeloop(files[:1], objective="energy")
    written(tmp_path, nest=MAPPING.replace("factors: P4 Q2", "factors: P2 Q2"))
    with pytest.raises(SpecError, match="a mapping that fits"):
        api.timeloop(files)


def test_arrays_prints_a_translation_that_reads_as_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, array=NEW, ert=ERT)
    assert main(["arrays", str(tmp_path) + "/"]) == 0
    mine = tmp_path / "mine.yaml"
    mine.write_text(capsys.readouterr().out)
    again = load_architecture(mine)
    assert again.levels[1].read_energy_j == pytest.approx(18e-12)
    assert [axis.size for axis in again.axes] == [4, 3]
