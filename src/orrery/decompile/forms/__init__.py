"""The one form in which every binary is written down before anything is matched."""

from ._evaluate import Memory, evaluate
from ._expressions import (
    ZERO,
    Constant,
    Index,
    Linear,
    Load,
    Operation,
    Reduction,
    Symbol,
    Value,
    linear,
)
from ._routine import (
    Buffer,
    Call,
    Invocation,
    Loop,
    Program,
    Routine,
    Store,
    Unread,
    View,
)

__all__ = [
    "ZERO",
    "Buffer",
    "Call",
    "Constant",
    "Index",
    "Invocation",
    "Linear",
    "Load",
    "Loop",
    "Memory",
    "Operation",
    "Program",
    "Reduction",
    "Routine",
    "Store",
    "Symbol",
    "Unread",
    "Value",
    "View",
    "evaluate",
    "linear",
]
