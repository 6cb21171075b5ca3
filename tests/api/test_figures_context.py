"""What figures state: number formats in use, units of work, each of several networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import orrery
from orrery.api import MapSearch, ModelOptions
from orrery.api.figures import precisions
from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.report import render_text
from orrery.timeline import PS_PER_S

#: What figures state does not depend on how hard the search is.
GREEDY = MapSearch(search="greedy")


def _figures(result: orrery.MapResult, metric: str) -> list[Evidence]:
    return [e for e in result.evidence if e.metric == metric]


def _statuses(result: orrery.MapResult) -> list[str]:
    return [verdict.status for verdict in result.verdicts]


def test_the_formats_of_designs_are_stated_and_what_they_round() -> None:
    result = orrery.map("alexnet", on="aws-f1", search=MapSearch(set_sizes=(1, 8)))
    (latency,) = _figures(result, "latency")
    assert latency.context["precision"] == "fixed16 and float32"
    (accuracy,) = _figures(result, "accuracy")
    # AlexNet has 5 convolutions and nothing else that these designs run.
    said = "5 of 19 regions compute in fixed16: image and weights rounded to 16-bit fixed point"
    assert accuracy.value is None and said in accuracy.source.note
    assert said in " ".join(result.text.split())
    assert said in " ".join(result.scorecard.metric("accuracy").why_unknown.split())


def test_a_device_as_it_is_computes_in_the_networks_own_format() -> None:
    result = orrery.map("alexnet", on="a100")
    assert _figures(result, "latency")[0].context["precision"] == "float32"
    assert "compute in" not in _figures(result, "accuracy")[0].source.note


def test_a_trip_count_is_no_precision_and_weights_in_bodies_are() -> None:
    row = TensorType(dtype="float16", shape=(4,))
    body = Graph(
        name="body",
        nodes=(
            Node(name="same", op="Identity", inputs=("going",), outputs=("on",)),
            Node(name="add", op="Add", inputs=("state", "w"), outputs=("next",)),
        ),
        inputs=("i", "going", "state"),
        outputs=("on", "next"),
        types={
            "i": TensorType(dtype="int64", shape=()),
            "going": TensorType(dtype="bool", shape=()),
            "state": row,
        },
        constants={"w": ArrayConstant(np.ones(4, np.float16))},
    )
    graph = Graph(
        name="loop",
        nodes=(
            Node(name="loop", op="Loop", inputs=("trips", "", "x"), outputs=("y",),
                 attributes={"body": body}),
        ),
        inputs=("x",), outputs=("y",), types={"x": row},
        constants={"trips": ArrayConstant(np.array(3))},
    ).infer()  # fmt: skip
    assert precisions(graph) == ["float16"]
    index = TensorType(dtype="int64", shape=(2,))
    only = Graph(name="only", nodes=(Node(name="n", op="Neg", inputs=("x",), outputs=("y",)),),
                 inputs=("x",), outputs=("y",), types={"x": index}).infer()  # fmt: skip
    assert precisions(only) == ["int64"]


def test_each_of_several_networks_has_its_own_figures() -> None:
    needs = ["throughput>1/s", "latency<1h", "throughput>1 image/s"]
    result = orrery.map(
        ["alexnet", "squeezenet1_1"],
        on="aws-f1",
        search=GREEDY,
        options=ModelOptions(batch=2),
        needs=needs,
    )
    whole, first, second = _figures(result, "throughput")
    subject = "{} on aws-f1".format
    assert [f.subject for f in (whole, first, second)] == [
        subject("alexnet, squeezenet1_1"), subject("alexnet"), subject("squeezenet1_1")
    ]  # fmt: skip
    makespan = result.timeline.makespan_s
    assert whole.value == pytest.approx(4 / makespan)
    assert whole.context["sum_over"] == "2 networks" and "sum over 2 networks" in " ".join(
        result.text.split()
    )
    assert first.value == second.value == pytest.approx(2 / makespan)
    assert first.context["batch"] == "2" and "sum_over" not in first.context
    ends = [
        max(s.end_ps for s in result.timeline.spans if s.name.startswith(f"{name}/")) / PS_PER_S
        for name in ("alexnet", "squeezenet1_1")
    ]
    latencies = [f.value for f in _figures(result, "latency")]
    assert latencies == [makespan, *ends] and max(ends) == makespan
    # The worst network decides, not the sum.
    assert [v.status for v in result.verdicts] == ["pass"] * 3
    assert result.verdicts[0].figure in (first, second)
    between = f"throughput>{3 / makespan:.6f}/s"  # below the sum, above each
    again = orrery.map(
        ["alexnet", "squeezenet1_1"],
        on="aws-f1",
        search=GREEDY,
        options=ModelOptions(batch=2),
        needs=[between],
    )
    assert _statuses(again) == ["fail"]


def test_training_is_counted_in_samples_and_steps() -> None:
    result = orrery.map(
        "squeezenet1_1", on="a100", options=ModelOptions(training=True, batch=4),
        needs=["throughput>1 sample/s", "throughput>1 step/s", "throughput>1 image/s",
               "throughput>1 inference/s"],
    )  # fmt: skip
    (latency,) = _figures(result, "latency")
    samples, steps = _figures(result, "throughput")
    assert latency.value is not None and latency.context["phase"] == "training step"
    assert (samples.unit, samples.value) == ("sample/s", pytest.approx(4 / latency.value))
    assert (steps.unit, steps.value) == ("step/s", pytest.approx(1 / latency.value))
    assert _statuses(result) == ["pass", "pass", "pass", "not known"]
    assert "inference/s" not in result.text.split("── Needs")[0]


def test_a_need_in_samples_is_not_answered_by_steps() -> None:
    found = orrery.map("squeezenet1_1", on="a100", options=ModelOptions(training=True, batch=4))
    rate = _figures(found, "throughput")[0].value
    need = f"throughput>{rate / 2}/s"  # twice the steps' rate
    result = orrery.map("squeezenet1_1", on="a100", needs=[need],
                        options=ModelOptions(training=True, batch=4))  # fmt: skip
    assert _statuses(result) == ["pass"]


def test_a_training_step_is_not_a_decoding_step() -> None:
    with pytest.raises(SpecError, match="--phase decode"):
        orrery.load_model("gpt2-124m", ModelOptions(training=True, phase="decode"))


@pytest.mark.parametrize(
    ("name", "options", "unit", "status"),
    [
        ("gpt2-124m", ModelOptions(phase="decode", context=8), "token/s", "pass"),
        ("gpt2-124m", ModelOptions(phase="prefill", context=8), "token/s", "not known"),
        ("gpt2-124m", ModelOptions(phase="prefill", context=8), "sequence/s", "pass"),
        ("squeezenet1_1", None, "image/s", "pass"),
        ("squeezenet1_1", None, "sample/s", "pass"),
        ("squeezenet1_1", None, "token/s", "not known"),
    ],
)
def test_a_rate_is_asked_for_in_what_an_inference_is(
    name: str, options: ModelOptions | None, unit: str, status: str
) -> None:
    result = orrery.map(name, on="a100", options=options, needs=[f"throughput>0.001 {unit}"])
    assert _statuses(result) == [status]


SYSTEM = """\
name: starred
description: Two boards on one switch
host: host
source: mine
sources:
  mine: {basis: measured, where: "our lab"}
devices:
  - name: "board{i}"
    count: 2
    kind: cpu
    idle_power: "10 W"
    compute:
      macs: {float32: "1 GMAC/s"}
      others: "1 Gop/s"
      mac_energy: {float32: "1 pJ/MAC"}
      other_energy: "1 pJ/op"
    memories:
      - {name: dram, size: "4 GiB", bandwidth: "10 GB/s", energy: "1 pJ/B", offchip: true}
links:
  - switch: star
    ports: [host, board0, board1]
    bandwidth: "1 GB/s"
    latency: "1 us"
    energy: "1 pJ/B"
"""


def test_idle_power_and_switches_count_as_is_said(tmp_path: Path) -> None:
    (tmp_path / "starred.yaml").write_text(SYSTEM)
    size = TensorType(dtype="float32", shape=(1000, 1000))
    graph = Graph(name="one", nodes=(Node(name="r", op="Relu", inputs=("x",), outputs=("y",)),),
                  inputs=("x",), outputs=("y",), types={"x": size}).infer()  # fmt: skip
    result = orrery.map(graph, on=tmp_path / "starred.yaml", search=GREEDY)
    assert {a.device for a in result.plan.assignments} == {"board0"}
    (latency,) = _figures(result, "latency")
    (energy,) = _figures(result, "energy")
    # There and back: 4 MB each way at 1 GB/s and two links of 1 µs; 1 ms of work between.
    assert latency.value == pytest.approx(2 * (4e-3 + 2e-6) + 1e-3)
    # Work; both tensors to and from memory, by the board and by the link; two links each way;
    # idle power of the one board in use.
    picojoules = 1e6 + 2 * 8e6 + 2 * 8e6
    assert energy.value == pytest.approx(picojoules * 1e-12 + 10 * latency.value)
    assert energy.context["idle_power"] == "of 1 of 2 devices"
    page = render_text(result.page)
    assert "idle power of 1 of 2 devices" in " ".join(page.split())
    assert "twice from port to port" in " ".join(page.split())
