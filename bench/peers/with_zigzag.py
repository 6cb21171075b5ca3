"""Our nests of ResNet-18 priced by ZigZag's own model, beside what its own search finds.

``python -m bench.peers.with_zigzag PYTHON [FOLDER]`` (or the variable ZIGZAG_PYTHON), PYTHON being
one that has zigzag-dse 3.9.1. Its own searches take minutes: FOLDER keeps them for another run. The
core is its own TPU-like one; ours is `tpu-like-32`, read from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orrery.cost.interchange import (
    LayerOpinion,
    export_zigzag,
    port_cycles,
    read_opinion,
)
from orrery.cost.nest import NestCost, NestMapping, NestProblem, nest_cost, nest_problem
from orrery.graph import build_model
from orrery.hardware import Architecture
from orrery.hardware.spatial import load_architecture
from orrery.mapping.nest import NestFound, dividing_nest, nest_network

from .._record import Figure, machine, write_document

SIDE = Path(__file__).with_name("zigzag_side.py")
CORE = "tpu_like"
#: its default: how many factors a loop order may have before they are merged
LIMIT = 6
#: shares below which two prices are the same
SAME = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sought, and on which reading of the core."""

    name: str
    objective: str
    note: str
    second_buffers: bool = True


CASES = (
    Case(name="latency", objective="latency", note="as found on tpu-like-32"),
    Case(name="energy", objective="energy", second_buffers=False,
         note="by its rule that a tile may fill a memory, without room for the next one"),
    Case(name="energy, second buffers", objective="energy",
         note="as found on tpu-like-32, where SRAM and weight registers hold the next tile too"),
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run both sides, print a line per layer and figure, write the file."""
    python = arguments[0] if arguments else os.environ.get("ZIGZAG_PYTHON", "")
    if not python:
        print("skipped: no Python with ZigZag given (argument, or ZIGZAG_PYTHON)")
        return 0
    before = machine()
    figures: list[Figure] = []
    layers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(arguments[1] if len(arguments) > 1 else scratch)
        own: dict[str, tuple[dict[str, LayerOpinion], float]] = {}
        for case in CASES:
            folder = Path(scratch) / case.name
            nests, architecture, seconds, anew = _ours(case)
            export_zigzag(nests, architecture).write(folder)
            if case.objective not in own:
                own[case.objective] = _search(python, folder, case.objective, kept)
            prices = json.loads(_run(python, "price", str(folder), CORE))
            rows = [
                _row(case, name, prices[name], own[case.objective][0][name],
                     nest_cost(*nests[name], architecture), architecture)
                for name in nests
            ]  # fmt: skip
            layers += rows
            figures += _figures(case, rows, seconds, own[case.objective][1], anew)
    for figure in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        print(f"{figure.name:<62} {figure.value:>14.10g} {figure.unit:<7} {verdict}  {figure.note}")
    body = {"figures": [{**asdict(figure), "met": figure.met} for figure in figures],
            "layers": layers}  # fmt: skip
    print(f"written: {write_document('zigzag', before, body)}")
    return 0


def _ours(
    case: Case,
) -> tuple[dict[str, tuple[NestProblem, NestMapping]], Architecture, float, int]:
    """Return nests of dividing factors, their array, seconds of the search, how many cut anew."""
    architecture = load_architecture("tpu-like-32")
    if not case.second_buffers:
        levels = tuple(replace(level, double_buffered=()) for level in architecture.levels)
        architecture = replace(architecture, levels=levels)
    problems: dict[str, NestProblem] = {}
    for region in build_model("resnet18").regions():
        found = nest_problem(region)
        if isinstance(found, tuple) and len(found) == 1 and found[0].macs:
            problems[region.name] = found[0]
    start = time.perf_counter()
    results = nest_network(problems, architecture, case.objective)
    seconds = time.perf_counter() - start
    nests, anew = {}, 0
    for name, one in results.items():
        if not isinstance(one, NestFound) or not one.proven:
            raise RuntimeError(f"{name}: no proven nest")
        made = dividing_nest(problems[name], one.mapping, architecture, case.objective)
        if made is None:
            raise RuntimeError(f"{name}: no nest of dividing factors")
        nests[name] = problems[name], made
        anew += made != one.mapping
    return nests, architecture, seconds, anew


def _search(
    python: str, folder: Path, objective: str, kept: Path
) -> tuple[dict[str, LayerOpinion], float]:
    out = kept / f"own-{objective}"
    if not (out / "seconds.json").is_file():
        _run(python, "search", str(folder), CORE, objective, str(LIMIT), str(out))
    found = {one.layer: one for one in read_opinion("zigzag", out)}
    return found, float(json.loads((out / "seconds.json").read_text()))


def _run(python: str, *arguments: str) -> str:
    done = subprocess.run([python, str(SIDE), *arguments], capture_output=True, text=True,
                          check=False, timeout=3600)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"ZigZag's side failed: {done.stderr[-2000:]}")
    return done.stdout


def _row(
    case: Case, name: str, prices: Mapping[str, Any], own: LayerOpinion, here: NestCost,
    architecture: Architecture,
) -> dict[str, Any]:  # fmt: skip
    given, ordered = prices["given"], prices["ordered"]
    key, scale, theirs = (("cycles", 1.0, own.cycles) if case.objective == "latency"
                          else ("energy_pj", 1e-12, own.energy_j))  # fmt: skip
    if theirs is None:
        raise RuntimeError(f"{name}: its search gives no {key}")
    ours = given[key] * scale
    least = port_cycles(here, architecture)
    why = ""
    if ours > theirs * (1 + SAME):
        if case.objective == "latency":
            words = ("onloading", "ideal", "stalls", "offloading", "systolic")
            parts = "; ".join(f"{k} {given[k]:,.0f}" for k in words)
            why = f"ours there: {parts}; its own: " + "; ".join(
                f"{k} {v:,.0f}" for k, v in own.cycles_by)  # fmt: skip
            if theirs < least:
                why += (f". Its figure is below the {least:,} cycles in which the 64-bit port of "
                        "its DRAM can move each operand once: results leave in time it has "
                        "counted for loading already")  # fmt: skip
        else:
            why = "; ".join(f"{k} {v}" for k, v in given["memory_pj"].items())
    return {
        "case": case.name, "layer": name, "here": here.cycles if case.objective == "latency"
        else here.energy_j, "ours by its model": ours,
        "ours by its model, its allocator": ordered and ordered[key] * scale,
        "its own search": theirs, "ratio": ours / theirs, "why": why,
        "port_cycles": least,
    }  # fmt: skip


def _figures(
    case: Case, rows: list[dict[str, Any]], ours_s: float, own_s: float, anew: int
) -> list[Figure]:
    unit = "cycles" if case.objective == "latency" else "J"
    ours, own = (sum(row[key] for row in rows) for key in ("ours by its model", "its own search"))
    worse = [row["layer"] for row in rows if row["ratio"] > 1 + SAME]
    better = sum(row["ratio"] < 1 - SAME for row in rows)
    said = f"{better} layers better, {len(rows) - better - len(worse)} equal, {len(worse)} worse"
    if worse:
        said += f" ({', '.join(worse)})"

    def one(name: str, value: float, what: str, **more: Any) -> Figure:
        return Figure(name=f"{case.name}: {name}", value=value, unit=what, runs=(value,), **more)

    return [
        one("our nests by ZigZag's model", ours, unit, target=own * (1 + SAME),
            note=f"{case.note}; {said}; {anew} cut anew so that factors divide"),
        one("ZigZag's own search by its model", own, unit, note=f"LOMA, limit {LIMIT}"),
        one("our search", ours_s, "s", note="one thread, no found nests on disk; the first case "
            "includes compilation"),
        one("ZigZag's own search", own_s, "s",
            note="its default settings, when it was run (see the load)"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
