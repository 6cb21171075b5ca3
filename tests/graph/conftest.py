"""A process that runs no test of PyTorch does not load it either."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the file whose cases are PyTorch modules when its mark is deselected."""
    unwanted = "not torch" in (config.option.markexpr or "")
    return True if unwanted and collection_path.name == "test_from_torch.py" else None
