"""Loop nests in the files of other tools, and their results read back as second opinions."""

from ._export import Export, Nests, covers_exactly
from ._zigzag import export_zigzag

__all__ = ["Export", "Nests", "covers_exactly", "export_zigzag"]
