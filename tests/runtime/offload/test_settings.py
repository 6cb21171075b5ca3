"""Settings that cannot be are refused with what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.runtime.offload import OffloadSettings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folders": ()}, "folders: found 'none', wanted at least one"),
        ({"folders": (Path("a"), Path("b/../a"))}, "wanted each once"),
        ({"block_bytes": 5000}, "block_bytes: found 5000, wanted a multiple of 4096"),
        ({"block_bytes": 512}, "wanted 4096 or more"),
        ({"threads": 0}, "threads: found 0, wanted 1 or more"),
        ({"limit_bytes": 0}, "limit_bytes: found 0, wanted above zero"),
        ({"when_full": "ignore"}, "wanted 'memory' or 'raise'"),
    ],
)
def test_refusals(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        OffloadSettings(**{"folders": (Path("a"),), **options})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 2.5}, "threads: found 2.5, wanted a whole number"),
        ({"threads": "4"}, "threads: found '4', wanted a whole number"),
        ({"threads": 20000}, "threads: found 20000, wanted 1024 or less"),
        ({"block_bytes": 1 << 30}, "block_bytes: found 1073741824, wanted 268435456 or less"),
        ({"ahead_bytes": 1 << 63}, "wanted 70368744177664 or less"),
        ({"packing": "no"}, "packing: found 'no', wanted True or False"),
        ({"recompute": 3}, "recompute: found 3, wanted True or False"),
    ],
)
def test_refusals_of_what_is_no_number_or_too_large(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        OffloadSettings(**{"folders": (Path("a"),), **options})
    assert said in str(caught.value)
