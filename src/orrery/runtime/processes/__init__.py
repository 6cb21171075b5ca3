"""Workers of this machine that are processes of their own and share tensors with whoever asks."""

from ._children import ended_process
from ._network import ProcessNetwork, placed_network, refuses_processes
from ._words import why_not

__all__ = ["ProcessNetwork", "ended_process", "placed_network", "refuses_processes", "why_not"]
