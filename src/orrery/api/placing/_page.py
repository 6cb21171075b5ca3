"""The page of a network on several workers."""

from ..choosing import placing_sections

__all__ = ["placing_sections"]
