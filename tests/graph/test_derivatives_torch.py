"""Every derivative against PyTorch's automatic one, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .derivative_cases import CASES
from .derivative_kit import Case, by_torch, gradients

pytestmark = pytest.mark.torch


def _compare(case: Case) -> None:
    values, seeds, ours = gradients(case, np.random.default_rng(7))
    theirs_values, theirs = by_torch(case, seeds)
    for found, want in zip(values, theirs_values, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)
    for found, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, want, rtol=case.tolerance, atol=case.tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_pytorch(case: Case) -> None:
    _compare(case)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_convolutions_and_pools(data: st.DataObject) -> None:
    """Any stride, dilation, padding and group count of one to three spatial axes."""
    import torch

    f = torch.nn.functional
    rank = data.draw(st.integers(1, 3), "rank")

    def numbers(low: int, high: int, label: str) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank), label)

    kernel, stride, dilation = numbers(1, 3, "kernel"), numbers(1, 3, "s"), numbers(1, 2, "d")
    pad = [data.draw(st.integers(0, k // 2)) for k in kernel]
    group = data.draw(st.integers(1, 2), "group")
    sizes = [d * (k - 1) + 1 + data.draw(st.integers(0, 4)) for k, d in zip(kernel, dilation)]
    op = data.draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool"]), "op")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    x = rng.standard_normal((2, 2 * group, *sizes))
    words = {"strides": tuple(stride), "pads": (*pad, *pad), "dilations": tuple(dilation)}
    if op == "Conv":
        arrays = (x, rng.standard_normal((3 * group, 2, *kernel)))
        words["group"] = group
        call = getattr(f, f"conv{rank}d")
        case = Case(op=op, arrays=arrays, attributes=words, torch=lambda x, w: call(
            x, w, None, stride, pad, dilation, group))  # fmt: skip
    elif op == "ConvTranspose":
        extra = [data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation)]
        words |= {"group": group, "output_padding": tuple(extra)}
        arrays = (x, rng.standard_normal((2 * group, 3, *kernel)))
        call = getattr(f, f"conv_transpose{rank}d")
        case = Case(op=op, arrays=arrays, attributes=words, torch=lambda x, w: call(
            x, w, None, stride, pad, extra, group, dilation))  # fmt: skip
    elif op == "MaxPool":
        call = getattr(f, f"max_pool{rank}d")
        case = Case(op=op, arrays=(x,), attributes={**words, "kernel_shape": tuple(kernel)},
                    torch=lambda x: call(x, kernel, stride, pad, dilation))  # fmt: skip
    else:
        counted = data.draw(st.booleans(), "count_include_pad")
        words = {"strides": tuple(stride), "pads": (*pad, *pad), "kernel_shape": tuple(kernel),
                 "count_include_pad": int(counted)}  # fmt: skip
        call = getattr(f, f"avg_pool{rank}d")
        case = Case(op=op, arrays=(x,), attributes=words, torch=lambda x: call(
            x, kernel, stride, pad, count_include_pad=counted))  # fmt: skip
    _compare(case)
