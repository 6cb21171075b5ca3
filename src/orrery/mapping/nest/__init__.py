"""The best loop nest of a layer: tilings, orders and places on the array, searched completely."""

from ._dividing import dividing_nest
from ._find import OBJECTIVES, NestFound, best_nest
from ._network import nest_key, nest_network
from ._resident import PartNest, StagedNests, nest_stages

__all__ = [
    "OBJECTIVES",
    "NestFound",
    "PartNest",
    "StagedNests",
    "best_nest",
    "dividing_nest",
    "nest_key",
    "nest_network",
    "nest_stages",
]
