"""PyTorch modules as graphs; the judges are PyTorch itself and ONNX Runtime on the written file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("ORRERY_REQUIRE") != "all":
    pytest.importorskip("torch")

import torch
from torch import nn
from torch.utils import _pytree as pytree

from orrery.errors import (
    ModelError,
    SpecError,
    UnknownNameError,
    UnsupportedOperatorsError,
)
from orrery.graph import Graph, from_torch, onnx_bytes, read_onnx, write_onnx

from .torch_cases import CASES, Case, tensors

pytestmark = pytest.mark.torch

_GROUP = 12


def _leaves(values: Any) -> list[np.ndarray]:
    return [leaf.detach().numpy() for leaf in pytree.tree_leaves(values) if hasattr(leaf, "shape")]


def _output(module: nn.Module, inputs: Any) -> list[np.ndarray]:
    """PyTorch's own answer, in evaluation mode; tensors are copied as a module may change them."""
    inputs = pytree.tree_map(lambda v: v.clone() if hasattr(v, "clone") else v, inputs)
    training = module.training
    module.eval()
    with torch.no_grad():
        found = module(**inputs) if isinstance(inputs, dict) else module(*inputs)
    module.train(training)
    return _leaves(found)


def _onnxruntime(graph: Graph, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(
        onnx_bytes(graph), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def _agree(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], what: str) -> None:
    assert len(found) == len(wanted), what
    for place, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"{what}, output {place}"
        np.testing.assert_allclose(
            ours.astype(np.float64), theirs.astype(np.float64), rtol=1e-4, atol=1e-5,
            err_msg=f"{what}, output {place}",
        )  # fmt: skip


def _judge(module: nn.Module, inputs: Any, graph: Graph | None = None, **options: Any) -> Graph:
    """Read a module and hold the graph against PyTorch, by our reference and ONNX Runtime."""
    graph = graph or from_torch(module, inputs, **options)
    names = [name for name in graph.inputs if name not in graph.states]
    feeds = dict(zip(names, _leaves(inputs), strict=True))
    wanted = _output(module, inputs)
    _agree(list(graph.evaluate(feeds).values()), wanted, "reference")
    _agree(_onnxruntime(graph, feeds), wanted, "ONNX Runtime")
    return graph


# -- operators ------------------------------------------------------------------------------------


class _Group(nn.Module):
    """Several cases side by side: tracing costs more than they do."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.functions = [function for _, function, _ in cases]
        self.parts = nn.ModuleList([f for f in self.functions if isinstance(f, nn.Module)])
        self.names = [name for name, _, _ in cases]

    def forward(self, inputs: list[Any]) -> dict[str, Any]:
        outputs = {}
        for name, function, given in zip(self.names, self.functions, inputs, strict=True):
            outputs[name] = function(*given)
        return outputs


_GROUPS = [CASES[i : i + _GROUP] for i in range(0, len(CASES), _GROUP)]


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("cases", _GROUPS, ids=lambda cases: f"{cases[0][0]}..{cases[-1][0]}")
def test_operators_agree_with_pytorch(cases: list[Case]) -> None:
    module = _Group(cases)
    inputs = [tensors(specs) for _, _, specs in cases]
    graph = from_torch(module, (inputs,))
    feeds = dict(zip(graph.inputs, _leaves(inputs), strict=True))
    ours = list(graph.evaluate(feeds).values())
    runtime = _onnxruntime(graph, feeds)
    for name, function, given in zip(module.names, module.functions, inputs, strict=True):
        if isinstance(function, nn.Module):
            function.eval()
        with torch.no_grad():
            wanted = _leaves(function(*given))
        _agree([ours.pop(0) for _ in wanted], wanted, f"{name}: reference")
        _agree([runtime.pop(0) for _ in wanted], wanted, f"{name}: ONNX Runtime")
    assert not ours


def test_the_table_holds_enough_cases() -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES) >= 80


# -- networks -------------------------------------------------------------------------------------


class _Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Conv2d(inside, outside, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)


def _residual_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3), nn.MaxPool2d(3, 2, 1), _Residual(8, 8), _Residual(8, 16, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 10),
    )  # fmt: skip
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + (0.5 if "var" in name else 0))
    return network


def _mobile_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Hardswish(), nn.Conv2d(8, 16, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 4),
        nn.LogSoftmax(-1),
    )  # fmt: skip


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1)
        self.norm, self.up = nn.GroupNorm(2, 4), nn.ConvTranspose2d(8, 4, 2, 2)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Any) -> Any:
        a = self.norm(torch.relu(self.down1(x)))
        b = nn.functional.silu(self.down2(a))
        c = torch.cat([self.up(b), a], 1)
        c = nn.functional.interpolate(c, scale_factor=2, mode="bilinear")
        return self.out(nn.functional.interpolate(c, size=(8, 8)))


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 12, 2, batch_first=True, bidirectional=True, dropout=0.3)
        self.head = nn.Linear(24, 3)

    def forward(self, ids: Any) -> Any:
        states, (hidden, cell) = self.lstm(self.embed(ids))
        return {"logits": self.head(states[:, -1]), "memory": (hidden, cell)}


def _perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4))


def _encoder() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


_NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "perceptron": (_perceptron, ((2, 8),)),
    "residual": (_residual_network, ((2, 3, 32, 32),)),
    "mobile": (_mobile_network, ((2, 3, 16, 16),)),
    "unet": (_UNet, ((2, 1, 8, 8),)),
    "tagger": (_Tagger, ("i3,5",)),
    "encoder": (_encoder, ((2, 5, 16),)),
}


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("name", _NETWORKS)
def test_networks_agree_with_pytorch(name: str) -> None:
    make, specs = _NETWORKS[name]
    _judge(make(), tensors(specs))


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("name", _NETWORKS)
def test_a_batch_left_open_serves_other_batches(name: str) -> None:
    make, specs = _NETWORKS[name]
    module, (example,) = make(), tensors(specs)
    graph = from_torch(module, (example,), dynamic={0: {0: "batch"}})
    assert graph.symbols == ("batch",)
    other = torch.cat([example, example.flip(0)])[: len(example) + 1]
    _judge(module, (other,), graph)
    bound = graph.bind(batch=4)
    assert all(bound.type(output).is_bound for output in bound.outputs)


def _transformer(kind: str) -> tuple[nn.Module, dict[str, Any]]:
    import transformers

    torch.manual_seed(0)
    small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 32}  # fmt: skip
    ids = torch.randint(0, 50, (2, 7))
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**small)), {
            "input_ids": ids, "attention_mask": mask,
        }  # fmt: skip
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=50, n_embd=16, n_layer=2, n_head=2, use_cache=False
        )
        return transformers.GPT2LMHeadModel(config), {"input_ids": ids}
    if kind == "llama":
        config = transformers.LlamaConfig(**small, num_key_value_heads=2, use_cache=False)
        return transformers.LlamaForCausalLM(config), {"input_ids": ids, "attention_mask": mask}
    small.pop("vocab_size")
    config = transformers.ViTConfig(**small, image_size=16, patch_size=8)
    return transformers.ViTForImageClassification(config), {
        "pixel_values": torch.randn(2, 3, 16, 16)
    }


@pytest.mark.needs("onnxruntime", "transformers")
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "vit"])
def test_transformers_agree_with_pytorch(kind: str) -> None:
    module, inputs = _transformer(kind)
    graph = _judge(module.eval(), inputs)
    assert set(graph.inputs) == set(inputs)
    assert graph.outputs[0] in ("logits", "last_hidden_state")


@pytest.mark.needs("onnxruntime", "transformers")
def test_a_decoder_serves_other_lengths() -> None:
    module, inputs = _transformer("llama")
    ids = {"input_ids": inputs["input_ids"]}
    graph = from_torch(module, ids, dynamic={"input_ids": {0: "batch", 1: "length"}})
    assert graph.symbols == ("batch", "length")
    _judge(module.eval(), {"input_ids": torch.randint(0, 50, (3, 4))}, graph)


@pytest.mark.needs("transformers")
def test_tied_weights_are_one_constant() -> None:
    module, inputs = _transformer("gpt2")
    graph = from_torch(module, inputs)
    shapes = [constant.type.shape for constant in graph.constants.values()]
    assert shapes.count((50, 16)) == 1
    assert (16, 50) not in shapes


# -- what a module may be and do ------------------------------------------------------------------


class _Mixer(nn.Module):
    """Several inputs, one of them by keyword, nested outputs, one of them an input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]), persistent=False)

    def forward(self, left: Any, right: Any, *, shift: Any = None, factor: float = 2.0) -> Any:
        joined = left * self.scale + right[0]
        return joined + shift * factor, (left, {"pair": [right[1] - joined, right[1].sum()]})


@pytest.mark.needs("onnxruntime")
def test_several_inputs_and_outputs_keep_their_names() -> None:
    left, right, shift = torch.randn(2, 3), [torch.randn(3), torch.randn(2, 3)], torch.randn(3)
    inputs = {"left": left, "right": right, "shift": shift}
    graph = _judge(_Mixer(), inputs)
    assert graph.inputs == ("left", "right_0", "right_1", "shift")
    assert graph.outputs == ("output_0", "output_1.0", "output_1.1.pair.0", "output_1.1.pair.1")


class _Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        self.total += x.sum(0)
        return x + self.total


def test_a_buffer_that_changes_is_a_state() -> None:
    module = _Counter()
    graph = from_torch(module, (torch.ones(2, 3),))
    assert graph.states == {"total": "total.next"}
    assert module.total.sum() == 0  # tracing leaves the module as it was
    total = np.zeros(3, np.float32)
    for _ in range(3):
        x = torch.randn(2, 3)
        found = graph.evaluate({"total": total, "x": x.numpy()})
        total = found["total.next"]
        wanted = module(x)
        np.testing.assert_allclose(found["output"], wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(total, module.total.numpy(), rtol=1e-6)


def test_modes_come_back_and_the_graph_says_so() -> None:
    module = _perceptron()
    module[3].eval()  # a frozen part inside a module in training mode
    before = [part.training for part in module.modules()]
    graph = from_torch(module, (torch.randn(2, 8),))
    assert [part.training for part in module.modules()] == before
    assert "training mode" in graph.metadata["mode"]
    assert "mode" not in from_torch(module.eval(), (torch.randn(2, 8),)).metadata
    assert not any(node.op == "Dropout" for node in graph.nodes)


def test_modes_come_back_after_a_failure() -> None:
    module = _perceptron()
    with pytest.raises(ModelError):
        from_torch(module, (torch.randn(2, 9),))
    assert all(part.training for part in module.modules())


def test_constants_share_the_module_storage() -> None:
    module = _perceptron()
    graph = from_torch(module, (torch.randn(2, 3, 8),))
    weight = module[0].weight.detach().numpy()
    assert np.shares_memory(graph.constants["0.weight.T"].array(), weight)
    graph = from_torch(module, torch.randn(2, 8))
    assert np.shares_memory(graph.constants["0.weight"].array(), weight)
    assert module[0].weight.numpy(force=True).flags.writeable


def test_nodes_are_named_by_their_layers() -> None:
    graph = from_torch(_residual_network(), tensors(((2, 3, 32, 32),)), name="residual")
    names = [node.name for node in graph.nodes]
    assert graph.name == "residual"
    assert {"0", "2.conv1", "2.bn1", "2.relu", "3.shortcut", "7"} <= set(names)
    assert {"2.conv1.weight", "2.bn1.running_var", "7.bias"} <= set(graph.constants)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(dtype: str) -> None:
    module = nn.Linear(4, 3).to(getattr(torch, dtype)).eval()
    x = torch.randn(2, 4).to(getattr(torch, dtype))
    graph = from_torch(module, (x,))
    assert graph.type("output").dtype == dtype
    kept = graph.constants["weight"].array().astype(np.float64)
    np.testing.assert_array_equal(kept, module.weight.detach().double().numpy())
    values = x.double().numpy().astype(graph.constants["weight"].array().dtype)
    found = graph.evaluate({graph.inputs[0]: values})["output"].astype(np.float64)
    np.testing.assert_allclose(found, module(x).detach().double().numpy(), rtol=2e-2, atol=2e-2)


def test_numpy_arrays_serve_as_examples() -> None:
    graph = from_torch(_perceptron(), [np.zeros((2, 8), np.float32)])
    assert graph.type("input").shape == (2, 8)


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    graph = from_torch(_UNet(), tensors(((2, 1, 8, 8),)))
    write_onnx(graph, tmp_path / "unet.onnx")
    assert read_onnx(tmp_path / "unet.onnx") == graph


def test_an_example_of_one_may_stand_for_any_batch() -> None:
    graph = from_torch(_perceptron(), (torch.randn(1, 8),), dynamic={"input": {0: "batch"}})
    assert graph.type("input").shape == ("batch", 8)
    assert graph.type("output").shape == ("batch", 4)


@pytest.mark.needs("onnxruntime")
def test_heights_that_must_be_even_may_stay_open() -> None:
    module, x = _UNet(), torch.randn(2, 1, 8, 8)
    graph = from_torch(module, (x,), dynamic={"x": {0: "batch", 2: "height", 3: "width"}})
    assert graph.symbols == ("batch", "height", "width")
    _judge(module, (torch.randn(1, 1, 12, 6),), graph)


def test_a_name_for_two_inputs_is_one_size() -> None:
    class Sum(nn.Module):
        def forward(self, x: Any, y: Any) -> Any:
            return x + y

    example = (torch.randn(3, 2), torch.randn(3, 2))
    graph = from_torch(Sum(), example, dynamic={"x": {0: "n"}, "y": {0: "n"}})
    assert graph.symbols == ("n",)
    assert graph.type("output").shape == ("n", 2)


def test_load_model_takes_a_module() -> None:
    from orrery.api import load_model

    graph = load_model(_perceptron(), example_inputs=(torch.randn(2, 8),))
    assert [node.op for node in graph.nodes] == ["Gemm", "Relu", "Gemm"]


def test_the_room_opens_without_pytorch() -> None:
    code = "import sys, orrery.graph, orrery.graph.torch_ops; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- what is refused ------------------------------------------------------------------------------


def test_all_operators_that_nobody_translates_are_listed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            x = torch.special.i0(self.inner(x))
            return torch.polygamma(1, x) + torch.linalg.inv(x) + torch.special.i0(x)

    with pytest.raises(UnsupportedOperatorsError) as caught:
        from_torch(Odd(), (torch.randn(4, 4),))
    found = caught.value.operators
    assert len(found["aten.special_i0.default"] if "aten.special_i0.default" in found
               else found["aten.i0.default"]) == 2  # fmt: skip
    assert any("polygamma" in name for name in found)
    assert any("linalg_inv" in name for name in found)
    assert "untranslatable ATen operators" in str(caught.value)


def test_arguments_that_cannot_be_said_are_named() -> None:
    module = nn.LSTM(4, 8, proj_size=3)
    with pytest.raises(UnsupportedOperatorsError, match="proj_size"):
        from_torch(module, (torch.randn(2, 3, 4),))


def test_a_branch_on_data_is_explained() -> None:
    class Branch(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match=r"Branch: torch.export: found .* torch\.where"):
        from_torch(Branch(), (torch.randn(3),))


def test_a_size_that_the_network_fixes_is_explained() -> None:
    with pytest.raises(ModelError, match="take that name away"):
        from_torch(_perceptron(), (torch.randn(2, 8),), dynamic={0: {1: "width"}})


def test_weights_without_values_are_refused() -> None:
    with torch.device("meta"):
        module = nn.Linear(4, 4)
    with pytest.raises(ModelError, match=r"Linear: weight: .*materialise the weights"):
        from_torch(module, (torch.randn(2, 4, device="meta"),))


@pytest.mark.parametrize(
    ("dynamic", "error", "text"),
    [
        ({"inptu": {0: "batch"}}, UnknownNameError, "did you mean 'input'"),
        ({0: {5: "batch"}}, SpecError, "axis 5"),
        ({0: {0: "a batch"}}, SpecError, "write e.g. 'batch'"),
        ({0: ["batch"]}, SpecError, r"axis -> name"),
        ({3: {0: "batch"}}, UnknownNameError, "known: input"),
    ],
)
def test_wrong_names_of_sizes_are_explained(
    dynamic: dict[Any, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        from_torch(_perceptron(), (torch.randn(2, 8),), dynamic=dynamic)


def test_wrong_examples_are_explained() -> None:
    with pytest.raises(ModelError, match="missing a required argument: 'input'"):
        from_torch(_perceptron(), ())
    with pytest.raises(SpecError, match="a sequence or mapping of inputs"):
        from_torch(_perceptron(), 3)
    with pytest.raises(ModelError, match=r"wanted a torch\.nn\.Module"):
        from_torch(lambda x: x, (torch.randn(2),))


class _Literal(nn.Module):
    def forward(self, x: Any) -> Any:
        offset = torch.tensor([1.0, 2.0, 3.0])
        offset += 1
        return x * offset + torch.tensor(2.0)


@pytest.mark.needs("onnxruntime")
def test_tensors_written_down_in_parts_are_constants() -> None:
    graph = _judge(nn.Sequential(_Literal(), nn.Sequential(_Literal())), (torch.randn(2, 3),))
    assert [node.op for node in graph.nodes] == ["Mul", "Add", "Mul", "Add"]


class _Modes(nn.Module):
    def forward(self, x: Any) -> Any:
        with torch.enable_grad():
            y = x * 2
        with torch.autocast("cpu", enabled=False):
            return y + 1


@pytest.mark.needs("onnxruntime")
def test_regions_that_set_a_mode_are_inlined() -> None:
    graph = _judge(_Modes(), (torch.randn(2, 3),))
    assert [node.op for node in graph.nodes] == ["Mul", "Add"]


class _Open(nn.Module):
    """Operators on an axis of open size."""

    def forward(self, x: Any, y: Any) -> Any:
        z = x.clone()
        z[1:] += y[1:]
        rows = torch.arange(x.shape[0]).unsqueeze(1)
        return {
            "sizes": (x.reshape(x.shape[0] * 3, 4), x.flatten(0, 1), x.repeat(2, 1, 1)),
            "spread": (x.var(0), x.std(), x.mean(0), x.repeat_interleave(2, 0)),
            "order": (x.roll(1, 0), x.roll(2), x.flip(0), *x.sort(0), x.cumsum(0)),
            "joined": (torch.cat([x, y]), torch.stack([x, y]), x.new_zeros(x.shape) + y),
            "placed": (z, x + rows[:, None], torch.full_like(x, x.shape[0] * 2 + 1)),
            "mask": torch.ones(x.shape[0], x.shape[0]).tril(),
            "attention": nn.functional.scaled_dot_product_attention(
                x[None, :, 0], y[None, :, 0], y[None, :, 0], is_causal=True
            ),
        }


@pytest.mark.needs("onnxruntime")
def test_sizes_left_open_reach_every_operator() -> None:
    example = (torch.randn(3, 3, 4), torch.randn(3, 3, 4))
    graph = from_torch(_Open(), example, dynamic={"x": {0: "rows"}, "y": {0: "rows"}})
    assert graph.symbols == ("rows",)
    for rows in (2, 7):
        _judge(_Open(), (torch.randn(rows, 3, 4), torch.randn(rows, 3, 4)), graph)
