"""Whole PyTorch modules: our training step of the exported network against PyTorch's own.

Tiny random ones of the families that matter: residual and depthwise convolutions with batch
normalisation, BERT, GPT-2, LLaMA and an LSTM; in float64, three steps of SGD with momentum.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError
from orrery.graph import from_torch, initial_states, learned_tensors, read_onnx, write_onnx

from .test_training import advance

pytestmark = pytest.mark.torch
_NEEDS = pytest.mark.needs("transformers")


def _convolutional() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class Block(nn.Module):
        """A residual block whose second convolution is depthwise."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)
            self.second = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
            self.after = nn.BatchNorm2d(channels)

        def forward(self, x: Any) -> Any:
            h = nn.functional.relu6(self.norm(self.first(x)))
            return torch.relu(x + self.after(self.second(h)))

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        Block(8), nn.Conv2d(8, 6, 1, stride=2), Block(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    )  # fmt: skip
    return net, lambda: (torch.randn(4, 3, 16, 16, dtype=torch.float64),)


def _transformer(kind: str) -> tuple[Any, Any]:
    import torch
    import transformers
    from torch import nn

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 32, "vocab_size": 30}  # fmt: skip
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if kind == "bert":
        inner = transformers.BertModel(transformers.BertConfig(**sizes, **none))
    elif kind == "gpt2":
        inner = transformers.GPT2Model(transformers.GPT2Config(
            vocab_size=30, n_positions=16, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False))  # fmt: skip
    else:
        inner = transformers.LlamaModel(transformers.LlamaConfig(
            **sizes, num_key_value_heads=1, use_cache=False))  # fmt: skip

    class Classifier(nn.Module):
        """The last token decides; every token is of one type, which the caller says."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = inner, nn.Linear(16, 5)

        def forward(self, ids: Any, types: Any = None) -> Any:
            words = {} if types is None else {"token_type_ids": types}
            return self.head(self.inner(input_ids=ids, **words).last_hidden_state[:, -1])

    def draw() -> tuple[Any, ...]:
        ids = torch.randint(0, 30, (4, 6))  # 0 is BERT's padding, whose row stays as it is
        return (ids, torch.randint(0, 2, (4, 6))) if kind == "bert" else (ids,)

    return Classifier(), draw


def _recurrent() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 6, bidirectional=True, batch_first=True)
            self.head = nn.Linear(12, 5)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0].mean(1))

    return Reader(), lambda: (torch.randn(4, 7, 3, dtype=torch.float64),)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(_convolutional, id="convolutional"),
        pytest.param(lambda: _transformer("bert"), id="bert", marks=_NEEDS),
        pytest.param(lambda: _transformer("gpt2"), id="gpt2", marks=_NEEDS),
        pytest.param(lambda: _transformer("llama"), id="llama", marks=_NEEDS),
        pytest.param(_recurrent, id="lstm"),
    ],
)  # fmt: skip
def test_three_steps_equal_pytorch(build: Any) -> None:
    import torch

    torch.manual_seed(0)
    module, draw = build()
    module = module.double()
    graph = from_torch(module, draw())
    step = graph.training("momentum", learning_rate=0.05, loss="cross_entropy")
    values = initial_states(step, graph)
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        given, labels = draw(), torch.randint(0, 5, (4,))
        values |= {n: x.numpy() for n, x in zip(graph.inputs, given, strict=True)}
        values["labels"] = labels.numpy()
        ours = advance(step, values)
        loss = torch.nn.functional.cross_entropy(module(*given), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(ours, loss.item(), rtol=1e-6)
    compared = 0
    for key, weight in module.named_parameters():
        # Weights of linear layers may stand transposed.
        found = values.get(key, values.get(f"{key}.T", np.zeros(0)).T)
        if found.shape == weight.shape:
            np.testing.assert_allclose(found, weight.detach().numpy(), rtol=1e-5, atol=1e-7)
            compared += 1
    # An LSTM's gates are ordered and stacked differently: there the losses judge.
    share = 0.1 if hasattr(module, "lstm") else 0.6
    assert compared > share * len(list(module.parameters()))


# -- what is learned ------------------------------------------------------------------------------


def _expressions() -> Any:
    """Parameters that the network reads through functions, in every way that could be folded."""
    import torch
    from torch import nn

    class Expressions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s, self.p = nn.Parameter(torch.rand(4) + 0.5), nn.Parameter(torch.rand(4) + 0.5)
            self.w, self.zeros = nn.Parameter(torch.rand(4, 4)), nn.Parameter(torch.zeros(1, 2, 4))
            self.temperature = nn.Parameter(torch.tensor(0.7))
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.register_buffer("scale", torch.tensor([2.0, 3.0, 4.0, 5.0]))
            self.gru = nn.GRU(4, 4, batch_first=True)
            self.words = nn.Embedding(6, 4, padding_idx=0)
            self.lines = nn.Linear(4, 4)

        def forward(self, x: Any, ids: Any) -> Any:
            x = x * torch.exp(self.s) + self.p**1.5 + x * self.s.clamp(0.2, 0.9)
            x = self.frozen(x) * self.scale + torch.tensor([0.1, 0.2, 0.3, 0.4])
            x = torch.tanh(self.normed(x) + self.words(ids).mean(1))
            sequence = torch.stack([x, x @ self.w.T, x @ self.w], 1)
            y = self.lines(self.gru(sequence, self.zeros[:, :1].expand(1, len(x), 4))[0])
            y = y + nn.functional.linear(sequence, self.w) + self.w.sum()
            return y.mean(1) / self.temperature

    return Expressions()


def _step_by_both(module: Any, given: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return the graph, and its states after one step of SGD that PyTorch's module takes too."""
    import torch

    graph = from_torch(module, given)
    step = graph.training("sgd", learning_rate=0.1, loss="cross_entropy", **options)
    labels = torch.arange(len(given[0])) % 3
    values = initial_states(step, graph)
    values |= {n: x.numpy() for n, x in zip(graph.inputs, given, strict=True)}
    values["labels"] = labels.numpy()
    advance(step, values)
    torch.nn.functional.cross_entropy(module(*given), labels).backward()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.grad is not None:
                weight -= 0.1 * weight.grad
    return graph, values


def test_functions_of_parameters_are_learned_through(tmp_path: Any) -> None:
    import torch

    torch.manual_seed(1)
    module = _expressions().double()
    given = (torch.randn(5, 4).double(), torch.randint(0, 6, (5, 3)))
    given[1][0, 0] = 0
    graph, values = _step_by_both(module, given)
    names = {n for n, p in module.named_parameters() if p.requires_grad}
    packed = {n for n in names if n.startswith("gru.")}
    learned = set(learned_tensors(graph))
    assert {n.removesuffix(".T") for n in learned if not n.startswith("gru")} == names - packed
    weights = dict(module.named_parameters())
    for name in learned:
        if name.removesuffix(".T") in weights:
            found = values[name].T if name.endswith(".T") else values[name]
            wanted = weights[name.removesuffix(".T")].detach().numpy()
            np.testing.assert_allclose(found, wanted, rtol=1e-9, err_msg=name)
    packed_now = from_torch(module, given)
    relaid = {n: rest for n, *rest in map(str.split, graph.metadata["relaid"].splitlines())}
    assert {part for n in learned for part in relaid.get(n, [n])} == names
    for name in (n for n in learned if n.startswith("gru")):
        np.testing.assert_allclose(values[name], packed_now.constants[name].array(), rtol=1e-9)
    write_onnx(graph, tmp_path / "g.onnx")
    assert learned_tensors(read_onnx(tmp_path / "g.onnx")) == learned_tensors(graph)


def test_a_network_without_learned_parameters_has_none_to_train() -> None:
    import torch

    graph = from_torch(torch.nn.Linear(4, 3).requires_grad_(False), (torch.randn(2, 4),))
    assert learned_tensors(graph) == ()
    with pytest.raises(ModelError, match="no learned tensors"):
        graph.training()


def test_a_matrix_read_in_two_layouts_is_one_weight() -> None:
    import torch
    from torch import nn

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x: Any, ids: Any) -> Any:
            return (self.head(x[:, None]) + self.head(self.words(ids))).mean(1)

    torch.manual_seed(2)
    module = Tied().double()
    given = (torch.randn(3, 4).double(), torch.randint(0, 5, (3, 2)))
    graph, values = _step_by_both(module, given)
    assert learned_tensors(graph) == ("words.weight",)
    np.testing.assert_allclose(values["words.weight"], module.words.weight.detach().numpy())


def test_gradients_that_would_differ_are_refused() -> None:
    import torch
    from torch import nn

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s = nn.Parameter(torch.rand(4))

        def forward(self, x: Any) -> Any:
            return x.detach() * self.s + (self.s * 2).detach()

    graph = from_torch(Detached(), (torch.randn(2, 4),))
    with pytest.raises(ModelError, match="detaches"):
        graph.training()

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 4, padding_idx=0)

        def forward(self, ids: Any) -> Any:
            return self.words(ids).mean(1) @ self.words.weight.T

    graph = from_torch(Shared(), (torch.randint(0, 5, (3, 2)),))
    with pytest.raises(ModelError, match="padding_idx"):
        graph.training()


def test_active_dropout_is_warned_about() -> None:
    import torch
    from torch import nn

    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    with pytest.warns(UserWarning, match="leaves dropout out") as caught:
        graph = from_torch(module, (torch.randn(2, 4),))
    assert len(caught) == 1
    assert "dropout" in graph.metadata["mode"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(module.eval(), (torch.randn(2, 4),))


def test_a_failed_trace_is_told_by_the_error_alone(capfd: Any) -> None:
    import torch

    with pytest.raises(ModelError):
        from_torch(torch.nn.Linear(4, 3), (torch.randn(2, 5),))
    assert capfd.readouterr().err == ""
