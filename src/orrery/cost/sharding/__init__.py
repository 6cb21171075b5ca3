"""How a layer is spread over several devices: strategies, shards, messages, layouts, prices."""

from ._box import Box, Span, cut
from ._layout import Layout, Message, Phase, Resharding, reshard
from ._nest import Axis, Loop, Nest, Operand
from ._operators import nest_of
from ._price import ShardedCost, phases_cost, resharding_seconds, sharded_cost
from ._sharding import Shard, Sharding, combining, shard, shard_region, transitions
from ._strategy import Shared, Strategy, strategies

__all__ = [
    "Axis",
    "Box",
    "Layout",
    "Loop",
    "Message",
    "Nest",
    "Operand",
    "Phase",
    "Resharding",
    "Shard",
    "ShardedCost",
    "Sharding",
    "Shared",
    "Span",
    "Strategy",
    "combining",
    "cut",
    "nest_of",
    "phases_cost",
    "reshard",
    "resharding_seconds",
    "shard",
    "shard_region",
    "sharded_cost",
    "strategies",
    "transitions",
]
