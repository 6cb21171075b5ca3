"""One block of a saved tensor as it lies in a file: a header, then its bytes, packed or not.

A header takes one sector and says whose block this is, how long it is and what its bytes add up
to. A reader knows all that already and compares: a block that was cut, altered, overwritten by a
later one or left by another run is never taken for the one that was asked for.

The checksum is a hash over sums of 64-bit words: of each sector, and of columns of words that are
512 apart, and 509, a prime, apart. A change within one sector, or of one column, changes it, and so
does any exchange of two words no more than 2 MiB apart, or of two pieces of 512 bytes, or of two
sectors but for those that differ in their first and last three words alone. Additions, while the
block is in the processor's cache, are all it costs. What it misses has to be made for it.

A block that is written from where it lies has edges: bytes before the first address, and after the
last, that a request may take. They lie in the header's sector, behind the header.

Packing keeps a bit per element that says whether any of its bits is set, and the elements that
have one. It goes by bits, so negative zero and the payload of a NaN come back as they were.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..direct_io import SECTOR_BYTES, Bytes

__all__ = [
    "EDGE_BYTES",
    "SECTOR_BYTES",
    "BlockLabel",
    "Bytes",
    "checksum",
    "edges_of",
    "label_problem",
    "pack_block",
    "padded",
    "unpack_block",
    "write_label",
]

#: A packed block must save this share, or it travels as it is.
_WORTH = 1 / 8
#: Elements looked at together: what that takes stays in the processor's cache, and is too small for
#: the C library to ask the system for it each time.
_PART = 1 << 16
#: Elements looked at before packing is tried, and by how much their share must be too large.
_SAMPLE, _MARGIN = 4096, 0.05
_MAGIC = b"ORRYBLK1"
_LAYOUT = struct.Struct("<8s16sQIIQQQq")
#: What addresses and sizes of requests are multiples of where edges are kept apart, and where those
#: before and after lie in the header's sector.
EDGE_BYTES = 512
_BEFORE, _AFTER = 2 * EDGE_BYTES, 4 * EDGE_BYTES
#: Words of a row whose columns are added up beside those of sectors: one sector's words lie three
#: columns from the next one's.
_ROW = 509
_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLabel:
    """What a block's header says.

    Attributes
    ----------
    session : 16 random bytes; blocks of another run never match
    tensor : the number of the saved tensor in its session, never used twice
    block : which block of it
    element_bytes : of a packed block's elements; 0 where the block is not packed
    raw_bytes : of the tensor
    stored_bytes : that follow the header, without padding
    checksum : of what follows the header, padding included, and of the edges
    before : bytes of the edge before what follows the header; -1: there are no edges
    """

    session: bytes
    tensor: int
    block: int
    element_bytes: int
    raw_bytes: int
    stored_bytes: int
    checksum: int
    before: int = -1

    @property
    def middle_bytes(self) -> int:
        """Bytes that follow the header, without padding and edges."""
        if self.before < 0:
            return self.stored_bytes
        return (self.stored_bytes - self.before) // EDGE_BYTES * EDGE_BYTES

    @property
    def file_bytes(self) -> int:
        """Bytes in the file, header and padding counted."""
        return SECTOR_BYTES + padded(self.middle_bytes)

    def encoded(self) -> bytes:
        """Return the header's bytes, with a checksum of their own."""
        head = _LAYOUT.pack(
            _MAGIC, self.session, self.tensor, self.block, self.element_bytes, self.raw_bytes,
            self.stored_bytes, self.checksum, self.before,
        )  # fmt: skip
        return head + struct.pack("<I", zlib.crc32(head))


def padded(size_bytes: int) -> int:
    """Round up to whole sectors."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def checksum(data: Bytes, *more: Bytes) -> int:
    """Return 64 bits that depend on every bit.

    Parameters
    ----------
    data : aligned; all but its whole sectors takes longer
    more : small pieces
    """
    whole = data.size // SECTOR_BYTES * SECTOR_BYTES
    flat = data[:whole].view(np.uint64)
    words, rest = flat.reshape(-1, SECTOR_BYTES // 8), flat.size % _ROW
    digest = hashlib.blake2b(words.sum(axis=0).tobytes(), digest_size=8)
    digest.update(words.sum(axis=1).tobytes())
    digest.update(flat[: flat.size - rest].reshape(-1, _ROW).sum(axis=0).tobytes())
    digest.update(flat[flat.size - rest :].data)
    for piece in (data[whole:], *more):
        digest.update(piece.data)
    return int.from_bytes(digest.digest(), "little")


def edges_of(sector: Bytes, label: BlockLabel) -> tuple[Bytes, Bytes]:
    """Return the places of the bytes before and after in the header's sector."""
    before = max(0, label.before)
    after = label.stored_bytes - before - label.middle_bytes
    return sector[_BEFORE : _BEFORE + before], sector[_AFTER : _AFTER + after]


def write_label(sector: Bytes, label: BlockLabel) -> None:
    """Fill one sector with a header."""
    head = label.encoded()
    sector[: len(head)] = np.frombuffer(head, np.uint8)
    sector[len(head) :] = 0


def label_problem(
    sector: Bytes, payload: Bytes, label: BlockLabel, *more: Bytes
) -> str | None:  # fmt: skip
    """Return what is wrong with a block that was read, or None when it is the one expected.

    Parameters
    ----------
    sector : the header as read
    payload, more : what followed it
    label : what was written
    """
    expected = label.encoded()
    found = sector[: len(expected)].tobytes()
    if found != expected:
        if not found.startswith(_MAGIC):
            return "no block header"
        if zlib.crc32(found[:-4]) != struct.unpack("<I", found[-4:])[0]:
            return "an altered block header"
        return "the header of another block"
    if (sum_found := checksum(payload, *more, *edges_of(sector, label))) != label.checksum:
        return f"altered data (checksum {sum_found:016x}, written {label.checksum:016x})"
    return None


def pack_block(raw: Bytes, element_bytes: int, into: Bytes) -> int | None:
    """Pack elements that are mostly zero without loss; return the packed size.

    Parameters
    ----------
    raw : whole elements
    element_bytes : 1, 2, 4 or 8
    into : at least as long as `raw`

    Returns
    -------
    None when packing saves too little; `into` then holds nothing of use.
    """
    words: np.ndarray[Any, np.dtype[Any]] = raw.view(_WORDS[element_bytes])
    # The bits are padded to eight bytes, so that the elements after them are aligned.
    bits_bytes = -(-words.size // 64) * 8
    room = int((1 - _WORTH) * raw.size) // SECTOR_BYTES * SECTOR_BYTES
    most = (min(room, into.size) - bits_bytes) // element_bytes
    if most < 0 or _surely_more(words, most):
        return None
    size = bits_bytes
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART]
        mask = part != 0
        # By places: three times as fast as by mask, here and on the way back.
        places = np.flatnonzero(mask)
        if places.size > most:
            return None
        most -= places.size
        bits = np.packbits(mask)
        into[start // 8 : start // 8 + bits.size] = bits
        stop = size + places.size * element_bytes
        np.take(part, places, out=into[size:stop].view(words.dtype), mode="clip")
        size = stop
    into[-(-words.size // 8) : bits_bytes] = 0
    return size


def _surely_more(words: np.ndarray[Any, np.dtype[Any]], most: int) -> bool:
    """Whether a sample says, by a wide margin, that more than so many words are not zero."""
    step = words.size // _SAMPLE | 1  # odd: a stride of two would see one of two columns
    if step < 8:
        return False
    seen = words[::step]
    return int(np.count_nonzero(seen)) / seen.size > most / words.size + _MARGIN


def unpack_block(stored: Bytes, element_bytes: int, into: Bytes) -> str | None:
    """Undo `pack_block`; return what is wrong with the packed bytes, or None.

    Parameters
    ----------
    stored : exactly the packed bytes
    into : exactly as long as the elements were
    """
    words = into.view(_WORDS[element_bytes])
    bits_bytes = -(-words.size // 64) * 8
    if stored.size < bits_bytes:
        return f"{stored.size} packed bytes, fewer than the bits take"
    values = stored[bits_bytes:].view(words.dtype)
    used = 0
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART]
        mask = np.unpackbits(stored[start // 8 : bits_bytes][: -(-part.size // 8)], count=part.size)
        places = np.flatnonzero(mask.view(np.bool_))
        part[:] = 0
        if used + places.size <= values.size:
            part[places] = values[used : used + places.size]
        used += places.size
    if used != values.size:
        return f"{values.size} packed elements and another number of bits"
    return None
