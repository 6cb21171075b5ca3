"""Studied: how many cycles a product takes that just fills a systolic array."""

from ._study import systolic_study

__all__ = ["systolic_study"]
