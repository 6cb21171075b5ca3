"""A layer's constant weights as columns: what lies off chip, and what each tile of it takes.

Models:  the weights as the engine holds them, fixed point on each filter's own grid. Four
         decoders (assumed) work on one tile side by side: its rows lie in four blocks.
         Weights that batches of a product share lie there once; each tile reads an even part.
Ignores: weights that an operator reads filled up or in part only, as the gradient of an image
         under a stride may: they lie plain.
Judge:   decoded words against the engine's operands (tests/accel/bitlet/test_columns.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Region

from ..._gradients import GRAD_INPUT, GRAD_WEIGHT
from ..._products import Layer, matrices
from .._engine import Engine
from .._format import FixedFormat
from .._function import grid_step, on_grid
from ._file import Coded, encode, weight_words, word_columns

Array = NDArray[Any]

#: Decoders of an array; with them coded weights of all formats come as fast as the published
#: channel of 12.8 bytes a cycle brings them.
DECODERS = 4


def constant_rows(region: Region, layer: Layer) -> Array | None:
    """Return a layer's constant weights as (filters of all batches, terms); None: they are none.

    What batches share is there once. Rows of a gradient with a stride may hold taps that are
    filled up, which the lanes see too.
    """
    node, constants = region.members[0], region.graph.constants
    name = node.inputs[layer.weights]
    if name not in constants:
        return None
    held = np.asarray(constants[name].array())
    if held.dtype.kind not in "iub":
        held = held.astype(np.float32, copy=False)
    if layer.operator == GRAD_INPUT or layer.exchanged:  # gathered
        types = region.graph.types
        given = {n: np.broadcast_to(np.float32(0), types[n].sizes) for n in node.inputs
                 if n and n not in constants}  # fmt: skip
        gathered = matrices(region, {**given, name: held}, layer).weights
        return gathered.reshape(-1, layer.terms)
    if layer.operator == "Gemm":
        return held if node.attributes.get("transB", 0) else held.T
    if layer.operator == "MatMul":
        if held.ndim == 1:
            return held.reshape(1, -1)
        return (held.swapaxes(-1, -2) if layer.weights else held).reshape(-1, layer.terms)
    if layer.operator == GRAD_WEIGHT:
        return held.swapaxes(0, 1).reshape(held.shape[1], -1)
    return held.reshape(-1, layer.terms)


def store_weights(rows: Array, layer: Layer, engine: Engine, elements: int) -> Coded | None:
    """Return constant weights as columns; None where rows do not hold each of them once.

    Parameters
    ----------
    rows : as `constant_rows` gives them
    elements : of the array; blocks of rows divide its tiles
    """
    if rows.size != layer.weight_elements:
        return None
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
