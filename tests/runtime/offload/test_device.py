"""Sessions for the tensors of a GPU: a made-up one that copies late, and a real one if there is.

What the made-up one computes is done at once, so that whatever is copied too late is used too
early. Its tensors are the host's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.runtime.devices import CudaDevice
from orrery.runtime.offload import OffloadSession, OffloadSettings

from ..devices.late import made_up
from .planners import by_rule, everything
from .test_exact import attention, conv_bn, same, trained

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


def opened(folder: Path, planner: Any = None, **options: Any) -> OffloadSession:
    small = {"least_bytes": 256, "block_bytes": 4096, "ahead_bytes": 1 << 20, "queue_bytes": 0}
    return OffloadSession(
        OffloadSettings(folders=(folder,), device="cuda", **{**small, **options}),
        planner or everything(),
    )


@pytest.mark.parametrize("make", [conv_bn, attention])
@pytest.mark.parametrize("queue_bytes", [0, 1 << 30], ids=["all away", "some never left"])
def test_gradients_are_those_without(
    make: Any, queue_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = trained(make)
    late = made_up(monkeypatch, prompt=True)
    offload = opened(tmp_path, queue_bytes=queue_bytes)
    try:
        assert same(trained(make, offload), wanted)
        assert all(report.offloaded for report in offload.reports)
        assert not any(report.remarks for report in offload.reports)
        assert {stream for _, stream in late.recorded} == {late.compute}
        assert offload.engine.endswith("from cuda:0")
        offload._device.land()  # type: ignore[union-attr]
        late.outward.synchronize()
        offload._device.land()  # type: ignore[union-attr]
        assert not offload._device._flying, "memory is held for no copy"  # type: ignore[union-attr]
    finally:
        offload.close()


@pytest.mark.parametrize(("who", "what"), [("outward", "synchronize"), ("compute", "wait_event")])
def test_each_wait_is_needed(
    who: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take one away, and gradients differ."""
    wanted = trained(attention, steps=2)
    late = made_up(monkeypatch, prompt=True)
    offload = opened(tmp_path)
    getattr(late, who).deaf.add(what)
    try:
        assert not same(trained(attention, offload, steps=2), wanted)
    finally:
        offload.close()


def test_memory_is_the_device_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch)
    offload = opened(tmp_path, by_rule(lambda t: t.size_bytes > 5000))
    try:
        trained(conv_bn, offload, steps=2)
        (profile,) = offload.profiles
        assert profile.limit_bytes == 100 + (1 << 20) + 200  # what is used and what is free
        assert profile.other_bytes <= 200 == offload.reports[0].peak_bytes
    finally:
        offload.close()


def test_what_a_device_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"storage.*fp16.*cuda"):
        OffloadSettings(folders=(tmp_path,), device="cuda", storage="fp16")
    with pytest.raises(SpecError, match=r"device: found 'tpu'.*cpu"):
        OffloadSession(OffloadSettings(folders=(tmp_path,), device="tpu"), everything())


@pytest.mark.gpu
@pytest.mark.parametrize("make", [conv_bn, attention])
def test_on_a_gpu(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")

    def on_gpu() -> Any:
        net, _ = make()
        loss = {conv_bn: (4, 3, 16, 16), attention: (4, 12, 32)}[make]

        def step_of(net: Any, step: int) -> Any:
            x = torch.randn(loss, generator=torch.Generator().manual_seed(step)).cuda()
            return net(x).square().mean()

        return net.cuda(), step_of

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        wanted = trained(on_gpu)
        offload = opened(tmp_path)
        try:
            assert isinstance(offload._device, CudaDevice)
            assert same(trained(on_gpu, offload), wanted)
            assert all(report.offloaded for report in offload.reports)
        finally:
            offload.close()
    finally:
        torch.use_deterministic_algorithms(False)
