"""Sharded layers between processes: bit-equal to the whole layer, bytes equal to the formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from orrery.cost import (
    Layout,
    Refusal,
    Sharding,
    Shared,
    Strategy,
    reshard,
    shard,
    strategies,
)
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, numpy_dtype
from orrery.runtime import PartyFailedError, PartyPool, ShardedLayer, ShardedRun, run_sharded

from ..cost.layers import LAYERS, formula, layer, random_inputs

#: Strategies executed per layer and number of parties: all of the first layer, samples of others.
_SAMPLE = 24


@pytest.fixture(scope="module")
def pool() -> Iterator[PartyPool]:
    with PartyPool(8, timeout_s=300) as opened:
        yield opened


def _split(region: Region, strategy: Strategy, parties: object) -> Sharding:
    found = shard(region, strategy, parties)
    assert not isinstance(found, Refusal), found
    return found


def _same(found: np.ndarray, want: np.ndarray) -> None:
    """Whole numbers bit by bit; floats to a few roundings, NumPy's order of sums follows shapes."""
    assert found.dtype == want.dtype
    assert found.shape == want.shape
    if found.dtype.kind == "f":
        few = 8 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found, want, rtol=few, atol=few)
    else:
        assert found.tobytes() == want.tobytes()


def _equal(run: ShardedRun, region: Region, inputs: dict[str, np.ndarray]) -> None:
    """Whole outputs, and every party's own part of them."""
    want = region.graph.evaluate(inputs)
    assert run.outputs.keys() == want.keys()
    for name, value in want.items():
        _same(run.outputs[name], value)
        layout = run.layouts[name]
        if not layout.partial:
            for held, box in zip(run.pieces, layout.boxes):
                _same(held[name], value[box.slices])


def _counted(run: ShardedRun) -> dict[tuple[str, int, int], tuple[int, int]]:
    return {(t.kind, t.source, t.target): (t.messages, t.size_bytes) for t in run.traffic}


def _arrival(type_: TensorType, parties: int, rng: np.random.Generator) -> Layout:
    """Everything with one party, everywhere, or split along some axis."""
    axes = [axis for axis, size in enumerate(type_.sizes) if size >= parties]
    kind = rng.integers(3)
    if kind == 0 and type_.rank:
        return Layout.held_by(type_, parties, int(rng.integers(parties)))
    if kind == 1 and axes:
        weights = rng.integers(1, 4, parties).astype(float)
        return Layout.split(type_, {int(rng.choice(axes)): parties}, weights)
    return Layout.replicated(type_, parties)


@pytest.mark.parametrize("parties", [2, 4, 8])
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
    if name != "conv" and len(found) > _SAMPLE:
        found = tuple(found[i] for i in sorted(rng.choice(len(found), _SAMPLE, replace=False)))
    for number, strategy in enumerate(found):
        weights = [1.0] * parties if number % 2 else list(rng.uniform(1, 3, parties))
        sharding = _split(region, strategy, weights)
        arrivals = {} if number % 3 else {
            tensor: _arrival(region.graph.type(tensor), parties, rng)
            for tensor in region.graph.inputs
        }  # fmt: skip
        run = ShardedLayer(sharding=sharding).run(pool, inputs, arrivals)
        _equal(run, region, inputs)
        assert _counted(run) == formula(sharding, arrivals), strategy


def test_empty_parts_rotate_in_their_own_shape(pool: PartyPool) -> None:
    """A kernel of nine positions on one pixel: most parts of the image are empty, each its way."""
    region = layer("Conv", (1, 4, 1, 1), (4, 4, 3, 3), weights=(1,), pads=(1, 1, 1, 1))
    inputs = random_inputs(region)
    found = strategies(region, 4)
    assert not isinstance(found, Refusal)
    rings = [strategy for strategy in found if strategy.shared and strategy.shared.operand == 0]
    for strategy in rings:
        sharding = _split(region, strategy, 4)
        run = ShardedLayer(sharding=sharding).run(pool, inputs)
        _equal(run, region, inputs)
        assert _counted(run) == formula(sharding), strategy


# -- closed forms, on the wire --------------------------------------------------------------------

_CONV = layer("Conv", (1, 16, 16, 16), (32, 16, 3, 3), weights=(1,), pads=(1, 1, 1, 1))
_IMAGE, _WEIGHTS, _OUTPUT = 16 * 16 * 16 * 8, 32 * 16 * 9 * 8, 32 * 16 * 16 * 8  #: bytes


def _wire(
    pool: PartyPool, strategy: Strategy, parties: int, arrivals: dict[str, Layout] | None = None
) -> int:
    inputs = random_inputs(_CONV)
    run = ShardedLayer(sharding=_split(_CONV, strategy, parties)).run(pool, inputs, arrivals)
    _equal(run, _CONV, inputs)
    return run.sent_bytes


@pytest.mark.parametrize("p", [2, 4, 8])
def test_the_sheets_closed_forms_hold_on_the_wire(p: int, pool: PartyPool) -> None:
    image = _CONV.graph.type("x0")

    def over(loop: str, operand: str, index: int) -> Strategy:
        return Strategy(exclusive=((operand, p),), shared=Shared(loop=loop, operand=index))

    rows, channels = (Layout.split(image, {axis: p}, [1.0] * p) for axis in (2, 1))
    # Output channels split, input channels spread: everybody gathers what the others hold.
    split = Strategy(exclusive=(("Cout", p),))
    assert _wire(pool, split, p, {"x0": channels}) == (p - 1) * _IMAGE
    # Rows split: one row of all channels across each border, both ways.
    rows_split = Strategy(exclusive=(("H", p),))
    assert _wire(pool, rows_split, p, {"x0": rows}) == 2 * (p - 1) * 16 * 16 * 8
    # Input channels split: a ring all-reduce, or half of it.
    sums = Strategy(exclusive=(("Cin", p),))
    assert _wire(pool, sums, p) == 2 * (p - 1) * _OUTPUT
    scattered = Strategy(exclusive=(("Cin", p),), combine="reduce_scatter")
    assert _wire(pool, scattered, p) == (p - 1) * _OUTPUT
    # A rotating image stops when all have seen it; rotating weights return home.
    assert _wire(pool, over("Cin", "Cout", 0), p) == (p - 1) * _IMAGE
    assert _wire(pool, over("Cout", "H", 1), p) == p * _WEIGHTS
    # A layer whose input lies as it is needed moves nothing; nor does a replicated one.
    assert _wire(pool, split, p, {"x0": Layout.replicated(image, p)}) == 0
    assert _wire(pool, sums, p, {"x0": channels}) == 2 * (p - 1) * _OUTPUT
    assert _wire(pool, Strategy(), p) == 0


# -- layers in a row ------------------------------------------------------------------------------


def _network() -> Graph:
    """conv → relu → conv, added to the first: a residual block, then pooling and a projection."""
    rng = np.random.default_rng(3)
    constants = {
        "w1": ArrayConstant(rng.integers(-5, 6, (8, 8, 3, 3))),
        "w2": ArrayConstant(rng.integers(-5, 6, (8, 8, 3, 3))),
        "w3": ArrayConstant(rng.integers(-5, 6, (8, 12))),
    }
    pads = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node(name="c1", op="Conv", inputs=("x", "w1"), outputs=("a",), attributes=pads),
        Node(name="r1", op="Relu", inputs=("a",), outputs=("b",)),
        Node(name="c2", op="Conv", inputs=("b", "w2"), outputs=("c",), attributes=pads),
        Node(name="add", op="Add", inputs=("c", "a"), outputs=("d",)),
        Node(name="sum", op="ReduceSum", inputs=("d", "axes"), outputs=("e",),
             attributes={"keepdims": 0}),
        Node(name="fc", op="MatMul", inputs=("e", "w3"), outputs=("y",)),
    )  # fmt: skip
    constants["axes"] = ArrayConstant(np.array([2, 3]))
    types = {"x": TensorType(dtype="int64", shape=(2, 8, 8, 8))}
    types |= {name: constant.type for name, constant in constants.items()}
    return Graph(name="block", nodes=nodes, inputs=("x",), outputs=("y",), types=types,
                 constants=constants).infer()  # fmt: skip


@pytest.mark.parametrize("parties", [2, 4, 8])
def test_a_block_under_random_strategies_equals_the_whole(parties: int, pool: PartyPool) -> None:
    graph = _network()
    inputs = random_inputs(Region(graph=graph, nodes=tuple(n.name for n in graph.nodes)))
    want = graph.evaluate(inputs)["y"]
    rng = np.random.default_rng(parties)
    choices = [strategies(region, parties, combines=("all_reduce", "reduce_scatter", "none"))
               for region in graph.regions()]  # fmt: skip
    for _ in range(20):
        layers = []
        for region, options in zip(graph.regions(), choices):
            assert not isinstance(options, Refusal)
            strategy = options[rng.integers(len(options))]
            weights = rng.uniform(1, 2, parties)
            layers.append(ShardedLayer(sharding=_split(region, strategy, weights),
                                       algorithm=str(rng.choice(["ring", "direct"]))))  # fmt: skip
        arrivals = {"x": _arrival(graph.type("x"), parties, rng)}
        run = run_sharded(pool, layers, inputs, arrivals)
        assert run.outputs["y"].tobytes() == want.tobytes()
        assert list(run.outputs) == ["y"]


@pytest.mark.parametrize("combine", ["all_reduce", "none"])
def test_sets_of_processes_hand_over_to_each_other(combine: str, pool: PartyPool) -> None:
    """Layers on changing sets, some apart, some overlapping; bytes are those of the layouts."""
    graph = _network()
    inputs = random_inputs(Region(graph=graph, nodes=("c1",)))
    rng = np.random.default_rng(7)
    sets = {"c1": (5, 1, 4, 0), "r1": (5, 1, 4, 0), "c2": (2, 3), "add": (7,), "sum": (6, 7, 0, 2),
            "fc": (3, 1)}  # fmt: skip
    for _ in range(10):
        layers = []
        homes: dict[str, Layout] = {}
        bytes_wanted = 0
        for region in graph.regions():
            places = sets[region.name]
            options = strategies(region, len(places), combines=(combine,))
            assert not isinstance(options, Refusal)
            strategy = options[rng.integers(len(options))]
            sharding = _split(region, strategy, len(places))
            layers.append(ShardedLayer(sharding=sharding, places=places))
            for operand, need in zip(sharding.nest.operands, sharding.needs):
                if operand.tensor in homes:
                    target = need.placed(places, 8)
                    change = reshard(homes[operand.tensor], target, operand.tensor)
                    bytes_wanted += change.moved_bytes
                    if change.phases:  # who had to move it leaves it where it was needed
                        homes[operand.tensor] = target
            bytes_wanted += sum(size for _, size in formula(sharding).values())
            for result, layout in zip(sharding.nest.results, sharding.outputs):
                homes[result.tensor] = layout.placed(places, 8)
        run = run_sharded(pool, layers, inputs)
        assert run.outputs["y"].tobytes() == graph.evaluate(inputs)["y"].tobytes()
        assert run.sent_bytes == bytes_wanted
        assert {t.source for t in run.traffic} <= set(range(8))


def test_the_same_split_from_layer_to_layer_moves_nothing(pool: PartyPool) -> None:
    graph = _network()
    inputs = random_inputs(Region(graph=graph, nodes=("c1",)))
    regions = {region.name: region for region in graph.regions()}
    batch = {"c1": "N", "r1": "axis0", "c2": "N", "add": "axis0", "sum": "axis0", "fc": "M"}
    layers = [ShardedLayer(sharding=_split(regions[name], Strategy(exclusive=((loop, 2),)), 2))
              for name, loop in batch.items()]  # fmt: skip
    run = run_sharded(pool, layers, inputs)
    assert run.traffic == ()
    assert run.outputs["y"].tobytes() == graph.evaluate(inputs)["y"].tobytes()


# -- what goes wrong ------------------------------------------------------------------------------


def refuse(region: Region, inputs: object) -> dict[str, np.ndarray]:
    """An evaluator that fails in its process."""
    raise ValueError("no such thing")


def vanish(region: Region, inputs: object) -> dict[str, np.ndarray]:
    """An evaluator that ends its process."""
    raise SystemExit(3)


@pytest.mark.parametrize(("evaluator", "why"), [(refuse, "no such thing"), (vanish, "has ended")])
def test_a_party_that_fails_ends_the_run_and_closes_the_pool(evaluator, why: str) -> None:
    sharding = _split(LAYERS["matmul"], Strategy(exclusive=(("K", 2),)), 2)
    inputs = random_inputs(LAYERS["matmul"])
    with PartyPool(2, timeout_s=300) as two:
        with pytest.raises(PartyFailedError, match=f"party [01]: .*{why}"):
            ShardedLayer(sharding=sharding, evaluator=evaluator).run(two, inputs)
        with pytest.raises(SpecError, match="closed pool"):
            ShardedLayer(sharding=sharding).run(two, inputs)


@pytest.mark.parametrize("dtype", ["bool", "float16", "bfloat16", "uint8", "complex64"])
def test_any_element_of_whole_bytes_travels(dtype: str, pool: PartyPool) -> None:
    region = layer("Identity", (8, 6), dtype=dtype)
    inputs = {"x0": (np.arange(48).reshape(8, 6) % 2).astype(numpy_dtype(dtype))}
    sharding = _split(region, Strategy(exclusive=(("axis0", 2),)), 2)
    arrivals = {"x0": Layout.split(region.graph.type("x0"), {1: 2}, [1.0, 1.0])}
    run = ShardedLayer(sharding=sharding).run(pool, inputs, arrivals)
    assert run.outputs["y0"].dtype == inputs["x0"].dtype
    assert run.outputs["y0"].tobytes() == inputs["x0"].tobytes()
    assert run.sent_bytes == inputs["x0"].nbytes // 2


def test_text_is_not_split() -> None:
    refused = shard(layer("Identity", (8, 6), dtype="string"), Strategy(), 2)
    assert isinstance(refused, Refusal)


@pytest.mark.parametrize("dtype", ["int4", "float4e2m1"])
def test_elements_that_are_packed_are_refused(dtype: str, pool: PartyPool) -> None:
    region = layer("Identity", (8, 6), dtype=dtype)
    sharding = _split(region, Strategy(exclusive=(("axis0", 2),)), 2)
    with pytest.raises(SpecError, match="numbers of whole bytes"):
        ShardedLayer(sharding=sharding).run(pool, {"x0": np.zeros((8, 6))})


def test_what_does_not_fit_is_refused_before_anything_runs(pool: PartyPool) -> None:
    region = LAYERS["matmul"]
    two = ShardedLayer(sharding=_split(region, Strategy(exclusive=(("M", 2),)), 2))
    inputs = random_inputs(region)
    with pytest.raises(SpecError, match="found 'no value'"):
        two.run(pool, {})
    with pytest.raises(SpecError, match="found 'none', wanted one or more"):
        run_sharded(pool, [], inputs)
    for places in ((1,), (1, 1), (-1, 0)):
        with pytest.raises(SpecError, match="2 different processes"):
            replace(two, places=places).run(pool, inputs)
    with pytest.raises(SpecError, match="place it"):
        replace(two, places=(1, 3)).run(
            pool, inputs, {"x0": Layout.replicated(region.graph.type("x0"), 2)}
        )
    with pytest.raises(SpecError, match="without a value"):
        two.run(pool, inputs, {"nobody": Layout.replicated(region.graph.type("x0"), 2)})
    wide = _split(region, Strategy(exclusive=(("M", 12),)), 12)
    with pytest.raises(SpecError, match="found 'a pool of 8'"):
        ShardedLayer(sharding=wide).run(pool, inputs)
    with pytest.raises(SpecError, match="1 or more"):
        PartyPool(0)
    _equal(two.run(pool, inputs), region, inputs)  # the pool is as good as before
