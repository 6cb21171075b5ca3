"""Changes of layout in compiled code against `reshard` and the price of its phases."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest

from orrery.cost import Box, Layout, phases_cost, reshard
from orrery.errors import SpecError
from orrery.graph import TensorType
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets._routes import NEVER, links_of, reshard_ps

from .random_graphs import MODELS, random_system, residual_graph


def _boxes(random: Random, sizes: tuple[int, ...], parties: int) -> list[Box]:
    """Parts of a mesh that some parties hold twice, in any order; or with borders; or with gaps."""
    if random.random() < 0.15:
        alone, none = Box.whole(sizes), Box(spans=((0, 0),) * len(sizes))
        return [alone if party == 0 else none for party in range(parties)]
    factors = [random.choice([1, 1, 2, 3, 4]) for _ in sizes]
    while parties % int(np.prod(factors)):
        factors[random.randrange(len(factors))] = 1
    border = random.choice([0, 0, 1])
    cells = [
        tuple(
            (max(0, size * i // f - border), min(size, size * (i + 1) // f + border))
            for i, f, size in zip(place, factors, sizes, strict=True)
        )
        for place in product(*map(range, factors))
    ]
    found = [Box(spans=cells[party % len(cells)]) for party in range(parties)]
    if random.random() < 0.5:
        random.shuffle(found)
    if random.random() < 0.2:
        found[random.randrange(parties)] = Box(spans=((0, 0),) * len(sizes))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_the_same_messages_and_the_same_picoseconds(seed: int) -> None:
    random = Random(seed)
    system = random_system(seed, least=2, most=6)
    tables = fill_tables(number_workload([residual_graph(0, most=1)]), system, MODELS)
    parties = len(system.devices)
    devices, links = [device.name for device in system.devices], links_of(tables)
    sizes = tuple(random.randint(1, 9) for _ in range(random.randint(1, 3)))
    type_ = TensorType(dtype="float32", shape=sizes)
    listed = [_boxes(random, sizes, parties) for _ in range(12)]
    bounds = np.array([[box.spans for box in boxes] for boxes in listed], np.int64)
    found = reshard_ps(links, bounds, bounds, np.arange(parties), 4)
    kinds = set()
    for (i, before), (j, after) in product(enumerate(listed), repeat=2):
        try:
            phases = reshard(
                Layout(type=type_, boxes=tuple(before)), Layout(type=type_, boxes=tuple(after)), "t"
            ).phases
        except SpecError:
            assert found[i, j] == NEVER
            continue
        moved = any(phase.messages for phase in phases)
        took = sum(round(1e12 * phases_cost(system, devices, [p]).latency_s) for p in phases)
        assert found[i, j] == (took if moved else -1), (before, after)
        kinds.add((moved, len(phases) > 1))
    assert kinds
