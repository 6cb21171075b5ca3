"""Studied: 1567 mappings whose cycles were measured on Gemmini's RTL."""

from ._study import gemmini_study

__all__ = ["gemmini_study"]
