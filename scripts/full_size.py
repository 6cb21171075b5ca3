"""Full-size runs: the library's networks against their judge, and the studies of papers.

Networks below 100 million parameters are run at full size on the NumPy reference and on ONNX
Runtime, on the same inputs; larger ones are built and their parameters and MACs counted again.
Every study is conducted at the size of its paper's cases. ``full_size.py NAME …`` runs the named
networks and studies. Results go to ``bench/results/`` with machine and date: the networks to one
file, each study to one of its own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench._record import machine, write_document

from orrery.api._inputs import agreement, make_inputs
from orrery.errors import did_you_mean
from orrery.graph import MODELS, build_model, count_macs, count_parameters
from orrery.report import Table, format_value
from orrery.runtime import OnnxRuntimeBackend
from orrery.studies import conduct, study_names

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


def check_networks(names: list[str]) -> bool:
    """Judge networks and print a line per network; whether all agree."""
    before, rows = machine(), []
    for name in names:
        row = check(name)
        rows.append(row)
        error = "counts only" if row.worst_error is None else f"error {row.worst_error:.1e}"
        verdict = "agrees" if row.agrees else "DIFFERS"
        print(f"{name:<18} {row.parameters:>13,} parameters  {error:<15} {verdict}", flush=True)
    path = write_document("full-size", before, {"networks": [asdict(row) for row in rows]})
    print(f"written: {path}")
    return all(row.agrees for row in rows)


def conduct_study(name: str) -> None:
    """Conduct a study at full size and print a line per figure.

    A figure that differs from the paper's is a finding and no failure.
    """
    before = machine()
    run = conduct(name, scale=1.0)
    for record in run.result.records:
        ours, theirs = (
            format_value(value, record.unit) for value in (record.ours, record.published)
        )
        print(f"{name}: {record.name:<50} {ours:>12}  published {theirs:>12}  {record.status}",
              flush=True)  # fmt: skip
    body: dict[str, Any] = {
        "study": name, "scale": run.scale, "seconds": run.seconds, "records": run.documents,
    }  # fmt: skip
    tables = [
        {"title": s.title, "columns": [f"{c.name} ({c.unit})" if c.unit else c.name
                                       for c in s.columns], "rows": s.rows}
        for s in run.result.sections if isinstance(s, Table)
    ]  # fmt: skip
    if tables:  # e.g. slow tails, and every way of every network
        body["tables"] = tables
    print(f"written: {write_document(f'study-{name}', before, body)}")


def main(names: list[str]) -> int:
    """Run what is named, or everything; 1 when a network differs from its judge."""
    known = [*MODELS, *study_names()]
    unknown = [name for name in names if name not in known]
    if unknown:
        near = did_you_mean(unknown[0], known)
        print(f"full_size: no network or study named {unknown[0]!r}{near}", file=sys.stderr)
        return 2
    wanted = names or known
    networks = [name for name in wanted if name in MODELS]
    agree = check_networks(networks) if networks else True
    for name in wanted:
        if name not in MODELS:
            conduct_study(name)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
