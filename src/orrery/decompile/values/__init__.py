"""What instructions make of values: integers, bits, conditions, operators, flags."""

from ._build import Builder
from ._canonical import Canonical, comparison_of, is_zero
from ._cells import Cells, Vector
from ._concrete import known_bits
from ._conditions import condition_call
from ._operators import UnknownOperatorError, as_value, as_vector, operate
from ._parts import (
    contains,
    has_numbers,
    inner_of,
    is_named,
    shape_apart,
    signed,
    symbols_of,
    walk,
    with_forms,
)

__all__ = [
    "Builder",
    "Canonical",
    "Cells",
    "UnknownOperatorError",
    "Vector",
    "as_value",
    "as_vector",
    "comparison_of",
    "condition_call",
    "contains",
    "has_numbers",
    "inner_of",
    "is_named",
    "is_zero",
    "known_bits",
    "operate",
    "shape_apart",
    "signed",
    "symbols_of",
    "walk",
    "with_forms",
]
