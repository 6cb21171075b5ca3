"""Our nests of ResNet-18's products on AccelForge's Eyeriss, beside what its own search found.

``python -m bench.peers.with_accelforge [PYTHON]`` (or the variable ACCELFORGE_PYTHON). Its figures
are recorded below and its prices in `accelforge-eyeriss.yaml`; with a Python that has accelforge
1.0.467 our nests are priced by its own model as well.

Every layer is the product that its convolution comes to, energy the goal. As there, operands may
pass the buffer by, layer by layer. Found nests are kept on disk, so that no seconds are recorded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orrery.cost.interchange import export_accelforge, read_opinion
from orrery.cost.nest import Index, NestProblem, NestTensor, nest_cost
from orrery.hardware import ROLES, Architecture, load_architecture
from orrery.mapping.nest import NestFound, dividing_nest, nest_network
from orrery.store import Cache

from .._record import Figure, machine, write_document

CORE = Path(__file__).with_name("accelforge-eyeriss.yaml")
#: evaluations per layer and reading of the core
MOST = 1_000_000
#: what the buffer may hold
HELD = (("weight", "output"), ("output",), ROLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A convolution and what AccelForge found for the product it comes to."""

    count: int
    out: int
    channels: int
    filters: int
    kernel: int
    energy_mj: float
    cycles: int

    def product(self) -> NestProblem:
        """Return the product."""
        extents = {"N": self.out**2, "Cout": self.filters, "Cin": self.channels * self.kernel**2}

        def tensor(name: str, role: str, *loops: str) -> NestTensor:
            axes = [Index(size=extents[x], terms=((x, 1),)) for x in loops if extents[x] > 1]
            return NestTensor(name=name, role=role, axes=tuple(axes))

        return NestProblem(
            loops=tuple((x, n) for x, n in extents.items() if n > 1),
            tensors=(tensor("a", "input", "N", "Cin"), tensor("b", "weight", "Cin", "Cout"),
                     tensor("c", "output", "N", "Cout")),
        )  # fmt: skip


#: mJ and cycles at 200 MHz of its own search (ENERGY), run by us
SHAPES = (
    Shape(count=1, out=112, channels=3, filters=64, kernel=7, energy_mj=0.5915201, cycles=1266571),
    Shape(count=4, out=56, channels=64, filters=64, kernel=3, energy_mj=0.4894202, cycles=974609),
    Shape(count=1, out=28, channels=64, filters=128, kernel=3, energy_mj=0.2184184, cycles=344064),
    Shape(count=3, out=28, channels=128, filters=128, kernel=3, energy_mj=0.4310263, cycles=688128),
    Shape(count=1, out=28, channels=64, filters=128, kernel=1, energy_mj=0.02995193, cycles=75684),
    Shape(count=1, out=14, channels=128, filters=256, kernel=3, energy_mj=0.2250073, cycles=344064),
    Shape(count=3, out=14, channels=256, filters=256, kernel=3, energy_mj=0.4471095, cycles=688128),
    Shape(count=1, out=14, channels=128, filters=256, kernel=1, energy_mj=0.02928106, cycles=57344),
    Shape(count=1, out=7, channels=256, filters=512, kernel=3, energy_mj=0.274075, cycles=688128),
    Shape(count=3, out=7, channels=512, filters=512, kernel=3, energy_mj=0.5466975, cycles=1376256),
    Shape(count=1, out=7, channels=256, filters=512, kernel=1, energy_mj=0.03779238, cycles=114688),
    Shape(
        count=1, out=1, channels=512, filters=1000, kernel=1, energy_mj=0.03686882, cycles=244862
    ),
)


def main(arguments: list[str]) -> int:
    """Search, compare, print a line per shape and figure, write the file."""
    python = arguments[0] if arguments else os.environ.get("ACCELFORGE_PYTHON", "")
    before = machine()
    core = load_architecture(str(CORE))
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        row, found, held = _best(shape, core)
        if python:
            row |= _priced(python, shape, found, held)
        rows.append(row)
        print(row, flush=True)
    figures = _figures(rows)
    for figure in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        print(f"{figure.name:<58} {figure.value:>12.6g} {figure.unit:<7} {verdict}  {figure.note}")
    if not python:
        print("not priced by AccelForge's model: no Python with it given")
    body = {"figures": [{**asdict(figure), "met": figure.met} for figure in figures],
            "layers": rows}  # fmt: skip
    print(f"written: {write_document('accelforge', before, body)}")
    return 0


def _best(shape: Shape, core: Architecture) -> tuple[dict[str, Any], NestFound, Architecture]:
    best: tuple[NestFound, Architecture] | None = None
    for held in HELD:
        levels = tuple(
            replace(level, holds=held) if level.name == "buffer" else level for level in core
        )
        reading = replace(core, levels=levels)
        found = nest_network({"": shape.product()}, reading, "energy", most=MOST,
                             cache=Cache("nests"))[""]  # fmt: skip
        if isinstance(found, NestFound) and (best is None or found.value < best[0].value):
            best = found, reading
    if best is None:
        raise RuntimeError(f"{shape}: no nest fits")
    nest, reading = best
    return {
        "shape": [shape.out, shape.channels, shape.filters, shape.kernel], "count": shape.count,
        "energy_mj": nest.value * 1e3, "cycles": nest.cost.cycles, "gap": nest.gap,
        "buffer_holds": list(reading.levels[1].holds),
        "their_energy_mj": shape.energy_mj, "their_cycles": shape.cycles,
        "ratio": nest.value * 1e3 / shape.energy_mj,
    }, nest, reading  # fmt: skip


def _priced(python: str, shape: Shape, found: NestFound, core: Architecture) -> dict[str, Any]:
    """Price the nest by AccelForge's own model, its factors dividing the loops."""
    problem = shape.product()
    made = dividing_nest(problem, found.mapping, core, "energy")
    if made is None:
        return {"by_its_model_mj": None}
    with tempfile.TemporaryDirectory() as folder:
        notes = export_accelforge({"product": (problem, made)}, core)
        notes.write(Path(folder))
        done = subprocess.run([python, "price.py"], cwd=folder, capture_output=True, text=True,
                              check=False, timeout=600)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"AccelForge's side failed: {done.stderr[-2000:]}")
        (said,) = read_opinion("accelforge", Path(folder))
    cost = nest_cost(problem, made, core)
    return {
        "dividing_energy_mj": cost.energy_j and cost.energy_j * 1e3,
        "by_its_model_mj": said.energy_j and said.energy_j * 1e3,
        "by_its_model_cycles": said.latency_s and said.latency_s * core.clock_hz,
        "parts_mj": {part.memory: part.energy_j * 1e3 for part in said.parts},
    }


def _figures(rows: list[dict[str, Any]]) -> list[Figure]:
    def total(key: str) -> float:
        return float(sum(row["count"] * row[key] for row in rows))

    theirs = total("their_energy_mj")
    worse = [row["shape"] for row in rows if row["ratio"] > 1]

    def one(name: str, value: float, unit: str, **more: Any) -> Figure:
        return Figure(name=name, value=value, unit=unit, runs=(value,), **more)

    found = [
        one("our energy of ResNet-18's products", total("energy_mj"), "mJ", target=theirs,
            note=f"{len(rows) - len(worse)} of {len(rows)} shapes no worse; worse: {worse}; least "
            f"energy within {max(row['gap'] for row in rows):.2%} of the bound"),
        one("AccelForge's energy, its search", theirs, "mJ", note="recorded"),
        one("our cycles (energy the goal)", total("cycles"), "cycles"),
        one("AccelForge's cycles (energy the goal)", total("their_cycles"), "cycles",
            note="recorded"),
    ]  # fmt: skip
    if all(row.get("by_its_model_mj") for row in rows):
        found.append(one("our nests by AccelForge's model", total("by_its_model_mj"), "mJ",
                         target=theirs, note="their factors made to divide the loops"))  # fmt: skip
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
