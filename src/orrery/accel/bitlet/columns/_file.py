"""Weights stored as bit columns: what DRAM need not carry because few weights have a bit.

Models:  words of weights, rows (filters) of terms cut into groups; a group's bits of one place are
         a column. A column that is the same in all of a tensor is not stored; one that nothing
         saves is stored as it is in all groups, without a header; the others choose group by
         group, two bits each saying what follows:

             0 empty   no ones; nothing
             1 raw     a bit a weight
             2 ones    a Rice parameter of three bits, then the gap before each one, and after the
                       last the gap to the group's end, each in that code
             3 zeros   the same for the zeros

         A tensor's column whose ones are the majority is turned over first. Signs of zero weights
         are left out where all are plus. Exponents are counted from a base of the tensor's,
         modulo their range. Gaps are taken only where they save an eighth of a column, because
         two of them take the decoder a cycle, as 64 raw weights of a column do (assumed).
         Rows lie in blocks, each with its length and a checksum, so that decoders work on
         several of them side by side.
Ignores: what a decoder costs in area and power; alignment of blocks to bursts of the memory.
Judge:   round trips of any words, sizes by a second count in Python, every single altered bit of
         a file refused, the entropy of the words (tests/accel/bitlet/test_columns.py).
Source:  Rice, Some Practical Universal Noiseless Coding Techniques, JPL 79-22, 1979, for the code.
         Storing a bit-interleaving engine's weights so is an addition of ours, not published.

The size is never above rows · terms · columns that vary / 8 + `header_bytes` + 8 a block + 1 a
block: a column is coded only where that is shorter, headers of its groups included.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError

from .._format import FixedFormat, FloatFormat, NumberFormat, to_bits
from ._coder import MIXED, ONE, RAW, SIGNS, TURNED, ZERO, coder

Array = NDArray[Any]

#: ``plain``: every weight in its format's bits.
Storage = Literal["plain", "columns"]
STORAGES: tuple[Storage, ...] = ("plain", "columns")

#: Rows with one length and one checksum.
BLOCK_ROWS = 8
#: magic, columns, exponent's place and bits, base, block, group, rows, terms, bytes of all blocks
_HEAD = struct.Struct("<4sBBBBHHIIQ")
_MAGIC = b"BCL1"
_BLOCK = struct.Struct("<II")
_MOST_WORDS = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A tensor's weights as columns.

    Attributes
    ----------
    data : the file; empty where only its sizes were kept
    header_bytes : before the first block
    rows : of the tensor
    block_bytes : of each block of rows, its length and checksum included
    block_cycles : of a decoder that takes two gaps, or 64 raw bits, a cycle
    block_rows : rows of a block
    """

    data: bytes = field(repr=False)
    header_bytes: int
    rows: int
    block_bytes: Array = field(repr=False)
    block_cycles: Array = field(repr=False)
    block_rows: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.header_bytes + int(self.block_bytes.sum())


def header_bytes(columns: int) -> int:
    """Return the bytes of a file's header."""
    return _HEAD.size + columns + 4


def word_columns(form: NumberFormat) -> int:
    """Return the bits of a stored word: the format's own, or a sign and the magnitude."""
    return form.bits + 1 if isinstance(form, FixedFormat) else form.storage_bits


def weight_words(values: Any, form: NumberFormat) -> Array:
    """Return words of weights: the format's own, or the magnitude with its sign above.

    Parameters
    ----------
    values : (rows, terms), numbers; in fixed point integers
    """
    if isinstance(form, FloatFormat):
        return to_bits(values, form).astype(np.uint32)
    given = np.asarray(values, np.int64)
    words: Array = (np.abs(given) | (given < 0).astype(np.int64) << form.bits).astype(np.uint32)
    return words


def encode(
    words: Any, columns: int, *, group: int = 64, block: int = BLOCK_ROWS,
    exponent: tuple[int, int] = (0, 0),
) -> Coded:  # fmt: skip
    """Return words as columns.

    Parameters
    ----------
    words : (rows, terms) of `columns` bits, the sign the highest
    columns : 1 to 32
    group : terms whose bits of one place are a column, 1 to 4096
    block : rows of a block
    exponent : lowest place and bits of a field that counts from a base; no bits: there is none

    Raises
    ------
    SpecError : no words or too many, words of more bits, sizes out of range
    """
    held = np.ascontiguousarray(words)
    _check_sizes(held, columns, group, block, exponent)
    held = held.astype(np.uint32)
    base = _base(held, exponent)
    moved = _moved(held, exponent, -base)
    rows, terms = held.shape
    modes = np.full(columns, RAW, np.uint8)
    ones = np.array([np.count_nonzero(moved >> np.uint32(c) & 1) for c in range(columns)])
    modes[ones == 0], modes[ones == held.size] = ZERO, ONE
    top = columns - 1
    sign = np.uint32(1 << top)
    zero = held & ~sign == 0
    zero_word = int(_moved(np.zeros((1, 1), np.uint32), exponent, -base)[0, 0])
    if modes[top] == RAW and zero.any() and not (held[zero] & sign).any():
        modes[top] = SIGNS
    turned = ones > held.size // 2
    totals = np.zeros(columns, np.int64)
    coder("costs")(moved, columns, group, turned, totals)
    better = (modes == RAW) & (totals < held.size)
    modes[better] = np.where(turned[better], TURNED, MIXED)
    blocks = -(-rows // block)
    out = np.zeros(held.size * columns // 8 + (columns * 8 + 64) * rows + 64 * blocks, np.uint8)
    ends, cycles = np.zeros(blocks, np.int64), np.zeros(blocks, np.int64)
    coder("write")(moved, columns, group, block, modes, np.uint32(zero_word), out, ends, cycles)
    parts = []
    for begin, end in zip([0, *ends[:-1]], ends):
        body = out[begin:end].tobytes()
        parts.append(_BLOCK.pack(len(body), zlib.crc32(body)) + body)
    head = _HEAD.pack(_MAGIC, columns, *exponent, base, block, group, rows, terms,
                      sum(map(len, parts))) + modes.tobytes()  # fmt: skip
    head += struct.pack("<I", zlib.crc32(head))
    return Coded(
        data=head + b"".join(parts), header_bytes=len(head), rows=rows,
        block_bytes=np.array([len(p) for p in parts], np.int64), block_cycles=cycles,
        block_rows=block,
    )  # fmt: skip


def decode(data: bytes) -> Array:
    """Return the words, uint32 (rows, terms).

    Raises
    ------
    SpecError : a file that is cut short, altered or none; names the block's rows, the byte at
        which it begins and, where decoding stops, the group
    """
    columns, exponent, base, block, group, rows, terms, modes, at = _read_head(data)
    out = np.zeros((rows, terms), np.uint32)
    zero_word = int(_moved(np.zeros((1, 1), np.uint32), exponent, -base)[0, 0])
    for first in range(0, rows, block):
        last = min(first + block, rows)
        where = f"weight columns: rows {first} to {last - 1}, byte {at}"
        if at + _BLOCK.size > len(data):
            raise _broken(where, "the end of the file", "a block's length and checksum")
        size, checksum = _BLOCK.unpack_from(data, at)
        body = data[at + _BLOCK.size : at + _BLOCK.size + size]
        if len(body) < size:
            raise _broken(where, f"{len(body)} bytes", f"a block of {size}")
        place = np.full(3, -1, np.int64)
        bits = np.frombuffer(body + bytes(16), np.uint8)
        coder("read")(bits, size, columns, group, modes, np.uint32(zero_word), out[first:last],
                       place)  # fmt: skip
        if zlib.crc32(body) != checksum or place[0] >= 0:
            if place[0] >= 0:
                where += f", row {first + place[0]}, group {place[1]}, bit {place[2]} of the block"
            raise _broken(where, "altered bytes", "those that were written")
        at += _BLOCK.size + size
    if at != len(data):
        raise _broken(f"weight columns: byte {at}", f"{len(data) - at} bytes more", "the end")
    return _moved(out, exponent, base)


def entropy_bytes(words: Any, columns: int, *, exponent: tuple[int, int] = (0, 0)) -> float:
    """Return a bound on codes that take every weight for an independent draw, in bytes.

    The entropy of the upper bits together by their counts, sign with exponent or the nine highest,
    and of each column below by itself, since as many words as weights would have no entropy worth
    the name. Codes that look at neighbours, as counts by group do, may go below.
    """
    held = np.asarray(words).astype(np.uint32).reshape(-1)
    place = exponent[0] if exponent[1] else max(0, columns - 9)
    bound = _entropy(held >> np.uint32(place))
    for column in range(place):
        bound += _entropy(held >> np.uint32(column) & np.uint32(1))
    return bound * held.size / 8


def _entropy(values: Array) -> float:
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _check_sizes(
    held: Array, columns: int, group: int, block: int, exponent: tuple[int, int]
) -> None:
    if held.ndim != 2 or not 0 < held.size <= _MOST_WORDS or held.dtype.kind not in "iu":
        raise SpecError("weight columns: words", found=f"{held.dtype} {held.shape}",
                        wanted="whole numbers (rows, terms), one at least",
                        fix="give weights row by row")  # fmt: skip
    for name, value, most in (("columns", columns, 32), ("group", group, 4096),
                              ("block", block, 65535)):  # fmt: skip
        if not 1 <= value <= most:
            raise SpecError(f"weight columns: {name}", found=value, wanted=f"1 to {most}",
                            fix="correct the value")  # fmt: skip
    place, bits = exponent
    if place < 0 or bits < 0 or bits > 8 or (bits and place + bits >= columns):
        raise SpecError("weight columns: exponent", found=exponent,
                        wanted="up to 8 bits below the sign", fix="correct the place")  # fmt: skip
    if held.min() < 0 or int(held.max()) >> columns:
        raise SpecError("weight columns: words", found=f"{held.min()} to {held.max()}",
                        wanted=f"{columns} bits", fix="take more columns")  # fmt: skip


def _moved(words: Array, exponent: tuple[int, int], by: int) -> Array:
    """Add to the exponent, modulo its range."""
    place, bits = exponent
    if not bits:
        return words
    mask = ((1 << bits) - 1) << place
    field_ = (words.astype(np.int64) + (by << place)) & mask
    moved: Array = (words & np.uint32(~mask & 0xFFFFFFFF)) | field_.astype(np.uint32)
    return moved


def _base(words: Array, exponent: tuple[int, int]) -> int:
    """Return the base that leaves the exponent's columns the least entropy."""
    place, bits = exponent
    if not bits:
        return 0
    size = 1 << bits
    counts = np.bincount((words.reshape(-1) >> np.uint32(place)) & np.uint32(size - 1),
                         minlength=size)  # fmt: skip
    codes = np.arange(size)
    columns = (codes[:, None] >> np.arange(bits)) & 1
    turned = np.stack([np.roll(counts, -base) for base in range(size)])
    shares = np.clip(turned @ columns / words.size, 1e-12, 1 - 1e-12)
    entropy = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).sum(1)
    return int(np.argmin(np.round(entropy, 9)))


def _broken(where: str, found: str, wanted: str) -> SpecError:
    return SpecError(where, found=found, wanted=wanted,
                     fix="write the file anew from the weights")  # fmt: skip


def _read_head(data: bytes) -> Any:
    where = "weight columns: header, byte 0"
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        raise _broken(where, f"{len(data)} bytes that begin with {data[:4]!r}",
                      f"a header that begins with {_MAGIC!r}")  # fmt: skip
    _, columns, place, bits, base, block, group, rows, terms, size = _HEAD.unpack_from(data)
    at = header_bytes(columns)
    if len(data) < at or struct.unpack_from("<I", data, at - 4)[0] != zlib.crc32(data[: at - 4]):
        raise _broken(where, "altered or missing bytes", "those that were written")
    modes = np.frombuffer(data, np.uint8, columns, _HEAD.size).copy()
    sound = (
        1 <= columns <= 32 and 1 <= group <= 4096 and block >= 1
        and (bits == 0 or place + bits < columns) and bits <= 8
        and 0 < rows * terms <= _MOST_WORDS and (modes <= SIGNS).all()
        and not (modes[:-1] == SIGNS).any()
    )  # fmt: skip
    if not sound:
        raise _broken(where, "sizes that no writer gives", "a header of `encode`")
    if len(data) != at + size or size < _BLOCK.size * -(-rows // block):
        raise _broken(f"weight columns: byte {min(len(data), at + size)}", f"{len(data)} bytes",
                      f"{at + size} bytes as the header says")  # fmt: skip
    return columns, (place, bits), base, block, group, rows, terms, modes, at
