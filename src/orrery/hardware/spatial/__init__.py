"""Spatial accelerators: arrays of processing elements below a hierarchy of memories."""

from ._records import ROLES, Architecture, ArrayAxis, Level

__all__ = ["ROLES", "Architecture", "ArrayAxis", "Level"]
