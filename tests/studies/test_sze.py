"""The card of several accelerators: seven metrics, a waterfall each, published points beside."""

from __future__ import annotations

import pytest

from orrery.progress import SILENT
from orrery.report import Table, Waterfall
from orrery.studies import StudyResult
from orrery.studies.eyeriss._layers import ALEXNET
from orrery.studies.sze import sze_study
from orrery.studies.sze._points import _eyeriss_v1, array
from orrery.studies.sze._study import ARRAYS, COLUMNS


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return sze_study(0.01, SILENT)


def test_four_accelerators_stand_on_one_card(result: StudyResult) -> None:
    card = result.sections[0]
    assert isinstance(card, Table)
    assert [row[0] for row in card.rows] == list(ARRAYS[2:])
    assert len(card.columns) == len(COLUMNS) + 2
    known = [sum(cell is not None for cell in row) for row in card.rows]
    assert min(known) >= 9  # nobody published an area of most of them; no data were run


def test_every_waterfall_falls_to_the_cycles(result: StudyResult) -> None:
    falls = [s for s in result.sections if isinstance(s, Waterfall)]
    assert len(falls) == len(ARRAYS[2:])
    for fall in falls:
        values = [step.value for step in fall.steps]
        assert values == sorted(values, reverse=True)
    assert {record.status for record in result.records} == {"match"}
    assert all(record.judge_value for record in result.records)


def test_published_points_are_held_against_the_best_nests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orrery.studies.sze._points.ALEXNET", ALEXNET[-1:])
    records = {r.name.rpartition(": ")[2]: r for r in _eyeriss_v1(300, SILENT)}
    assert records["latency"].published == 0.1153
    streamed = records["processing, data there in time"].ours or 0
    assert streamed <= (records["latency"].ours or 0)
    chip = array("eyeriss-v1")
    least = 4 * ALEXNET[-1].macs / (chip.elements * chip.clock_hz)
    assert streamed >= least
    assert 0 < (records["active elements"].ours or 0) <= 100
    assert all(record.note for record in records.values())
