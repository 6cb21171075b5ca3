"""Compares what was recovered with the network that routines were written from."""

from __future__ import annotations

import numpy as np

from orrery.decompile._recovery import Recovery, recover_program
from orrery.decompile.forms import Program
from orrery.decompile.topology import differences
from orrery.graph import Graph


def recovered(program: Program, source: Graph, *, seed: int = 0) -> Recovery:
    """Recover a program and insist that it is the source: same graph, same numbers."""
    recovery = recover_program(program)
    assert recovery.unmatched == (), [f"{u.address:#x}: {u.reason}" for u in recovery.unmatched]
    assert recovery.graph is not None
    assert differences(recovery.graph, source) == ()
    same_numbers(recovery.graph, source, seed=seed)
    return recovery


def same_numbers(found: Graph, source: Graph, *, seed: int = 0) -> None:
    """Insist on equal outputs for random inputs, up to the order of sums."""
    draw = np.random.default_rng(seed)
    given = [draw.standard_normal(source.type(n).sizes).astype(np.float32) for n in source.inputs]
    want = source.evaluate(dict(zip(source.inputs, given, strict=True)))
    have = found.evaluate({
        name: value.reshape(found.type(name).sizes)
        for name, value in zip(found.inputs, given, strict=True)
    })  # fmt: skip
    for one, two in zip(found.outputs, source.outputs, strict=True):
        np.testing.assert_allclose(
            have[one].reshape(-1), want[two].reshape(-1), rtol=1e-4, atol=1e-5
        )


def operators(recovery: Recovery) -> list[str]:
    assert recovery.graph is not None
    return [node.op for node in recovery.graph.nodes]
