"""A number that depends on every bit of a storage, found as quickly as memory is read.

Models:  64-bit words in rows; sums of columns modulo 2^64, by all threads of PyTorch; CRC-32 of
         the sums and of what is left over. Any change of one word changes it, save one chance in
         2^32; so does an exchange of words, but for those a whole number of rows apart, of which
         the length is prime: no tensor has such rows.
Ignores: whoever wants two storages to have the same number can have that.
Judge:   single bits, exchanged words and lengths (tests/runtime/remaking).
"""

from __future__ import annotations

import zlib
from typing import Any, Final

_COLUMNS: Final = 4093
_WORD: Final = 8


def bytes_of(tensor: Any) -> Any:
    """Return all bytes of a tensor's storage as a flat tensor, not a copy.

    It counts writes in place by itself, from 0.
    """
    import torch

    found = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return found.set_(tensor.untyped_storage()).data  # `set_` counts as a write


def fingerprint(data: Any) -> int:
    """Return 32 bits of a flat tensor of bytes on the host."""
    import torch

    row = _COLUMNS * _WORD
    whole = data.numel() - data.numel() % row
    if not whole or data.data_ptr() % _WORD:
        return zlib.crc32(data.numpy())
    words = data[:whole].view(torch.int64).view(-1, _COLUMNS)
    sums = words.sum(0)
    return zlib.crc32(data[whole:].numpy(), zlib.crc32(sums.numpy()))
