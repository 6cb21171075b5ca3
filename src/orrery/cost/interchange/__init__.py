"""Loop nests in the files of other tools, and their results read back as second opinions."""

from ._accelforge import export_accelforge
from ._compare import differences, port_cycles
from ._export import Export, Nests, covers_exactly
from ._opinion import LayerOpinion, Part, read_opinion
from ._prints import PRINTS, LayerPrint, Prints, prints_of, read_prints
from ._zigzag import export_zigzag

__all__ = [
    "PRINTS",
    "Export",
    "LayerOpinion",
    "LayerPrint",
    "Nests",
    "Part",
    "Prints",
    "covers_exactly",
    "differences",
    "export_accelforge",
    "export_zigzag",
    "port_cycles",
    "prints_of",
    "read_opinion",
    "read_prints",
]
