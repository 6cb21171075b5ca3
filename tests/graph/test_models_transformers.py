"""Transformers of the library against the transformers package: sizes and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.graph import MODELS, Graph, build_model, count_parameters, example_inputs

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch", "transformers")]


def _theirs(kind: str, **sizes: Any) -> Any:
    """Return a transformers module on the current device; sizes are its configuration's."""
    import transformers

    config, module = {
        "bert": ("BertConfig", "BertModel"),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
        "llama": ("LlamaConfig", "LlamaForCausalLM"),
        "vit": ("ViTConfig", "ViTForImageClassification"),
        "resnet": ("ResNetConfig", "ResNetForImageClassification"),
    }[kind]
    eager = {} if kind == "resnet" else {"attn_implementation": "eager"}
    settings = getattr(transformers, config)(**sizes, **eager)
    return getattr(transformers, module)(settings).eval()


FULL_SIZE: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", {}),
    "bert-large": ("bert", {"num_hidden_layers": 24, "hidden_size": 1024,
                            "num_attention_heads": 16, "intermediate_size": 4096}),
    "minilm-l6": ("bert", {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}),
    "gpt2-124m": ("gpt2", {}),
    "gpt2-345m": ("gpt2", {"n_layer": 24, "n_embd": 1024, "n_head": 16}),
    "gpt2-774m": ("gpt2", {"n_layer": 36, "n_embd": 1280, "n_head": 20}),
    "gpt2-1.5b": ("gpt2", {"n_layer": 48, "n_embd": 1600, "n_head": 25}),
    "gpt2-1.5b-h1536": ("gpt2", {"n_layer": 48, "n_embd": 1536, "n_head": 24}),
    "llama-7b": ("llama", {}),
    "vit-b16": ("vit", {"num_labels": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL_SIZE)
def test_parameters_at_full_size(name: str) -> None:
    import torch

    kind, sizes = FULL_SIZE[name]
    with torch.device("meta"):
        module = _theirs(kind, **sizes)
    wanted = sum(parameter.numel() for parameter in module.parameters())
    assert count_parameters(build_model(name)) == wanted


def _give_weights(graph: Graph, module: Any, prefix: str = "") -> Any:
    """Copy a graph's weights into a module: names are equal, matrices of linear layers turned."""
    import torch

    linear = {f"{n}.weight" for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)}
    used = set()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            ours = name.removeprefix(prefix)
            value = graph.constants[ours].array()
            if name in linear and graph.consumers(ours)[0].op == "MatMul":
                value = value.T
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
            used.add(ours)
    floats = {n for n, c in graph.constants.items() if c.type.dtype == "float32" and c.type.rank}
    tables = {name for node in graph.nodes if node.op == "RotaryEmbedding"
              for name in node.inputs[1:3]}  # fmt: skip
    assert used == floats - tables
    return module


def _run(module: Any, **inputs: Any) -> Any:
    import torch

    with torch.no_grad():
        return module(**{name: torch.from_numpy(value) for name, value in inputs.items()})


def test_bert_equals_transformers() -> None:
    graph = build_model("bert-base", batch=2, **MODELS["bert-base"].small)
    module = _give_weights(graph, _theirs(
        "bert", num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=64,
        vocab_size=50,
    ))  # fmt: skip
    inputs = example_inputs(graph)
    wanted, ours = _run(module, **inputs), graph.evaluate(inputs)
    for output in graph.outputs:
        np.testing.assert_allclose(ours[output], getattr(wanted, output).numpy(), atol=2e-5)


def _equal_decoder(name: str, module: Any, pairs: int) -> None:
    """Compare prefill and decode with a module's forward passes with a cache."""
    import torch

    small = MODELS[name].small
    prefill = build_model(name, batch=2, all_logits=True, **small)
    module = _give_weights(prefill, module)
    inputs = example_inputs(prefill)
    ours = prefill.evaluate(inputs)
    with torch.no_grad():
        wanted = module(torch.from_numpy(inputs["input_ids"]), use_cache=True)
        np.testing.assert_allclose(ours["logits"], wanted.logits.numpy(), atol=3e-5)
        decode = build_model(name, batch=2, phase="decode", **small)
        assert len(decode.states) == pairs
        token = np.array([[3], [41]])
        caches = {past: ours[present] for past, present in decode.states.items()}
        step = decode.evaluate({"input_ids": token, **caches})
        wanted = module(torch.from_numpy(token), past_key_values=wanted.past_key_values)
    np.testing.assert_allclose(step["logits"], wanted.logits[:, -1].numpy(), atol=3e-5)
    for layer, kept in enumerate(wanted.past_key_values.layers):
        np.testing.assert_allclose(step[f"present.{layer}.key"], kept.keys.numpy(), atol=3e-5)
        np.testing.assert_allclose(step[f"present.{layer}.value"], kept.values.numpy(), atol=3e-5)


def test_gpt2_equals_transformers() -> None:
    module = _theirs("gpt2", n_layer=2, n_embd=32, n_head=4, vocab_size=50)
    _equal_decoder("gpt2-124m", module, 4)


def test_llama_with_grouped_queries_equals_transformers() -> None:
    module = _theirs(
        "llama", num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=48,
        num_key_value_heads=2, vocab_size=50,
    )  # fmt: skip
    _equal_decoder("llama-7b", module, 4)


def test_vit_equals_transformers() -> None:
    graph = build_model("vit-b16", batch=2, **MODELS["vit-b16"].small)
    module = _give_weights(graph, _theirs(
        "vit", num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=64,
        image_size=32, patch_size=8, num_labels=10,
    ), "vit.")  # fmt: skip
    inputs = example_inputs(graph)
    wanted = _run(module, pixel_values=inputs["image"]).logits.numpy()
    np.testing.assert_allclose(graph.evaluate(inputs)["logits"], wanted, atol=2e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnet_equals_transformers(name: str) -> None:
    """Names differ here: ours follow torchvision, theirs stages, layers and shortcuts."""
    import torch

    graph = build_model(name, batch=2, **MODELS[name].small)
    bottleneck = name == "resnet50"
    widths = [8 << stage for stage in range(4)]
    depths = [sum(node.name.startswith(f"layer{stage}.") and node.op == "Add"
                  for node in graph.nodes) for stage in range(1, 5)]  # fmt: skip
    module = _theirs(
        "resnet", embedding_size=8, depths=depths, num_labels=10,
        hidden_sizes=[4 * width for width in widths] if bottleneck else widths,
        layer_type="bottleneck" if bottleneck else "basic",
    )  # fmt: skip
    with torch.no_grad():
        for key, value in {
            **dict(module.named_parameters()),
            **dict(module.named_buffers()),
        }.items():
            if key.endswith("num_batches_tracked"):
                continue
            value.copy_(torch.from_numpy(graph.constants[_torchvision(key)].array().copy()))
    inputs = example_inputs(graph)
    wanted = _run(module, pixel_values=inputs["image"]).logits.numpy()
    np.testing.assert_allclose(graph.evaluate(inputs)["logits"], wanted, atol=2e-5)


def _torchvision(key: str) -> str:
    """Translate a residual network's tensor name from transformers to torchvision."""
    *path, part, last = key.split(".")
    if path[0] == "classifier":
        return f"fc.{last}"
    kind = "bn" if part == "normalization" else "conv"
    if path[:2] == ["resnet", "embedder"]:
        return f"{kind}1.{last}"
    stage, block, inner = int(path[3]), path[5], path[6:]
    where = f"layer{stage + 1}.{block}"
    if inner[0] == "shortcut":
        return f"{where}.downsample.{int(kind == 'bn')}.{last}"
    return f"{where}.{kind}{int(inner[1]) + 1}.{last}"
