"""What else could have been decided: other choices of a plan, and other plans."""

from ._explained import explained, explained_text

__all__ = ["explained", "explained_text"]
