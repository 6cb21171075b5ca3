"""Tensors that are made again: the same bits, operator by operator and in whole networks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orrery.mapping.offload import OffloadSearch, plan_offload
from orrery.offload_plan import OffloadPlan, StepProfile
from orrery.runtime.offload import OffloadError, OffloadSession
from orrery.runtime.remaking import bytes_of, recipe_of

from .planners import everything
from .test_exact import NETWORKS, same, session, trained

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


def again(profile: StepProfile) -> OffloadPlan:
    """Make again whatever can be, write the rest."""
    plan = everything()(profile)
    assert isinstance(plan, OffloadPlan)
    can = {t.name for t in profile.tensors if t.recompute_s is not None}
    tensors = tuple(replace(t, action="recompute", moved_bytes=0) if t.name in can else t
                    for t in plan.tensors)  # fmt: skip
    reads = tuple(replace(r, after=None) for r in plan.reads if r.name not in can)
    return replace(plan, tensors=tensors, reads=reads)


class Held:
    """What a hook of three lines gives autograd."""

    record = None

    def __init__(self, tensor: Any) -> None:
        self.tensor, self.version = tensor.detach(), tensor._version


def operators() -> dict[str, Callable[[Any, Any], Any]]:
    import torch
    from torch.nn import functional as f

    def normed(x: Any, y: Any) -> Any:
        return f.batch_norm(x * y, torch.zeros(6), torch.ones(6), _ones(6), _ones(6), True)

    weights, shift = _ones(6, 6, 3, 3), _ones(6)
    matrix, edge = _ones(16, 8), _ones(16)
    return {
        "relu": lambda x, y: normed(x, y).relu(),
        "relu in place": lambda x, y: normed(x, y).relu_(),
        "batch norm": normed,
        "residual": lambda x, y: (normed(x, y) + (x * y).exp()).relu(),
        "difference": lambda x, y: torch.sub(normed(x, y), (x * y).exp(), alpha=0.3),
        "quotient": lambda x, y: (x * y).exp() / 3.0,
        "layer norm": lambda x, y: f.layer_norm(x * y, (8, 8), eps=1e-6),
        "layer norm, cast": lambda x, y: f.layer_norm(x * y, (8, 8), _ones(8, 8)).bfloat16(),
        "gelu": lambda x, y: f.gelu(x * y),
        "gelu, tanh": lambda x, y: f.gelu(x * y, approximate="tanh"),
        "dropout": lambda x, y: f.dropout(f.gelu(x * y), 0.4),
        "silu": lambda x, y: f.silu(x * y),
        "mish": lambda x, y: f.mish(x * y),
        "hardswish": lambda x, y: f.hardswish(x * y),
        "leaky relu": lambda x, y: f.leaky_relu(x * y, 0.3),
        "relu6": lambda x, y: f.relu6(x * y),
        "clamp": lambda x, y: (x * y).clamp(-0.5, 0.5),
        "softplus": lambda x, y: f.softplus(x * y, beta=2, threshold=1),
        "power": lambda x, y: (x * y) ** 3,
        "logarithm": lambda x, y: (x * y).exp().log(),
        "tanh": lambda x, y: normed(x, y).tanh(),
        "sigmoid": lambda x, y: normed(x, y).sigmoid(),
        "root": lambda x, y: (x * y).abs().sqrt(),
        "softmax": lambda x, y: normed(x, y).softmax(-1),
        "maximum": lambda x, y: f.max_pool2d((x * y).exp(), 3, stride=2, padding=1),
        "average": lambda x, y: f.avg_pool2d((x * y), 2, ceil_mode=True, count_include_pad=False),
        "transposed": lambda x, y: (x * y).exp().transpose(1, -1).contiguous(),
        "permuted": lambda x, y: (x * y).exp().permute(0, 2, 3, 1).reshape(-1, 6),
        "convolution": lambda x, y: f.conv2d(x * y, weights, shift, stride=2, padding=1),
        "convolution without bias": lambda x, y: f.conv2d(x * y, weights, groups=1).relu(),
        "transposed convolution": lambda x, y: f.conv_transpose2d(x * y, weights, padding=1),
        "linear": lambda x, y: f.linear(x * y, matrix, edge),
        "linear without bias": lambda x, y: f.linear(x * y, matrix),
        "product": lambda x, y: (x * y) @ (x + y).exp(),
        "attention": lambda x, y: f.scaled_dot_product_attention(x * y, x.exp(), y.exp()),
        "causal attention": lambda x, y: f.scaled_dot_product_attention(
            x * y, x.exp(), y.exp(), is_causal=True, scale=0.5
        ),
        "channels last": lambda x, y: normed(x.to(memory_format=torch.channels_last), y).relu(),
    }


def _ones(*shape: int) -> Any:
    import torch

    return torch.ones(shape, requires_grad=True)


@pytest.mark.parametrize("name", [
    "relu", "relu in place", "batch norm", "residual", "difference",
    "quotient", "layer norm", "layer norm, cast", "gelu", "gelu, tanh", "dropout", "silu", "mish",
    "hardswish", "leaky relu", "relu6", "clamp", "softplus", "power", "logarithm", "tanh",
    "sigmoid", "root", "softmax", "maximum", "average", "transposed", "permuted", "channels last",
    "convolution", "convolution without bias", "transposed convolution", "linear",
    "linear without bias", "product", "attention", "causal attention",
])  # fmt: skip
def test_each_operator_gives_every_bit_again(name: str) -> None:
    import torch

    torch.manual_seed(1)
    x = torch.randn(3, 6, 8, 8, requires_grad=True)
    y = torch.randn(3, 6, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        made = operators()[name](x, y)
        found = recipe_of(made, (Held,))
    assert found is not None
    made = made._base if made._is_view() else made
    values = [held.tensor for held in found.inputs]
    again = found.make(values)
    assert (again.shape, again.stride(), again.dtype) == (made.shape, made.stride(), made.dtype)
    assert torch.equal(bytes_of(again), bytes_of(made))
    assert all(again.data_ptr() != value.data_ptr() for value in values)
    assert torch.equal(bytes_of(found.make(values)), bytes_of(made))  # inputs were not changed


def test_what_cannot_be_known_is_not_made_again() -> None:
    import torch

    x = torch.randn(5, 6, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        e = x.exp()
        unknown = {
            "an addend that is not kept": (e + torch.rand(6)).relu(),
            "a number that is not kept": 2.0 - e,
            "other storages joined": torch.cat([e, e]),
            "attention with a mask": torch.nn.functional.scaled_dot_product_attention(
                *[e.exp()[None, None]] * 3, attn_mask=torch.rand(5, 5)
            ),
            "without a graph": e.detach(),
            "a leaf": x,
            "a bias that is not kept": torch.nn.functional.batch_norm(
                e * x, None, None, bias=torch.zeros(6), training=True
            ),
        }
        spoiled = e * e
        spoiled[2:].add_(1)
        known = recipe_of(e * e, (Held,))
    assert {name: recipe_of(made, (Held,)) for name, made in unknown.items()} == dict.fromkeys(
        unknown
    )
    assert recipe_of(spoiled, (Held,)) is None
    assert known is not None
    # In place, without autograd seeing it: only the node that saved its result is known to have.
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        late, seen, more = e * e, (e + x).relu_(), (e + x).relu_()
        with torch.no_grad():
            late.mul_(2), more.mul_(2)
    assert recipe_of(late, (Held,)) is None and recipe_of(more, (Held,)) is None
    assert recipe_of(seen, (Held,)) is not None


@pytest.mark.parametrize("name", [n for n in NETWORKS if "checkpoints" not in n and n != "tied"])
def test_gradients_are_those_without(name: str, tmp_path: Path) -> None:
    wanted = trained(NETWORKS[name])
    with session(tmp_path, again) as offload:
        assert same(trained(NETWORKS[name], offload), wanted)
        profile = offload.profiles[0]
    can = sum(tensor.recompute_s is not None for tensor in profile.tensors)
    assert can
    assert all(report.recomputed == can for report in offload.reports[1:])
    assert not any(report.remarks for report in offload.reports)
    # Each once, however many others are made from it and however often it was saved.
    assert offload._hooks.remaker.made == sum(report.recomputed for report in offload.reports)
    assert offload.reports[-1].recompute_s
    assert offload.reports[-1].offloaded == len(profile.tensors) - can


def _steps(offload: OffloadSession, *calls: Callable[[Any], Any]) -> list[Any]:
    import torch

    found = []
    for call in calls:
        x = torch.linspace(-1, 1, 2048, requires_grad=True)
        with offload:
            loss = call((x * 3).sin() * 2)
            offload._transfers.drain()
            loss.backward()
        found.append(x.grad)
    return found


def test_made_otherwise_is_written_instead(tmp_path: Path) -> None:
    """The same sizes in the same order, and another operator: only the bits would show it."""
    import torch

    def one(x: Any) -> Any:
        y = torch.nn.functional.gelu(x)
        return (y * y).sum()

    def other(x: Any) -> Any:
        y = torch.nn.functional.gelu(x, approximate="tanh")
        return (y * y).sum()

    with session(tmp_path) as plain:
        wanted = _steps(plain, one, one, other, one)
    with session(tmp_path, again) as offload:
        assert same(_steps(offload, one, one, other, one), wanted)
    assert [report.recomputed for report in offload.reports] == [0, 2, 1, 2]
    assert "made otherwise" in offload.reports[2].remarks[0]


def test_what_it_is_made_from_may_not_change(tmp_path: Path) -> None:
    import torch

    def spoiled(x: Any) -> Any:
        x = x.exp()
        y = torch.nn.functional.silu(x)
        loss = (y * y).sum()
        with torch.no_grad():
            x.add_(1)
        return loss

    def whole(x: Any) -> Any:
        return (torch.nn.functional.silu(x.exp()) ** 2).sum()

    with session(tmp_path, again) as offload:
        _steps(offload, whole, whole)
        with pytest.raises(OffloadError, match="written to in place"):
            _steps(offload, spoiled)


def test_what_autograd_does_not_see_is_no_gradient(tmp_path: Path) -> None:
    """Something changes a tensor from the third step on; then it is never made again any more."""

    def call(limit: float, x: Any) -> Any:
        y = x.exp()
        y = y + y * y
        y.data.clamp_(max=limit)
        return (y * y).sum()

    calls = [partial(call, limit) for limit in (1e9, 1e9, 1.0, 1.0)]
    with session(tmp_path) as plain:
        wanted = _steps(plain, *calls)
    with session(tmp_path, again) as offload:
        found = _steps(offload, *calls[:2])
        with pytest.raises(OffloadError, match="recompute=False") as error:
            _steps(offload, calls[2])
        found += _steps(offload, *calls[2:])
    assert "without autograd seeing it" in str(error.value)
    assert same(found, wanted)
    assert [report.recomputed for report in offload.reports] == [0, 2, 2, 1, 1]


def test_what_no_node_saved_may_change(tmp_path: Path) -> None:
    """A bias is written to before the backward pass; a large one cannot be kept for that."""
    import torch

    def run(offload: Any, size: int) -> list[Any]:
        torch.manual_seed(0)
        bias, found = torch.randn(size, requires_grad=True), []
        for _ in range(3):
            x = torch.linspace(-1, 1, size, requires_grad=True)
            with offload or nullcontext():
                loss = torch.nn.functional.silu(x.exp() + bias).sum()
                with torch.no_grad():
                    bias.mul_(0.9)
                loss.backward()
            found.append(x.grad)
        return found

    with session(tmp_path, again) as offload:
        assert same(run(offload, 512), run(None, 512))
        assert offload.reports[-1].recomputed
    with (
        session(tmp_path, again) as offload,
        pytest.raises(OffloadError, match=r"(?s)parameter.*recompute=False"),
    ):
        run(offload, 1 << 15)


def test_as_many_threads_make_it_again(tmp_path: Path) -> None:
    import torch

    def run(offload: Any) -> list[Any]:
        torch.manual_seed(0)
        norm, found = torch.nn.BatchNorm1d(4), []
        x = torch.randn(40_000, 4, requires_grad=True)
        for _ in range(2):
            torch.set_num_threads(3)
            with offload or nullcontext():
                y = norm(x.exp())
                loss = (y * y).sum()
                torch.set_num_threads(1)
                loss.backward()
            found.append(x.grad.clone())
        return found

    before = torch.get_num_threads()
    try:
        with session(tmp_path, again) as offload:
            assert same(run(offload), run(None))
            assert offload.reports[-1].recomputed and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_graph_that_is_kept_is_made_again_twice(tmp_path: Path) -> None:
    import torch

    def step(offload: OffloadSession) -> list[Any]:
        x = torch.linspace(-1, 1, 2048, requires_grad=True)
        with offload:
            y = torch.nn.functional.silu((x * 3).sin().exp())
            loss = (y * y).sum()
            offload._transfers.drain()
            found = [torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2)]
            (first,) = torch.autograd.grad(loss, x, create_graph=True)
            found += [first.detach(), *torch.autograd.grad((first**2).sum(), x)]
        return found

    with session(tmp_path) as plain:
        wanted = step(plain)
    with session(tmp_path, again) as offload:
        assert same(step(offload), wanted) and same(step(offload), wanted)
        assert offload.reports[1].recomputed
        assert offload._arena.used_bytes == offload._transfers.staged_bytes


def test_the_real_planner_makes_cheap_tensors_again(tmp_path: Path) -> None:
    """On a slow disk what is cheap to calculate is; the plan says so."""

    def slow(profile: StepProfile) -> Any:
        room = profile.other_bytes + profile.saved_bytes // 2
        slower = replace(profile, limit_bytes=room, write_bytes_per_s=1e5, read_bytes_per_s=1e5)
        return plan_offload(slower, OffloadSearch(least_bytes=256))  # fmt: skip

    # A plan that makes tensors again is compared with its step, three times at most: then it stays.
    wanted = trained(NETWORKS["conv and batch norm"], steps=6)
    with session(tmp_path, slow) as offload:
        assert same(trained(NETWORKS["conv and batch norm"], offload, steps=6), wanted)
        (plan,) = offload.plans
    assert plan.named("recompute")
    assert "recomputed (" in plan.summary
    assert "made again in" in plan.named("recompute")[0].reason
    assert offload.reports[-1].recomputed == len(plan.named("recompute"))
    with session(tmp_path, slow, recompute=False) as without:
        trained(NETWORKS["conv and batch norm"], without, steps=2)
        assert not without.plans[0].named("recompute")
