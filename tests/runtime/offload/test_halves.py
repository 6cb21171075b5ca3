"""Single precision with half the bits: the bound at every element, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import SpecError
from orrery.runtime.offload import OffloadSettings
from orrery.runtime.remaking import MOST_OFF, halved, widened

from .planners import everything
from .test_exact import session

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32)))
def test_the_bound_holds_at_every_element_or_nothing_is_rounded(array: Any) -> None:
    import torch

    found = halved(torch.from_numpy(array.copy()))
    wide = array.astype(np.float64)
    with np.errstate(over="ignore"):
        short = array.astype(np.float16).astype(np.float64)
    most = np.abs(wide).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        off = np.abs(short - wide).max(initial=0.0)
    if found is None:
        assert not np.isfinite(off) or off > MOST_OFF * most
        return
    assert np.array_equal(widened(found[0]).numpy(), short.astype(np.float32))
    assert off <= MOST_OFF * most
    assert found[1] == pytest.approx(off / most if most else 0.0)


@pytest.mark.parametrize("value", [65536.0, float("inf"), float("nan"), 1e-9])
def test_what_half_precision_cannot_hold_is_refused(value: float) -> None:
    import torch

    assert halved(torch.full((70_000,), value)) is None
    ones = torch.ones(70_000)
    ones[-1] = value
    assert (halved(ones) is None) == (value != 1e-9)


def _trained(offload: Any, dtype: Any = None, scale: float = 1.0) -> tuple[Any, Any]:
    import torch

    x = torch.linspace(-1, 1, 5000, dtype=dtype or torch.float32, requires_grad=True)
    y = x * scale
    with offload:
        loss = (y * y).sum() + (y.exp() if scale == 1.0 else y).sum()
        offload._transfers.drain()
        loss.backward()
    return x.grad, y.detach()


def test_gradients_are_within_the_bound_and_it_is_said(tmp_path: Path) -> None:
    import torch

    with session(tmp_path) as plain:
        exact, _ = _trained(plain)
    with session(tmp_path, storage="fp16", block_bytes=1 << 16) as offload:
        for _ in range(3):
            found, y = _trained(offload)
        rounded = y.half().float()
        # Two tensors, 2 y and exp(y), each off by at most the bound times its largest element.
        assert not torch.equal(found, exact)
        wanted = 2 * rounded + y.exp().half().float()
        assert torch.equal(found, wanted)
        assert (found - exact).abs().max() <= MOST_OFF * (2 * 1 + np.e)
        last = offload.reports[-1]
        assert last.halved == last.offloaded == 2 and 0 < last.off <= MOST_OFF
        (profile,) = offload.profiles
        assert {t.size_bytes for t in profile.tensors} == {20_000}
        assert {t.stored_bytes for t in profile.tensors} == {4096 + 3 * 4096}
        assert all(t.recompute_s is None for t in profile.tensors)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_types_are_stored_exactly(dtype: str, tmp_path: Path) -> None:
    import torch

    with session(tmp_path) as plain:
        exact, _ = _trained(plain, getattr(torch, dtype))
    with session(tmp_path, storage="fp16") as offload:
        found, _ = _trained(offload, getattr(torch, dtype))
    assert torch.equal(found, exact) and offload.reports[-1].halved == 0


def test_too_large_elements_are_stored_exactly(tmp_path: Path) -> None:
    import torch

    with session(tmp_path) as plain:
        exact, _ = _trained(plain, scale=1e6)
    with session(tmp_path, storage="fp16") as offload:
        found, _ = _trained(offload, scale=1e6)
    assert torch.equal(found, exact) and offload.reports[-1].halved == 0


def test_what_has_not_left_yet_is_rounded_all_the_same(tmp_path: Path) -> None:
    """Gradients must not depend on whether the disk was quick."""
    import torch

    found = []
    for wait in (True, False):
        with session(tmp_path, everything(), storage="fp16") as offload:
            for _ in range(2):
                x = torch.linspace(-1, 1, 5000, requires_grad=True)
                with offload:
                    loss = (x * 3).sin().exp().tanh().sum()
                    if wait:
                        offload._transfers.drain()
                    loss.backward()
            found.append(x.grad)
    assert torch.equal(*found)


def test_bits_of_a_rounded_tensor_stay(tmp_path: Path) -> None:
    """Single precision that is saved as it is, then with its bits taken for another type."""
    import torch

    class Bits(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            context.save_for_backward(x.view(torch.float16))
            return x.sum()

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            seen.append(*context.saved_tensors)
            return gradient.expand(5000)

    seen: list[Any] = []
    with session(tmp_path, storage="fp16") as offload, offload:
        x = torch.linspace(-1, 1, 5000, requires_grad=True)
        y = (x * 2).exp()
        loss = Bits.apply(y)
        offload._transfers.drain()
        loss.backward()
    assert torch.equal(seen[0].view(torch.float32), y) and offload.reports[0].halved == 1


def test_other_storages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="storage"):
        OffloadSettings(folders=(tmp_path,), storage="fp8")  # type: ignore[arg-type]
