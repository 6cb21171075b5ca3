"""A network as it is, before anything is mapped."""

from ._show import show

__all__ = ["show"]
