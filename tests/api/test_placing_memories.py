"""Placements over two memories: transfers count, what does not fit is placed elsewhere and said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orrery.api.choosing import placing_sections
from orrery.api.placing import Choice, choose
from orrery.api.placing._choose import Effort
from orrery.cli import main
from orrery.graph import write_onnx
from orrery.progress import SILENT
from orrery.report import Text
from orrery.runtime import OnnxRuntimeBackend
from orrery.runtime.libraries._torch import TorchBackend
from orrery.runtime.together import (
    HOST,
    Held,
    LocalWorker,
    TensorMemory,
    WorkerFailedError,
    WorkerPool,
    core_sets,
)

from .test_run_here import towers

pytestmark = [pytest.mark.torch, pytest.mark.needs("onnxruntime")]

BRIEF = Effort(profile_s=0.5, race_s=0.2, races_s=0.5, most_raced=3, observed_s=0.2,
               alone_s=0.2)  # fmt: skip


def workers(memory: TensorMemory) -> Sequence[LocalWorker]:
    processors = next(iter(core_sets().values()))
    return [
        LocalWorker(name="host", processors=processors[:1], label="ort",
                    backend=OnnxRuntimeBackend(threads=1)),
        LocalWorker(name="apart", processors=(), label="torch", memory=memory,
                    backend=TorchBackend(threads=1)),
    ]  # fmt: skip


def chosen(memory: TensorMemory) -> Choice:
    graph = towers(size=256)
    inputs = {"x": np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)}
    with WorkerPool(workers(memory)) as pool:
        choice = choose(graph, inputs, pool, repeats=3, cache=None, progress=SILENT, effort=BRIEF)
        for network in choice.networks.values():
            found = network.run(inputs, timeout_s=60).outputs
            np.testing.assert_allclose(found["y"], graph.evaluate(inputs)["y"], rtol=1e-3,
                                       atol=1e-4)  # fmt: skip
    return choice


def test_transfers_are_part_of_what_is_predicted() -> None:
    choice = chosen(TensorMemory("apart"))
    problem = choice.problem
    assert [worker.memory for worker in problem.workers] == [HOST, "apart"]
    assert set(problem.passages) == {(HOST, "apart"), ("apart", HOST)}
    assert all(passage.fixed_s > 0 for passage in problem.passages.values())
    away = problem.timing([1] * len(problem.order))
    inward = min(problem.passages[HOST, "apart"].seconds(flow.size_bytes)
                 for flow in problem.flows if flow.producer < 0)  # fmt: skip
    assert min(away.begin) >= inward
    assert away.makespan_s > max(away.end)
    assert {"host", "apart"} <= set(choice.networks)


def test_what_does_not_fit_is_placed_elsewhere_and_said() -> None:
    memory = TensorMemory("apart", capacity_bytes=300_000)  # one product has 256 KiB of weights
    choice = chosen(memory)
    column = choice.profile.workers.index("apart")
    assert choice.profile.infeasible
    for (region, worker), short in choice.profile.infeasible.items():
        row = choice.profile.regions.index(region)
        assert worker == "apart"
        assert short.need > short.have
        assert choice.placed.placement[row] != column
    assert "apart" not in choice.networks
    said = " ".join(paragraph for section in placing_sections(choice, None)
                    if isinstance(section, Text) for paragraph in section.paragraphs)  # fmt: skip
    assert "need" in said
    assert "have" in said
    assert "place it on another worker" in said


class Narrow(TensorMemory):
    """Lets nothing large pass, and not for lack of room."""

    def put(self, array: NDArray[Any]) -> Held:
        if array.nbytes >= 1 << 20:
            raise ConnectionError("too much for the bus")
        return super().put(array)


def test_without_a_link_the_others_go_on() -> None:
    """Its subgraphs could be timed; what goes there and back could not."""
    choice = chosen(Narrow("apart"))
    assert "apart" not in (*choice.networks, *choice.used)
    assert any("Went on without apart: " in note and "too much for the bus" in note
               for note in choice.notes)  # fmt: skip


def test_without_a_link_and_without_others_it_is_said() -> None:
    inputs = {"x": np.zeros((64, 256), np.float32)}
    with (
        WorkerPool(workers(Narrow("apart"))[1:]) as pool,
        pytest.raises(WorkerFailedError, match=r"a transfer from host to apart.*too much for"),
    ):
        choose(towers(size=256), inputs, pool, repeats=3, cache=None, progress=SILENT, effort=BRIEF)


def test_a_device_that_is_not_here_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = str(tmp_path / "towers.onnx")
    write_onnx(towers(layers=1, size=8), Path(network))
    assert main(["run", network, "--on", "this-machine", "--workers", "torch@cuda:77"]) == 2
    told = capsys.readouterr().err
    assert "cuda:77" in told
    assert next(iter(core_sets())) in told
