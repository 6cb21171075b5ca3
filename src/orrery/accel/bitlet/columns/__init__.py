"""Weights stored as bit columns, so that fewer bytes come from DRAM."""

from ._file import (
    STORAGES,
    Coded,
    Storage,
    decode,
    encode,
    entropy_bytes,
    header_bytes,
    weight_words,
    word_columns,
)
from ._layers import constant_rows, store_weights, tile_bytes

__all__ = [
    "STORAGES",
    "Coded",
    "Storage",
    "constant_rows",
    "decode",
    "encode",
    "entropy_bytes",
    "header_bytes",
    "store_weights",
    "tile_bytes",
    "weight_words",
    "word_columns",
]
