"""Judges: the text of every refusal; a route found by trying all simple paths."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.provenance import Basis, Source

HAND = Source(basis=Basis.ASSUMED, where="test", note="made up")
LINK = dict.fromkeys(("bandwidth_bytes_per_s", "latency_s"), HAND)


def device(name: str, *memories: Memory) -> Device:
    dram = Memory(name="dram", size_bytes=1, offchip=True, sources={"size_bytes": HAND})
    return Device(name=name, kind="cpu", compute=Compute(macs_per_s={}, sources={}),
                  memories=memories or (dram,))  # fmt: skip


def link(a: str, b: str, bandwidth: float = 1.0) -> Link:
    return Link(name=f"{a}{b}", ends=(a, b), bandwidth_bytes_per_s=bandwidth, sources=LINK)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0])
def test_impossible_numbers_are_refused(value: float) -> None:
    with pytest.raises(SpecError, match=r"others_per_s: found .*, wanted a finite number above"):
        Compute(macs_per_s={}, others_per_s=value, sources={"others_per_s": HAND})
    with pytest.raises(SpecError, match="macs_per_s"):
        Compute(macs_per_s={"float32": value}, sources={"macs_per_s": HAND})


def test_a_number_without_a_source_is_refused() -> None:
    with pytest.raises(SpecError, match="memory 'm': size_bytes: found 'no source'"):
        Memory(name="m", size_bytes=1, sources={})


def test_a_device_has_one_offchip_memory() -> None:
    chip = Memory(name="sram", size_bytes=1, sources={"size_bytes": HAND})
    with pytest.raises(SpecError, match="exactly one off-chip memory"):
        device("d", chip)


def test_links_and_systems_must_make_sense() -> None:
    a, b = device("a"), device("b")
    with pytest.raises(SpecError, match="two or more different ends"):
        link("a", "a")
    with pytest.raises(SpecError, match="no devices"):
        System(name="s", devices=())
    with pytest.raises(SpecError, match="'a' twice"):
        System(name="s", devices=(a, a))
    with pytest.raises(SpecError, match="host: found 'h'"):
        System(name="s", devices=(a,), host="h")
    with pytest.raises(SpecError, match="device 'b': found \"no route from 'a'\""):
        System(name="s", devices=(a, b))
    system = System(name="s", devices=(a, b), links=(link("a", "b"),))
    with pytest.raises(UnknownNameError):
        system.device("c")
    with pytest.raises(UnknownNameError):
        system.link("cd")
    assert system.route("a", "a") == () and system.route("a", "nowhere") is None


@given(st.data())
def test_routes_are_shortest_then_widest(data) -> None:
    names = [f"n{i}" for i in range(data.draw(st.integers(2, 5)))]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    chain = list(pairwise(names))
    widths = st.integers(1, 4)
    links = {pair: link(*pair, float(data.draw(widths))) for pair in dict.fromkeys(chain + chosen)}
    system = System(name="s", devices=tuple(map(device, names)), links=tuple(links.values()))
    for source, target in permutations(names, 2):
        best = None
        middle = [n for n in names if n not in (source, target)]
        for count in range(len(middle) + 1):
            for between in permutations(middle, count):
                path = [source, *between, target]
                hops = [links.get(pair) or links.get(pair[::-1])
                        for pair in pairwise(path)]  # fmt: skip
                if all(hops):
                    key = (len(hops), -min(hop.bandwidth_bytes_per_s for hop in hops))
                    best = key if best is None else min(best, key)
        route = system.route(source, target)
        assert route is not None
        assert (len(route), -min(hop.bandwidth_bytes_per_s for hop in route)) == best
