"""The largest batch, for every threshold."""

from __future__ import annotations

import pytest

from orrery.studies.flashneuron import largest_batch


@pytest.mark.parametrize("start", [1, 8, 100])
@pytest.mark.parametrize("near", [0.0, 0.25])
def test_every_threshold_is_found(start: int, near: float) -> None:
    for end in range(301):
        asked: list[int] = []

        def fits(batch: int, end: int = end, asked: list[int] = asked) -> bool:
            asked.append(batch)
            return batch <= end

        found = largest_batch(fits, start=start, most=256, near=near)
        assert len(asked) == len(set(asked))
        assert max(asked) <= 256
        if end >= 256:
            assert (found.largest, found.refused) == (256, None)
            continue
        assert found.refused is not None
        assert found.largest <= end < found.refused
        assert found.refused - found.largest <= max(1, near * found.largest)
