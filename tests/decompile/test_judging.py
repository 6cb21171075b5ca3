"""What is taken for a network, and what is not: by its operators, its parameters, its company."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery.decompile import RecoverLimits, recover_binary
from orrery.decompile._evidence import RecoveredWeight
from orrery.decompile._functions import find_functions
from orrery.decompile._judging import LEAST_PARAMETERS, is_learned, judge
from orrery.decompile._recovery import Recovery
from orrery.decompile.images import open_image
from orrery.runtime.binaries import OPERATORS, CRecipe, build_c

_LIMITS = RecoverLimits(time_s=200, memory_bytes=2 << 30, function_s=60)


def _tables() -> dict[str, np.ndarray]:
    """Constants of ordinary programs, by what they are."""
    n = np.arange(8)
    cosines = np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / 16)  # the transform of JPEG
    taps = np.sinc((np.arange(63) - 31) / 4) * np.hamming(63)
    line = np.exp(-((np.arange(5) - 2) ** 2) / 2)
    angles = 2 * np.pi * np.arange(64)[:, None] * np.arange(64)[None] / 64
    return {
        "sobel": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        "colours": np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]),
        "cosines": cosines, "low pass": taps, "blur": np.outer(line, line),
        "Fourier": np.cos(angles), "box": np.full((7, 7), 1 / 49), "nothing": np.zeros((8, 8)),
        "broken": np.full(64, np.nan),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(_tables()))
def test_tables_are_no_parameters(name: str) -> None:
    table = _tables()[name]
    assert not is_learned(table)
    assert not is_learned(table.astype(np.float32))


def test_parameters_that_training_leaves() -> None:
    draw = np.random.default_rng(3)
    weights = (draw.standard_normal((16, 32)) / 8).astype(np.float32)
    assert is_learned(weights)
    assert is_learned(weights.astype(np.float16).astype(np.float32))
    assert is_learned(np.where(draw.random(weights.shape) < 0.9, 0, weights))  # pruned
    assert is_learned(weights[:1, :LEAST_PARAMETERS])
    assert not is_learned(weights[:1, : LEAST_PARAMETERS - 1])


@pytest.mark.needs("gcc", "pyvex", "capstone")
@pytest.mark.parametrize("name", ["relu", "max_pool", "batch_norm"])
def test_an_operator_that_is_all_of_a_file(name: str, tmp_path: Path) -> None:
    graph = OPERATORS[name]()
    built = build_c(graph, tmp_path, CRecipe(options=("-O1",)))
    subprocess.run(["strip", "--strip-all", built.path], check=True)
    found = recover_binary(built.path, limits=_LIMITS)
    assert found.verdict == "whole", found.network
    assert found.recovery is not None
    assert found.recovery.graph is not None
    assert len(found.recovery.graph.inputs) == 1  # parameters of its own are not asked for


def test_weights_that_are_in_no_file_are_a_part_that_is_missing() -> None:
    weight = RecoveredWeight(tensor="w", origin="", size_bytes=960, present=False)
    recovery = Recovery(graph=OPERATORS["gemm"](), weights=(weight,))
    verdict, reason = judge(recovery, contained=True, named=False, alone=False)
    assert (verdict, reason) == ("partial", "the numbers of 1 weight are not in this file")
    there = replace(recovery, weights=(replace(weight, present=True),))
    assert judge(there, contained=True, named=False, alone=False) == ("whole", "")
    bare = replace(recovery, graph=OPERATORS["relu"]())
    assert "--with" in judge(bare, contained=False, named=False, alone=False)[1]


_COMPANY = """
void clamp(const float *in, float *out) {
    for (int i = 0; i < 96; i++) out[i] = in[i] > 0 ? in[i] : 0;
}
float mean(const float *in, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += in[i];
    return sum / n;
}
"""


@pytest.mark.needs("gcc", "pyvex", "capstone")
def test_the_same_operator_in_company_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(_COMPANY)
    words = ["gcc", "-O1", "-shared", "-fPIC", "a.c", "-o", "a.so"]
    subprocess.run(words, cwd=tmp_path, check=True)
    image = open_image(tmp_path / "a.so")
    functions = find_functions(image)
    clamp = image.symbol("clamp")
    assert clamp is not None
    assert not functions.alone(clamp.address)
    assert recover_binary(tmp_path / "a.so", limits=_LIMITS).verdict == "none"
    named = recover_binary(tmp_path / "a.so", entry="clamp", limits=_LIMITS)
    assert named.verdict == "whole"
