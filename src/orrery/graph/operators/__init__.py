"""All operators, registered when this package is imported.

A folder holds at most fifteen files: a new operator joins the group it is nearest to.
"""

from . import (
    _activation,  # activations, Softmax, losses, *Normalization
    _attention,  # Attention, LinearAttention, FlexAttention, RotaryEmbedding
    _cast,  # Cast*, QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear
    _control,  # If, Loop, Scan
    _conv,  # Conv*, QLinearConv, Col2Im, convolution gradients
    _elementwise,  # arithmetic, trigonometry, comparison, logic, bits
    _generate,  # Constant*, Range, EyeLike, Random*, windows, DFT, STFT
    _image,  # Resize, GridSample, AffineGrid, DeformConv, CenterCropPad, Roi*
    _indexing,  # Gather*, Scatter*, OneHot, Compress, NonZero, NonMaxSuppression
    _matrix,  # MatMul*, Gemm, Einsum, Det
    _pool,  # *Pool, MaxUnpool, pooling gradients
    _recurrent,  # LSTM, GRU, RNN
    _reduce,  # Reduce*, Arg*, Cum*, TopK, Unique
    _shape,  # Reshape, Transpose, Concat, Slice, Pad, … : moving without computing
)

__all__ = [
    "_activation", "_attention", "_cast", "_control", "_conv", "_elementwise", "_generate",
    "_image", "_indexing", "_matrix", "_pool", "_recurrent", "_reduce", "_shape",
]  # fmt: skip
