"""What a figure is, how a command is timed, and where results go."""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure against its target.

    `better` says which way is good; `runs` are all measured values, `value` their median.
    """

    name: str
    value: float
    unit: str
    runs: tuple[float, ...]
    target: float | None = None
    better: str = "lower"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None when there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished process: wall seconds and the most memory it had (bytes)."""

    wall_s: float
    peak_bytes: int
    output: str


def run_command(arguments: Sequence[str], *, timeout_s: float = 600) -> Run:
    """Run a command as a child and return its wall time and peak resident memory.

    Raises
    ------
    RuntimeError : the command failed; the message ends with what it said
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    wall = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")
    *_, last = done.stderr.strip().splitlines()
    inner, peak = last.split()
    return Run(wall_s=min(float(inner), wall), peak_bytes=int(peak), output=done.stdout)


#: Runs the command as a grandchild, so that RUSAGE_CHILDREN holds that process alone.
_CHILD = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
wall = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(wall, peak, file=sys.stderr)
sys.exit(code)
"""


def repeated(name: str, unit: str, measure: Callable[[], float], *, runs: int = 5,
             warm_up: int = 1, target: float | None = None, better: str = "lower",
             note: str = "") -> Figure:  # fmt: skip
    """Measure several times after warming up and return the median as a figure."""
    for _ in range(warm_up):
        measure()
    values = tuple(measure() for _ in range(runs))
    return Figure(
        name=name, value=statistics.median(values), unit=unit, runs=values, target=target,
        better=better, note=note,
    )  # fmt: skip


def short() -> bool:
    """Return whether ``BENCH_SHORT`` asks for less work; the file of results then says so."""
    return bool(os.environ.get("BENCH_SHORT"))


def wanted(part: str) -> bool:
    """Return whether ``BENCH_PARTS`` (names between commas) asks for a part; unset: for all."""
    asked = [name for name in os.environ.get("BENCH_PARTS", "").split(",") if name]
    return not asked or part in asked


def machine() -> dict[str, str | int | float]:
    """Return what the figures depend on: processor, cores, memory, load, versions."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(figures: Sequence[Figure], before: dict[str, str | int | float], label: str) -> Path:
    """Write figures with machine and date; returns the file."""
    rows = [{**asdict(figure), "met": figure.met} for figure in figures]
    return write_document(label, before, {"figures": rows})


def write_document(label: str, before: dict[str, str | int | float], body: dict[str, Any]) -> Path:
    """Write any results under the machine and the date; returns the file."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = RESULTS / f"{today}-{label}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"date": today, "machine": before, **body}, indent=1) + "\n")
    return path


def peak_bytes() -> int:
    """Return the most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
