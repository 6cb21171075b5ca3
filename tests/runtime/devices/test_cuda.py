"""Bytes that leave a GPU and come back, on a made-up one that does everything late."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.runtime.devices import CudaDevice

from .late import Late, Stream, made_up

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

BYTES = np.arange(200, dtype=np.uint8)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    return made_up(monkeypatch)


def there_and_back(late: Late, device: CudaDevice) -> Any:
    """Make bytes on the GPU, take them to the host and back, and add 1 there."""
    import torch

    tensor = torch.full((BYTES.size,), 255, dtype=torch.uint8)
    late.compute.add(lambda: np.copyto(tensor.numpy(), BYTES))
    host = device.leave(tensor).data().copy()
    late.compute.add(lambda: tensor.fill_(255))  # freed, and used by something else
    back, there = device.arrive(host)
    host.fill(255)
    device.use(back, there)
    result = torch.zeros_like(back)
    late.compute.add(lambda: np.copyto(result.numpy(), back.numpy() + np.uint8(1)))
    device.settle()
    return result.numpy()


def test_there_and_back(late: Late) -> None:
    np.testing.assert_array_equal(there_and_back(late, CudaDevice()), BYTES + np.uint8(1))
    ((tensor, stream),) = late.recorded
    assert tensor.numel() == BYTES.size and stream is late.compute


@pytest.mark.parametrize(
    ("who", "what"),
    [("outward", "wait_event"), ("outward", "synchronize"), ("compute", "wait_event")],
)
def test_each_wait_is_needed(late: Late, who: str, what: str) -> None:
    """Take one away, and what comes back is wrong."""
    device = CudaDevice()
    stream: Stream = getattr(late, who)
    stream.deaf.add(what)
    assert not np.array_equal(there_and_back(late, device), BYTES + np.uint8(1))


def test_memory_is_held_for_as_long_as_a_copy_uses_it(late: Late) -> None:
    import torch

    device = CudaDevice()
    tensor = torch.zeros(9, dtype=torch.uint8)
    kept = [weakref.ref(tensor)]
    leaving = device.leave(tensor)
    kept.append(weakref.ref(leaving._pinned))
    del tensor, leaving
    back, _ = device.arrive(BYTES)
    kept.append(weakref.ref(back))
    del back
    gc.collect()
    assert all(reference() is not None for reference in kept)
    late.outward.synchronize()
    late.inward.synchronize()
    device.land()
    gc.collect()
    assert not any(reference() is not None for reference in kept)


def test_what_comes_back_waits_for_what_uses_it(late: Late) -> None:
    """A program that queues faster than the GPU computes does not have everything there at once."""
    device, used = CudaDevice(), []
    for number in range(8):
        back, there = device.arrive(BYTES)
        assert len(used) >= number - 2
        device.use(back, there)
        late.compute.add(lambda number=number: used.append(number))
    assert len(used) < 8, "and it need not wait for all"


def test_whoever_uses_it_waits_for_it(late: Late) -> None:
    """A tensor that came back for one stream is used by another one, too."""
    device, other = CudaDevice(), Stream()
    back, there = device.arrive(BYTES)
    device.use(back, there)
    with late.stream(other):
        device.use(back, there)
    found = []
    other.add(lambda: found.append(back.numpy().copy()))
    other.synchronize()
    np.testing.assert_array_equal(found[0], BYTES)
    assert [stream for _, stream in late.recorded] == [late.compute, other]


def test_its_memory_is_read(late: Late) -> None:
    meter = CudaDevice("cuda:0").meter()
    assert (meter.read(), meter.most(), meter.free()) == (100, 200, (1 << 20) + 200)
    with pytest.raises(SpecError, match=r"cuda:7.*cpu, cuda:0"):
        CudaDevice("cuda:7")
