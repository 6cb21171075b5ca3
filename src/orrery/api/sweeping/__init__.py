"""Many variants of a machine or a workload: a table that can be resumed, its front, its slopes."""

from ._result import SweepResult, read_sweep
from ._rows import Figure, Row
from ._sweep import sweep

__all__ = ["Figure", "Row", "SweepResult", "read_sweep", "sweep"]
