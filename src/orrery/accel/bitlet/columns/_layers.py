"""A layer's constant weights as columns: what lies off chip, and what each tile of it takes.

Models:  the weights as the engine holds them, fixed point on each filter's own grid. Four
         decoders (assumed) work on one tile side by side: its rows lie in four blocks.
Ignores: weights that several batches of a product share in part.
Judge:   decoded words against the engine's operands (tests/accel/bitlet/test_columns.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._products import Layer
from .._engine import Engine
from .._format import FixedFormat
from .._function import grid_step, on_grid
from ._file import Coded, encode, weight_words, word_columns

__all__ = ["DECODERS", "store_weights", "tile_bytes"]

Array = NDArray[Any]

#: Decoders of an array; with them coded weights of all formats come as fast as the published
#: channel of 12.8 bytes a cycle brings them.
DECODERS = 4


def store_weights(weights: Array, layer: Layer, engine: Engine, elements: int) -> Coded:
    """Return constant weights as columns.

    Parameters
    ----------
    weights : (batches, filters, terms), or all filters in a row
    elements : of the array; blocks of rows divide its tiles
    """
    own = max(1, layer.weight_elements // (layer.filters * layer.terms))  # others are copies
    rows = np.asarray(weights).reshape(-1, layer.terms)[: own * layer.filters]
    least = -(-min(len(rows), elements) // DECODERS)
    block = next(n for n in range(least, elements + 1) if elements % n == 0)
    form = engine.format
    if isinstance(form, FixedFormat):
        step = grid_step(rows, form, (1,), what="weights of a layer")
        words, exponent = weight_words(on_grid(rows, step, form), form), (0, 0)
    else:
        words, exponent = weight_words(rows, form), (form.fraction_bits, form.exponent_bits)
    return encode(words, word_columns(form), group=engine.group, block=block, exponent=exponent)


def tile_bytes(coded: Coded, rows: int, side: Array, elements: int) -> tuple[Array, Array]:
    """Return bytes of each tile's weights, and cycles of its slowest decoder.

    Parameters
    ----------
    rows : of all batches
    side : rows of each tile
    """
    if coded.rows != rows:  # several batches share them: each tile reads its part
        return coded.size_bytes * side / rows, np.full(len(side), coded.block_cycles.max())
    starts = np.arange(0, len(coded.block_bytes), elements // coded.block_rows)
    weights = np.add.reduceat(coded.block_bytes, starts).astype(np.float64)
    weights[0] += coded.header_bytes
    return weights, np.maximum.reduceat(coded.block_cycles, starts)
