"""Numbers wider than a machine word, as arrays of 64-bit words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError

_WORD = 64


def words_of(width: int) -> int:
    """Return how many 64-bit words hold `width` bits."""
    return -(-width // _WORD)


def pack_words(numbers: Iterable[int], width: int) -> NDArray[np.uint64]:
    """Return numbers as words, shape (n, words), the least significant word first.

    Parameters
    ----------
    numbers : negative ones are stored in two's complement of `width` bits
    width : bits of each

    Raises
    ------
    SpecError : a number that `width` bits do not hold, signed or unsigned
    """
    count, mask = words_of(width), (1 << width) - 1
    chunks = []
    for index, number in enumerate(numbers):
        value = int(number)
        if not -(1 << width) >> 1 <= value <= mask:
            raise SpecError(
                f"number {index}", found=value, wanted=f"what {width} bits hold",
                fix="widen the port or correct the number",
            )  # fmt: skip
        chunks.append((value & mask).to_bytes(count * 8, "little"))
    packed = np.frombuffer(b"".join(chunks), dtype="<u8").astype(np.uint64)
    return packed.reshape(len(chunks), count)


def unpack_words(words: NDArray[np.uint64], width: int, *, signed: bool = False) -> list[int]:
    """Return the Python integers that `pack_words` stored, or a simulation gave.

    Parameters
    ----------
    words : (n, words), the least significant word first; (n,) where one word is enough
    width : bits of each number
    signed : read the numbers in two's complement
    """
    table = np.ascontiguousarray(words).astype("<u8", copy=False)
    table = table.reshape(len(table), words_of(width))
    mask, sign = (1 << width) - 1, 1 << (width - 1)
    numbers = [int.from_bytes(row.tobytes(), "little") & mask for row in table]
    return [value - ((value & sign) << 1) for value in numbers] if signed else numbers
