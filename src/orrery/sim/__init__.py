"""What would happen, event by event?"""

from ._chakra import chakra_traces
from ._chakra_play import play_chakra
from ._chakra_wire import (
    ChakraNode,
    ChakraTrace,
    decode_chakra,
    encode_chakra,
    read_chakra,
)
from ._kernel import Kernel, Server, to_ps
from ._links import Channels, fair_rates
from ._phases import fair_paces
from ._pipeline import Pipeline, least_period, replay_pipeline
from ._replay import Replayer, replay
from ._split import SplitReplay, replay_split
from ._witness import part_of, replay_certified

__all__ = [
    "ChakraNode",
    "ChakraTrace",
    "Channels",
    "Kernel",
    "Pipeline",
    "Replayer",
    "Server",
    "SplitReplay",
    "chakra_traces",
    "decode_chakra",
    "encode_chakra",
    "fair_paces",
    "fair_rates",
    "least_period",
    "part_of",
    "play_chakra",
    "read_chakra",
    "replay",
    "replay_certified",
    "replay_pipeline",
    "replay_split",
    "to_ps",
]
