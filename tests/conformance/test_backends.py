"""Every back end runs the same graphs to the same numbers and refuses alike."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import MODELS, Graph, Node, build_model
from orrery.graph.models import example_inputs
from orrery.runtime import BACKENDS, Backend, Tensors
from tests.runtime.graphs import diamond, image

#: what a back end's tests need; PyTorch and OpenVINO have processes of their own
_MARKS = {
    "onnxruntime": [pytest.mark.needs("onnxruntime")],
    "openvino": [pytest.mark.openvino, pytest.mark.needs("openvino")],
    "torch": [pytest.mark.torch],
}
everyone = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=_MARKS.get(name, [])) for name in BACKENDS.names()]
)


def _small(network: str) -> tuple[Graph, Tensors]:
    graph = build_model(network, **MODELS[network].small)
    return graph, example_inputs(graph)


def _plain() -> tuple[Graph, Tensors]:
    graph = diamond()
    return graph, image(graph)


def _through() -> tuple[Graph, Tensors]:
    """An input that is also an output."""
    graph = replace(diamond(), outputs=("x", "e"))
    return graph, image(graph)


CASES = {
    "diamond": _plain, "through": _through, "resnet18": lambda: _small("resnet18"),
    "gpt2-124m": lambda: _small("gpt2-124m"), "bert-base": lambda: _small("bert-base"),
}  # fmt: skip


def _backend(name: str) -> Backend:
    backend: Backend = BACKENDS[name]()
    assert backend.name == name
    return backend


@everyone
@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_the_reference(name: str, case: str) -> None:
    graph, inputs = CASES[case]()
    backend, kept = _backend(name), copy.deepcopy(dict(inputs))
    assert backend.refuses(graph) is None
    executable = backend.prepare(graph)
    outputs, again = executable.run(inputs), executable.run(inputs)
    want = graph.evaluate(inputs)
    assert list(outputs) == list(graph.outputs)
    for output in want:
        assert outputs[output].dtype == want[output].dtype
        np.testing.assert_allclose(outputs[output], want[output], rtol=1e-3, atol=1e-4)
        assert np.array_equal(outputs[output], again[output])
    assert all(np.array_equal(kept[i], inputs[i]) for i in kept)


@everyone
@pytest.mark.parametrize(
    "change",
    [
        lambda x: {},
        lambda x: {"x": x.astype(np.float64)},
        lambda x: {"x": x[:, :-1]},
        lambda x: {"x": x[0]},
        lambda x: {"x": x, "y": x},
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, change) -> None:
    graph, inputs = _plain()
    with pytest.raises(SpecError, match="diamond: input '"):
        _backend(name).prepare(graph).run(change(inputs["x"]))


@everyone
def test_an_unknown_operator_is_an_error_that_names_it(name: str) -> None:
    graph = diamond()
    magic = Node(name="magic", op="Magic", domain="com.example", inputs=("e",), outputs=("z",))
    broken = replace(graph, nodes=(*graph.nodes, magic), outputs=("z",))
    broken = broken.with_types({**graph.types, "z": graph.types["e"]})
    with pytest.raises(OrreryError, match=r"Magic|magic"):
        _backend(name).prepare(broken)


def test_an_unknown_back_end_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'onnxruntime'"):
        BACKENDS["onnxruntim"]
