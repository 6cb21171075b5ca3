"""What would happen, event by event?"""

from ._kernel import Kernel, Server, to_ps
from ._links import Channels, fair_rates
from ._replay import Replayer, replay

__all__ = ["Channels", "Kernel", "Replayer", "Server", "fair_rates", "replay", "to_ps"]
