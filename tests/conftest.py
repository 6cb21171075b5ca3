"""What a test needs is named by marks; under ``ORRERY_REQUIRE=all`` what is missing fails.

Property tests draw the same examples on every run, so that a green commit stays green;
``HYPOTHESIS_PROFILE=explore pytest --hypothesis-seed=N`` draws others and looks for new failures.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

#: Stages of their own in scripts/run_tests.py, which reads only the files that name the mark.
STAGES = ("torch", "openvino", "rtl", "pages", "packages")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def _missing(name: str) -> bool:
    return importlib.util.find_spec(name) is None and shutil.which(name) is None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest file first, so that no worker is left alone with it at the end.
    items.sort(key=lambda item: item.path.name != "test_prose.py")
    required = os.environ.get("ORRERY_REQUIRE") == "all"
    texts: dict[Path, str] = {}
    for item in items:
        for stage in STAGES:
            if item.get_closest_marker(stage) is not None:
                if item.path not in texts:
                    texts[item.path] = item.path.read_text()
                if f"mark.{stage}" not in texts[item.path]:
                    raise pytest.UsageError(
                        f"{item.nodeid}: found the mark {stage!r} from elsewhere, wanted "
                        f"`pytest.mark.{stage}` in the file itself: the stage would miss it"
                    )
        for mark in item.iter_markers("needs"):
            missing = [name for name in mark.args if _missing(name)]
            if missing and not required:
                item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))
        if item.get_closest_marker("torch") and _missing("torch") and not required:
            item.add_marker(pytest.mark.skip(reason="needs torch"))
        if item.get_closest_marker("pages") and _missing("chromium") and not required:
            item.add_marker(pytest.mark.skip(reason="needs chromium"))
        if item.get_closest_marker("gpu") and shutil.which("nvidia-smi") is None:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))
        if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data folder beside the checkout"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, with the name, when something is missing that ``ORRERY_REQUIRE=all`` demands."""
    if os.environ.get("ORRERY_REQUIRE") != "all":
        return
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    names += ["torch"] if item.get_closest_marker("torch") else []
    names += ["chromium"] if item.get_closest_marker("pages") else []
    missing = [name for name in names if _missing(name)]
    if missing:
        pytest.fail(f"ORRERY_REQUIRE=all, but {', '.join(missing)} is not installed", pytrace=False)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that use it carry ``shared_data``."""
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    folder = tmp_path_factory.getbasetemp() / "orrery-cache"
    monkeypatch.setenv("ORRERY_CACHE", str(folder))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Place networks with little effort: for tests of what is said, not of which way is quicker.

    Usually a minute goes by in which ways are timed, on a busy machine more.
    """
    from functools import partial

    from orrery.api.choosing import Effort
    from orrery.api.placing import _ready

    quick = Effort(profile_s=0.1, race_s=0.1, races_s=0.3, most_raced=2, observed_s=0.1,
                   alone_s=0.1)  # fmt: skip
    monkeypatch.setattr(_ready, "choose", partial(_ready.choose, effort=quick))
