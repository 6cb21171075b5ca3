"""The study of the two extensions: the floor holds, the split lane passes it, bytes fall."""

from __future__ import annotations

import pytest

from orrery.accel import resolve
from orrery.accel.bitlet import BitletCost
from orrery.graph import Region
from orrery.progress import SILENT
from orrery.report import Table
from orrery.studies.bitlet._beyond import _columns, beyond_part
from orrery.studies.bitlet._runs import trained_files


@pytest.mark.shared_data
def test_digits_reach_the_floor_and_columns_save_bytes(shared_data: object) -> None:
    records, sections = beyond_part(trained_files(None, None), 0.05, SILENT)
    assert [r.status for r in records] == ["match"] * 4
    digits, columns = sections
    assert isinstance(digits, Table) and isinstance(columns, Table)
    for _, _, plain, signed, split, choice, floor in digits.rows:
        assert floor <= choice <= signed < plain  # type: ignore[operator]
        assert split < floor  # type: ignore[operator]
    for _, plain, coded, share, entropy, _, traffic, latency, saved in columns.rows:
        assert coded < plain and entropy < share < 1  # type: ignore[operator]
        assert share < traffic < 1 and latency <= 1 and saved > 0  # type: ignore[operator]


@pytest.mark.shared_data
def test_bytes_are_those_of_the_accelerator(shared_data: object) -> None:
    files = trained_files(None, None)
    assert files is not None
    graph = files.graph()
    _, table = _columns(graph, "trained", ("fixed8",), SILENT)
    made = resolve("bitlet(precision='fixed8', storage='columns')")
    assert isinstance(made.cost, BitletCost)
    sizes = 0.0
    for region in graph.regions():
        if region.members[0].op in ("Conv", "Gemm"):
            expected = made.cost.expected(region)
            assert expected.decode_cycles is not None
            sizes += float(expected.weight_bytes.sum()) - 4 * biases(region)
    assert table.rows[0][2] == pytest.approx(sizes)


def biases(region: Region) -> int:
    """Numbers added to the sums, which come beside the weights."""
    names = region.members[0].inputs[2:]
    return sum(region.graph.type(name).elements or 0 for name in names if name)
