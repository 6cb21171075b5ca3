"""An output-stationary systolic array: pixels down the rows, filters across the columns."""

from ._design import systolic

__all__ = ["systolic"]
