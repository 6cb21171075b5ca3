"""Layers of training steps and look-ups, split among processes: equal to the whole layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from orrery.cost import Refusal, Sharding, Strategy, shard, strategies
from orrery.graph import Region
from orrery.runtime import PartyPool, ShardedLayer, ShardedRun

from ..cost.layers import formula, layer, random_inputs
from ..cost.training_layers import EXACT, FLOATS, conv_gradients

LAYERS = EXACT | FLOATS
#: Executed per layer and number of parties: all where there are no more.
_SAMPLE = 20


@pytest.fixture(scope="module")
def pool() -> Iterator[PartyPool]:
    with PartyPool(4, timeout_s=300) as opened:
        yield opened


def _split(region: Region, strategy: Strategy, parties: int | list[float]) -> Sharding:
    found = shard(region, strategy, parties)
    assert not isinstance(found, Refusal), found
    return found


def _agrees(found: np.ndarray, want: np.ndarray, *, bits: bool) -> None:
    """Whole numbers bit by bit; floats to a few roundings, NumPy's order of sums follows shapes."""
    assert (found.dtype, found.shape) == (want.dtype, want.shape)
    if bits:
        assert found.tobytes() == want.tobytes()
    else:
        few = 16 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found, want, rtol=few, atol=few)


def _check(run: ShardedRun, region: Region, inputs: dict[str, np.ndarray], *, bits: bool) -> None:
    want = region.graph.evaluate(inputs)
    assert run.outputs.keys() == want.keys()
    for name, value in want.items():
        _agrees(run.outputs[name], value, bits=bits)
        layout = run.layouts[name]
        if not layout.partial:
            for held, box in zip(run.pieces, layout.boxes):
                _agrees(held[name], value[box.slices], bits=bits)


@pytest.mark.parametrize("parties", [2, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_every_strategy_computes_the_layer_and_sends_the_formula(
    name: str, parties: int, pool: PartyPool
) -> None:
    region = LAYERS[name]
    inputs = random_inputs(region)
    found = strategies(region, parties, combines=("all_reduce", "reduce_scatter", "none"))
    assert not isinstance(found, Refusal), found
    assert len(found) > 1, "nothing can be split"
    rng = np.random.default_rng(parties)
    if name not in ("conv-grad-weight", "conv-grad-input") and len(found) > _SAMPLE:
        found = tuple(found[i] for i in sorted(rng.choice(len(found), _SAMPLE, replace=False)))
    for number, strategy in enumerate(found):
        weights = [1.0] * parties if number % 2 else list(rng.uniform(1, 3, parties))
        sharding = _split(region, strategy, weights)
        run = ShardedLayer(sharding=sharding).run(pool, inputs)
        _check(run, region, inputs, bits=name in EXACT)
        counted = {(t.kind, t.source, t.target): (t.messages, t.size_bytes) for t in run.traffic}
        assert counted == formula(sharding), strategy


@pytest.mark.parametrize("p", [2, 4])
def test_data_parallel_training_sends_the_weights_gradient_alone(p: int, pool: PartyPool) -> None:
    """A ring all-reduce moves 2 (p − 1) times the gradient, a reduce-scatter half of it."""
    dw, dx = conv_gradients((4, 8, 6, 6), (16, 8, 3, 3), (4, 16, 6, 6), pads=(1, 1, 1, 1))
    gradient = 16 * 8 * 9 * 8  # bytes
    for combine, times in (("all_reduce", 2), ("reduce_scatter", 1), ("none", 0)):
        batch = Strategy(exclusive=(("N", p),), combine=combine)
        run = ShardedLayer(sharding=_split(dw, batch, p)).run(pool, random_inputs(dw))
        assert run.sent_bytes == times * (p - 1) * gradient
    images = _split(dx, Strategy(exclusive=(("N", p),)), p)
    assert ShardedLayer(sharding=images).run(pool, random_inputs(dx)).sent_bytes == 0


_NORM = ("BatchNormalization", (4, 8, 6), *[(8,)] * 4)
_REFUSED = {
    "pooled rows": (EXACT["max-pool-grad"], "W", "overlap"),
    "a batch's statistics": (layer(*_NORM, dtype="float64", outputs=3, training_mode=1),
                             "axis0", "statistics"),
    "channels of groups": (EXACT["conv-grad-weight-groups"], "Cout", "split G"),
    "a reduced loss": (layer("SoftmaxCrossEntropyLoss", (4, 5), (4,), dtype="float64",
                             values={1: [0, 1, 2, 3]}), "axis0", "round differently"),
    "classes": (EXACT["one-hot"], "axis2", "numbers the classes"),
    "the axis that is cut": (EXACT["split"], "axis2", "cut into"),
    "a sliced axis": (EXACT["slice"], "axis1", "cut out"),
    "a padded axis": (EXACT["pad"], "axis2", "padded"),
    "rows that are placed": (EXACT["scatter-nd"], "axis0", "indices count"),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSED)
def test_what_the_mathematics_do_not_allow_is_refused_with_a_reason(name: str) -> None:
    region, loop, why = _REFUSED[name]
    found = shard(region, Strategy(exclusive=((loop, 2),)), 2)
    assert isinstance(found, Refusal)
    assert why in found.reason


def test_axes_that_only_running_tells_have_no_nest() -> None:
    for region in (layer("Slice", (8, 6), (1,), (1,), (1,), values={1: [0], 2: [4]}),
                   layer("Pad", (8, 6), (2,), (), (1,), values={1: [1, 1], 2: 0})):  # fmt: skip
        assert isinstance(strategies(region, 2), Refusal)
