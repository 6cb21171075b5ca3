"""Blocks come back bit for bit, packed or not, and no altered one is taken for whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.runtime.moving._arena import aligned_bytes
from orrery.runtime.moving._blocks import (
    SECTOR_BYTES,
    BlockLabel,
    checksum,
    label_problem,
    pack_block,
    padded,
    unpack_block,
    write_label,
)

LABEL = BlockLabel(
    session=bytes(range(16)), tensor=7, block=2, element_bytes=0, raw_bytes=9000,
    stored_bytes=5000, checksum=0,
)  # fmt: skip


@given(
    st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**32), st.integers(1, 3000),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
)  # fmt: skip
def test_packing_loses_no_bit(element: int, seed: int, count: int, density: float) -> None:
    draw = np.random.default_rng(seed)
    words = draw.integers(0, 256, (count, element), dtype=np.uint8)
    words[draw.random(count) >= density] = 0
    raw = words.reshape(-1)
    into = np.empty(padded(raw.size) + SECTOR_BYTES, np.uint8)
    size = pack_block(raw, element, into)
    if size is None:
        # Refused only where it would not have paid: all bits and the kept elements, in sectors.
        kept = int((words != 0).any(axis=1).sum())
        assert padded(-(-count // 64) * 8 + kept * element) > 7 / 8 * raw.size
        return
    assert padded(size) <= 7 / 8 * raw.size
    back = np.full(raw.size, 255, np.uint8)
    assert unpack_block(into[:size], element, back) is None
    assert back.tobytes() == raw.tobytes()


def test_negative_zero_and_payloads_of_nan_stay() -> None:
    words = np.zeros(8192, np.uint32)
    words[5], words[17], words[99] = 0x80000000, 0x7FC0BEEF, 0xFF800001
    raw, into = words.view(np.uint8), np.empty(40000, np.uint8)
    size = pack_block(raw, 4, into)
    assert size == 8192 // 8 + 3 * 4
    back = np.empty_like(raw)
    assert unpack_block(into[:size], 4, back) is None
    assert back.tobytes() == raw.tobytes()


def test_packed_bytes_that_contradict_themselves_are_refused() -> None:
    words = np.zeros(8192, np.uint32)
    words[:9] = 1
    raw, into = words.view(np.uint8), np.empty(40000, np.uint8)
    size = pack_block(raw, 4, into) or 0
    assert "another number of bits" in str(unpack_block(into[: size - 4], 4, np.empty_like(raw)))
    assert "fewer than the bits" in str(unpack_block(into[:100], 4, np.empty_like(raw)))


@given(st.integers(0, 2**32), st.data())
def test_every_changed_bit_changes_the_checksum(seed: int, data: st.DataObject) -> None:
    draw = np.random.default_rng(seed)
    block = aligned_bytes(3 * SECTOR_BYTES).copy()
    block[:] = draw.integers(0, 256, block.size, dtype=np.uint8)
    before = checksum(block)
    place = data.draw(st.integers(0, block.size - 1))
    block[place] ^= 1 << data.draw(st.integers(0, 7))
    assert checksum(block) != before


@pytest.mark.parametrize("other", [(0, 8), (0, SECTOR_BYTES), (8, SECTOR_BYTES + 16)])
def test_exchanged_words_and_sectors_change_the_checksum(other: tuple[int, int]) -> None:
    block = np.random.default_rng(0).integers(0, 256, 3 * SECTOR_BYTES, dtype=np.uint8)
    size = SECTOR_BYTES if other[1] % SECTOR_BYTES == 0 else 8
    before = checksum(block)
    first, second = (slice(start, start + size) for start in other)
    block[first], block[second] = block[second].copy(), block[first].copy()
    assert checksum(block) != before


def test_what_is_wrong_with_a_block_is_said() -> None:
    payload = np.random.default_rng(0).integers(0, 256, 8192, dtype=np.uint8)
    label = BlockLabel(
        session=LABEL.session, tensor=7, block=2, element_bytes=0, raw_bytes=9000,
        stored_bytes=5000, checksum=checksum(payload),
    )  # fmt: skip
    sector = np.empty(SECTOR_BYTES, np.uint8)
    write_label(sector, label)
    assert label_problem(sector, payload, label) is None
    altered = payload.copy()
    altered[8191] ^= 1  # in the padding: nobody would use it, and yet the file was altered
    assert "altered data" in str(label_problem(sector, altered, label))
    head = sector.copy()
    head[20] ^= 1
    assert label_problem(head, payload, label) == "an altered block header"
    other = sector.copy()
    write_label(other, LABEL)
    assert label_problem(other, payload, label) == "the header of another block"
    assert label_problem(np.zeros_like(sector), payload, label) == "no block header"
