"""Loop nests of a network's layers on one spatial accelerator: search, pages, catalogue."""

from ._catalogue import array_text, arrays
from ._figures import nest_figures
from ._models import nested, with_nests
from ._nest import nest
from ._result import LayerNest, NestFile, NestResult, read_nests
from ._search import nest_problems
from ._timeloop import timeloop
from ._zeros import ZeroOptions

__all__ = [
    "LayerNest",
    "NestFile",
    "NestResult",
    "ZeroOptions",
    "array_text",
    "arrays",
    "nest",
    "nest_figures",
    "nest_problems",
    "nested",
    "read_nests",
    "timeloop",
    "with_nests",
]
