"""Studied: multi-modal networks on twelve accelerators with memories of their own (H2H)."""

from ._study import h2h_study

__all__ = ["h2h_study"]
