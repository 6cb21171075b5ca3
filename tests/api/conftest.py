"""Files that many tests of nests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from .arrays import SMALL


@pytest.fixture
def array(tmp_path: Path) -> str:
    """The path of a file that describes the small array."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)
