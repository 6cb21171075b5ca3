"""Full-size runs: every library network against ONNX Runtime, or by count when it is large.

Networks below 100 million parameters are run at full size on the NumPy reference and on ONNX
Runtime, on the same inputs; larger ones are built and their parameters and MACs counted again.
``full_size.py NAME …`` runs the named ones. Results go to ``bench/results/`` with machine and date.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench._record import machine, write_document

from orrery.api._inputs import agreement, make_inputs
from orrery.graph import MODELS, build_model, count_macs, count_parameters
from orrery.runtime import OnnxRuntimeBackend

LARGEST_RUN = 100_000_000
#: |a - b| / (1 + |b|): float32 through tens of layers, summed in another order
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network: what was judged, the judge's value, and whether it agrees."""

    name: str
    parameters: int
    macs: int
    judge: str
    worst_error: float | None
    agrees: bool
    reference_s: float | None
    note: str = ""


def check(name: str) -> Row:
    """Judge one network of the library."""
    entry = MODELS[name]
    graph = build_model(name)
    parameters, macs = count_parameters(graph), count_macs(graph)
    counted = (parameters, macs) == (entry.parameters, entry.macs)
    if parameters >= LARGEST_RUN:
        return Row(
            name=name, parameters=parameters, macs=macs, judge="counts of the catalogue",
            worst_error=None, agrees=counted, reference_s=None,
            note="structure and counts only: over 100 million parameters",
        )  # fmt: skip
    inputs = make_inputs(graph, None, 0)
    start = time.perf_counter()
    ours = graph.evaluate(inputs)
    seconds = time.perf_counter() - start
    theirs = OnnxRuntimeBackend().prepare(graph).run(inputs)
    error = agreement(ours, theirs)
    return Row(
        name=name, parameters=parameters, macs=macs, judge="ONNX Runtime", worst_error=error,
        agrees=counted and error <= TOLERANCE, reference_s=seconds,
    )  # fmt: skip


def main(names: list[str]) -> int:
    """Run and print a line per network; 1 when any differs."""
    before, rows = machine(), []
    for name in names or list(MODELS):
        row = check(name)
        rows.append(row)
        error = "counts only" if row.worst_error is None else f"error {row.worst_error:.1e}"
        verdict = "agrees" if row.agrees else "DIFFERS"
        print(f"{name:<18} {row.parameters:>13,} parameters  {error:<15} {verdict}", flush=True)
    path = write_document("full-size", before, {"networks": [asdict(row) for row in rows]})
    print(f"written: {path}")
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
