"""Zeros in the data: densities as counted, and what the figures make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.report import Table

from .test_nest import SMALL


@pytest.fixture
def array(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def _told(result: api.NestResult) -> dict[str, tuple[int, ...]]:
    (table,) = [s for s in result.page.sections
                if isinstance(s, Table) and s.title == "Effectual operations"]  # fmt: skip
    return {str(row[0]): tuple(row[1:]) for row in table.rows}  # type: ignore[arg-type]


def test_densities_measured_on_data_are_those_of_the_numpy_reference(
    array: str, tmp_path: Path
) -> None:
    network = build_model("alexnet", image=64, width=0.1)
    images = np.random.default_rng(3).normal(size=(2, *network.type("image").shape[1:]))
    np.savez(tmp_path / "x.npz", image=images.astype(np.float32))
    found = _told(api.nest(network, on=array, zeros=api.ZeroOptions(
        skip=("input",), data=str(tmp_path / "x.npz"))))  # fmt: skip
    conv2 = next(node for node in network.nodes if node.name == "conv2")
    watched = conv2.inputs[0]
    cut = replace(network, outputs=(watched,))
    seen = [cut.evaluate({"image": image[None].astype(np.float32)})[watched] for image in images]
    share = np.count_nonzero(seen) / np.size(seen)
    nominal, performed, worked, _ = found["conv2"]
    assert performed == worked
    assert share <= performed / nominal <= share + 1 / 64 + 1e-9


def test_gates_save_energy_and_skips_save_time_too(array: str) -> None:
    network = build_model("alexnet", image=64, width=0.1)
    half = ("input=0.5", "weight=1")
    plain = api.nest(network, on=array, objective="energy")
    gated = api.nest(network, on=array, objective="energy",
                     zeros=api.ZeroOptions(gate=("input",), density=half))  # fmt: skip
    skipped = api.nest(network, on=array,
                       zeros=api.ZeroOptions(skip=("input",), density=half))  # fmt: skip
    fastest = api.nest(network, on=array)
    assert _total(gated, "energy") < _total(plain, "energy")
    assert _total(skipped, "latency") < _total(fastest, "latency")
    assert {f.bound for f in skipped.evidence if f.metric == "latency"} == {"lower"}
    told = _told(gated)["all"]
    assert told[0] == told[1] > told[2] == told[3]
    # Pooling takes the greatest, no product: nothing of it is saved.
    passes = [{x.layer: x.cycles for x in one.layers if x.layer.startswith(("pool", "relu"))}
              for one in (skipped, fastest)]  # fmt: skip
    assert passes[0] == passes[1] != {}
    fast = api.nest(network, on=array, zeros=api.ZeroOptions(gate=("input",), density=half))
    assert [one.cycles for one in fast.layers] == [one.cycles for one in fastest.layers]


def _total(result: api.NestResult, metric: str) -> float:
    return next(f.value or 0.0 for f in result.evidence if f.metric == metric)


@pytest.mark.parametrize(("options", "said"), [
    ({"gate": ("inputs",)}, "input"),
    ({"gate": ("input",), "density": ("input=1.5",)}, "share"),
    ({"gate": ("input",), "density": ("0.4",)}, "operand"),
    ({"density": ("input=0.4",)}, "--gate"),
    ({"compress": ("input=-5",)}, "whole bits"),
    ({"gate": ("input",), "skip": ("input",)}, "both"),
    ({"gate": ("input",), "density": ("input=0.4", "input=0.9")}, "twice"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(
    array: str, options: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        api.nest("squeezenet1_1", on=array, zeros=api.ZeroOptions(**options))


def test_no_set_speaks_for_figures_that_zeros_make_less() -> None:
    """The sets are of dense layers."""
    network = build_model("alexnet", image=64, width=0.5)
    dense = api.nest(network, on="gemmini-16")
    skipped = api.nest(network, on="gemmini-16",
                       zeros=api.ZeroOptions(skip=("input",), density=("input=0.5",)))  # fmt: skip
    for result, inside in ((dense, True), (skipped, False)):
        latency = next(one for one in result.evidence if one.metric == "latency")
        assert (latency.validation_error is not None) is inside
        assert ("outside every set" in latency.context["validation set"]) is not inside
    (errors,) = [s for s in skipped.page.sections if s.title == "How far off such figures were"]
    assert isinstance(errors, Table)
    assert {row[-1] for row in errors.rows} == {"zeros save some of it: sets are dense"}


@pytest.mark.parametrize("fuse", ["none", "on-chip"])
def test_the_page_of_a_layer_says_that_bounds_are_of_the_dense_one(array: str, fuse: str) -> None:
    network = build_model("alexnet", image=64, width=0.1)
    zeros = api.ZeroOptions(skip=("input",), density=("input=0.25",))
    said = api.nest(network, on=array, zeros=zeros, layer="conv2", fuse=fuse).text
    assert "all that follows is of the dense one" in " ".join(said.split())
    plain = api.nest(network, on=array, layer="conv2", fuse=fuse).text
    assert "With its zeros" not in plain
