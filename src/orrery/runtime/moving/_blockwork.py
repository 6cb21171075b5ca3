"""What the processor does to a block before it is written and after it was read.

Models:  nothing; this does it. A block that is not packed is written from the tensor's own memory
         where the file takes that (its alignment), and from a copy otherwise; it is read to where
         it will be used. A packed one passes through a buffer both ways.
Judge:   tests/runtime/moving/test_transfers.py, tests/runtime/offload/test_faults.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..direct_io import Request
from ._blocks import (
    SECTOR_BYTES,
    BlockLabel,
    Bytes,
    checksum,
    label_problem,
    pack_block,
    padded,
    unpack_block,
    write_label,
)
from ._errors import DamagedDataError, OffloadError
from ._folders import Slot
from ._parcel import Parcel

__all__ = ["Errand", "begun_read", "begun_write", "read_problem"]


@dataclass(slots=True)
class Errand:
    """One block under way.

    Attributes
    ----------
    slot : the channel's buffer that it has for as long
    staged : whether `buffers` is one part of that buffer
    counts : what it adds to the counts of transfers
    """

    parcel: Parcel
    block: int
    label: BlockLabel
    place: Slot
    slot: int
    buffers: Sequence[Bytes]
    staged: bool
    size: int
    counts: dict[str, float] = field(default_factory=dict)
    begin_s: float = 0.0
    trip: object = None


def begun_write(
    parcel: Parcel, block: int, block_bytes: int, data: Bytes, place: Slot, slot: int,
    bounce: Bytes, identity: bytes,
) -> Errand:  # fmt: skip
    """Return a block of a tensor's `data`, ready to be written to `place`."""
    start = block * block_bytes
    raw = data[start : min(start + block_bytes, parcel.size_bytes)]
    payload = bounce[SECTOR_BYTES:]
    counts: dict[str, float] = {}
    stored, element_bytes = None, parcel.element_bytes
    if element_bytes:
        begin = time.perf_counter()
        stored = pack_block(raw, element_bytes, payload)
        counts = {"packed_bytes": raw.size, "pack_s": time.perf_counter() - begin}
    own = stored is None and place.file.takes(raw)
    if stored is None:
        stored, element_bytes = raw.size, 0
        if not own:
            np.copyto(payload[:stored], raw)
    whole = padded(stored)
    if own:
        body, counts["uncopied_bytes"] = raw, raw.size
    else:
        payload[stored:whole] = 0
        body = payload[:whole]
    label = BlockLabel(
        session=identity, tensor=parcel.number, block=block, element_bytes=element_bytes,
        raw_bytes=parcel.size_bytes, stored_bytes=stored, checksum=checksum(body),
    )  # fmt: skip
    write_label(bounce[:SECTOR_BYTES], label)
    size = SECTOR_BYTES + whole
    buffers = [bounce[:SECTOR_BYTES], body] if own else [bounce[:size]]
    return Errand(parcel, block, label, place, slot, buffers, not own, size, counts)


def begun_read(parcel: Parcel, block: int, block_bytes: int, slot: int, bounce: Bytes) -> Errand:
    """Return a block that is to be read to where it belongs, or to the buffer to be unpacked."""
    found = parcel.blocks[block]
    if found is None or parcel.target is None:
        raise OffloadError(f"saved tensor {parcel.name!r}, block {block}", found="no block",
                           wanted="the one written", fix="report this")  # fmt: skip
    place, label = found
    start, size = block * block_bytes, SECTOR_BYTES + padded(label.stored_bytes)
    packed = bool(label.element_bytes)
    buffers = [bounce[:size]]
    if not packed:
        target = parcel.target[start : start + size - SECTOR_BYTES]
        buffers = [bounce[:SECTOR_BYTES], target]
    return Errand(parcel, block, label, place, slot, buffers, packed, size)


def read_problem(
    errand: Errand, request: Request, bounce: Bytes, block_bytes: int
) -> BaseException | None:
    """Return what is wrong with a request that has ended; unpack what was read and is right."""
    place, label, parcel = errand.place, errand.label, errand.parcel
    error = request.error
    if request.write:
        return None if error is None else place.file.named(error)
    start = errand.block * block_bytes
    where = (
        f"saved tensor {parcel.name!r}, byte {start} of {parcel.size_bytes}, "
        f"offset {place.offset} in {place.file.folder}"
    )
    if error is not None:
        return OffloadError(
            where, found=f"a read error ({os.strerror(error.errno or 0)})", wanted="its bytes",
            fix="check the disk; nothing was computed from them",
        )  # fmt: skip
    target = parcel.target
    if target is None:
        return OffloadError(where, found="no memory for it", wanted="some", fix="report this")
    payload = errand.buffers[-1][SECTOR_BYTES if errand.staged else 0 :]
    problem = None
    if request.moved < errand.size:
        problem = f"truncated data ({request.moved} of {errand.size} bytes)"
    problem = problem or label_problem(bounce[:SECTOR_BYTES], payload, label)
    if problem is None and label.element_bytes:
        begin = time.perf_counter()
        raw = target[start : min(start + block_bytes, parcel.size_bytes)]
        problem = unpack_block(payload[: label.stored_bytes], label.element_bytes, raw)
        errand.counts = {"unpacked_bytes": raw.size, "unpack_s": time.perf_counter() - begin}
    if problem is None:
        return None
    return DamagedDataError(
        where, found=problem, wanted="the bytes that were written",
        fix="check the disk, and that nothing writes to saved tensors behind autograd's back "
        "(.data, NumPy); nothing was computed from them",
    )  # fmt: skip
