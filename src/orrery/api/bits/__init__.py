"""Zero bits of a network's weights, place by place, in the formats asked for."""

from ._bits import FORMATS, bit_sections

__all__ = ["FORMATS", "bit_sections"]
