"""Which subgraphs may run side by side, and on which devices they should."""

from ._partition import Partition, Phase, Subgraph, partition

__all__ = ["Partition", "Phase", "Subgraph", "partition"]
