"""Flexibility and scalability: the suite is the library's, shares count, more is no slower."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.api.flexing import (
    Suite,
    array_card,
    cover,
    grow_array,
    names_array,
    network_bounds,
    overhead,
    products_of_network,
    published_suite,
    run_layers,
)
from orrery.api.flexing._chips import chips_of, grow_chips
from orrery.api.flexing._growth import Growth, Point
from orrery.api.flexing._suite import PublishedLayer, layer_region, products_of, too_wide
from orrery.cli import main
from orrery.cost.nest import LOOPS
from orrery.errors import SpecError
from orrery.graph import Graph, build_model, count_macs
from orrery.hardware import Architecture, load_architecture
from orrery.report import Waterfall, make_scorecard

from .arrays import SMALL

#: what an absent attribute of a convolution or a pool means
DEFAULTS = {"strides": 1, "dilations": 1, "pads": 0, "group": 1, "ceil_mode": 0, "transB": 0}


def load(name: str) -> Architecture:
    return load_architecture(name, loops=tuple(LOOPS))


@pytest.fixture
def array(tmp_path: Path) -> Architecture:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return load(str(path))


def few(*names: str) -> Suite:
    """Return a suite of some of the core layers."""
    core = published_suite().core
    return replace(core, layers=tuple(one for one in core.layers if one.name in names))


@pytest.fixture(scope="module")
def network() -> Graph:
    return build_model("resnet20", image=8, width=0.25, depth=0.2)


# -- the suite ------------------------------------------------------------------------------------


def meant(layer: PublishedLayer, attributes: dict[str, object]) -> dict[str, object]:
    """Return attributes with what absent ones mean, less what a weight's shape says."""
    found = {}
    for name, default in DEFAULTS.items():
        value = attributes.get(name, default)
        values = set(value) if isinstance(value, tuple) else {value}
        found[name] = values.pop() if len(values) == 1 else value
    if layer.operator == "MaxPool":
        found["kernel_shape"] = attributes["kernel_shape"]
    return found


@pytest.mark.parametrize(
    "layers",
    [pytest.param(tuple(group), id=name) for name, group in itertools.groupby(
        sorted((one for one in published_suite().layers if one.library), key=lambda x: x.library),
        key=lambda x: x.library.partition("/")[0])],
)  # fmt: skip
def test_layers_are_those_of_the_library(layers: tuple[PublishedLayer, ...]) -> None:
    graph = build_model(layers[0].library.partition("/")[0])
    nodes = {node.name: node for node in graph.nodes}
    for layer in layers:
        node = nodes[layer.library.partition("/")[2]]
        shapes = [graph.type(name).sizes for name in node.inputs if name]
        assert tuple(shapes[: len(layer.inputs)]) == layer.inputs, layer.name
        assert node.op == layer.operator
        assert meant(layer, dict(node.attributes)) == meant(layer, dict(layer.attributes))


def test_every_layer_has_a_source_and_products_do_all_its_macs() -> None:
    suite = published_suite()
    assert {layer.group for layer in suite.layers} == {layer.group for layer in suite.core.layers}
    for layer in suite.layers:
        assert layer.source
        found = products_of(layer)
        done = 0 if isinstance(found, str) else sum(p.operations * p.times for p in found)
        assert done == count_macs(layer_region(layer).graph), layer.name


@pytest.mark.parametrize(
    ("precision", "said"),
    [("int4", ""), ("int8", ""), ("int16", "wider than multipliers of 8"), ("float16", "floating")],
)
def test_precisions_that_the_multipliers_take(precision: str, said: str) -> None:
    assert said in too_wide(precision, load("gemmini-16"))
    assert bool(too_wide(precision, load("gemmini-16"))) == bool(said)


def test_coverage_counts_layers_and_precisions() -> None:
    chip = load("gemmini-16")
    covered = cover(few("3x3, 32 groups", "recurrent, 32 steps", "softmax of scores"), chip,
                    most=2_000)  # fmt: skip
    assert covered.precisions == ("int4", "int8")
    passes = [name for name, run in covered.runs.items() if not run.found]
    assert passes == ["softmax of scores"]
    assert covered.share == pytest.approx((len(covered.runs) - 1) * 2 / (len(covered.runs) * 4))
    for name in covered.mapped:
        run = covered.runs[name]
        own = [one.cost.utilisation for one in run.found]
        assert min(own) <= (run.utilisation or 0) <= max(own)
    card = make_scorecard("x", covered.figures("x"))
    headline = card.metric("flexibility").headline
    assert headline is not None and headline.value == pytest.approx(100 * covered.share)
    shown = covered.sections()
    assert sum(row[1] for row in shown[0].rows) == len(covered.runs)  # type: ignore[union-attr,misc]


# -- one thing fixed ------------------------------------------------------------------------------


def test_a_freedom_never_makes_it_slower() -> None:
    suite = few("1x1, few channels", "128 rows, square", "scores of 12 heads")
    covered = cover(suite, load("tpu-like-32"), most=300_000)
    fixed = overhead(covered, most=300_000)
    assert {v.name for v in fixed.tried} >= {"wired", "narrow", "no multicast"}
    held = 0
    for variation in fixed.tried:
        if variation.name == "narrow":
            continue
        for name, run in fixed.runs[variation.name].items():
            own = covered.runs[name]
            if run.found and own.found and own.gap == 0:  # all nests of the fixed array are its own
                assert own.cycles <= run.cycles * (1 + 1e-9), (variation.name, name)
                held += 1
    assert held > 5
    wired = next(v for v in fixed.tried if v.name == "wired")
    assert fixed.ratios(wired, wired.made_for) == pytest.approx((1.0, 1.0))
    make_scorecard("x", fixed.figures("x"))
    assert len(fixed.sections()) == 2


# -- larger and smaller ---------------------------------------------------------------------------


def test_bounds_of_a_network_fall_to_its_cycles(array: Architecture, network: Graph) -> None:
    products = products_of_network(network, None)
    runs = run_layers(products, array, most=20_000)
    bounds = network_bounds(products, runs, array)
    rates = [bound.operations_per_cycle for bound in bounds]
    assert len(bounds) == 7
    assert rates == sorted(rates, reverse=True)
    work = sum(p.operations * p.times for parts in products.values() for p in parts)
    assert work / rates[-1] == pytest.approx(sum(run.cycles for run in runs.values()))


def test_growth_is_measured_against_the_array_as_described(
    array: Architecture, network: Graph
) -> None:
    growth = grow_array(products_of_network(network, None), array, memories=True,
                        doublings=(-1, 0, 1), most=20_000)  # fmt: skip
    half, own, twice = growth.points
    assert growth.baseline is own and growth.speedup(own) == 1
    assert growth.efficiency(twice) == pytest.approx((growth.speedup(twice) or 0) / 2)
    assert (half.speed or 0) <= (own.speed or 0) <= (twice.speed or 0)
    figures = list(growth.figures("x"))
    assert [f.metric for f in figures] == ["scaling efficiency"]
    assert all(f.context["baseline"].startswith("16 elements") for f in figures)
    make_scorecard("x", figures)


def test_the_knee_is_named() -> None:
    points = (Point(name="a", size=1, speed=1.0), Point(name="b", size=4, speed=3.9),
              Point(name="c", size=16, speed=5.0, held_up="bandwidth (−60 %)"))  # fmt: skip
    table = Growth(name="elements", what="it", points=points).section()
    assert "between b and c, where most is lost by bandwidth" in table.caption
    flat = Growth(name="batch", what="it", points=points, ideal=False)
    assert "knee" not in flat.section().caption
    unknown = Growth(name="n", what="it", points=(*points[:1], Point(
        name="d", size=2, speed=None, reason="too small")))  # fmt: skip
    (figure,) = unknown.figures("x")
    assert (figure.value, figure.source.note) == (None, "too small")
    speedups = [f.value for f in flat.figures("x") if f.metric == "speed-up"]
    assert speedups == [3.9, 5.0]


def test_chips_stand_around_a_host(array: Architecture) -> None:
    system = chips_of(load("gemmini-16"), 4)
    assert len(system.devices) == 4 and system.host == "host"
    assert system.links[0].bandwidth_bytes_per_s == 8e9  # of the array's own memory port
    with pytest.raises(SpecError, match="an array of the catalogue"):
        chips_of(array, 2)


def test_two_chips_are_no_slower_than_one() -> None:
    growth = grow_chips("memn2n", load("tpu-like-32"), (1, 2))
    one, two = growth.points
    assert (two.speed or 0) >= (one.speed or 0) > 0
    assert "transfers between chips" in two.held_up


# -- the card -------------------------------------------------------------------------------------


def test_names_of_arrays_and_of_systems(tmp_path: Path) -> None:
    plain, asked = api.BeyondOptions(), api.BeyondOptions(flexibility=True)
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert names_array("gemmini-16", plain) and names_array(path, plain)
    path.write_bytes(b"\xff\xfe")
    assert not names_array(path, plain)
    assert not names_array("eyeriss-v1", plain) and names_array("eyeriss-v1", asked)
    assert not names_array("aws-f1", asked) and not names_array(None, asked)


def test_the_card_of_an_array(tmp_path: Path, network: Graph) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    page = array_card(network, str(path), needs="latency<1s", options=None,
                      beyond=api.BeyondOptions(budget=5_000))  # fmt: skip
    card = page.scorecard
    assert card is not None and page.verdicts
    assert "--flexibility" in card.metric("flexibility").why_unknown
    assert card.figures("area")[0].value is None
    assert card.figures("processing elements")[0].value == 16
    assert any(isinstance(s, Waterfall) for s in page.sections)


def test_the_shell_takes_an_array(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert main(["score", "memn2n", "--on", str(path), "--scalability", "--chips", "1",
                 "--budget", "5000"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "Scalability: batch" in said and "Where memn2n loses speed" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "memn2n", "--on", "aws-f1", "--flexibility"], "an array of `orrery arrays`"),
        (["score", "memn2n", "--on", "gemmini-16", "--strict"], "one network on an array"),
        (["score", "memn2n", "--on", "gemmini-16", "--chips", "0"], "1 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.needs("onnxruntime")
def test_accuracy_comes_in_the_formats_of_an_array_of_ones_own(
    tmp_path: Path, network: Graph
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4, 3, 8, 8)).astype(np.float32)
    labels = [int(network.evaluate({network.inputs[0]: one[None]})[network.outputs[0]].argmax())
              for one in x]  # fmt: skip
    np.savez(tmp_path / "x.npz", x=x, y=np.array(labels))
    page = array_card(network, str(tmp_path / "small.yaml"), beyond=api.BeyondOptions(budget=2_000),
                      task=api.TaskOptions(data=str(tmp_path / "x.npz")))  # fmt: skip
    assert page.scorecard is not None
    found = {f.subject: f for f in page.scorecard.figures("top-1 accuracy")}
    assert found[f"{network.name} in float32"].value == 100
    assert (
        "fixed8" in found[f"{network.name} by spatial(architecture='small')"].context["precision"]
    )
