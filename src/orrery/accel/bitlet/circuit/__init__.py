"""The processing element as a circuit; importing this package loads Amaranth."""

from ._element import circuit

__all__ = ["circuit"]
