"""Shards of random windows, strides, paddings and groups, put together: the whole layer again."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orrery.cost import Refusal, Sharding, roofline, shard, shard_region, sharded_cost, strategies
from orrery.errors import ModelError
from orrery.graph import Region

from .layers import LAYERS, layer, random_inputs
from .small import device, ring

_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _assemble(sharding: Sharding, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute every shard alone from slices of the whole inputs; add up what is partial."""
    graph = sharding.region.graph
    values = {**inputs, **{name: c.array() for name, c in graph.constants.items()}}
    done: dict[str, np.ndarray] = {}
    for result, layout in zip(sharding.nest.results, sharding.partials):
        whole = np.zeros(layout.type.sizes, np.int64)
        first = {box: party for party, box in reversed(list(enumerate(layout.boxes)))}
        for row_number, row in enumerate(sharding.shards):
            for party, part in enumerate(row):
                if not layout.partial and first[layout.boxes[party]] != party:
                    continue  # a copy
                local = shard_region(sharding, party, row_number).graph
                fed = {}
                for operand, box in zip(sharding.nest.operands, part.operands):
                    if box is not None:
                        name = part.node.inputs[operand.index]
                        fed[name] = values[operand.tensor][box.slices]
                made = local.evaluate({name: fed[name] for name in local.inputs})
                box = part.results[sharding.nest.results.index(result)]
                whole[box.slices] += made[result.tensor]
        done[result.tensor] = whole
    return done


def _judge(region: Region, data: st.DataObject) -> None:
    parties = data.draw(st.integers(2, 5))
    listed = strategies(region, parties)
    assert not isinstance(listed, Refusal)
    strategy = data.draw(st.sampled_from(listed))
    weights = data.draw(st.lists(st.floats(0.5, 8), min_size=parties, max_size=parties))
    sharding = shard(region, strategy, weights)
    assert not isinstance(sharding, Refusal)
    for i, need in enumerate(sharding.needs):  # each round reads parts of what its party holds
        for row in sharding.shards:
            for box, part in zip(need.boxes, row):
                read = part.operands[i]
                assert i == sharding.rotating or read is None or box.holds(read), strategy
    inputs = random_inputs(region)
    found = _assemble(sharding, inputs)
    for name, value in region.graph.evaluate(inputs).items():
        assert (found[name] == value).all(), strategy


@st.composite
def windows(draw: st.DrawFn, rank: int) -> dict[str, object]:
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    attributes: dict[str, object] = {
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "dilations": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "kernel_shape": kernel,
    }
    mode = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if mode == "NOTSET":
        attributes["pads"] = tuple(draw(st.integers(0, 5)) for _ in range(2 * rank))
    else:
        attributes["auto_pad"] = mode
    return attributes


@_SETTINGS
@given(st.data())
def test_random_convolutions(data: st.DataObject) -> None:
    rank, group = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 1, 1, 2, 4]))
    attributes = data.draw(windows(rank))
    sizes = tuple(data.draw(st.integers(1, 11)) for _ in range(rank))
    inner, outer = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    shapes = [(data.draw(st.integers(1, 3)), group * inner, *sizes),
              (group * outer, inner, *attributes["kernel_shape"])]  # type: ignore[misc]  # fmt: skip
    if data.draw(st.booleans()):
        shapes.append((group * outer,))
    weights = data.draw(st.sampled_from([(), (1,), (1, 2)]))
    try:
        region = layer("Conv", *shapes, weights=weights, group=group, **attributes)
    except ModelError:  # a window that does not fit
        assume(False)
    assume(region.graph.type("y0").elements > 0)
    _judge(region, data)


@_SETTINGS
@given(st.data())
def test_random_maximum_pooling(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2))
    attributes = data.draw(windows(rank))
    sizes = tuple(data.draw(st.integers(1, 11)) for _ in range(rank))
    ceil = data.draw(st.integers(0, 1))
    try:
        region = layer("MaxPool", (2, 3, *sizes), ceil_mode=ceil, **attributes)
    except ModelError:
        assume(False)
    assume(region.graph.type("y0").elements > 0)
    _judge(region, data)


@_SETTINGS
@given(st.data())
def test_random_matrix_products(data: st.DataObject) -> None:
    m, n, k, *batch = (data.draw(st.integers(1, 7)) for _ in range(5))
    batch = batch[: data.draw(st.integers(0, 2))]
    first = [size if data.draw(st.booleans()) else 1 for size in batch]
    second = [size if a == 1 else 1 for size, a in zip(batch, first)]
    region = layer("MatMul", (*first, m, k), (*second, k, n))
    _judge(region, data)


@_SETTINGS
@given(st.data())
def test_random_general_products(data: st.DataObject) -> None:
    m, n, k = (data.draw(st.integers(1, 7)) for _ in range(3))
    a, b = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
    shapes = [(k, m) if a else (m, k), (n, k) if b else (k, n)]
    third = data.draw(st.sampled_from([None, (m, n), (1, n), (m, 1), (n,), (1,), ()]))
    if third is not None:
        shapes.append(third)
    _judge(layer("Gemm", *shapes, transA=a, transB=b), data)


@given(st.sampled_from(sorted(LAYERS)))
@settings(max_examples=len(LAYERS), deadline=None)
def test_one_party_alone_costs_what_the_layer_costs(name: str) -> None:
    region = LAYERS[name]
    rates = {"macs_per_s": dict.fromkeys(("int64", "float64", "float32"), 1e9)}
    energies = {"mac_energy_j": dict.fromkeys(("int64", "float64", "float32"), 1e-12)}
    machine = device("d0", **rates, **energies)
    listed = strategies(region, 1)
    assert not isinstance(listed, Refusal) and len(listed) == 1
    sharding = shard(region, listed[0], 1)
    assert not isinstance(sharding, Refusal)
    base = ring(2)
    system = type(base)(name="one", devices=(machine, base.devices[1]), links=base.links)
    found = sharded_cost(sharding, system, ["d0"], roofline)
    assert not isinstance(found, Refusal), found
    alone = roofline.cost(region, machine)
    # Of an image whose last pixels no window reaches, a party needs less than the whole.
    unread = sum(x.type.size_bytes - x.held_bytes(0) for x in sharding.needs)
    assert (found.cost.offchip_bytes or 0) + unread == alone.offchip_bytes
    assert unread == 0 or name in {"conv-1d", "conv-stride"}
    if not unread:
        assert found.cost.latency_s == alone.latency_s
        assert found.cost.energy_j == alone.energy_j
    assert found.cost.macs_performed == alone.macs_performed
    assert found.arrival.link_bytes == found.combine.link_bytes == {}
