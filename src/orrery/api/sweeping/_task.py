"""What all points of a sweep share, and the networks they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from orrery.cost.nest import NestProblem
from orrery.graph import Graph
from orrery.mapping import MapSearch
from orrery.provenance import PROGRAM_VERSION
from orrery.settings import to_record
from orrery.store import content_hash

from .._options import ModelOptions
from .._resolve import load_model
from ..nests import nest_problems

#: begins the key of a point whose network cannot be read: it may be readable the next time
UNREAD = "unread "

#: what a figure hangs on besides the machine and the network
_ENGINE = ("accel", "cost", "graph", "hardware", "mapping", "api/figures", "api/nests",
           "api/validating", "api/sweeping/_price.py", "api/sweeping/_rows.py")  # fmt: skip

#: options of a network that can be varied
OPTIONS = ("batch", "context", "phase", "precision")
#: what can be varied that is not of the machine
WORKLOAD = ("model", "objective", *OPTIONS)
#: of these, what makes workloads different ones: a machine is not better for a smaller network
APART = ("model", "context", "phase", "precision")

#: (path, value) pairs of one point
Choice = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all points share; `text` and `file` are the description of the machine, `engine`
    the content hash of what prices it."""

    model: Any
    kind: Literal["array", "system"]
    text: str
    file: str
    objective: str
    options: ModelOptions
    search: MapSearch
    budget: int | None = None
    engine: str = ""

    def with_workload(self, choice: Choice) -> Task:
        """Return the task with what a choice says of the workload."""
        asked = {path: value for path, value in choice if path in WORKLOAD}
        if not asked:
            return self
        given: dict[str, Any] = {key: asked[key] for key in OPTIONS if key in asked}
        for key in ("batch", "context"):
            if key in given:
                given[key] = int(given[key])
        objective = asked.get("objective", self.objective)
        return replace(self, model=asked.get("model", self.model), objective=objective,
                       options=replace(self.options, **given),
                       search=replace(self.search, objective=cast(Any, objective)))  # fmt: skip

    def key(self, choice: Choice) -> str:
        """Return the content hash of everything that a point's figures depend on.

        Raises
        ------
        OrreryError : a network that cannot be read
        """
        changes = [pair for pair in choice if pair[0] not in WORKLOAD]
        mine = self.with_workload(choice)
        search = to_record(mine.search) if self.kind == "system" else {"budget": self.budget}
        parts = [self.kind, self.text, changes, mine.objective, search, to_record(mine.options)]
        return content_hash(f"sweep {PROGRAM_VERSION}", self.engine, mine.content(),
                            json.dumps(parts, sort_keys=True))  # fmt: skip

    def content(self) -> str:
        """Return a hash of what prices depend on in the network: designs may read its weights."""
        graph = workload(self.model, self.options).graph
        return graph.digest if self.kind == "system" else graph.structure_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A network, read once, with the nests of its layers."""

    graph: Graph
    problems: Mapping[str, NestProblem]
    left_out: Mapping[str, str]
    operators: Mapping[str, str]

    def operator(self, name: str) -> str:
        """Return the operator of a layer, or of a part of one."""
        return self.operators.get(name, self.operators.get(name.rpartition(" (")[0], ""))


@cache
def engine() -> str:
    """Return the content hash of the sources and tables that price points."""
    root = Path(__file__).parents[2]
    files = [path for part in _ENGINE for path in
             ([root / part] if part.endswith(".py") else (root / part).rglob("*"))
             if path.suffix in (".py", ".yaml", ".json", ".csv")]  # fmt: skip
    return content_hash(*(part for path in sorted(files) for part in
                          (path.relative_to(root).as_posix(), path.read_bytes())))  # fmt: skip


_TAKEN: dict[tuple[str, ModelOptions], Workload] = {}


def forget() -> None:
    """Drop the networks that were read: their files may have changed."""
    _TAKEN.clear()


def workload(model: Any, options: ModelOptions) -> Workload:
    """Return a network under options, read when it is first asked for."""
    name = str(model) if isinstance(model, str | Path) else model.structure_digest
    key = (name, options)
    if found := _TAKEN.get(key):
        return found
    graph = load_model(model, options)
    problems, left_out = nest_problems(graph)
    while len(_TAKEN) > 32:
        _TAKEN.pop(next(iter(_TAKEN)))
    operators = {region.name: region.members[0].operator for region in graph.regions()}
    found = Workload(graph=graph, problems=problems, left_out=left_out, operators=operators)
    _TAKEN[key] = found
    return found
