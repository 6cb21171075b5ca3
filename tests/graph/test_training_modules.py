"""Whole PyTorch modules: our training step of the exported network against PyTorch's own.

Tiny random ones of the families that matter: residual and depthwise convolutions with batch
normalisation, BERT, GPT-2, LLaMA and an LSTM; in float64, three steps of SGD with momentum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.graph import from_torch, initial_states, learned_tensors

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
        ids = torch.randint(1, 30, (4, 6))  # 0 is padding, whose row PyTorch leaves alone
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
    # Export folds tables (rotary angles) to constants that PyTorch does not train.
    folded = [n for n in learned_tensors(graph) if ".unsqueeze" in n]
    step = graph.training("momentum", learning_rate=0.05, loss="cross_entropy", frozen=folded)
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
