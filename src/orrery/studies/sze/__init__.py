"""Studied: the seven metrics of published accelerators on the same networks, with the waterfall."""

from ._study import sze_study

__all__ = ["sze_study"]
