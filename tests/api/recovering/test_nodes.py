"""A node that was changed on purpose is the one whose certificate says so."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery.api.recovering._check import TOLERANCE, check_against
from orrery.api.recovering._nodes import node_certificates
from orrery.decompile import Recovered, RecoverLimits, recover_binary
from orrery.graph import ArrayConstant, example_inputs
from orrery.progress import SILENT

pytestmark = pytest.mark.needs("gcc", "pyvex", "capstone", "unicorn")

_SOURCE = """
static const float w0[8 * 6] = {%s};
static const float w1[5 * 8] = {%s};
static float hidden[8], raised[8];
void infer(const float *in, float *out) {
    for (int i = 0; i < 8; i++) {
        float sum = 0;
        for (int j = 0; j < 6; j++) sum += in[j] * w0[i * 6 + j];
        hidden[i] = sum;
    }
    for (int i = 0; i < 8; i++) raised[i] = hidden[i] > 0 ? hidden[i] : 0;
    for (int i = 0; i < 5; i++) {
        float sum = 0;
        for (int j = 0; j < 8; j++) sum += raised[j] * w1[i * 8 + j];
        out[i] = sum;
    }
}
"""


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    draw = np.random.default_rng(9)
    rows = (", ".join(f"{one:.9g}f" for one in draw.standard_normal(size)) for size in (48, 40))
    (folder / "a.c").write_text(_SOURCE % tuple(rows))
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "a.c", "-o", "a.so"], cwd=folder, check=True)
    return folder / "a.so"


@pytest.fixture(scope="module")
def recovered(binary: Path) -> Recovered:
    limits = RecoverLimits(time_s=120, memory_bytes=2 << 30, function_s=60)
    found = recover_binary(binary, limits=limits)
    assert found.verdict == "whole"
    return found


def test_every_node_is_judged_by_its_own_code(binary: Path, recovered: Recovered) -> None:
    checked = check_against(binary, recovered, rounds=2, seed=1, base=None, architecture=None,
                            progress=SILENT)  # fmt: skip
    assert checked.agrees
    assert checked.unjudged == ""
    graph = recovered.recovery.graph if recovered.recovery else None
    assert graph is not None
    judged = {node.op: checked.nodes[node.name] for node in graph.nodes
              if node.op in ("Gemm", "Relu")}  # fmt: skip
    assert set(judged) == {"Gemm", "Relu"}
    for one in judged.values():
        assert one.error is not None
        assert one.error < 1e-6


def test_a_changed_weight_shows_at_its_node_and_after(binary: Path, recovered: Recovered) -> None:
    network = recovered.network
    assert network is not None
    graph = network.recovery.graph
    assert graph is not None
    last = [node for node in graph.nodes if node.op == "Gemm"][-1]
    name = next(one for one in last.inputs if one in graph.constants)
    values = graph.constants[name].array() + np.float32(1)
    other = replace(graph, constants={**graph.constants, name: ArrayConstant(values)})
    changed = replace(network, recovery=replace(network.recovery, graph=other))
    found, why = node_certificates(binary, changed, example_inputs(graph, seed=2), None, None)
    assert why == ""
    errors = {one: judged.error for one, judged in found.items() if judged.error is not None}
    assert errors.pop(last.name) > 100 * TOLERANCE
    assert errors and max(errors.values()) < TOLERANCE


def test_a_container_is_said_to_be_run_as_a_whole(binary: Path, recovered: Recovered) -> None:
    assert recovered.network is not None
    contained = replace(recovered.network, container="IREE module")
    assert contained.recovery.graph is not None
    draw = example_inputs(contained.recovery.graph, seed=0)
    found, why = node_certificates(binary, contained, draw, None, None)
    assert found == {}
    assert "runtime" in why


_CUT_OFF = """
float fmodf(float, float);
static const float w[40] = {%s};
void infer(const float *in, float *part, float *out) {
    for (int i = 0; i < 8; i++) part[i] = fmodf(in[i], 0.7f);
    for (int i = 0; i < 5; i++) {
        float sum = 0;
        for (int j = 0; j < 8; j++) sum += in[j] * w[i * 8 + j];
        sum = sum > 0 ? sum : 0;
        out[i] = sum < 8 ? sum : 8;
    }
}
"""


def test_one_output_of_two_is_compared_where_it_is_and_with_large_inputs_too(
    tmp_path: Path,
) -> None:
    """What is not recovered has room to be stored to; what is cut off at 8 is seen."""
    weights = ", ".join(f"{one:.9g}f" for one in np.random.default_rng(9).standard_normal(40))
    (tmp_path / "a.c").write_text(_CUT_OFF % weights)
    words = ["-shared", "-fPIC", "-fno-builtin-fmodf", "a.c", "-o", "a.so", "-lm"]
    subprocess.run(["gcc", "-O1", *words], cwd=tmp_path, check=True)
    limits = RecoverLimits(time_s=120, memory_bytes=2 << 30, function_s=60)
    found = recover_binary(tmp_path / "a.so", entry="infer", limits=limits)
    assert found.verdict == "partial" and found.network is not None
    graph = found.network.recovery.graph
    assert graph is not None and len(graph.outputs) == 1
    assert graph.outputs[0] == found.network.recovery.outputs[1]
    checked = check_against(tmp_path / "a.so", found, rounds=2, seed=1, base=None,
                            architecture=None, progress=SILENT)  # fmt: skip
    assert checked.agrees, checked
    nodes = tuple(replace(n, op="Relu", inputs=n.inputs[:1]) if n.op == "Clip" else n
                  for n in graph.nodes)  # fmt: skip
    assert nodes != graph.nodes
    other = replace(found.network.recovery, graph=replace(graph, nodes=nodes))
    wrong = replace(found, network=replace(found.network, recovery=other))
    checked = check_against(tmp_path / "a.so", wrong, rounds=4, seed=1, base=None,
                            architecture=None, progress=SILENT)  # fmt: skip
    assert checked.error is not None and checked.error > TOLERANCE
