"""The study of the two extensions: the floor holds, the split lane passes it, bytes fall."""

from __future__ import annotations

import pytest

from orrery.progress import SILENT
from orrery.report import Table
from orrery.studies.bitlet._beyond import beyond_part
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
