"""What goes in: a binary as it lies in memory, read without running it and without trusting it."""

from ._beside import with_arrays
from ._image import Architecture, Image, ImageError, Section, Segment, Symbol
from ._open import OBJECT_BASE, open_image

__all__ = [
    "OBJECT_BASE",
    "Architecture",
    "Image",
    "ImageError",
    "Section",
    "Segment",
    "Symbol",
    "open_image",
    "with_arrays",
]
