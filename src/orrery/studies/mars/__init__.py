"""Studied: five networks spread over eight FPGAs in sets, by genetic and exact search (MARS)."""

from ._study import mars_study

__all__ = ["mars_study"]
