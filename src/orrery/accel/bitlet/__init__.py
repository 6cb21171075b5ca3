"""A bit-interleaving engine for any precision: only the ones of weights take a cycle."""

from ._cost import BitletCost, array_power
from ._cycles import (
    BitletArray,
    BitletSimulator,
    LayerCycles,
    count_layer,
    pipeline_cycles,
    stored_weights,
    weight_cycles,
)
from ._design import bitlet
from ._digits import DIGITS, floor_cycles
from ._engine import Engine, Partial
from ._format import FLOATS, FixedFormat, FloatFormat, number_format
from ._function import BitletFunction, bitlet_tolerance
from ._network import NetworkCycles, run_network
from ._statistics import (
    BitStatistics,
    bit_statistics,
    expected_aligned_cycles,
    expected_cycles,
    merge_statistics,
)
from .training import (
    BitletTrainer,
    PhaseCycles,
    ProductChoice,
    TrainingStep,
    draw_batches,
    trained_network,
)

__all__ = [
    "DIGITS",
    "FLOATS",
    "BitStatistics",
    "BitletArray",
    "BitletCost",
    "BitletFunction",
    "BitletSimulator",
    "BitletTrainer",
    "Engine",
    "FixedFormat",
    "FloatFormat",
    "LayerCycles",
    "NetworkCycles",
    "Partial",
    "PhaseCycles",
    "ProductChoice",
    "TrainingStep",
    "array_power",
    "bit_statistics",
    "bitlet",
    "bitlet_tolerance",
    "count_layer",
    "draw_batches",
    "expected_aligned_cycles",
    "expected_cycles",
    "floor_cycles",
    "merge_statistics",
    "number_format",
    "pipeline_cycles",
    "run_network",
    "stored_weights",
    "trained_network",
    "weight_cycles",
]
