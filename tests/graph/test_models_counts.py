"""Parameters, MACs and bytes against published values and closed forms."""

from __future__ import annotations

from collections import Counter

import pytest

from orrery.graph import MODELS, Graph, build_model, count_macs, count_parameters

#: torchvision's weight metadata: "num_params", and "_ops" in 1e9 MACs, rounded to two decimals.
#: inception_v3: theirs counts the auxiliary classifier too (27,161,264 - 3,326,696).
TORCHVISION = {
    "alexnet": (61_100_840, 0.71), "vgg16": (138_357_544, 15.47),
    "resnet18": (11_689_512, 1.81), "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09), "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51), "wide_resnet50_2": (68_883_240, 11.40),
    "densenet121": (7_978_856, 2.83), "densenet161": (28_681_000, 7.73),
    "squeezenet1_0": (1_248_424, 0.82), "squeezenet1_1": (1_235_496, 0.35),
    "googlenet": (6_624_904, 1.50), "inception_v3": (23_834_568, 5.71),
    "mobilenet_v2": (3_504_872, 0.30), "vit-b16": (86_567_656, 17.56),
}  # fmt: skip

#: Parameters of the published checkpoints (the transformers package builds the same counts).
CHECKPOINTS = {
    "bert-base": 109_482_240, "bert-large": 335_141_888, "minilm-l6": 22_713_216,
    "gpt2-124m": 124_439_808, "gpt2-345m": 354_823_168, "gpt2-774m": 774_030_080,
    "gpt2-1.5b": 1_557_611_200, "llama-7b": 6_738_415_616,
}  # fmt: skip

#: Fact sheet, "workloads": convolutions with projections, parameters in millions.
CONVOLUTIONS = {
    "alexnet": (5, 61.1), "vgg16": (13, 138.4), "resnet34": (36, 21.8), "resnet101": (104, 44.5),
    "wide_resnet50_2": (53, 68.9),
}  # fmt: skip

#: Fact sheet, "the six workloads": layers, convolutions (where it says), weights in millions,
#: GMACs, layers per chain.
MULTIMODAL = {
    "vlocnet": (141, 135, 191.98, 130.2, (51, 39, 51)),
    "casia-surf": (44, 44, 13.24, 7.75, (20, 12, 12)),
    "vfs": (49, 42, 365.67, 31.6, (16, 9, 16, 8)),
    "facebagnet": (52, 51, 24.74, 1.53, (26, 13, 13)),
    "cnn-lstm": (20, 17, 17.82, 1.61, (8, 6, 6)),
    "mocap": (52, 44, 31.01, 45.8, (3, 3, 7, 39)),
}


def _operators(graph: Graph) -> Counter[str]:
    return Counter(node.op for node in graph.nodes)


#: He et al. 2015, table 6: layers, parameters in millions.
CIFAR = {"resnet20": (20, 0.27), "resnet56": (56, 0.85)}


@pytest.mark.parametrize("name", CIFAR)
def test_small_residual_networks_have_the_published_layers_and_parameters(name: str) -> None:
    graph, (layers, millions) = build_model(name), CIFAR[name]
    found = _operators(graph)
    assert found["Conv"] + found["Gemm"] == layers
    assert round(count_parameters(graph) / 1e6, 2) == millions
    assert graph.type("logits").shape == (1, 10)


@pytest.mark.parametrize("name", TORCHVISION)
def test_image_networks_match_torchvision(name: str) -> None:
    graph = build_model(name)
    parameters, gmacs = TORCHVISION[name]
    assert count_parameters(graph) == parameters
    assert round(count_macs(graph) / 1e9, 2) == pytest.approx(gmacs, abs=0.0051)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_transformers_match_their_checkpoints(name: str) -> None:
    assert count_parameters(build_model(name)) == CHECKPOINTS[name]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_the_mapping_workloads(name: str) -> None:
    graph = build_model(name)
    count, millions = CONVOLUTIONS[name]
    assert _operators(graph)["Conv"] == count
    assert round(count_parameters(graph) / 1e6, 1) == millions


@pytest.mark.parametrize("name", MULTIMODAL)
def test_multimodal_networks_match_the_sheet(name: str) -> None:
    graph = build_model(name)
    layers, convolutions, millions, gmacs, chains = MULTIMODAL[name]
    kinds = _operators(graph)
    assert kinds["Conv"] == convolutions
    assert kinds["Conv"] + kinds["Gemm"] + kinds["LSTM"] == layers
    assert round(count_parameters(graph) / 1e6, 2) == millions
    digits = 2 if gmacs < 10 else 1
    assert round(count_macs(graph) / 1e9, digits) == gmacs
    scopes = {node.name.partition(".")[0] for node in graph.nodes if ".fc" in node.name
              or node.op in ("Conv", "LSTM")}  # fmt: skip
    found = Counter(int(scope[1 : scope.index("L")]) for scope in scopes)
    assert tuple(found[place + 1] for place in range(len(chains))) == chains


def _reaches(graph: Graph, source: str, target: str) -> bool:
    """Whether a scope's result is read by another, directly or through inserted glue."""
    wave = {t for n in graph.nodes if n.name.startswith(f"{source}.") for t in n.outputs}
    return any(
        set(node.inputs) & wave for node in graph.nodes if node.name.startswith(f"{target}.")
    )


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        ("vlocnet", ["M2L39-M1L40", "M1L49-M1L50", "M1L49-M1L51", "M3L49-M3L50", "M3L49-M3L51"]),
        ("casia-surf", ["M2L12-M1L13", "M3L12-M1L13", "M1L12-M1L13"]),
        ("vfs", ["M4L8-M3L14", "M3L13-M3L14"]),
        ("facebagnet", ["M2L13-M1L14", "M3L13-M1L14"]),
        ("mocap", ["M1L3-M3L7", "M2L3-M3L7", "M3L6-M3L7"]),
    ],
)
def test_multimodal_networks_have_the_edges_between_chains(name: str, edges: list[str]) -> None:
    graph = build_model(name)
    for edge in edges:
        source, target = edge.split("-")
        assert _reaches(graph, source, target), edge
    assert not _reaches(graph, "M1L50", "M1L51")


def test_c3d_has_the_published_size() -> None:
    """78.41 M weights and 38.5 G multiply-adds (Lu et al. 2021, table 2; Tran et al. 2014)."""
    assert round(MODELS["c3d"].parameters / 1e6, 2) == 78.41
    assert round(MODELS["c3d"].macs / 1e9, 1) == 38.5


# -- decoders: closed forms, written from the definition ------------------------------------


def _gpt2_layer_macs(hidden: int, new: int, seen: int) -> int:
    """Query, key, value, output: 4 h²; feed forward: 8 h²; scores and mix: 2 h per position."""
    return new * (12 * hidden * hidden + 2 * hidden * seen)


@pytest.mark.parametrize(
    ("name", "layers", "hidden"),
    [("gpt2-124m", 12, 768), ("gpt2-345m", 24, 1024), ("gpt2-774m", 36, 1280),
     ("gpt2-1.5b", 48, 1600), ("gpt2-1.5b-h1536", 48, 1536)],
)  # fmt: skip
def test_gpt2_macs_and_cache_bytes(name: str, layers: int, hidden: int) -> None:
    batch, tokens, words = 2, 64, 50257
    prefill = build_model(name, batch=batch, context=tokens)
    head = words * hidden
    layer = _gpt2_layer_macs(hidden, tokens, tokens)
    assert count_macs(prefill) == batch * (layers * layer + head)
    every = build_model(name, batch=batch, context=tokens, all_logits=True)
    assert count_macs(every) == batch * (layers * layer + tokens * head)

    decode = build_model(name, batch=batch, context=tokens, phase="decode")
    layer = _gpt2_layer_macs(hidden, 1, tokens + 1)
    assert count_macs(decode) == batch * (layers * layer + head)
    cached = sum(decode.type(name).size_bytes for name in decode.states)
    assert cached == 2 * layers * batch * tokens * hidden * 4
    grown = sum(decode.type(name).size_bytes for name in decode.states.values())
    assert grown == 2 * layers * batch * (tokens + 1) * hidden * 4
    assert count_parameters(decode) == count_parameters(prefill) == MODELS[name].parameters


def test_gpt2_parameters_in_closed_form() -> None:
    hidden, layers = 1536, 48
    layer = 12 * hidden**2 + 13 * hidden  # weights; biases 3+1+4+1, two norms of 2
    assert MODELS["gpt2-1.5b-h1536"].parameters == (
        layers * layer + (50257 + 1024) * hidden + 2 * hidden
    )


@pytest.mark.parametrize("group", [1, 4])
def test_llama_macs_and_cache_bytes(group: int) -> None:
    layers, hidden, inner, words, tokens = 32, 4096, 11008, 32000, 32
    shared = hidden // group
    matrices = 2 * hidden * hidden + 2 * hidden * shared + 3 * hidden * inner
    prefill = build_model("llama-7b", context=tokens, group=group, dtype="float16")
    macs = layers * tokens * (matrices + 2 * hidden * tokens) + words * hidden
    assert count_macs(prefill) == macs
    decode = build_model("llama-7b", context=tokens, group=group, phase="decode", dtype="float16")
    macs = layers * (matrices + 2 * hidden * (tokens + 1)) + words * hidden
    assert count_macs(decode) == macs
    assert sum(decode.type(t).size_bytes for t in decode.states) == 4 * layers * tokens * shared
    assert count_parameters(decode) == (
        layers * (matrices + 2 * hidden) + 2 * words * hidden + hidden
    )


def test_states_are_listed_and_grow_by_one_token() -> None:
    graph = build_model("gpt2-124m", phase="decode", context=10)
    assert len(graph.states) == 24
    for before, after in graph.states.items():
        assert graph.type(before).shape == (1, 12, 10, 64)
        assert graph.type(after).shape == (1, 12, 11, 64)
    assert not build_model("gpt2-124m", context=10).states


def test_encoder_macs_in_closed_form() -> None:
    tokens, hidden, inner, layers = 128, 768, 3072, 12
    layer = tokens * (4 * hidden**2 + 2 * hidden * inner + 2 * hidden * tokens)
    assert count_macs(build_model("bert-base")) == layers * layer + hidden**2


def test_lstm_macs_in_closed_form() -> None:
    """Four gates of hidden·(features + hidden) per step and branch."""
    assert MODELS["siamese-lstm"].macs == 2 * 32 * 4 * 50 * (300 + 50)
    assert MODELS["siamese-lstm"].parameters == 30000 * 300 + 4 * 50 * (300 + 50 + 2)


def test_memory_network_in_closed_form() -> None:
    words, hidden, memories, hops = 180, 64, 50, 3
    assert MODELS["memn2n"].parameters == (hops + 1) * (words + memories) * hidden
    assert MODELS["memn2n"].macs == hops * 2 * memories * hidden + words * hidden
