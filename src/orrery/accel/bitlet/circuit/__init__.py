"""The processing element as a circuit; importing this package loads Amaranth."""

from ._element import ProcessingElement, circuit

__all__ = ["ProcessingElement", "circuit"]
