"""How every ATen operator that we can read is said in ONNX; PyTorch itself is not needed here."""

from . import (
    _activation,  # activations, softmax, dropout
    _convolve,  # convolution, pooling, interpolation, grids
    _elementwise,  # arithmetic, comparison, logic, rounding
    _generate,  # constants, ranges, identity
    _indexing,  # gather, scatter, embedding, index
    _matrix,  # products, attention
    _normalize,  # batch, layer, group, instance, RMS
    _recurrent,  # LSTM, GRU, RNN
    _reduce,  # sums, extremes, sorting, running sums
    _shape,  # views, joins, cuts, padding
    _sizes,  # arithmetic on sizes
)
from ._translation import TRANSLATORS, clean_name
from ._walker import Walker, element_type

__all__ = [
    "TRANSLATORS", "Walker", "_activation", "_convolve", "_elementwise", "_generate", "_indexing",
    "_matrix", "_normalize", "_recurrent", "_reduce", "_shape", "_sizes", "clean_name",
    "element_type",
]  # fmt: skip
