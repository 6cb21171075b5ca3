"""`orrery nest`: figures of the page are those of the price, layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import api
from orrery.api.nests import read_nests
from orrery.cli import main
from orrery.cost.nest import nest_cost, nest_problem
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import build_model
from orrery.hardware import load_architecture
from orrery.mapping.nest import NestFound, best_nest
from orrery.report import Table, Text

from .arrays import SMALL


@pytest.fixture
def network() -> object:
    return build_model("alexnet", image=64, width=0.1)


def test_the_page_shows_what_the_price_says(array: str, network: object) -> None:
    page = api.nest(network, on=array, bill=True).page
    tables = {s.title: s for s in page.sections if isinstance(s, Table)}
    layers = {row[0]: row for row in tables["Layers"].rows}
    architecture = load_architecture(array)
    (problem,) = nest_problem(network.regions()[0])  # type: ignore[attr-defined]
    found = best_nest(problem, architecture, settle=True)
    assert isinstance(found, NestFound)
    again = nest_cost(problem, found.mapping, architecture)
    assert layers["conv1"][3] == again.cycles
    assert layers["conv1"][5] == pytest.approx(again.energy_j)
    assert found.settled
    (told,) = [s for s in page.sections if isinstance(s, Text) and s.title.startswith("All layers")]
    assert told.paragraphs[-1] == "Of equally fast nests those of least energy."
    # every joule of the layers stands on the bill
    assert sum(row[4] for row in tables["Bill of energy"].rows) == pytest.approx(
        sum(row[5] for row in layers.values())
    )
    assert all(row[2] > 0 and row[5] for row in tables["Bill of energy"].rows)


def test_a_layer_shows_its_loops_and_where_it_loses_speed(array: str, network: object) -> None:
    page = api.nest(network, on=array, layer="conv2", objective="energy").page
    titles = [s.title for s in page.sections]
    assert titles[1:] == ["Nest of conv2", "Where conv2 loses speed", "What would help conv2",
                          "How far off such figures were"]  # fmt: skip
    nest = next(s for s in page.sections if isinstance(s, Text) and s.title == "Nest of conv2")
    assert nest.paragraphs[0].startswith("dram: ")
    assert any("side by side along cols" in line for line in nest.paragraphs)


def test_unknown_names_are_refused(array: str, network: object) -> None:
    with pytest.raises(UnknownNameError, match="conv2"):
        api.nest(network, on=array, layer="conv22")
    with pytest.raises(UnknownNameError, match="eyeriss"):
        api.nest(network, on="eyeris-v1")


def test_a_memory_that_nothing_fits_is_named_with_what_is_short(
    tmp_path: Path, network: object
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMALL.replace('"4 KiB"', '"1 B"'))
    with pytest.raises(SpecError, match=r"no layer fits: tiles in buffer .* 1 B"):
        api.nest(network, on=str(path))


def test_an_axis_with_an_unknown_loop_is_refused(tmp_path: Path, network: object) -> None:
    path = tmp_path / "slip.yaml"
    path.write_text(SMALL.replace("[Cout]", "[Cuot]"))
    with pytest.raises(SpecError, match="Cout"):
        api.nest(network, on=str(path))


def test_commands_print(array: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arrays"]) == 0
    assert "eyeriss-v1" in capsys.readouterr().out
    assert main(["arrays", "tpu-v1"]) == 0
    assert "clock" in capsys.readouterr().out
    assert main(["nest", "squeezenet1_1", "--on", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_results_are_written_and_read_again(
    array: str, network: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = api.nest(network, on=array)
    files = result.write(tmp_path / "out")
    assert read_nests(files["nests"]) == result.file
    assert load_architecture(files["architecture"]) == result.architecture
    layers = [layer for layer in result.layers if layer.cycles is not None]
    figures = {figure.metric: figure for figure in result.evidence}
    assert figures["latency"].value == pytest.approx(sum(one.latency_s or 0 for one in layers))
    assert figures["energy"].value == pytest.approx(sum(one.energy_j or 0 for one in layers))
    assert figures["latency"].bound == ("lower" if result.file.left_out else "")
    # what was written is evidence like any other: `score` reads it
    assert main(["score", str(files["evidence"])]) == 0
    assert "Scorecard" in capsys.readouterr().out
