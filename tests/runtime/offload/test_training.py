"""What people train with, inside a session's steps: bit for bit as without, or refused.

Each way trains a small network for ten steps and returns every gradient of every step.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from .test_exact import STEPS, _data, same, session

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


def _small(*sizes: int) -> Any:
    """Layers with tanh between them, the same each time."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairs))


def _gradients(*nets: Any) -> list[Any]:
    return [p.grad.clone() for net in nets for p in net.parameters() if p.grad is not None]


def _loop(nets: list[Any], around: Any, step_of: Callable[[int], None]) -> list[Any]:
    """Run ten optimiser steps around a function that makes the gradients."""
    import torch

    optimiser = torch.optim.AdamW([p for net in nets for p in net.parameters()], lr=1e-2)
    found = []
    for step in range(STEPS):
        optimiser.zero_grad()
        with around:
            step_of(step)
        found += _gradients(*nets)
        optimiser.step()
    return found


def loss_scale(around: Any) -> list[Any]:
    """Half precision with a loss scale that is too large at first, so that steps are skipped."""
    import torch

    net = _small(32, 64, 64, 8)
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
    found = []
    for step in range(STEPS + 12):
        optimiser.zero_grad()
        with around:
            with torch.autocast("cpu", dtype=torch.float16):
                loss = net(_data(step, 16, 32)).float().square().mean()
            scaler.scale(loss).backward()
        found += _gradients(net)
        scaler.step(optimiser)
        scaler.update()
        found.append(torch.tensor(scaler.get_scale()))
    assert found[0].isnan().any() and not found[-2].isnan().any()
    return found


def kept_graph(around: Any) -> list[Any]:
    """Two backward passes over one graph in each step."""
    net = _small(16, 32, 8)

    def step_of(step: int) -> None:
        loss = net(_data(step, 16, 16)).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()

    return _loop([net], around, step_of)


def penalty(around: Any) -> list[Any]:
    """The norm of a gradient is part of the loss."""
    import torch

    net = _small(16, 32, 8)

    def step_of(step: int) -> None:
        x = _data(step, 16, 16).requires_grad_()
        y = net(x).square().mean()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        (y + (slope.norm(dim=1) - 1).square().mean()).backward()

    return _loop([net], around, step_of)


def adversaries(around: Any) -> list[Any]:
    """Two networks, two losses, the second through the first; a teacher without gradients."""
    import torch

    maker, judge, teacher = _small(16, 32, 16), _small(16, 32, 4), _small(16, 16)
    teacher.requires_grad_(False)

    def step_of(step: int) -> None:
        made = maker(_data(step, 16, 16))
        with torch.no_grad():
            wanted = teacher(_data(step, 16, 16))
        (judge(wanted).mean() - judge(made.detach()).mean()).backward()
        (judge(made).square().mean() + (made - wanted).square().mean()).backward()

    return _loop([maker, judge, teacher], around, step_of)


def own_hooks(around: Any) -> list[Any]:
    """Hooks of the user's own within the step, which come first, as the innermost do."""
    import torch

    net = _small(16, 32, 8)

    def step_of(step: int) -> None:
        with torch.autograd.graph.save_on_cpu():
            part = net[0](_data(step, 16, 16)).exp()
        net[1](part).square().mean().backward()

    return _loop([net], around, step_of)


def outer_hooks(around: Any) -> list[Any]:
    """Hooks of the user's own around the step, which it stands before."""
    import torch

    net = _small(16, 32, 8)
    with torch.autograd.graph.save_on_cpu():
        return _loop(
            [net], around, lambda step: net(_data(step, 16, 16)).square().mean().backward()
        )


def recurrent(around: Any) -> list[Any]:
    """Two layers of LSTM with dropout, whose last output is looked at by PyTorch's attention."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    cells = nn.LSTM(16, 32, batch_first=True, num_layers=2, dropout=0.2)
    heads = nn.MultiheadAttention(32, 4, dropout=0.1, batch_first=True)

    def step_of(step: int) -> None:
        y, _ = cells(_data(step, 4, 10, 16))
        heads(y, y, y, need_weights=False)[0].square().mean().backward()

    return _loop([cells, heads], around, step_of)


def threads(around: Any) -> list[Any]:
    """Half of the layers run in threads, to which hooks on saved tensors do not reach."""
    net = _small(16, 32, 8)

    def step_of(step: int) -> None:
        found: list[Any] = [None, None]

        def half(number: int) -> None:
            found[number] = net(_data(2 * step + number, 8, 16)).square().mean()

        running = [threading.Thread(target=half, args=(number,)) for number in range(2)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        (found[0] + found[1] + net(_data(99, 8, 16)).square().mean()).backward()

    return _loop([net], around, step_of)


def failures(around: Any) -> list[Any]:
    """Each second step fails half-way through its forward pass, and is done again."""
    net = _small(16, 32, 8)

    def step_of(step: int) -> None:
        net(_data(step, 16, 16)).square().mean().backward()

    def fail() -> None:
        with around:
            net[0](_data(0, 16, 16))
            raise ZeroDivisionError

    found = []
    for _ in range(2):
        with suppress(ZeroDivisionError):
            fail()
        found += _loop([net], around, step_of)
    return found


WAYS = {
    way.__name__: way
    for way in (loss_scale, kept_graph, penalty, adversaries, own_hooks, outer_hooks, recurrent,
                threads, failures)
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_it_trains_as_without(name: str, tmp_path: Path) -> None:
    wanted = WAYS[name](nullcontext())
    with session(tmp_path) as offload:
        assert same(WAYS[name](offload), wanted)
    reports = [report for report in offload.reports if not report.measured]
    assert len(reports) >= STEPS - 1
    assert all(report.offloaded > 0 for report in reports)
    said = {remark for report in reports for remark in report.remarks}
    assert bool(said) == (name == "threads")
    assert all("other threads" in remark for remark in said)


def test_transforms_of_functions_are_refused_by_pytorch(tmp_path: Path) -> None:
    """They switch hooks off and say so; without saved tensors on the tape they would be wrong."""
    import torch

    with session(tmp_path) as offload, offload, pytest.raises(RuntimeError, match="support saved"):
        torch.func.grad(lambda w: (w @ w).sin().sum())(torch.ones(30, 30))


@pytest.mark.needs("g++")
@pytest.mark.filterwarnings("ignore:Using `torch.compile:UserWarning")
def test_compiled_to_machine_code_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code holds on for all steps of a session: its hooks are always the same."""
    import torch
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    compiled = []

    def compiling(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return compile_fx(graph, inputs)

    def way(around: Any) -> list[Any]:
        torch._dynamo.reset()
        compiled.clear()
        net = _small(16, 32)
        fast = torch.compile(net, backend=compiling)
        found = _loop(
            [net], around, lambda step: fast(_data(step, 16, 16)).square().mean().backward()
        )
        assert len(compiled) == 1
        return found

    monkeypatch.setattr(config, "compile_threads", 1)
    wanted = way(nullcontext())
    with session(tmp_path) as offload:
        assert same(way(offload), wanted)
    torch._dynamo.reset()
    assert all(report.offloaded > 0 for report in offload.reports)


PARTY = """
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as parties
from torch.nn.parallel import DistributedDataParallel

from tests.runtime.offload.test_exact import STEPS, _data, conv_bn, same, session

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
parties.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)


def trained(around):
    torch.manual_seed(0)
    net, loss = conv_bn()
    both = DistributedDataParallel(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    found = []
    for step in range(STEPS):
        optimiser.zero_grad()
        with around:
            with both.no_sync():
                loss(both, 4 * step + rank).backward()
            loss(both, 4 * step + 2 + rank).backward()
        found += [p.grad.clone() for p in net.parameters()]
        optimiser.step()
    return found


wanted = trained(nullcontext())
with session(folder) as offload:
    assert same(trained(offload), wanted), "other gradients"
assert all(report.offloaded for report in offload.reports)
assert not any(report.remarks for report in offload.reports)
assert len(offload.plans) == 2
parties.destroy_process_group()
"""


def test_two_processes_with_a_session_each(tmp_path: Path) -> None:
    """Gradients are averaged over processes during the second of two backward passes."""
    root = Path(__file__).parents[3]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PARTY, str(rank), str(tmp_path)], cwd=root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=600)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
