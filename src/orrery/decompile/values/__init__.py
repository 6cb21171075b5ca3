"""What instructions make of values: integers, bits, conditions, operators, flags."""

from ._build import Builder
from ._cells import Cells, Vector
from ._concrete import known_bits
from ._conditions import condition_call
from ._operators import UnknownOperatorError, as_value, as_vector, operate
from ._parts import contains, inner_of, is_named, signed, symbols_of, walk

__all__ = [
    "Builder",
    "Cells",
    "UnknownOperatorError",
    "Vector",
    "as_value",
    "as_vector",
    "condition_call",
    "contains",
    "inner_of",
    "is_named",
    "known_bits",
    "operate",
    "signed",
    "symbols_of",
    "walk",
]
