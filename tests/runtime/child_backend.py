"""A back end for child processes: the reference, that fails or takes long at a node of a name."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.graph import Graph
from orrery.runtime import ReferenceBackend


@dataclass(frozen=True)
class Faulty:
    """Fails, sleeps, or leaves all out, in every subgraph that holds a node, as a file says.

    Children read the file at each run, so that a test can change its mind.
    """

    node: str = ""
    file: str = ""
    name: str = "faulty"

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        made = ReferenceBackend().prepare(graph)
        return _Runs(self, made, any(node.name == self.node for node in graph.nodes))


@dataclass(frozen=True)
class _Runs:
    of: Faulty
    made: Any
    here: bool

    def run(self, inputs: Any) -> Any:
        if self.here and self.of.file:
            said = Path(self.of.file).read_text(encoding="utf-8")
            if said == "fail":
                raise ValueError("it was told to")
            if said == "nothing":
                return {}
            if said:
                time.sleep(float(said))
        return self.made.run(inputs)
