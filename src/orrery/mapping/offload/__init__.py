"""Which saved tensors of a training step leave memory, and when they come back."""

from ._plan import plan_offload
from ._settings import OffloadSearch
from ._timing import write_delays

__all__ = ["OffloadSearch", "plan_offload", "write_delays"]
