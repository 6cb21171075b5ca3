"""Gradients with saved tensors away are bit for bit those without, over many optimiser steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from orrery.runtime.offload import OffloadSession, OffloadSettings

from .planners import by_rule, everything

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

STEPS = 10


@contextmanager
def session(folder: Path, planner: Any = None, **options: Any) -> Iterator[OffloadSession]:
    """A session of small blocks, so that small tensors have several."""
    small = {"least_bytes": 256, "block_bytes": 4096, "threads": 2, "ahead_bytes": 1 << 20}
    found = OffloadSession(
        OffloadSettings(folders=(folder,), **{**small, **options}), planner or everything()
    )
    try:
        yield found
    finally:
        found.close()


def conv_bn() -> tuple[Any, Callable[[Any, int], Any]]:
    """Convolution, batch norm, ReLU in place, pooling."""
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 64, 4),
    )  # fmt: skip
    return net, lambda net, step: net(_data(step, 4, 3, 16, 16)).square().mean()


def dropout() -> tuple[Any, Callable[[Any, int], Any]]:
    """Two layers with dropout between them."""
    from torch import nn

    net = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 8))
    return net, lambda net, step: net(_data(step, 16, 32)).square().mean()


def attention() -> tuple[Any, Callable[[Any, int], Any]]:
    """One product for query, key and value, cut into views; a residual; layer norm."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.all = nn.LayerNorm(32), nn.Linear(32, 96)
            self.out = nn.Linear(32, 32)
            self.register_buffer("mask", torch.ones(12, 12, dtype=torch.bool).tril())

        def forward(self, x: Any) -> Any:
            q, k, v = (
                t.unflatten(-1, (4, 8)).transpose(1, 2) for t in self.all(self.norm(x)).chunk(3, -1)
            )
            scores = (q @ k.transpose(-1, -2)).masked_fill(~self.mask, float("-inf"))
            y = scores.softmax(-1) @ v
            y = y + nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return x + self.out(y.transpose(1, 2).flatten(2))

    net = nn.Sequential(Block(), Block())
    return net, lambda net, step: net(_data(step, 4, 12, 32)).square().mean()


def tied() -> tuple[Any, Callable[[Any, int], Any]]:
    """An embedding whose weights are those of the last layer."""
    import torch
    from torch import nn

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(40, 16), nn.Linear(16, 40, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens: Any) -> Any:
            return self.head(torch.tanh(self.embed(tokens)))

    def loss(net: Any, step: int) -> Any:
        tokens = torch.randint(0, 40, (4, 12), generator=torch.Generator().manual_seed(step))
        return nn.functional.cross_entropy(net(tokens).flatten(0, 1), tokens.flatten())

    return Tied(), loss


def views() -> tuple[Any, Callable[[Any, int], Any]]:
    """Windows, transposes, expansions and other element types over one storage."""
    import torch
    from torch import nn

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(24, 24)

        def forward(self, x: Any) -> Any:
            y = self.one(x)
            left, right = y[:, 1::2], y[:, ::2]
            z = left * right + y.t()[3:15, :].t() * left.flip(0)
            w = torch.view_as_complex(y.unflatten(-1, (12, 2)).contiguous())
            return z * (w * w.conj()).real + y[:1].expand(x.shape[0], 24)[:, :12] ** 3

    return Views(), lambda net, step: net(_data(step, 12, 24)).square().mean()


def in_place() -> tuple[Any, Callable[[Any, int], Any]]:
    """Operations in place on results, on parts of them, and after a save of what they replace."""
    import torch
    from torch import nn

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, x: Any) -> Any:
            y = self.one(x)
            y.relu_()
            z = self.two(y)
            z[:, :16] *= 2
            z.sigmoid_()
            w = z * y
            w += 1
            w[2:].mul_(w[:1].detach().clone())
            return torch.exp(w).add(1).clamp_(max=5)

    return InPlace(), lambda net, step: net(_data(step, 8, 32)).square().mean()


def amp() -> tuple[Any, Callable[[Any, int], Any]]:
    """Layers in bfloat16 by autocast."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.LayerNorm(64))

    def loss(net: Any, step: int) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(_data(step, 16, 32)).float().square().mean()

    return net, loss


def checkpointed(reentrant: bool) -> tuple[Any, Callable[[Any, int], Any]]:
    """Blocks that are computed again in the backward pass, with dropout inside."""
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2)) for _ in range(3)
            )

        def forward(self, x: Any) -> Any:
            x = x.requires_grad_()
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=reentrant)
            return x

    return Blocks(), lambda net, step: net(_data(step, 16, 32)).square().mean()


def recurrent() -> tuple[Any, Callable[[Any, int], Any]]:
    """Cells whose gates share one memory and have a count of in-place operations each."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.lstm = nn.GRU(16, 24), nn.LSTM(24, 16)
            self.cell, self.long = nn.GRUCell(16, 16), nn.LSTMCell(16, 16)

        def forward(self, x: Any) -> Any:
            y, z = self.lstm(self.gru(x)[0])[0], None
            h = torch.zeros(8, 16, dtype=x.dtype)
            for row in y:
                h = self.cell(row, h)
                z = self.long(h, z)
            return h * z[0]

    net = Recurrent().double()  # where oneDNN has no LSTM
    return net, lambda net, step: net(_data(step, 4, 8, 16).double()).square().mean()


def parts() -> tuple[Any, Callable[[Any, int], Any]]:
    """Parts of memory that others write to, with a count of in-place operations of their own."""
    import torch
    from torch import nn

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(32, 64), nn.Parameter(torch.ones(8, 64))

        def forward(self, x: Any) -> Any:
            a, b = self.one(x).unsafe_chunk(2, 0)
            a.sigmoid_()
            time.sleep(0.01)  # so that what was moved is away
            b.sigmoid_()
            c, d = self.one(x).unsafe_split(4, 1)[:2]
            c, d = c.tanh_(), d.exp_()
            y = self.one(x)
            unused = y * self.two
            window = y.data  # counts for itself
            time.sleep(0.01)
            y.mul_(3)
            part = torch.empty(0).set_(y.detach().untyped_storage(), 64, (2, 64), (64, 1))
            short = window.clone().resize_(4, 64)
            z = window * self.two + (part * self.two[:2]).sum() + (short * self.two[:4]).sum()
            del unused
            return z.mean() + (a * b).sum() + (c * d).sum()

    return Parts(), lambda net, step: net(_data(step, 8, 32)).square().mean()


SHARED = {"recurrent": recurrent, "parts": parts}
NETWORKS = {
    "conv and batch norm": conv_bn, "dropout": dropout, "attention": attention, "tied": tied,
    "views": views, "in place": in_place, "autocast": amp,
    "checkpoints": lambda: checkpointed(False), "reentrant checkpoints": lambda: checkpointed(True),
}  # fmt: skip


def _data(step: int, *size: int) -> Any:
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(1000 + step))


def trained(
    make: Callable[[], Any], around: Any = None, *, steps: int = STEPS, batches: int = 1
) -> list[Any]:
    """Train; return all gradients of all steps, then all parameters and buffers."""
    import torch

    torch.manual_seed(0)
    net, loss = make()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    found = []
    for step in range(steps):
        optimiser.zero_grad()
        with around or nullcontext():
            for batch in range(batches):
                loss(net, step * batches + batch).backward()
        found += [parameter.grad.clone() for parameter in net.parameters()]
        optimiser.step()
    return found + [value.clone() for value in net.state_dict().values()]


def same(found: list[Any], wanted: list[Any]) -> bool:
    """Whether two lists of tensors agree in every bit."""
    import torch

    return len(found) == len(wanted) and all(
        a.dtype == b.dtype and torch.equal(_bits(a), _bits(b))
        for a, b in zip(found, wanted, strict=True)
    )


def _bits(tensor: Any) -> Any:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("packed", [False, True], ids=["as it is", "packed"])
@pytest.mark.parametrize("name", NETWORKS | SHARED)
def test_gradients_are_those_without(name: str, packed: bool, tmp_path: Path) -> None:
    make = (NETWORKS | SHARED)[name]
    wanted = trained(make)
    options = {"packing": packed, "block_bytes": 1 << 14 if packed else 4096}
    with session(tmp_path, everything(packed=packed), **options) as offload:
        assert same(trained(make, offload), wanted)
        if name == "conv and batch norm" and packed:
            assert any(tensor.packed for tensor in offload.plans[0].tensors)
    reports = offload.reports
    assert len(reports) == STEPS
    assert all(report.offloaded > 0 for report in reports)
    shared = any("others share" in reason for reason in reports[-1].passed_over)
    assert shared == (name in SHARED)
    assert not any(report.remarks for report in reports)
    assert [report.measured for report in reports] == [True] + [False] * (STEPS - 1)
    assert reports[0].moved.written_bytes > 0 < reports[0].moved.read_bytes


def test_gradients_accumulate_over_batches(tmp_path: Path) -> None:
    wanted = trained(conv_bn, batches=3, steps=5)
    with session(tmp_path) as offload:
        assert same(trained(conv_bn, offload, batches=3, steps=5), wanted)
    assert len(offload.plans) == 3  # one per batch


def test_part_of_the_tensors_leave(tmp_path: Path) -> None:
    wanted = trained(attention)
    with session(tmp_path, by_rule(lambda t: t.size_bytes > 5000)) as offload:
        assert same(trained(attention, offload), wanted)
    last = offload.reports[-1]
    assert last.kept and last.offloaded
