"""Loop nests of a network's layers on one spatial accelerator: search, pages, catalogue."""

from ._catalogue import array_text, arrays
from ._models import nested, with_nests
from ._nest import nest

__all__ = ["array_text", "arrays", "nest", "nested", "with_nests"]
