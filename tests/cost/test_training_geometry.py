"""Shards of gradients under random windows, put together; the checker asks for no more."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from orrery.certify._needs import operand_needs, summed_loops
from orrery.cost import Refusal, shard, strategies
from orrery.errors import ModelError
from orrery.graph import Region

from .layers import layer
from .test_sharding_geometry import _SETTINGS, _judge, windows
from .training_layers import conv_gradients


def _asks_for_no_more(region: Region, data: st.DataObject) -> None:
    node, graph = region.members[0], region.graph
    loops = summed_loops(graph, node)
    found = strategies(region, 2)
    assert not isinstance(found, Refusal)
    strategy = data.draw(st.sampled_from(found))
    sharding = shard(region, strategy, data.draw(st.sampled_from([(1.0, 1.0), (1.0, 2.5)])))
    assert not isinstance(sharding, Refusal)
    for part in (part for row in sharding.shards for part in row):
        partial = {name: part.spans[name] for name in loops}
        needs = operand_needs(graph, node, {0: part.results[0].spans}, partial)
        for operand, box in zip(sharding.nest.operands, part.operands, strict=True):
            need = needs[operand.index]
            if need is None or any(low >= high for low, high in need):
                continue
            assert box is not None
            for (low, high), (first, last) in zip(box.spans, need, strict=True):
                assert low <= first and last <= high, (strategy, operand.tensor)


@given(data=st.data())
@_SETTINGS
def test_gradients_of_random_convolutions_are_whole(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2))
    attributes = data.draw(windows(rank))
    kernel = attributes["kernel_shape"]
    image = tuple(data.draw(st.integers(1, 12)) for _ in range(rank))
    group = data.draw(st.integers(1, 3))
    per_group = data.draw(st.integers(1, 2))
    filters, channels = group * data.draw(st.integers(1, 2)), group * per_group
    batch = data.draw(st.integers(1, 3))
    whole, weights = (batch, channels, *image), (filters, per_group, *kernel)
    try:
        made = layer("Conv", whole, weights, group=group, **attributes)
    except ModelError:
        assume(False)  # the window does not fit
    gradient = made.graph.type("y0").sizes
    assume(np.prod(gradient) > 0)
    for region in conv_gradients(whole, weights, gradient, group=group, **attributes):
        _judge(region, data)
        _asks_for_no_more(region, data)
