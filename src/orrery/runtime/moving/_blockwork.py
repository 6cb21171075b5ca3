"""What the processor does to a block before it is written and after it was read.

Models:  nothing; this does it. A block that is not packed is written from the tensor's own memory
         where the file takes that, but for its edges, and from a copy otherwise; it is read to
         where it will be used. A packed one passes through a buffer both ways.
Judge:   tests/runtime/moving/test_transfers.py, tests/runtime/offload/test_faults.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..direct_io import Request, address_of
from ._blocks import (
    EDGE_BYTES,
    SECTOR_BYTES,
    BlockLabel,
    Bytes,
    checksum,
    edges_of,
    label_problem,
    pack_block,
    unpack_block,
    write_label,
)
from ._errors import DamagedDataError, OffloadError
from ._folders import Slot
from ._parcel import Parcel


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
    before = place.file.edge(raw) if stored is None else None
    if stored is None:
        stored, element_bytes = raw.size, 0
        if before is None:
            np.copyto(payload[:stored], raw)
    label = BlockLabel(
        session=identity, tensor=parcel.number, block=block, element_bytes=element_bytes,
        raw_bytes=parcel.size_bytes, stored_bytes=stored, checksum=0,
        before=-1 if before is None else before,
    )  # fmt: skip
    header, pieces = bounce[:SECTOR_BYTES], _pieces(raw, label, bounce)
    if before is None:
        payload[stored : pieces[0].size] = 0
        label = replace(label, checksum=checksum(*pieces))
        write_label(header, label)
        buffers = [bounce[: label.file_bytes]]
    else:
        for padding in pieces[1:]:
            padding[:] = 0
        edges = raw[:before], raw[before + label.middle_bytes :]
        label = replace(label, checksum=checksum(*pieces, *edges))
        write_label(header, label)
        for place_of, edge in zip(edges_of(header, label), edges, strict=True):
            place_of[:] = edge
        parcel.phase = address_of(raw) % EDGE_BYTES
        counts["uncopied_bytes"] = label.middle_bytes
        buffers = [header, *pieces]
    return Errand(
        parcel, block, label, place, slot, buffers, before is None, label.file_bytes, counts
    )


def _pieces(memory: Bytes, label: BlockLabel, bounce: Bytes) -> list[Bytes]:
    """Return what follows a header, in its order, for a block without or with edges."""
    size = label.file_bytes - SECTOR_BYTES
    if label.before < 0:
        return [bounce[SECTOR_BYTES : SECTOR_BYTES + size]]
    middle = memory[label.before : label.before + label.middle_bytes]
    padding = bounce[SECTOR_BYTES : SECTOR_BYTES + size - middle.size]
    return [middle, padding] if padding.size else [middle]


def begun_read(parcel: Parcel, block: int, block_bytes: int, slot: int, bounce: Bytes) -> Errand:
    """Return a block that is to be read to where it belongs, or to the buffer to be unpacked."""
    found = parcel.blocks[block]
    if found is None or parcel.target is None:
        raise OffloadError(f"saved tensor {parcel.name!r}, block {block}", found="no block",
                           wanted="the one written", fix="report this")  # fmt: skip
    place, label = found
    start, size = block * block_bytes, label.file_bytes
    if label.before >= 0:
        pieces = _pieces(parcel.target[start:], label, bounce)
        return Errand(parcel, block, label, place, slot, [bounce[:SECTOR_BYTES], *pieces], False,
                      size)  # fmt: skip
    # Memory for blocks with edges lies as their tensor's did, and takes no others.
    staged = bool(label.element_bytes or parcel.phase)
    buffers = [bounce[:size]]
    if not staged:
        buffers = [bounce[:SECTOR_BYTES], parcel.target[start : start + size - SECTOR_BYTES]]
    return Errand(parcel, block, label, place, slot, buffers, staged, size)


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
    pieces = [errand.buffers[0][SECTOR_BYTES:]] if errand.staged else errand.buffers[1:]
    payload, header = pieces[0], bounce[:SECTOR_BYTES]
    problem = None
    if request.moved < errand.size:
        problem = f"truncated data ({request.moved} of {errand.size} bytes)"
    problem = problem or label_problem(header, payload, label, *pieces[1:])
    raw = target[start : min(start + block_bytes, parcel.size_bytes)]
    if problem is None and label.before >= 0:
        before, after = edges_of(header, label)
        raw[: before.size], raw[raw.size - after.size :] = before, after
    elif problem is None and errand.staged and not label.element_bytes:
        np.copyto(raw, payload[: raw.size])
    elif problem is None and label.element_bytes:
        begin = time.perf_counter()
        problem = unpack_block(payload[: label.stored_bytes], label.element_bytes, raw)
        errand.counts = {"unpacked_bytes": raw.size, "unpack_s": time.perf_counter() - begin}
    if problem is None:
        return None
    return DamagedDataError(
        where, found=problem, wanted="the bytes that were written",
        fix="check the disk, and that nothing writes to saved tensors behind autograd's back "
        "(.data, NumPy); nothing was computed from them",
    )  # fmt: skip
