"""A bit-interleaving engine for any precision: only the ones of weights take a cycle."""

from ._engine import Engine, Partial
from ._format import FLOATS, FixedFormat, FloatFormat, number_format
from ._function import BitletFunction, bitlet_tolerance

__all__ = [
    "FLOATS",
    "BitletFunction",
    "Engine",
    "FixedFormat",
    "FloatFormat",
    "Partial",
    "bitlet_tolerance",
    "number_format",
]
