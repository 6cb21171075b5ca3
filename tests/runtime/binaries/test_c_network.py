"""Networks written as C, compiled and run beside ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orrery.errors import ModelError, OrreryError, UnsupportedOperatorsError
from orrery.graph import Graph, example_inputs
from orrery.graph.models import Builder
from orrery.runtime import OnnxRuntimeBackend
from orrery.runtime.binaries import (
    OPERATORS,
    SMALL_NETWORKS,
    CRecipe,
    CStyle,
    build_c,
    c_source,
    run_c,
)

pytestmark = pytest.mark.needs("gcc", "onnxruntime")

TABLE = {**OPERATORS, **SMALL_NETWORKS}


def judge(graph: Graph, folder: Path, recipe: CRecipe) -> None:
    """Build, run, and hold the outputs against ONNX Runtime's."""
    inputs = example_inputs(graph, seed=3)
    wanted = OnnxRuntimeBackend().prepare(graph).run(inputs)
    found = run_c(build_c(graph, folder, recipe), inputs)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_what_is_written_computes_the_network(name: str, tmp_path: Path) -> None:
    recipe = CRecipe(options=("-O1", "-Wall", "-Werror"), form="executable")
    judge(TABLE[name](), tmp_path, recipe)


@pytest.mark.parametrize(
    "style",
    [
        CStyle(padding="copy"),
        CStyle(sums="memory", functions="static"),
        CStyle(memory="arena", weights="blob", fold=True),
        CStyle(memory="arena", weights="given", padding="copy"),
    ],
)
@pytest.mark.parametrize("name", ["small_resnet", "branches"])
def test_styles_agree(name: str, style: CStyle, tmp_path: Path) -> None:
    judge(TABLE[name](), tmp_path, CRecipe(options=("-O2",), style=style))


@pytest.mark.parametrize("form", ["shared", "object", "archive"])
def test_forms_run(form: str, tmp_path: Path) -> None:
    judge(TABLE["lenet"](), tmp_path, CRecipe(options=("-O3", "-mavx2", "-mfma"), form=form))


def test_weights_are_written_bit_by_bit(tmp_path: Path) -> None:
    graph = TABLE["lenet"]()
    data = build_c(graph, tmp_path, CRecipe(form="object")).path.read_bytes()
    for name, constant in graph.constants.items():
        value = constant.array()
        if value.dtype == np.float32:
            assert value.tobytes() in data, name


def test_given_weights_lie_beside_the_binary(tmp_path: Path) -> None:
    graph = TABLE["lenet"]()
    binary = build_c(graph, tmp_path, CRecipe(form="object", style=CStyle(weights="given")))
    assert binary.companion is not None
    weight = graph.constants["conv1.weight"].array().tobytes()
    assert weight in binary.companion.read_bytes()
    assert weight not in binary.path.read_bytes()


def test_an_arena_is_smaller_than_buffers_of_their_own() -> None:
    graph = TABLE["small_resnet"]()
    text = c_source(graph, CStyle(memory="arena")).text
    arena = int(text.split("static float arena[")[1].split("]")[0])
    sizes = [int(np.prod(graph.type(n.outputs[0]).sizes)) for n in graph.nodes]
    assert arena < sum(sizes) / 2


def test_unknown_operators_are_named() -> None:
    b = Builder("odd")
    graph = b.finish({"y": b.op("Cos", b.input("x", 2, 3))})
    with pytest.raises(UnsupportedOperatorsError, match=r"not written as C: Cos"):
        c_source(graph)


def test_whole_numbers_are_refused() -> None:
    b = Builder("odd")
    graph = b.finish({"y": b.op("Relu", b.input("x", 2, 3, dtype="int32"))})
    with pytest.raises(ModelError, match=r"found 'int32', wanted float32"):
        c_source(graph)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    recipe = CRecipe(options=("-fno-such-option",))
    with pytest.raises(OrreryError, match=r"gcc: found .*no-such-option"):
        build_c(TABLE["relu"](), tmp_path, recipe)
