"""Nests of whole networks: once per layer, and again from disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from orrery.errors import CancelledError
from orrery.mapping.nest import NestFound, best_nest, nest_key, nest_network
from orrery.plan import Infeasible
from orrery.progress import Progress, Step
from orrery.store import Cache

from .cases import conv, random_array

LAYERS = {"a": conv(3, 2, 4, 1, 3, 1), "b": conv(2, 2, 5, 1, 1, 1), "c": conv(3, 2, 4, 1, 3, 1)}


def test_equal_layers_are_searched_once_and_kept(tmp_path: Path) -> None:
    architecture = random_array(Random(5))
    steps: list[Step] = []
    cache = Cache("nests", folder=tmp_path)
    progress = Progress(report=steps.append)
    found = nest_network(LAYERS, architecture, "edp", cache=cache, progress=progress)
    assert list(found) == list(LAYERS)
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    assert found["a"] is found["c"]
    assert found["b"] == best_nest(LAYERS["b"], architecture, "edp")
    again = nest_network(LAYERS, architecture, "edp", cache=cache, progress=progress)
    assert again == found and len(steps) == 2
    for result in found.values():
        assert isinstance(result, NestFound) and result.proven


def test_a_layer_that_fits_nowhere_is_kept_too(tmp_path: Path) -> None:
    architecture = random_array(Random(5))
    tight = replace(architecture.levels[-1], holds=("input",), capacity_bits=1, shares_bits={},
                    sources={**architecture.levels[-1].sources,
                             "capacity_bits": architecture.sources["clock_hz"]})  # fmt: skip
    tight_one = replace(architecture, levels=(*architecture.levels[:-1], tight))
    cache = Cache("nests", folder=tmp_path)
    for _ in range(2):
        (result,) = nest_network({"a": LAYERS["a"]}, tight_one, cache=cache).values()
        assert isinstance(result, Infeasible)
        assert "tile" in result.what and result.need > result.have


def test_damage_on_disk_is_searched_anew(tmp_path: Path) -> None:
    architecture = random_array(Random(5))
    cache = Cache("nests", folder=tmp_path)
    found = nest_network({"a": LAYERS["a"]}, architecture, cache=cache)
    cache.put(nest_key(LAYERS["a"], architecture, "latency", most=2_000_000_000), b"{}")
    assert nest_network({"a": LAYERS["a"]}, architecture, cache=cache) == found


def test_keys_tell_apart_what_matters() -> None:
    one, other = random_array(Random(5)), random_array(Random(6))
    keys = {
        nest_key(LAYERS["a"], one, "latency"), nest_key(LAYERS["b"], one, "latency"),
        nest_key(LAYERS["a"], other, "latency"), nest_key(LAYERS["a"], one, "energy"),
        nest_key(LAYERS["c"], one, "latency"),
    }  # fmt: skip
    assert len(keys) == 4


def test_threads_find_the_same_and_the_user_may_stop() -> None:
    architecture = random_array(Random(5))
    with ThreadPoolExecutor(2) as threads:
        assert nest_network(LAYERS, architecture, executor=threads) == nest_network(
            LAYERS, architecture
        )
    with pytest.raises(CancelledError):
        nest_network(LAYERS, architecture, progress=Progress(cancelled=lambda: True))
