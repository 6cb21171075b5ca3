"""What a placement leaves behind: the plan, which worker ran each node, the annotated network."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orrery.graph import Graph, write_onnx
from orrery.plan import Assignment, Plan, write_plan
from orrery.report import Page, write_report
from orrery.store import write_text

from ..planned import placed_beside
from ._kept import plan_digest, worker_of

#: metadata entry of an exported network: the hash of the plan that its nodes are annotated with
PLAN_KEY = "orrery.plan"

#: ONNX Runtime's key for what it may assign to a device (``session.layer_assignment_settings``)
_LAYER = "layer_ann"

#: Constants of more bytes go into a file beside the exported network.
_EMBEDDED = 1 << 30

_COLUMNS = ("node", "operator", "worker", "back end", "version", "device", "region", "phase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A plan for this machine's workers, with its network."""

    plan: Plan
    graph: Graph

    def write(self, fresh: Path, folder: Path, page: Page, *, onnx: bool) -> dict[str, str]:
        """Write everything into a fresh folder that will become `folder`; return names of files."""
        write_plan(fresh / "plan.json", placed_beside(self.plan, folder))
        write_text(fresh / "nodes.csv", self.nodes())
        write_report(page, fresh)
        files = {"plan": "plan.json", "nodes": "nodes.csv", "report": "report.html",
                 "report data": "report.json", "report text": "report.txt"}  # fmt: skip
        if onnx:
            self.export(fresh / "placed.onnx")
            files["network"] = "placed.onnx"
            if (fresh / "placed.onnx.data").exists():
                files["weights"] = "placed.onnx.data"
        return files

    def nodes(self) -> str:
        """Return a CSV table: which worker runs each node, in the network's order."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        at = {node: a for a in self.plan.assignments for node in a.nodes}
        for node in self.graph.nodes:
            said = _said(at[node.name])
            table.writerow([node.name, node.operator, *(said[name] for name in _COLUMNS[2:])])
        return text.getvalue()

    def export(self, path: str | Path) -> None:
        """Write the network as an ONNX file whose nodes say where they are placed.

        Weights of more than 1 GiB go into ``<path>.data`` beside it.
        """
        size = sum(constant.type.size_bytes for constant in self.graph.constants.values())
        write_onnx(
            self.graph, path, external_data=size > _EMBEDDED, node_metadata=node_notes(self.plan),
            metadata={PLAN_KEY: plan_digest(self.plan)},
        )  # fmt: skip


def node_notes(plan: Plan) -> dict[str, Mapping[str, str]]:
    """Return metadata per node: where it is placed, and a layer name that ONNX Runtime knows.

    The layer name begins with the device, so that ``cpu(cpu); cuda(cuda)`` as ONNX Runtime's layer
    assignment repeats the placement on devices that it has.
    """
    notes: dict[str, Mapping[str, str]] = {}
    for assignment in plan.assignments:
        said = _said(assignment)
        device = "".join(c if c.isalnum() or c == "-" else "_" for c in said["device"])
        own = {f"orrery.{name.replace(' ', '_')}": value for name, value in said.items() if value}
        layer = {_LAYER: f"{device}.{assignment.region}"}
        notes.update((node, {**layer, **own}) for node in assignment.nodes)
    return notes


def _said(assignment: Assignment) -> dict[str, str]:
    of = worker_of(assignment)
    return {
        "worker": assignment.device, "back end": of["backend"], "version": of["version"],
        "device": of["device"], "region": assignment.region, "phase": of.get("phase", ""),
    }  # fmt: skip
