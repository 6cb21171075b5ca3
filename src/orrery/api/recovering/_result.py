"""What a recovery gives back, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.report import Page, write_report
from orrery.store import whole_folder

from ._check import Checked
from ._harden import Hardened

if TYPE_CHECKING:
    from orrery.decompile import Recovered, Verdict
    from orrery.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverResult:
    """The network of a binary.

    Attributes
    ----------
    verdict : ``whole``, ``partial`` (something is left that was not matched) or ``none``
    graph : what was recovered; None where there is no network
    recovered : all records: nodes and weights with their evidence, what is unmatched, stages
    check : how the binary itself answered; None where it was not run
    hardened : what a copy without names and strings still gives away; None where none was made
    """

    verdict: Verdict
    graph: Graph | None
    recovered: Recovered = field(repr=False)
    check: Checked | None
    hardened: Hardened | None
    page: Page = field(repr=False)

    def write(self, model: str | Path | None, folder: str | Path | None = None) -> dict[str, Path]:
        """Write the network as ONNX, evidence in its metadata, and the report into a folder."""
        files: dict[str, Path] = {}
        if model is not None and self.graph is not None:
            from orrery.graph import write_onnx

            path = Path(model)
            write_onnx(self.graph, path, node_metadata=self._metadata(),
                       metadata={"recovered": self.verdict})  # fmt: skip
            files["model"] = path
        if folder is not None:
            folder = Path(folder)
            with whole_folder(folder) as fresh:
                names = [one.name for one in write_report(self.page, fresh)]
            files |= {name: folder / name for name in names}
        return files

    def _metadata(self) -> Mapping[str, Mapping[str, str]]:
        """Return per node what `map` and `run` can warn of: where it came from, how sure it is."""
        recovery = self.recovered.recovery
        if recovery is None or self.graph is None:
            return {}
        known = {node.name for node in self.graph.nodes}
        return {
            node.name: {
                "address": f"{node.address:#x}", "confidence": f"{node.confidence:g}",
                "evidence": "; ".join(node.evidence),
            }
            for node in recovery.nodes if node.name in known
        }  # fmt: skip
