"""Every network, reduced, against ONNX Runtime and against identities that must hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orrery.graph import MODELS, Graph, build_model, example_inputs, onnx_bytes

DECODERS = ("gpt2-124m", "llama-7b")

CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in MODELS),
    *((name, {"phase": "decode"}) for name in DECODERS),
    *((name, {"all_logits": True}) for name in DECODERS),
    *((name, {"batch": "batch", "context": "past", "phase": phase})
      for name in DECODERS for phase in ("prefill", "decode")),
]  # fmt: skip


def _small(name: str, **options: Any) -> Graph:
    return build_model(name, **{**MODELS[name].small, "batch": 2, **options})


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda case: str(case))
def test_reduced_networks_equal_onnx_runtime(name: str, options: dict[str, Any]) -> None:
    import onnxruntime

    graph = _small(name, **options)
    sizes = {"batch": 2, "past": 6}
    bound = graph.bind(**{s: sizes[s] for s in graph.symbols}) if graph.symbols else graph
    inputs = example_inputs(bound)
    ours = graph.evaluate(inputs)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_bytes(graph), settings, providers=["CPUExecutionProvider"]
    )
    theirs = session.run(list(graph.outputs), inputs)
    for output, wanted in zip(graph.outputs, theirs):
        assert ours[output].shape == bound.type(output).shape == wanted.shape
        scale = np.abs(wanted).max()
        assert 1e-3 < scale < 1e3, "the seeded weights let the signal vanish or explode"
        np.testing.assert_allclose(ours[output], wanted, rtol=0, atol=3e-5 * scale)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("first", [1, 4])
def test_prefill_then_decode_equals_a_longer_prefill(name: str, first: int) -> None:
    """Decoding token by token from the caches gives what one prefill over all tokens gives."""
    tokens = 7
    ids = np.random.default_rng(3).integers(0, 50, (2, tokens))
    whole = _small(name, context=tokens, all_logits=True).evaluate({"input_ids": ids})
    step = _small(name, context=first).evaluate({"input_ids": ids[:, :first]})
    np.testing.assert_allclose(step["logits"], whole["logits"][:, first - 1], atol=1e-5)
    for place in range(first, tokens):
        graph = _small(name, context=place, phase="decode")
        inputs = {past: step[present] for past, present in graph.states.items()}
        step = graph.evaluate({"input_ids": ids[:, place : place + 1], **inputs})
        np.testing.assert_allclose(step["logits"], whole["logits"][:, place], atol=1e-5)
    for output in whole:
        if output != "logits":
            np.testing.assert_allclose(step[output], whole[output], atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_one_decode_graph_serves_every_length(name: str) -> None:
    """With an open context, a graph's next states are its own next inputs."""
    graph = _small(name, context="past", phase="decode")
    ids = np.random.default_rng(4).integers(0, 50, (2, 6))
    caches = {past: np.zeros(_empty(graph, past), np.float32) for past in graph.states}
    for place in range(6):
        step = graph.evaluate({"input_ids": ids[:, place : place + 1], **caches})
        caches = {past: step[present] for past, present in graph.states.items()}
    whole = _small(name, context=6).evaluate({"input_ids": ids})
    np.testing.assert_allclose(step["logits"], whole["logits"], atol=1e-5)


def _empty(graph: Graph, cache: str) -> tuple[int, ...]:
    return tuple(0 if size == "past" else int(size) for size in graph.type(cache).shape)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    for name in ("resnet18", "bert-base", "llama-7b", "memn2n", "siamese-lstm"):
        pair, one = _small(name), _small(name, batch=1)
        inputs = example_inputs(pair)
        both = pair.evaluate(inputs)
        alone = one.evaluate({key: value[1:] for key, value in inputs.items()})
        for output in pair.outputs:
            np.testing.assert_allclose(both[output][1:], alone[output], atol=2e-5)


def test_memory_network_equals_its_definition() -> None:
    graph = _small("memn2n")
    inputs = example_inputs(graph)
    story, question = inputs["story"], inputs["question"]

    def value(name: str) -> NDArray[Any]:
        return graph.constants[name].array()

    wanted = []
    for place in range(2):
        state = value("words0")[question[place]].sum(0)
        for hop in range(3):
            keys = value(f"words{hop}")[story[place]].sum(1) + value(f"time{hop}")
            values = value(f"words{hop + 1}")[story[place]].sum(1) + value(f"time{hop + 1}")
            weights = np.exp(keys @ state - (keys @ state).max())
            state = state + weights / weights.sum() @ values
        wanted.append(value("words3") @ state)
    np.testing.assert_allclose(graph.evaluate(inputs)["logits"], wanted, rtol=1e-4, atol=1e-5)


def test_siamese_branches_share_their_weights() -> None:
    graph = _small("siamese-lstm")
    ids = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    same = graph.evaluate({"left": ids, "right": ids})["similarity"]
    np.testing.assert_allclose(same, 1.0, atol=1e-6)
    there = graph.evaluate({"left": ids, "right": ids[::-1]})["similarity"]
    back = graph.evaluate({"left": ids[::-1], "right": ids})["similarity"]
    np.testing.assert_allclose(there, back, atol=1e-6)
    assert (there < 1).all()
