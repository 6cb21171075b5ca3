"""Files that many tests of nests begin with, and little effort where placing is not judged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from orrery.api.choosing import Effort

from .arrays import SMALL

QUICK = Effort(profile_s=0.1, race_s=0.1, races_s=0.3, most_raced=2, observed_s=0.1)


@pytest.fixture
def array(tmp_path: Path) -> str:
    """The path of a file that describes the small array."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Place networks with little effort: for tests of what is said, not of which way is quicker."""
    from orrery.api.placing import _ready

    monkeypatch.setattr(_ready, "choose", partial(_ready.choose, effort=QUICK))
