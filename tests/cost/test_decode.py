"""A key/value cache is resident and grows in place: bytes and memory against closed forms."""

from __future__ import annotations

import pytest

from orrery.cost import price, roofline, work_of
from orrery.graph import build_model
from orrery.hardware import load_system
from orrery.mapping import greedy

#: GPT-2 124M: layers, hidden size; float32
LAYERS, HIDDEN, WORD = 12, 768, 4


@pytest.mark.parametrize(("context", "batch"), [(128, 1), (512, 1), (512, 8)])
def test_a_step_reads_weights_and_cache_once_and_writes_one_token(context: int, batch: int) -> None:
    graph = build_model("gpt2-124m", phase="decode", context=context, batch=batch)
    cache = 2 * LAYERS * batch * context * HIDDEN * WORD
    token = 2 * LAYERS * batch * HIDDEN * WORD
    assert sum(graph.type(name).size_bytes for name in graph.states) == cache
    works = {region.name: work_of(region) for region in graph.regions()}
    appended = [
        works[r.name]
        for r in graph.regions()
        if any(graph.grown_from(t) for t in r.members[0].outputs)
    ]
    assert len(appended) == 2 * LAYERS
    # The new token's keys and values are read and written; what lies in the cache is not touched.
    assert sum(w.input_bytes for w in appended) == token
    assert sum(w.output_bytes for w in appended) == token
    products = [
        works[r.name].input_bytes + works[r.name].output_bytes
        for r in graph.regions()
        if r.members[0].op == "MatMul" and not r.weights
    ]
    # Scores and values: queries (or probabilities), the cache with the new token, the result.
    heads = 12
    operands = 2 * LAYERS * batch * (HIDDEN + heads * (context + 1)) * WORD
    assert sum(products) == cache + token + operands


def test_memory_holds_the_cache_once() -> None:
    graph = build_model("gpt2-124m", phase="decode", context=1000, batch=150)
    system = load_system("v100")  # 16 GiB: weights and cache take 10.8, the cache twice too much
    plan = greedy([graph], system, {"": roofline})
    priced = price(plan, [graph], system, {"": roofline})
    weights = sum({n: c.type.size_bytes for n, c in graph.constants.items()}.values())
    cache = sum(graph.type(name).size_bytes for name in graph.states)
    assert weights + cache <= priced.peak_bytes["gpu0"] <= 1.05 * (weights + cache)
