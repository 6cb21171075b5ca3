"""What programs do behind autograd's back, and in places where nobody expects them."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from orrery.offload_plan import OffloadPlan, StepProfile
from orrery.runtime.moving import Transfers
from orrery.runtime.offload import OffloadError, OffloadSession, OffloadSettings

from ..moving.channels import Faults, engine
from .planners import by_rule, everything

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


def session(folder: Path, faults: Faults | None = None, **options: Any) -> OffloadSession:
    small = {"least_bytes": 64, "block_bytes": 4096, "threads": 2, "ahead_bytes": 1 << 20}
    settings = OffloadSettings(folders=(folder,), **{**small, **options})
    way = engine("threads", settings.threads, faults)
    if faults is not None:
        faults.slot_bytes = settings.block_bytes + 4096
    return OffloadSession(settings, everything(), engine=way)


def again(profile: StepProfile) -> OffloadPlan:
    """Plan to make again whatever can be."""
    from dataclasses import replace

    found = everything()(profile)
    assert isinstance(found, OffloadPlan)
    tensors = zip(found.tensors, profile.tensors, strict=True)
    new = tuple(p if t.recompute_s is None else replace(p, action="recompute", moved_bytes=0)
                for p, t in tensors)  # fmt: skip
    left = {t.name for t in new if t.action == "offload"}
    return replace(found, tensors=new, reads=tuple(
        replace(r, after=None) for r in found.reads if r.name in left))  # fmt: skip


def child(body: Any) -> int:
    """Return how a forked process ended that ran this: 0, 3 by an error of ours; -14 hung."""
    import signal

    process = os.fork()
    if not process:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            body()
        except OffloadError:
            os._exit(3)
        except BaseException:
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_sectors_of_equal_sums_that_changed_places_are_found(tmp_path: Path) -> None:
    import torch

    base = torch.randn(1024)
    t = torch.stack([base.roll(2 * k) for k in range(16)])  # each row a sector, all sums the same
    x = torch.ones(16, 1024, requires_grad=True)
    offload = session(tmp_path, block_bytes=1 << 16)
    try:
        with pytest.raises(OffloadError, match="altered data"), offload:
            loss = (x * t).sum().square()  # what no node made leaves with the next node
            offload._transfers.drain()
            file = os.open(f"/proc/self/fd/{offload._files[0].descriptor}", os.O_RDWR)
            raw = os.pread(file, 1 << 20, 0)
            at = raw.find(t[3].numpy().tobytes())
            assert at >= 0
            os.pwrite(file, raw[at + 4096 : at + 8192] + raw[at : at + 4096], at)
            os.fsync(file)
            os.close(file)
            loss.backward()
        assert x.grad is None
    finally:
        offload.close()


def test_rounded_bits_are_not_seen_as_another_type(tmp_path: Path) -> None:
    import torch

    seen: dict[str, Any] = {}

    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Any, floats: Any, bits: Any) -> Any:
            ctx.save_for_backward(floats, bits)
            return w * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen["floats"], seen["bits"] = (t.clone() for t in ctx.saved_tensors)
            return g, None, None

    x, w = torch.randn(64, 64), torch.randn(64, 64, requires_grad=True)
    offload = session(tmp_path, storage="fp16")
    try:
        for _ in range(2):
            with offload:
                Both.apply(w, x, x.view(torch.int32)).sum().backward()  # type: ignore[no-untyped-call]
            assert offload.reports[-1].halved
            assert torch.equal(seen["bits"], x.view(torch.int32))
            assert not torch.equal(seen["floats"], x)
    finally:
        offload.close()


@pytest.mark.parametrize("planner", [everything(), again, by_rule(lambda t: False)])
@pytest.mark.parametrize("way", ["data", "set", "unsafe view"])
def test_writes_that_nobody_counts_show_while_the_memory_is_held(
    planner: Any, way: str, tmp_path: Path
) -> None:
    import torch

    def alias(y: Any) -> Any:
        if way == "data":
            return y.data
        if way == "set":
            return torch.empty(0).set_(y.detach())
        return torch.ops.aten._unsafe_view(y.detach(), (4096,))

    def gradient(offload: Any, step: int) -> Any:
        draw = torch.Generator().manual_seed(step)
        x = torch.randn(64, 64, generator=draw, requires_grad=True)
        with offload:
            y = torch.relu(x * 2)
            loss = (y * y.detach()).sum() + (y * x).sum()
            if hasattr(offload, "_transfers"):
                offload._transfers.drain()
            with torch.no_grad():
                alias(y).mul_(1.5)
            loss.backward()
        return x.grad

    from contextlib import nullcontext

    offload = OffloadSession(
        OffloadSettings(folders=(tmp_path,), least_bytes=64, block_bytes=4096), planner
    )
    try:
        for step in range(3):
            wanted = gradient(nullcontext(), step)
            try:
                found = gradient(offload, step)
            except OffloadError:
                assert planner is again  # a checksum of what was saved: an error is allowed
                continue
            assert torch.equal(found, wanted), step
    finally:
        offload.close()


def test_part_of_an_odd_storage_is_seen_as_complex_before_it_left(tmp_path: Path) -> None:
    import torch

    def loss(y: Any) -> Any:
        z = y * 1.5
        pairs = torch.view_as_complex(z[:10000].view(-1, 2))
        return (z * z).sum() + (pairs * pairs.conj()).real.sum()

    y = torch.randn(10001, requires_grad=True)
    (wanted,) = torch.autograd.grad(loss(y), y)
    gate = threading.Event()
    faults = Faults()
    offload = session(tmp_path, faults)
    try:
        with offload:
            loss(y).backward()
        y.grad, faults.gate = None, gate  # from now on nothing is written before it is needed
        with offload:
            found = loss(y)
            found.backward()
        assert y.grad is not None and torch.equal(y.grad, wanted)
        assert offload.reports[-1].forwarded
    finally:
        gate.set()
        offload.close()


def test_layer_norm_with_another_epsilon_is_an_error_once(tmp_path: Path) -> None:
    import torch

    offload = OffloadSession(
        OffloadSettings(folders=(tmp_path,), least_bytes=64, block_bytes=4096), again
    )
    ended = []

    def loss(x: Any, epsilon: float) -> Any:
        y = torch.layer_norm(x * 2, (64,), eps=epsilon)
        return (y * y * x).sum()

    try:
        for step in range(6):
            x = torch.randn(64, 64, requires_grad=True)
            try:
                with offload:
                    loss(x, 1e-5 if step < 2 else 3e-4).backward()
                ended.append("fine")
            except OffloadError:
                ended.append("error")
    finally:
        offload.close()
    assert ended == ["fine", "fine", "error", "fine", "fine", "fine"]


def test_numbers_beside_compiled_code_do_not_stop_the_measured_step(tmp_path: Path) -> None:
    import torch

    torch._dynamo.reset()
    net = torch.compile(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()),
                        backend="aot_eager")  # fmt: skip
    x = torch.randn(200, 64, requires_grad=True)
    (wanted,) = torch.autograd.grad(net(x * 3 + 1).square().sum(), x)
    torch._dynamo.reset()
    offload = session(tmp_path)
    try:
        for _ in range(2):
            x.grad = None
            with offload:
                net(x * 3 + 1).square().sum().backward()
            assert x.grad is not None and torch.equal(x.grad, wanted)
    finally:
        offload.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_in_the_measured_step_is_refused_and_does_not_wait(tmp_path: Path) -> None:
    import torch

    gate = threading.Event()
    offload = session(tmp_path, Faults(gate=gate))
    try:
        x = torch.randn(256, 256, requires_grad=True)
        with offload:
            loss = x.exp().sin().sum()
            assert child(loss.backward) == 3
            gate.set()
            loss.backward()
        assert torch.equal(x.grad, torch.autograd.grad(x.exp().sin().sum(), x)[0])
    finally:
        gate.set()
        offload.close()


@pytest.mark.parametrize("thread", ["training", "moving"])
def test_a_session_that_is_collected_in_any_thread_ends(
    thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    import torch

    asked = threading.Event()
    name = "_push" if thread == "training" else "_end_block"
    inner = getattr(Transfers, name)

    def collecting(self: Any, *args: Any, **more: Any) -> Any:
        if asked.is_set():
            asked.clear()
            gc.collect()
        return inner(self, *args, **more)

    monkeypatch.setattr(Transfers, name, collecting)
    offload: Any = session(tmp_path)
    x = torch.randn(256, 256, requires_grad=True)
    with offload:
        loss = x.exp().sin().sum()
        offload._transfers.drain()
    threads, file = offload._transfers._threads, offload._files[0]

    class Owner:
        pass

    owner: Any = Owner()
    weakref.finalize(owner, offload.close)
    owner.itself = owner
    del owner
    asked.set()
    with pytest.raises(OffloadError, match="closed session"):
        loss.backward()
    for moving in threads:
        moving.join(10)
        assert not moving.is_alive()
    for other in threading.enumerate():
        if other.name == "offload-end":
            other.join(10)
    assert file.descriptor < 0


def test_layers_in_a_thread_with_a_session_of_its_own_are_not_said(tmp_path: Path) -> None:
    import torch

    sessions = [session(tmp_path) for _ in range(2)]
    nets = [torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(2)]
    both = threading.Barrier(2, timeout=20)

    def steps(place: int) -> None:
        for _ in range(2):
            with sessions[place]:
                both.wait()
                nets[place](torch.ones(4, 64)).sum().backward()
                both.wait()

    other = threading.Thread(target=steps, args=(1,))
    other.start()
    steps(0)
    other.join()
    said = [remark for found in sessions for report in found.reports for remark in report.remarks]
    for found in sessions:
        found.close()
    assert not [remark for remark in said if "other threads" in remark]


def test_ending_what_was_not_begun_is_refused(tmp_path: Path) -> None:
    offload = session(tmp_path)
    with pytest.raises(OffloadError, match="no step under way"):
        offload.__exit__(None, None, None)
    offload.close()


def test_a_batch_that_is_a_view_of_all_data_leaves_them_where_they_are(tmp_path: Path) -> None:
    import torch

    data, w = torch.randn(4096, 64), torch.randn(64, 64, requires_grad=True)
    offload = session(tmp_path)
    try:
        for step in range(3):
            rows = data[64 * step : 64 * step + 64]
            (wanted,) = torch.autograd.grad((rows @ w).exp().sum(), w)
            w.grad = None
            with offload:
                (rows @ w).exp().sum().backward()
            assert w.grad is not None and torch.equal(w.grad, wanted)
            report = offload.reports[-1]
            assert report.passed_over["in memory that holds much more"] == 1
            assert report.moved.written_bytes < data.nbytes
            assert not report.remarks
    finally:
        offload.close()


@pytest.mark.parametrize("planner", [everything(), again, by_rule(lambda t: False)])
@pytest.mark.parametrize("written", [True, False])
def test_a_backward_that_writes_to_what_the_program_holds_is_refused_the_next_time(
    planner: Any, written: bool, tmp_path: Path
) -> None:
    """As without a session: its second gradient would be of other numbers."""
    import torch

    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return y.mul_(g).clone()

    offload = OffloadSession(
        OffloadSettings(folders=(tmp_path,), least_bytes=64, block_bytes=4096), planner
    )
    try:
        for _ in range(2):
            x = torch.randn(64, 64, requires_grad=True)
            with offload:
                y = Greedy.apply(x)  # type: ignore[no-untyped-call]
                loss = (y * 2).sum()
                if written:
                    offload._transfers.drain()
                loss.backward(retain_graph=True)
                with pytest.raises((RuntimeError, OffloadError), match=r"in.?place"):
                    loss.backward()
            assert torch.equal(x.grad, 2 * x.detach().exp())
    finally:
        offload.close()


@pytest.mark.parametrize("storage", ["exact", "fp16"])
def test_what_an_operator_fills_after_it_saved_it_is_not_sent_before(
    storage: str, tmp_path: Path
) -> None:
    """`rrelu` saves its noise before it draws it, and PyTorch does not count that it writes."""
    import torch
    from torch.nn.functional import rrelu

    def gradient(around: Any, seed: int) -> Any:
        torch.manual_seed(seed)
        x = torch.randn(64, 64, requires_grad=True)
        with around:
            rrelu(x * 2, training=True).sum().backward()
        return x.grad

    from contextlib import nullcontext

    wanted = [gradient(nullcontext(), seed) for seed in range(3)]
    offload = session(tmp_path, storage=storage)
    inner = Transfers.write

    def at_once(self: Any, parcel: Any) -> None:
        inner(self, parcel)
        self.drain()

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transfers, "write", at_once)
            for seed in range(3):
                found, off = gradient(offload, seed), 0 if storage == "exact" else 2e-3
                torch.testing.assert_close(found, wanted[seed], rtol=0, atol=off)
        assert all(report.offloaded for report in offload.reports)
    finally:
        offload.close()
