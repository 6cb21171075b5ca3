"""Loop nests of a network's layers on one spatial accelerator: search, pages, catalogue."""

from ._catalogue import array_text, arrays
from ._models import nested, with_nests
from ._nest import nest
from ._result import LayerNest, NestFile, NestResult, read_nests
from ._timeloop import timeloop

__all__ = [
    "LayerNest",
    "NestFile",
    "NestResult",
    "array_text",
    "arrays",
    "nest",
    "nested",
    "read_nests",
    "timeloop",
    "with_nests",
]
