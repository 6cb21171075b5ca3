"""Workers of this machine that are processes of their own and share tensors with whoever asks."""

from ._network import ProcessNetwork, placed_network, refuses_processes
from ._words import why_not

__all__ = ["ProcessNetwork", "placed_network", "refuses_processes", "why_not"]
