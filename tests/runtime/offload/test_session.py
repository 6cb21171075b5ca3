"""What a session does with the unusual: graphs kept, derivatives twice, drift, in-place writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import PlanMismatchError
from orrery.offload_plan import OffloadPlan, StepProfile
from orrery.plan import Infeasible
from orrery.runtime.offload import OffloadError, OffloadInfeasibleError, OffloadSession

from .planners import by_rule, everything
from .test_exact import attention, conv_bn, same, session, trained

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


def _away(offload: OffloadSession) -> None:
    """Wait until everything has been written, so that it must be read."""
    offload._transfers.drain()


def test_a_graph_that_is_kept_is_read_again(tmp_path: Path) -> None:
    import torch

    x = torch.linspace(-1, 1, 900, requires_grad=True)
    (wanted,) = torch.autograd.grad((x * 3).sin().exp().sum(), x)
    with session(tmp_path) as offload, offload:
        loss = (x * 3).sin().exp().sum()
        _away(offload)
        for again in (True, True, False):
            (found,) = torch.autograd.grad(loss, x, retain_graph=again)
            assert same([found], [wanted])
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_what_was_read_does_not_pile_up_while_a_graph_is_kept(tmp_path: Path) -> None:
    import torch

    x = torch.linspace(-1, 1, 1 << 14, requires_grad=True)
    with session(tmp_path) as offload, offload:
        loss = (x * 3).sin().exp().tanh().sum()
        _away(offload)
        loss.backward(retain_graph=True)
        assert offload._arena.used_bytes == offload._transfers.staged_bytes
        loss.backward()


def test_second_derivatives(tmp_path: Path) -> None:
    import torch

    def both() -> list[Any]:
        x = torch.linspace(-1, 1, 900, requires_grad=True)
        (first,) = torch.autograd.grad((x * 3).sin().exp().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), x)
        return [first.detach(), second]

    wanted = both()
    with session(tmp_path) as offload:
        for _ in range(3):
            with offload:
                assert same(both(), wanted)
    assert offload.reports[-1].offloaded


@pytest.mark.parametrize("written", ["before it is away", "when it is away"])
@pytest.mark.parametrize("planner", [everything(), by_rule(lambda t: False)], ids=["gone", "kept"])
def test_a_saved_tensor_written_in_place_is_refused(
    planner: Any, written: str, tmp_path: Path
) -> None:
    """With hooks set, autograd does not look: whoever sets them must, as early or late as it is."""
    import torch

    def step(offload: OffloadSession, spoil: bool) -> None:
        with offload:
            x = torch.ones(900, requires_grad=True)
            z = (x * 2).exp()
            alias = z.view(30, 30)[3:]
            if written == "when it is away":
                _away(offload)
            if spoil:
                alias.add_(1)
            z.sum().backward()

    with session(tmp_path, planner) as offload:
        with pytest.raises(OffloadError, match="written to in place"):
            step(offload, True)
        step(offload, False)
        with pytest.raises(OffloadError, match="written to in place"):
            step(offload, True)


def test_what_stays_is_known_again_when_its_first_node_is_gone(tmp_path: Path) -> None:
    """It is one storage in every step, and one that nobody wants holds no memory."""
    import torch

    from orrery.runtime.offload._tensors import still_held, storage_key

    held = []
    with session(tmp_path, by_rule(lambda t: False)) as offload:
        for _ in range(4):
            x = torch.linspace(-1, 1, 900, requires_grad=True)
            with offload:
                y, unused = x * 3, x * 2
                y.sin()
                unused.sin()
                key = storage_key(unused.untyped_storage())
                del unused
                held.append(still_held(key, 3600) is not None)
                (y.cos().sum() + (x * 5).exp().sum()).backward()
            (wanted,) = torch.autograd.grad((x * 3).cos().sum() + (x * 5).exp().sum(), x)
            assert x.grad is not None
            assert same([x.grad], [wanted])
    assert [report.kept for report in offload.reports] == [0, 3, 3, 3]
    assert not any("drifted" in remark for r in offload.reports for remark in r.remarks)
    assert held[1:] == [False] * 3


def test_small_tensors_and_parameters_are_checked_too(tmp_path: Path) -> None:
    import torch

    with session(tmp_path) as offload:
        with pytest.raises(OffloadError, match="written to in place"), offload:
            x = torch.ones(3, requires_grad=True)
            y = (x * 2).exp()
            y.add_(1)
            y.sum().backward()
        net = torch.nn.Linear(30, 30)
        with pytest.raises(OffloadError, match="written to in place"), offload:
            loss = net(net(torch.ones(30, 30))).sum()
            with torch.no_grad():
                net.weight.mul_(2)
            loss.backward()


def test_a_backward_that_writes_to_what_it_was_given_spoils_nothing(tmp_path: Path) -> None:
    import torch

    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            context.save_for_backward(x)
            return x.sum()

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            (x,) = context.saved_tensors
            result = gradient * x.clone()
            with torch.no_grad():
                x.zero_()
            return result

    with session(tmp_path) as offload, offload:
        x = torch.ones(900, requires_grad=True)
        y = x * 2
        loss = Careless.apply(y) + Careless.apply(y)
        del y
        _away(offload)
        loss.backward()
    assert x.grad is not None and torch.equal(x.grad, torch.full((900,), 8.0))


def test_one_storage_is_written_once(tmp_path: Path) -> None:
    import torch

    def of(y: Any) -> Any:
        return (y * y.t()).sum() + y[3:40].exp().sum() + (y[:, ::2] ** 2).sum()

    with session(tmp_path) as offload, offload:
        loss = of(torch.ones(60, 60, requires_grad=True) + 1)
        _away(offload)
        written = offload.reports, offload._transfers.counts.written_bytes
        loss.backward()
    sizes = [tensor.size_bytes for tensor in offload.profiles[0].tensors]
    assert sizes == [60 * 60 * 4, 37 * 60 * 4]
    assert written[1] == sum(t.stored_bytes for t in offload.profiles[0].tensors)


def test_an_address_used_again_is_another_storage(tmp_path: Path) -> None:
    """Freed memory is given out again at once; the new tensor must not be taken for the old."""
    import torch

    def steps() -> list[Any]:
        x = torch.linspace(0.1, 1, 4096, requires_grad=True)
        total: Any = 0
        for number in range(12):
            total = total + (x * number).exp().sum()
        (found,) = torch.autograd.grad(total, x)
        return [found]

    wanted = steps()
    with session(tmp_path, queue_bytes=0) as offload, offload:
        assert same(steps(), wanted)


def test_parameters_and_buffers_stay(tmp_path: Path) -> None:
    with session(tmp_path, least_bytes=1) as offload:
        trained(attention, offload, steps=2)
        passed = offload.reports[-1].passed_over
    assert passed["a parameter"] >= 2 * 2 and "a buffer" not in passed
    # The mask is inverted before it is used: what is saved is not the buffer itself.
    import torch

    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.linspace(0, 1, 900))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    net = Masked()
    with session(tmp_path) as offload, offload:
        net(torch.ones(900, requires_grad=True)).sum().backward()
    assert offload.reports[-1].passed_over["a buffer"] == 1


def test_a_step_of_another_size_drifts_and_stays_exact(tmp_path: Path) -> None:
    import torch

    def gradients(offload: Any) -> list[Any]:
        torch.manual_seed(0)
        net, _ = attention()
        found = []
        for length in (12, 12, 7, 7, 12, 9):
            net.zero_grad()
            x = torch.randn(4, length, 32, generator=torch.Generator().manual_seed(length))
            for block in net:
                block.mask = torch.ones(length, length, dtype=torch.bool).tril()
            with offload:
                net(x).square().mean().backward()
            found += [p.grad.clone() for p in net.parameters()]
        return found

    from contextlib import nullcontext

    wanted = gradients(nullcontext())
    with session(tmp_path) as offload:
        assert same(gradients(offload), wanted)
    drifted = [any("drifted" in remark for remark in report.remarks) for report in offload.reports]
    assert drifted == [False, False, True, False, True, False]
    measured = [report.measured for report in offload.reports]
    assert measured == [True, False, False, True, False, True]


def test_steps_without_a_backward_pass(tmp_path: Path) -> None:
    import torch

    with session(tmp_path) as offload:
        net, loss = conv_bn()
        for _ in range(2):
            with offload:
                loss(net, 0)
        assert offload.plans == ()
        with offload, torch.no_grad():
            loss(net, 0)
        assert offload.reports[-1].offloaded == 0
        with offload:
            value = loss(net, 0)
        value.backward()  # after the step: the hooks stay with the graph


def test_an_error_in_a_step_leaves_the_session_usable(tmp_path: Path) -> None:
    with session(tmp_path) as offload:
        with pytest.raises(ZeroDivisionError), offload:
            net, loss = conv_bn()
            value = loss(net, 0)
            raise ZeroDivisionError
        del value
        wanted = trained(conv_bn, steps=3)
        assert same(trained(conv_bn, offload, steps=3), wanted)
        with offload, pytest.raises(OffloadError, match="a step under way"), offload:
            pass


def test_the_profile_says_what_the_step_saves(tmp_path: Path) -> None:
    import torch

    with session(tmp_path, block_bytes=1 << 14, trace=True) as offload, offload:
        x = torch.linspace(-1, 1, 1 << 14, requires_grad=True)
        y = (x * 2).relu()  # half of it zero
        (y.exp() + 1).log().sum().backward()
    (profile,) = offload.profiles
    relu, exp, add = profile.tensors
    assert [t.name for t in profile.tensors] == [
        "0 ReluBackward0 16384 float32", "1 ExpBackward0 16384 float32",
        "2 AddBackward0 16384 float32",
    ]  # fmt: skip
    assert relu.stored_bytes == (1 << 16) + 4 * 4096 == exp.stored_bytes
    assert exp.packed_bytes is None and relu.packed_bytes is not None
    # Two blocks of four are zero: a header and a sector of bits each. The others stay whole.
    assert relu.packed_bytes == 2 * (4096 + 4096) + 2 * (4096 + (1 << 14))
    assert add.needed_s <= exp.needed_s <= relu.needed_s <= profile.backward_s
    assert 0 <= relu.made_s <= exp.made_s <= add.made_s <= profile.forward_s
    assert profile.other_bytes > 0 and profile.limit_bytes > profile.other_bytes
    (trace,) = offload.traces()
    counts = offload._transfers.counts
    assert sum(r.size_bytes for r in trace.requests if r.write) == counts.written_bytes
    assert sum(r.size_bytes for r in trace.requests if not r.write) == counts.read_bytes
    assert offload.reports[0].summary.startswith("step 1: 3 tensors, ")
    assert offload.engine.startswith(("io_uring, 4 requests at once", "2 threads, pwritev"))


def test_what_the_planner_answers_is_checked(tmp_path: Path) -> None:
    short = Infeasible(what="the largest operator", need=2, have=1, unit="bytes", remedies=("",))
    with session(tmp_path, lambda profile: short) as offload:
        with pytest.raises(OffloadInfeasibleError, match="the largest operator") as caught:
            trained(conv_bn, offload, steps=1)
        assert caught.value.infeasible is short

    def other(profile: StepProfile) -> OffloadPlan:
        return replace(everything()(profile), step="0" * 64)  # type: ignore[arg-type, type-var]

    with session(tmp_path, other) as offload, pytest.raises(PlanMismatchError, match="step"):
        trained(conv_bn, offload, steps=1)


def test_the_forward_pass_waits_for_as_many_writes_as_the_plan_says(tmp_path: Path) -> None:
    import torch

    for most in (0, 1 << 12):
        with session(tmp_path, everything(waiting_bytes=most)) as offload:
            for step in range(3):
                with offload:
                    y = torch.ones(1024, requires_grad=True)
                    for _ in range(10):
                        y = y.sin()
                        assert step == 0 or offload._transfers.queued_bytes <= most
                    y.sum().backward()
            if not most:
                assert offload.reports[-1].forwarded == 0
            (profile,) = offload.profiles
            assert profile.queue_bytes == offload.settings.queue_bytes


def test_two_forward_passes_before_one_backward(tmp_path: Path) -> None:
    """Batch norm writes its running mean twice; autograd does not mind, and neither may we."""
    import torch

    def gradients(around: Any) -> list[Any]:
        torch.manual_seed(0)
        net, loss = conv_bn()
        for step in range(3):
            with around:
                (loss(net, step) + 2 * loss(net, step + 1)).backward()
        return [p.grad for p in net.parameters()]

    from contextlib import nullcontext

    wanted = gradients(nullcontext())
    with session(tmp_path) as offload:
        assert same(gradients(offload), wanted)


def test_the_real_planner_keeps_its_limit_and_the_gradients(tmp_path: Path) -> None:
    import torch

    from orrery.mapping.offload import plan_offload

    def gradients(around: Any) -> list[Any]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
                                    for _ in range(8)))  # fmt: skip
        found = []
        for _ in range(3):
            net.zero_grad()
            with around:
                net(torch.ones(1 << 13, 64)).square().mean().backward()
            found += [p.grad.clone() for p in net.parameters()]
        return found

    from contextlib import nullcontext

    wanted = gradients(nullcontext())
    limits = []

    def planner(profile: StepProfile) -> OffloadPlan | Infeasible:
        # Room for half of what is saved, whatever this process holds beside.
        limits.append(profile.other_bytes + profile.saved_bytes // 2)
        return plan_offload(replace(profile, limit_bytes=limits[-1]))

    with session(
        tmp_path, planner, least_bytes=1 << 20, block_bytes=1 << 18, recompute=False
    ) as offload:
        assert same(gradients(offload), wanted)
    (plan,) = offload.plans
    assert plan.named("offload") and plan.peak_bytes <= limits[-1]
    assert offload.reports[-1].offloaded == len(plan.named("offload"))


def test_what_the_program_holds_stays_and_counts_once(tmp_path: Path) -> None:
    """Writing it would free nothing, and its memory is among what is measured beside the rest."""
    import torch

    from orrery.mapping.offload import plan_offload

    def half(profile: StepProfile) -> OffloadPlan | Infeasible:
        room = profile.other_bytes + profile.saved_bytes // 2
        return plan_offload(replace(profile, limit_bytes=room))

    def train(holds: bool) -> tuple[list[Any], StepProfile, int]:
        found = []
        with session(tmp_path, half, least_bytes=1 << 20, block_bytes=1 << 18,
                     packing=False) as offload:  # fmt: skip
            for _ in range(2):
                x = torch.linspace(-1, 1, 1 << 20, requires_grad=True)
                held = []
                with offload:
                    y = torch.ones(())
                    for _ in range(6):
                        h = (x * y).exp()
                        y = y + (h * h.sin()).mean()
                        held += [h] if holds else []
                    del h
                    y.backward()
                found.append(x.grad)
            names = {t.name for t in offload.profiles[0].tensors if not t.movable}
            kept = {t.name for t in offload.plans[0].named("keep")}
            assert names <= kept
            return found, offload.profiles[0], len(names)

    free, without, few = train(False)
    found, profile, stuck = train(True)
    assert same(found, free)
    assert stuck == few + 6
    size = 6 * (4 << 20)
    assert profile.saved_bytes == without.saved_bytes - size
    # What is written between two looks may be counted as there at both.
    assert size - (4 << 20) < profile.other_bytes - without.other_bytes < 2 * size
