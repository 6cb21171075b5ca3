"""Prices are asked once for regions that cost the same, and only for those."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from orrery.cost import Cost, Refusal
from orrery.graph import ArrayConstant, Graph, Region, Statistics
from orrery.hardware import Device
from orrery.mapping import fill_tables, number_workload
from orrery.plan import KernelSchedule

from .cases import device, full_system, graph


@dataclass
class Ones:
    """Takes a second for each one among the weights."""

    name: str = "ones"
    reads_values: bool = True
    asked: int = 0

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        return None

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        self.asked += 1
        [weights] = (region.graph.constants[c] for c in region.graph.constants
                     if c in region.members[0].inputs)  # fmt: skip
        return Cost(latency_s=float(weights.array().sum()))


def layers() -> Graph:
    """Three layers of one shape; the first and the last hold the same weights."""
    found = graph(
        [("a", ["x", "u"], 1, 4), ("b", ["a", "v"], 1, 4), ("c", ["b", "w"], 1, 4)],
        inputs={"x": 4}, outputs=["c"], weights={"u": 80, "v": 80, "w": 80},
    )  # fmt: skip
    values = {"u": [1] * 3 + [0] * 77, "v": [1] * 80, "w": [1] * 3 + [0] * 77}
    constants = {n: ArrayConstant(np.array(v, np.int8)) for n, v in values.items()}
    return replace(found, constants=constants)


def test_a_model_that_reads_weights_is_asked_for_each_content() -> None:
    model = Ones()
    tables = fill_tables(number_workload([layers()]), full_system([device("d")]), {"": model})
    assert tables.seconds.tolist() == [[3.0, 80.0, 3.0]]
    assert model.asked == 2


def test_any_other_model_is_asked_for_each_shape() -> None:
    model = Ones(reads_values=False)
    tables = fill_tables(number_workload([layers()]), full_system([device("d")]), {"": model})
    assert model.asked == 1
    assert len(set(tables.signatures)) == 1
