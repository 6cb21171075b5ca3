"""Arrays with one thing changed: what multiplies, what goes, what nothing is known of any more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost.nest import LOOPS, NestMapping, NestProblem, check_mapping, nest_problem
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.hardware import ROLES, Architecture, architecture_names, load_architecture
from orrery.hardware.spatial import (
    FREEDOMS,
    array_without,
    narrowed_array,
    scaled_array,
    wired_array,
)
from orrery.provenance import Basis


def load(name: str) -> Architecture:
    return load_architecture(name, loops=tuple(LOOPS))


def capacity(array: Architecture) -> list[float]:
    return [array.instances(level) * (level.capacity_bits or 0) for level in array.levels]


def port(array: Architecture) -> list[float]:
    return [array.instances(level) * (level.read_bits_per_cycle or 0) for level in array.levels]


@given(name=st.sampled_from(architecture_names()), doublings=st.sampled_from((-2, -1, 1, 2, 3)))
def test_elements_capacity_and_ports_multiply(name: str, doublings: int) -> None:
    array, factor = load(name), 2.0**doublings
    grown = scaled_array(array, doublings, memories=True)
    assert grown.elements == array.elements * factor
    assert capacity(grown) == pytest.approx([n * factor for n in capacity(array)], rel=0.01)
    assert port(grown) == pytest.approx([n * factor for n in port(array)])
    shared = [level for level in scaled_array(array, doublings, memories=False) if not level.per]
    assert shared == [level for level in array if not level.per]
    assert grown.area_mm2 is None


def test_axes_are_doubled_in_turns() -> None:
    sizes = [axis.size for axis in scaled_array(load("eyeriss-v1"), 3, memories=False).axes]
    assert sizes == [24, 56]
    wired = scaled_array(load("tpu-like-32"), 2, memories=False)
    assert [dict(axis.fixed or {}) for axis in wired.axes] == [{"Cout": 64}, {"Cin": 64}]


def test_an_odd_array_is_not_halved() -> None:
    array = load("eyeriss-v1")
    odd = replace(array, axes=tuple(replace(axis, size=3) for axis in array.axes))
    with pytest.raises(SpecError, match="an axis of even size"):
        scaled_array(odd, -1, memories=False)


def test_changed_numbers_say_so() -> None:
    array = load("tpu-v1")
    grown = scaled_array(array, 2, memories=True)
    assert all(axis.sources["size"].basis is Basis.ASSUMED for axis in grown.axes)
    assert grown.levels[0].sources["read_bits_per_cycle"].basis is Basis.ASSUMED
    assert grown.levels[0].sources["word_bits"] == array.levels[0].sources["word_bits"]


def problem() -> NestProblem:
    (found,) = nest_problem(build_model("alexnet", image=64, width=0.1).regions()[0])
    return found


def test_a_wired_array_takes_what_it_is_wired_for_alone() -> None:
    array = replace(load("gemmini-16"), levels=load("gemmini-16").levels[:1])
    wired = wired_array(array, {"rows": {"Cin": 3}, "cols": {"Cout": 2}})
    layer = problem()
    rest = tuple((loop, -(-n // {"Cin": 3, "Cout": 2}.get(loop, 1))) for loop, n in layer.loops)
    right = NestMapping(temporal=(rest,), spatial={"rows": (("Cin", 3),), "cols": (("Cout", 2),)})
    whole = NestMapping(temporal=(layer.loops,), spatial={})
    assert check_mapping(layer, right, wired) is None
    assert check_mapping(layer, whole, wired) is not None
    assert check_mapping(layer, whole, array) is None


def test_narrow_arrays_keep_wide_sums() -> None:
    narrow = narrowed_array(load("gemmini-16"), 4)
    assert set(narrow.bits.values()) == {4}
    assert narrow.partial_sum_bits == 32
    with pytest.raises(SpecError, match="1 to 8"):
        narrowed_array(load("gemmini-16"), 9)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_a_freedom_is_taken_away_once(freedom: str) -> None:
    bare = array_without(load("gemmini-16"), freedom)
    assert bare is not None
    assert array_without(bare, freedom) is None


def test_an_array_without_a_freedom_has_none_to_lose() -> None:
    chip = load("eyeriss-v1")
    whole = replace(chip, levels=tuple(replace(level, holds=ROLES) for level in chip.levels))
    assert array_without(whole, "bypass") is None
    with pytest.raises(SpecError, match="multicast, reduction, bypass"):
        array_without(load("eyeriss-v1"), "skipping")
