"""Studied: Eyeriss, its energies of 2016 and its chip of 2017, and points of two other chips."""

from ._study import eyeriss_study

__all__ = ["eyeriss_study"]
