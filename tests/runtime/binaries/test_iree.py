"""A network built by IREE, run by IREE, and its module followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orrery.decompile.containers import Place, follow_vmfb, read_vmfb
from orrery.graph import example_inputs
from orrery.runtime.binaries import SMALL_NETWORKS, build_iree, run_iree

pytestmark = pytest.mark.needs("iree")


def test_a_module_runs_and_its_weights_are_found(tmp_path: Path) -> None:
    graph = SMALL_NETWORKS["perceptron"]()
    built = build_iree(graph, tmp_path)
    inputs = example_inputs(graph, seed=3)
    found = run_iree(built.path, inputs, graph.outputs, entry=graph.name)
    for name, value in graph.evaluate(inputs).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-5)
    sequence = follow_vmfb(read_vmfb(built.path.read_bytes()))
    read = [
        sequence.buffers[a.buffer].data
        for call in sequence.calls
        for a in call.arguments
        if isinstance(a, Place)
    ]
    wide = [c.array() for c in graph.constants.values() if c.array().ndim == 2]
    assert wide
    for value in wide:
        assert any(
            data is not None and (value.tobytes() in data or value.T.tobytes() in data)
            for data in read
        )
