"""How often a network is right on labelled data: in its own numbers, and as a plan's designs round.

Both answer the same samples, so their difference is judged in pairs: samples that only one of the
two got right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.accel import Accelerator
from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.progress import Progress
from orrery.provenance import Basis, Source
from orrery.report import Table
from orrery.runtime import (
    CONFIDENCE,
    LabelledData,
    TaskMetric,
    answers,
    describe_machine,
    read_labelled,
    task_metric,
)

from .._inputs import read_arrays
from .._options import TaskOptions, numbers
from .._result import MapResult
from ..figures import batch_of
from ._accuracy_table import changed, table_of, table_row
from ._numerics import Numerics, design_numerics, plan_numerics, whole_numerics


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTask:
    """A network, labelled data and a metric that fit each other; nothing has run yet.

    Attributes
    ----------
    own : the network in its own precision
    graph : the network as it is to be planned, in the precision asked for
    designs : further ways to compute the network, each on one design
    """

    own: Graph
    graph: Graph
    data: LabelledData
    metric: TaskMetric
    designs: tuple[Numerics, ...]
    progress: Progress

    def measured(self, planned: MapResult | None) -> tuple[list[Evidence], Table]:
        """Return the figures, those of designs before the network's own, and a table of them.

        Parameters
        ----------
        planned : a plan whose designs are to compute; None for the network without machines
        """
        ways = [] if planned is None else [plan_numerics(self.graph, planned)]
        if planned is None and self.graph is not self.own:
            ways.append(whole_numerics(self.graph))
        ways += self.designs
        own = whole_numerics(self.own)
        first = self._scores(own, self.own)
        reference = self._figure(own, first)
        rows, figures = [table_row(self.metric, reference, first, own.name)], []
        for way in ways:
            scores = self._scores(way, self.graph)
            figure, change = self._figure(way, scores), ("", "")
            if self.metric.share:
                change = changed(first, scores)
                beside = {f"points against {own.formats}": "; ".join(change)}
                figure = replace(figure, context={**figure.context, **beside})
            figures.append(figure)
            rows.append(table_row(self.metric, figure, scores, way.name, *change))
        notes = [way.how for way in ways] or [own.how]
        return [*figures, reference], table_of(self.metric, self.data, rows, own.formats, notes)

    def _scores(self, way: Numerics, graph: Graph) -> NDArray[Any]:
        task = f"{self.metric.name}, {way.name}"
        return answers(way.run, graph, self.data, self.metric, task=task, progress=self.progress)

    def _figure(self, way: Numerics, scores: NDArray[Any]) -> Evidence:
        value, between = self.metric.figures(scores)
        sure = {"confidence": f"{CONFIDENCE:.0%}, {self.metric.interval}"} if between else {}
        data = self.data
        return Evidence(
            subject=way.subject, metric=self.metric.figure, value=value, unit=self.metric.unit,
            interval=between,
            source=Source(basis=Basis.MEASURED, where=describe_machine().cpu, note=way.how),
            context={
                "dataset": data.name, "dataset_hash": data.digest, "samples": data.drawn,
                "precision": way.formats, "batch": str(batch_of(self.graph)),
                "preprocessing": data.preprocessing, **sure,
            },
        )  # fmt: skip


def labelled_task(
    own: Graph, graph: Graph, task: TaskOptions, progress: Progress, *,
    design: Accelerator | None = None,
) -> LabelledTask:  # fmt: skip
    """Read the data of a task and check that network, data, metric and designs fit each other.

    Parameters
    ----------
    design : computes too, before those that the task names

    Raises
    ------
    SpecError, UnknownNameError : where they do not
    """
    path = Path(task.data or "")
    data = read_labelled(
        read_arrays(path), graph, name=path.name, samples=task.samples, seed=task.seed,
        mean=numbers("--mean", task.mean), std=numbers("--std", task.std),
    )  # fmt: skip
    first = () if design is None else (design_numerics(graph, design.name, design),)
    return LabelledTask(
        own=own, graph=graph, data=data, metric=task_metric(task.metric, graph, data),
        designs=(*first, *(design_numerics(graph, text) for text in task.numerics)),
        progress=progress,
    )  # fmt: skip
