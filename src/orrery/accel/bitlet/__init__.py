"""A bit-interleaving engine for any precision: only the ones of weights take a cycle."""

from ._engine import Engine, Partial
from ._format import FLOATS, FixedFormat, FloatFormat, number_format

__all__ = ["FLOATS", "Engine", "FixedFormat", "FloatFormat", "Partial", "number_format"]
