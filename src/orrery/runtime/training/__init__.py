"""What does training take within so much memory? Networks, ways to hold what they save, caps."""

from ._capped import Cap, CappedProcess, ChildFailedError, cap_here
from ._networks import DeepNetwork, TrainableNetwork
from ._trainer import WAYS, Trainer, WayOfHolding

__all__ = [
    "WAYS",
    "Cap",
    "CappedProcess",
    "ChildFailedError",
    "DeepNetwork",
    "TrainableNetwork",
    "Trainer",
    "WayOfHolding",
    "cap_here",
]
