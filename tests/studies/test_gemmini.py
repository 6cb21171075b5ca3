"""The Gemmini study: mappings read as they stand, tiles priced, constants found again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orrery.errors import SpecError
from orrery.progress import SILENT
from orrery.studies.gemmini import _study, gemmini_study
from orrery.studies.gemmini._fit import fit, halves, spearman
from orrery.studies.gemmini._price import Constants, array, cycles, tile_time
from orrery.studies.gemmini._rows import MeasuredRow, data_file, parse_mapping, read_rows

TEXT = "L3[WIO] K8 Q7 P2 - L2[WI] N1 K16X - L1[O] C4 Q8 P2 C16X - L0[W] P14"


def _row(**changed: object) -> MeasuredRow:
    shape = {"N": 1, "C": 64, "K": 128, "P": 56, "Q": 56, "R": 1, "S": 1}
    tile = {"N": 1, "C": 64, "K": 16, "P": 28, "Q": 8, "R": 1, "S": 1}
    values: dict[str, object] = {
        "shape": shape, "stride": 1, "mapping": TEXT, "tile": tile, "spatial": (16, 16),
        "tiles": 112, "side": 16, "cycles": 1.0, **changed,
    }  # fmt: skip
    return MeasuredRow(**values)  # type: ignore[arg-type]  # as the fields are


def test_a_mapping_is_read_level_by_level() -> None:
    levels = parse_mapping(TEXT)
    assert levels[0] == (("K", 8, False), ("Q", 7, False), ("P", 2, False))
    assert ("C", 16, True) in levels[2]


@pytest.mark.parametrize(
    "text", ["", TEXT[:-19], TEXT.replace("K8", "Z8"), TEXT.replace("L2", "L1"),
             TEXT + " - L0[W] P1", TEXT.replace("K8", "K0")],
)  # fmt: skip
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="can be read"):
        parse_mapping(text)


def test_a_tile_moves_its_operands_and_computes_in_whole_arrays() -> None:
    tile = tile_time(_row())
    assert tile.compute == 28 * 8 * 4  # one column block, four row blocks
    assert tile.bytes == 28 * 8 * 64 + 64 * 16 + 28 * 8 * 16
    assert tile_time(_row(side=32)).compute == 28 * 8 * 2
    assert array(32).elements == 1024


def test_windows_come_whole_where_a_stride_skips_pixels() -> None:
    dense, strided = tile_time(_row()), tile_time(_row(stride=2))
    more = (55 * 15 - 28 * 8) * 64
    assert strided.bytes - dense.bytes == more
    three = {**_row().tile, "R": 3, "S": 3}
    assert tile_time(_row(stride=2, tile=three)).bytes == (
        57 * 17 * 64 + 9 * 64 * 16 + 28 * 8 * 16
    )  # nothing is skipped


def test_more_bandwidth_or_a_lower_floor_never_costs_cycles() -> None:
    tile = tile_time(_row())
    rates = [cycles(tile, Constants(floor_cycles=300, bytes_per_cycle=b)) for b in (1, 4, 16, 99)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] >= 112 * tile.compute


def test_constants_are_found_again() -> None:
    draw = random.Random(3)
    true = Constants(floor_cycles=252, bytes_per_cycle=7.5)
    tile = _row().tile
    cut = [{**tile, "P": draw.randint(1, 28), "C": draw.randint(1, 64)} for _ in range(40)]
    tiles = [tile_time(_row(tile=each)) for each in cut]
    found = fit(tiles, [cycles(tile, true) for tile in tiles])
    assert found.floor_cycles == pytest.approx(252, rel=0.02)
    assert found.bytes_per_cycle == pytest.approx(7.5, rel=0.02)


def test_ranks_and_halves() -> None:
    assert spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(18**0.5 / 20**0.5)
    assert spearman([1, 1], [1, 2]) == 0
    first, second = halves([(i,) for i in range(9)] * 2, 1)
    assert not first & second
    assert len(first) + len(second) == 9


@pytest.mark.shared_data
def test_no_mapping_beats_the_peak_of_its_array() -> None:
    path = data_file()
    assert path is not None
    rows = read_rows(path)
    assert len(rows) == 1567
    assert len({row.key for row in rows}) == 66
    for row in rows[::12]:
        tile = tile_time(row)
        assert row.tiles * tile.compute <= row.cycles, row.mapping


@pytest.mark.shared_data
def test_the_study_ranks_mappings_that_it_did_not_fit() -> None:
    records = {record.name: record for record in gemmini_study(0.2, SILENT).records}
    rank = records["Spearman of mappings, median over shapes"]
    assert rank.ours is not None
    assert rank.ours > 0.8
    assert records["mappings that beat their array's peak"].ours == 0


def test_without_the_data_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_study, "data_file", lambda: None)
    (record,) = gemmini_study(1.0, SILENT).records
    assert record.status == "not reproducible"
    assert "firesim_results.csv" in record.note


def test_factors_that_do_not_make_up_the_layer_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    head = "prob.C,prob.K,prob.N,prob.P,prob.Q,prob.R,prob.S,prob.Hstride,mapping.mapping"
    file.write_text(f"{head},target.gemmini_cycle\n64,128,1,56,57,1,1,1,{TEXT},9.0\n")
    with pytest.raises(SpecError, match="row 2"):
        read_rows(file)
