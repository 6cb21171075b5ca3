"""Run lint, types and the test suite, one process per heavy package, and add up the counts.

``run_tests.py`` runs all stages, ``run_tests.py STAGE …`` the named ones. With ``ORRERY_COVER=1``
the core stage counts covered lines, which takes about half as long again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

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
    "core": [
        [str(BIN / "python"), "scripts/compile_kernels.py"],
        ["pytest", *SHARED_OUT, "-m", CORE],
    ],
    "torch": [["pytest", *SHARED_OUT, "-m", "torch"]],
    "openvino": [["pytest", "-m", "openvino"]],
    "rtl": [["pytest", "-n", "2", "-m", "rtl"]],
    "packages": [["pytest", "-m", "packages"]],
    "pages": [["pytest", "-m", "pages"]],
}


def main(names: list[str]) -> int:
    """Run the stages and return 0 when all of them passed."""
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"run_tests: found stage {unknown[0]!r}, wanted one of {', '.join(STAGES)}")
        return 2
    environment = os.environ | {"ORRERY_REQUIRE": "all", "OMP_NUM_THREADS": "1"}
    # Many processes start here; without bytecode files each would compile all modules anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    passed = failed = skipped = 0
    broken: list[str] = []
    rows = []
    for name in names or STAGES:
        start = time.monotonic()
        for command in STAGES[name]:
            code, counts = _run(command, environment)
            passed, failed, skipped = (
                passed + counts[0],
                failed + counts[1],
                skipped + counts[2],
            )
            if code:
                broken.append(name)
        rows.append(f"{name} {time.monotonic() - start:.0f} s")
    print(f"\nstages: {', '.join(rows)}")
    if broken:
        print(f"failed stages: {', '.join(dict.fromkeys(broken))}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if broken else 0


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, tuple[int, int, int]]:
    if command[0] != "pytest":
        print(f"$ {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        return code, (0, int(code != 0), 0)
    arguments = command[1:]
    if environment.get("ORRERY_COVER") and "-n" in command:
        arguments = [*arguments, "--cov=orrery", "--cov-report=term:skip-covered"]
    print(f"$ pytest {' '.join(arguments)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        whole = [str(BIN / "python"), "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        code = subprocess.run(whole, cwd=ROOT, env=environment, check=False).returncode
        return code, _counts(report)


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
