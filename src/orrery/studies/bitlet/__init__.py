"""Studied: what a bit-interleaving array takes on twelve networks, and what it is compared with."""

from ._study import bitlet_study

__all__ = ["bitlet_study"]
