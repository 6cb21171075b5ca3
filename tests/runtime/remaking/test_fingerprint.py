"""The number of a storage depends on every bit of it, and on where it is."""

from __future__ import annotations

import pytest

from orrery.runtime.remaking import bytes_of, fingerprint

pytestmark = [pytest.mark.torch, pytest.mark.needs("torch")]

ROW = 4093 * 8


@pytest.mark.parametrize("size", [0, 1, 7, 8, ROW - 1, ROW, ROW + 1, 3 * ROW + 13])
def test_every_bit_counts(size: int) -> None:
    import torch

    torch.manual_seed(size)
    data = torch.randint(0, 256, (size,), dtype=torch.uint8)
    whole = fingerprint(data)
    assert fingerprint(data.clone()) == whole
    for at in {0, 1, size // 3, size // 2, size - 8, size - 1} & set(range(size)):
        for bit in (1, 128):
            data[at] ^= bit
            assert fingerprint(data) != whole
            data[at] ^= bit
    assert fingerprint(data) == whole
    assert size < 2 or fingerprint(data[: size - 1]) != whole


def test_the_order_counts() -> None:
    import torch

    torch.manual_seed(0)
    batch = torch.randn(64, 8, 16, 16)
    whole = fingerprint(bytes_of(batch))
    for other in (batch.flip(0), batch[torch.randperm(64)], batch.flip(3), batch.transpose(2, 3)):
        assert fingerprint(bytes_of(other.contiguous())) != whole
    assert fingerprint(bytes_of(-0.0 * batch)) != fingerprint(bytes_of(0.0 * batch))


def test_memory_that_is_not_aligned_has_a_number() -> None:
    import torch

    data = torch.randint(0, 256, (2 * ROW + 1,), dtype=torch.uint8)
    found = fingerprint(data[1:])
    data[ROW] ^= 1
    assert fingerprint(data[1:]) != found
