"""Run lint, types and the test suite, one process per heavy package, and add up the counts.

``run_tests.py`` runs all stages, ``run_tests.py STAGE …`` the named ones. Stages of one process run
two at a time, and what they print is shown when each is over. With ``ORRERY_COVER=1`` the core
stage counts covered lines, which takes about half as long again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
BIN = ROOT / ".venv" / "bin"

#: what has no stage of its own
CORE = "not torch and not openvino and not rtl and not pages and not packages"

#: Two workers; a file stays on one of them, so that what its tests share is made once, and files
#: come as they stand, not those with the fewest tests last: these are the long ones.
SHARED_OUT = ("-n", "2", "--dist=loadfile", "--no-loadscope-reorder")

#: stage -> commands; a pytest command gets a report file added. Heavy packages have a process of
#: their own, because two of them in one process can clash and none gives its memory back.
STAGES: dict[str, list[list[str]]] = {
    "lint": [
        [str(BIN / "ruff"), "check", "src", "tests", "bench", "scripts"],
        [str(BIN / "ruff"), "format", "--check", "-q", "src", "tests", "bench", "scripts"],
        [str(BIN / "mypy")],
    ],
    "packages": [["pytest", "-m", "packages"]],
    "openvino": [["pytest", "-m", "openvino"]],
    "pages": [["pytest", "-m", "pages"]],
    "core": [
        [str(BIN / "python"), "scripts/compile_kernels.py"],
        ["pytest", *SHARED_OUT, "-m", CORE],
    ],
    "torch": [["pytest", *SHARED_OUT, "-m", "torch"]],
    "rtl": [["pytest", "-n", "2", "-m", "rtl"]],
}

#: Stages that keep one processor busy. The first takes about as long as the others in a row.
ALONE = ("lint", "packages", "openvino", "pages")


@dataclass(frozen=True, slots=True)
class Ran:
    """How one stage went: seconds, whether a command failed, and counts of tests."""

    stage: str
    seconds: float
    broken: bool
    passed: int
    failed: int
    skipped: int


def main(names: list[str]) -> int:
    """Run the stages and return 0 when all of them passed."""
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"run_tests: found stage {unknown[0]!r}, wanted one of {', '.join(STAGES)}")
        return 2
    environment = os.environ | {"ORRERY_REQUIRE": "all", "OMP_NUM_THREADS": "1"}
    # Many processes start here; without bytecode files each would compile all modules anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = names or list(STAGES)
    alone = [name for name in wanted if name in ALONE]
    ran: list[Ran] = []
    if len(alone) > 1:
        with ThreadPoolExecutor(2) as two:
            ran += two.map(lambda name: _stage(name, environment, shown_at_once=False), alone)
        wanted = [name for name in wanted if name not in ALONE]
    ran += [_stage(name, environment, shown_at_once=True) for name in wanted]
    print("\nstages: " + ", ".join(f"{one.stage} {one.seconds:.0f} s" for one in ran))
    if broken := [one.stage for one in ran if one.broken]:
        print(f"failed stages: {', '.join(broken)}")
    passed, failed, skipped = (
        sum(counts) for counts in zip(*((r.passed, r.failed, r.skipped) for r in ran), strict=True)
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if broken else 0


def _stage(name: str, environment: dict[str, str], *, shown_at_once: bool) -> Ran:
    """Run a stage's commands; what they print comes at once, or in one piece at the end."""
    start = time.monotonic()
    counts, broken = [0, 0, 0], False
    with tempfile.TemporaryFile("w+") as said:
        for command in STAGES[name]:
            code, more = _run(command, environment, None if shown_at_once else said)
            counts = [have + new for have, new in zip(counts, more, strict=True)]
            broken |= code != 0
        said.seek(0)
        print(said.read(), end="", flush=True)
    return Ran(name, time.monotonic() - start, broken, *counts)


def _run(
    command: list[str], environment: dict[str, str], said: IO[str] | None
) -> tuple[int, tuple[int, int, int]]:
    """Return a command's exit status and how many tests passed, failed and were skipped."""
    if command[0] != "pytest":
        print(f"$ {' '.join([Path(command[0]).name, *command[1:]])}", file=said, flush=True)
        code = _status(command, environment, said)
        return code, (0, int(code != 0), 0)
    arguments = [*command[1:], *_files(command)]
    if environment.get("ORRERY_COVER") and "-n" in command:
        arguments = [*arguments, "--cov=orrery", "--cov-report=term:skip-covered"]
    print(f"$ pytest {' '.join(command[1:])}", file=said, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        whole = [str(BIN / "python"), "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        return _status(whole, environment, said), _counts(report)


def _files(command: list[str]) -> list[str]:
    """Return the files that name a stage's mark; none for a stage of all files.

    To read all 600 takes some fifteen seconds. `tests/conftest.py` sees to it that none is missed.
    """
    if (mark := command[command.index("-m") + 1]) == CORE:
        return []
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if f"mark.{mark}" in path.read_text()]


def _status(command: list[str], environment: dict[str, str], said: IO[str] | None) -> int:
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, stdout=said,
        stderr=None if said is None else subprocess.STDOUT,
    ).returncode  # fmt: skip


def _counts(report: Path) -> tuple[int, int, int]:
    if not report.is_file():
        return 0, 1, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
