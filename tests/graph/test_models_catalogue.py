"""The catalogue: what it says, what it refuses, and that listing costs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError, SpecError, UnknownNameError
from orrery.graph import (
    MODELS,
    SeededConstant,
    build_model,
    count_macs,
    count_parameters,
    example_inputs,
)

WANTED = [
    "alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "wide_resnet50_2", "densenet121", "densenet161", "squeezenet1_0", "squeezenet1_1",
    "googlenet", "inception_v3", "mobilenet_v2", "bert-base", "bert-large", "minilm-l6",
    "gpt2-124m", "gpt2-345m", "gpt2-774m", "gpt2-1.5b", "gpt2-1.5b-h1536", "vit-b16", "llama-7b",
    "wide-deep", "siamese-lstm", "mt-dnn", "memn2n", "c3d", "vlocnet", "casia-surf", "vfs",
    "facebagnet", "cnn-lstm", "mocap", "resnet20", "resnet56",
]  # fmt: skip


def test_every_wanted_network_is_listed() -> None:
    assert sorted(MODELS) == sorted(WANTED)
    assert len(MODELS) == len(WANTED) == len(MODELS.names())


def test_listing_builds_nothing_and_imports_no_builder() -> None:
    code = (
        "import sys; from orrery.graph import MODELS; rows = [(m.name, m.macs) for m in "
        "MODELS.values()]; loaded = [m for m in sys.modules if m.startswith('orrery.graph.models.')"
        "]; print(len(rows), *sorted(m.rpartition('.')[2] for m in loaded), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [
        str(len(WANTED)), "_builder", "_catalogue", "_example", "_table", "False",
    ]  # fmt: skip


@pytest.mark.parametrize("name", WANTED)
def test_counts_in_the_catalogue_are_what_the_network_has(name: str) -> None:
    graph = build_model(name)
    assert count_parameters(graph) == MODELS[name].parameters
    assert count_macs(graph) == MODELS[name].macs
    assert graph.symbols == ()
    assert all(graph.type(t).is_bound for node in graph.nodes for t in node.outputs if t)


@pytest.mark.parametrize("name", WANTED)
def test_batch_can_be_bound_later(name: str) -> None:
    small = MODELS[name].small
    loose = build_model(name, batch="batch", **small)
    fixed = build_model(name, batch=3, **small)
    assert loose.symbols == ("batch",)
    bound = loose.bind(batch=3)
    assert [bound.type(t) for t in bound.outputs] == [fixed.type(t) for t in fixed.outputs]
    assert count_macs(bound) == count_macs(fixed)


def test_weights_are_seeded_by_name_and_drawn_late() -> None:
    first, second = build_model("resnet18"), build_model("resnet18", batch=2)
    weights = [c for c in first.constants.values() if isinstance(c, SeededConstant)]
    assert sum(c.type.elements for c in weights) > 11_000_000
    name = "layer1.0.conv1.weight"
    np.testing.assert_array_equal(first.constants[name].array(), second.constants[name].array())
    other = build_model("resnet34").constants[name].array()
    assert not np.array_equal(first.constants[name].array(), other)


def test_element_type_reaches_weights_and_results() -> None:
    graph = build_model("llama-7b", dtype="float16", **MODELS["llama-7b"].small)
    assert graph.type("logits").dtype == "float16"
    kinds = {c.type.dtype for c in graph.constants.values()}
    assert kinds == {"float16", "int64", "bool"}


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        build_model("resnet81")


def test_unknown_option_offers_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"model bert-base: option 'layer'.*did you mean 'layers'"):
        build_model("bert-base", layer=3)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("resnet18", {"batch": 0}, "1 to 2147483647, or a name"),
        ("resnet18", {"batch": True}, "1 to 2147483647, or a name"),
        ("resnet18", {"batch": "two words"}, "1 to 2147483647, or a name"),
        ("resnet18", {"dtype": "int8"}, "one of float16"),
        ("resnet18", {"width": -1.0}, "a number above 0"),
        ("resnet18", {"width": float("nan")}, "a number above 0"),
        ("resnet18", {"image": 2.5}, "a whole number"),
        ("gpt2-124m", {"phase": "decoding"}, "did you mean 'decode'"),
        ("gpt2-124m", {"context": 1025}, "at most 1024 tokens"),
        ("gpt2-124m", {"phase": "decode", "context": 1024}, "at most 1023 tokens"),
        ("gpt2-124m", {"heads": 7}, "a divisor of the hidden size"),
        ("gpt2-124m", {"all_logits": 1}, "true or false"),
        ("llama-7b", {"group": 5}, "a divisor of 32 heads"),
        ("bert-base", {"sequence": 513}, "at most 512 positions"),
        ("vit-b16", {"image": 225}, "a multiple of patch"),
    ],
)
def test_bad_options_say_what_is_wanted(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        build_model(name, **options)


def test_an_image_too_small_for_the_network_is_refused() -> None:
    with pytest.raises(ModelError, match="alexnet: node"):
        build_model("alexnet", image=16)


@pytest.mark.parametrize("name", WANTED)
def test_options_of_the_small_version_exist(name: str) -> None:
    model = MODELS[name]
    assert set(model.small) <= set(model.options)
    assert {"batch", "dtype"} <= set(model.options)


def test_example_inputs_stay_below_the_noted_bound() -> None:
    graph = build_model("bert-base", batch=64, **MODELS["bert-base"].small)
    inputs = example_inputs(graph)
    assert inputs["input_ids"].max() == 49
    assert set(np.unique(inputs["token_type_ids"])) == {0, 1}
    again = example_inputs(graph)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
