"""Strategies: which are valid, listed or refused with what reason; the geometry of shards."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from orrery.cost import Layout, Refusal, Sharding, Shared, Strategy, shard, shard_region, strategies
from orrery.errors import SpecError
from orrery.graph import Graph, Node, Region, TensorType

from .layers import LAYERS, layer
from .small import chain

CONV = LAYERS["conv"]


def _shard(region: Region, strategy: Strategy, parties: object) -> Sharding:
    found = shard(region, strategy, parties)
    assert not isinstance(found, Refusal), found
    return found


# -- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("parties", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_listed_is_valid_and_nothing_else_is(name: str, parties: int) -> None:
    region = LAYERS[name]
    listed = strategies(region, parties)
    assert not isinstance(listed, Refusal)
    assert len(set(listed)) == len(listed)
    nest = _shard(region, Strategy(), parties).nest
    names = [loop.name for loop in nest.loops]
    # Every pair of loops with every pair of factors, every ring: valid ones are listed.
    exclusives = [((a, parties),) for a in names] if parties > 1 else []
    exclusives += [((a, f), (b, parties // f)) for i, a in enumerate(names) for b in names[i + 1 :]
                   for f in range(2, parties) if parties % f == 0 and parties // f > 1]  # fmt: skip
    rings = [None, *(Shared(loop=loop, operand=o.index) for loop in names for o in nest.operands)]
    valid = {Strategy()}
    for exclusive, ring, end in product(exclusives, rings, ("all_reduce", "reduce_scatter")):
        strategy = Strategy(exclusive=exclusive, shared=ring, combine=end)
        if not isinstance(shard(region, strategy, parties), Refusal):
            valid.add(strategy)
    assert set(listed) == valid


def test_options_narrow_the_list() -> None:
    def count(**options: object) -> int:
        found = strategies(CONV, 4, **options)
        assert not isinstance(found, Refusal)
        return len(found)

    # N has 2 and the kernel 3 iterations: Cout, Cin, H, W split in 4; Cin may end in two ways.
    assert count(dimensions=1, shared=False) == 1 + 4 + 1
    assert count(dimensions=1, shared=False, combines=("all_reduce",)) == 1 + 4
    assert count(shared=False) < count()
    with pytest.raises(SpecError, match="1 or more"):
        strategies(CONV, 0)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "exclusive", "shared", "combine", "text"), [
    ("conv", (("Cout", 2),), None, "all_reduce", "factors multiply to 2, not to 4 parties"),
    ("conv", (("Kh", 4),), None, "all_reduce", "Kh has an extent of 3, too short for 4 parts"),
    ("conv", (("cout", 4),), None, "all_reduce", "no loop 'cout', did you mean 'Cout'?; Conv has"),
    ("conv", (("Cout", 4),), ("Cout", 0), "all_reduce", "Cout is both exclusive and shared"),
    ("conv", (("Cout", 4),), ("H", 1), "all_reduce", "leave nobody with the same part of 'x1'"),
    ("conv", (("H", 4),), ("N", 1), "all_reduce", "N does not occur in 'x1', which would rotate"),
    ("conv", (("H", 4),), ("Kh", 1), "all_reduce", "too short for 4 parts"),
    ("conv", (("H", 4),), ("Cout", 2), "all_reduce", "an addend that only some read"),
    ("conv", (("H", 4),), ("Cout", 7), "all_reduce", "no operand 7"),
    ("conv", (), ("Cout", 1), "all_reduce", "a ring without exclusive loops"),
    ("conv", (("H", 4),), None, "reduce_scatter", "no summed loop is split"),
    ("conv-groups", (("Cout", 4),), None, "all_reduce", "lies across 8 groups; split G"),
    ("softmax", (("axis1", 4),), None, "all_reduce", "axis1 cannot be split: it is normalised"),
    ("attention-cache", (("sequence", 4),), None, "all_reduce", "depends on its place"),
    ("global-pool", (("axis2", 4),), None, "all_reduce", "pooled over"),
    ("concat", (("axis1", 4),), None, "all_reduce", "joined along it"),
])  # fmt: skip
def test_invalid_strategies_are_refused_with_the_reason(
    name: str, exclusive: tuple, shared: tuple | None, combine: str, text: str
) -> None:
    ring = None if shared is None else Shared(loop=shared[0], operand=shared[1])
    found = shard(LAYERS[name], Strategy(exclusive=exclusive, shared=ring, combine=combine), 4)
    assert isinstance(found, Refusal)
    assert text in found.reason


@pytest.mark.parametrize(("region", "text"), [
    (layer("RandomUniformLike", (4, 6), dtype="float32"), "would not agree"),
    (layer("MatMul", (6,), (6, 4)), "a factor of rank 1"),
    (layer("MaxPool", (1, 2, 8), outputs=2, kernel_shape=(2,)), "numbers positions"),
    (Region(graph=chain(), nodes=("matmul0", "relu0")), "2 nodes; shard them one by one"),
])  # fmt: skip
def test_layers_without_a_nest_are_refused_with_the_reason(region: Region, text: str) -> None:
    for found in (strategies(region, 2), shard(region, Strategy(), 2)):
        assert isinstance(found, Refusal)
        assert text in found.reason


def test_an_operator_without_loops_is_computed_whole_by_everybody() -> None:
    region = layer("CumSum", (8, 4), (), values={1: np.int64(0)})
    assert strategies(region, 4) == (Strategy(),)
    sharding = _shard(region, Strategy(), 4)
    assert all(layout.is_replicated for layout in (*sharding.needs, *sharding.outputs))
    found = shard(region, Strategy(exclusive=(("axis0", 4),)), 4)
    assert isinstance(found, Refusal) and "CumSum has none" in found.reason


def test_padding_that_is_counted_may_not_be_split_where_windows_overhang() -> None:
    region = layer("AveragePool", (2, 4, 7, 7), dtype="float32", kernel_shape=(2, 2),
                   strides=(2, 2), ceil_mode=1, count_include_pad=1)  # fmt: skip
    found = shard(region, Strategy(exclusive=(("H", 2),)), 2)
    assert isinstance(found, Refusal) and "count_include_pad" in found.reason
    _shard(region, Strategy(exclusive=(("C", 2),)), 2)


def test_sizes_that_are_not_bound_are_refused() -> None:
    node = Node(name="relu", op="Relu", inputs=("x",), outputs=("y",))
    graph = Graph(name="open", nodes=(node,), inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="float32", shape=("n", 4))}).infer()  # fmt: skip
    found = strategies(graph.regions()[0], 2)
    assert isinstance(found, Refusal) and found.uncountable and "--shape n=8" in found.reason


def test_badly_made_strategies_do_not_exist() -> None:
    with pytest.raises(SpecError, match="did you mean 'all_reduce'"):
        Strategy(combine="all-reduce")
    with pytest.raises(SpecError, match="named twice"):
        Strategy(exclusive=(("H", 2), ("H", 2)))
    with pytest.raises(SpecError, match="2 or more"):
        Strategy(exclusive=(("H", 1),))
    with pytest.raises(SpecError, match="1 or more"):
        shard(CONV, Strategy(), [])


def test_a_strategy_reads_well() -> None:
    both = Strategy(exclusive=(("Cout", 2), ("H", 4)), shared=Shared(loop="Cin", operand=0))
    assert str(both) == "Cout/2×H/4 + ring Cin (operand 0)"
    assert str(Strategy(exclusive=(("K", 2),), combine="reduce_scatter")) == "K/2, reduce_scatter"
    assert str(Strategy()) == "replicated"


# -- geometry -------------------------------------------------------------------------------------


def _split_types(strategy: Strategy, parties: int) -> tuple[list[str], list[str]]:
    sharding = _shard(CONV, strategy, parties)
    return [str(x) for x in sharding.needs[:2]], [str(x) for x in sharding.partials]


def test_the_table_of_the_sheet() -> None:
    """IFM, weights and OFM of a convolution under each kind of split."""
    assert _split_types(Strategy(exclusive=(("Cout", 2),)), 2) == (
        ["replicated", "split 2×1×1×1"], ["split 1×2×1×1"])  # fmt: skip
    assert _split_types(Strategy(exclusive=(("H", 2),)), 2) == (
        ["split 1×1×2×1", "replicated"], ["split 1×1×2×1"])  # fmt: skip
    assert _split_types(Strategy(exclusive=(("Cin", 2),)), 2) == (
        ["split 1×2×1×1", "split 1×2×1×1"], ["partial whole"])  # fmt: skip
    assert _split_types(Strategy(exclusive=(("Kh", 2),)), 2) == (
        ["split 1×1×2×1", "split 1×1×2×1"], ["partial whole"])  # fmt: skip
    rotating_weights = Strategy(exclusive=(("H", 2),), shared=Shared(loop="Cout", operand=1))
    assert _split_types(rotating_weights, 2) == (
        ["split 1×1×2×1", "split 2×1×1×1"], ["split 1×1×2×1"])  # fmt: skip
    rotating_image = Strategy(exclusive=(("Cout", 2),), shared=Shared(loop="Cin", operand=0))
    assert _split_types(rotating_image, 2) == (
        ["split 1×2×1×1", "split 2×1×1×1"], ["split 1×2×1×1"])  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_shards_do_the_layers_work_once(name: str) -> None:
    """MACs of all shards add up to the layer's; results are tiled; each is a network of its own."""
    region = LAYERS[name]
    found = strategies(region, 4)
    assert not isinstance(found, Refusal)
    node = region.members[0]
    for strategy in found[1:]:
        sharding = _shard(region, strategy, [1.0, 2.0, 3.0, 2.0])
        macs = 0
        for turn in range(sharding.rounds):
            for party in range(4):
                local = shard_region(sharding, party, turn)
                again = local.graph.infer()
                assert {n: again.type(n) for n in again.types} == dict(local.graph.types)
                macs += local.operations.macs
        assert macs == region.graph.operations(node).macs, strategy
        for layout in sharding.partials:
            done = np.zeros(layout.type.sizes, int)
            for box in layout.boxes:
                done[box.slices] += 1
            assert (done == (4 // len(set(layout.boxes)))).all()


def test_constants_of_shards_are_slices() -> None:
    sharding = _shard(CONV, Strategy(exclusive=(("Cin", 2), ("Cout", 2))), 4)
    whole = CONV.graph.constants["x1"].array()
    digests = set()
    for party, (i, o) in enumerate(product(range(2), range(2))):
        local = shard_region(sharding, party)
        part = local.graph.constants["x1"]
        assert (part.array() == whole[4 * o : 4 * o + 4, 4 * i : 4 * i + 4]).all()
        assert part.type.shape == (4, 4, 3, 3)
        digests.add(part.digest())
        # The bias is added where the sum over input channels starts.
        assert ("x2" in local.graph.constants) == (i == 0)
    assert len(digests) == 4


def test_a_rotating_operand_takes_a_share_of_the_memory() -> None:
    region = layer("MatMul", (64, 256), (256, 512), weights=(1,))
    whole = 256 * 512 * 8
    for p in (2, 4, 8):
        still = _shard(region, Strategy(exclusive=(("M", p),)), p)
        ring = _shard(
            region, Strategy(exclusive=(("M", p),), shared=Shared(loop="N", operand=1)), p
        )
        rest = 64 // p * (256 + 512) * 8
        assert still.resident_bytes(0) == whole + rest
        assert ring.resident_bytes(0) == 2 * whole // p + rest  # one part here, one arriving
        assert ring.rounds == len(ring.rotation) == p
        assert math.isclose(sum(m.size_bytes for m in ring.rotation[0].messages), whole)


def test_unequal_parties_get_work_in_proportion() -> None:
    region = layer("MatMul", (100, 8), (8, 8))
    sharding = _shard(region, Strategy(exclusive=(("M", 4),)), [1.0, 2.0, 3.0, 4.0])
    assert [box.sizes[0] for box in sharding.partials[0].boxes] == [10, 20, 30, 40]
    mesh = _shard(region, Strategy(exclusive=(("M", 2), ("N", 2))), [1.0, 1.0, 3.0, 3.0])
    assert [box.sizes for box in mesh.partials[0].boxes] == [(25, 4), (25, 4), (75, 4), (75, 4)]


def test_outputs_are_found_by_name() -> None:
    sharding = _shard(CONV, Strategy(exclusive=(("Cin", 2),)), 2)
    assert sharding.output("y0") == Layout.replicated(CONV.graph.type("y0"), 2)
    with pytest.raises(SpecError, match="wanted one of y0"):
        sharding.output("y1")
