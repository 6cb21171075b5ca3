"""What would happen, event by event?"""

from ._kernel import Kernel, Server, to_ps
from ._links import Channels, fair_rates
from ._phases import fair_paces
from ._replay import Replayer, replay
from ._split import SplitReplay, replay_split
from ._witness import replay_certified

__all__ = [
    "Channels",
    "Kernel",
    "Replayer",
    "Server",
    "SplitReplay",
    "fair_paces",
    "fair_rates",
    "replay",
    "replay_certified",
    "replay_split",
    "to_ps",
]
