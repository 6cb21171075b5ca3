"""Derivatives of all operators that have one, attached when this package is imported."""

from .. import operators  # noqa: F401  # they must be registered first
from . import (
    _arithmetic,
    _attention,
    _conv,
    _elementwise,
    _image,
    _indexing,
    _matrix,
    _normalize,
    _recurrent,
    _reduce,
    _shape,
    _softmax,
)

__all__ = [
    "_arithmetic", "_attention", "_conv", "_elementwise", "_image", "_indexing", "_matrix",
    "_normalize", "_recurrent", "_reduce", "_shape", "_softmax",
]  # fmt: skip
