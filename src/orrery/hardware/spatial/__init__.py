"""Spatial accelerators: arrays of processing elements below a hierarchy of memories."""

from ._catalogue import architecture_names, architecture_text, load_architecture
from ._doubts import BANDS, doubts
from ._energy import EnergyRow, EnergyTable, energy_table, energy_tables
from ._measured import measured_text
from ._records import ROLES, Architecture, ArrayAxis, Level
from ._timeloop import Timeloop, read_timeloop
from ._timeloop_layer import TimeloopDirective, TimeloopProblem
from ._variants import FREEDOMS, array_without, narrowed_array, scaled_array, wired_array
from ._write import write_architecture
from ._yaml import architecture_of, read_architecture, read_architecture_text

__all__ = [
    "BANDS",
    "FREEDOMS",
    "ROLES",
    "Architecture",
    "ArrayAxis",
    "EnergyRow",
    "EnergyTable",
    "Level",
    "Timeloop",
    "TimeloopDirective",
    "TimeloopProblem",
    "architecture_names",
    "architecture_of",
    "architecture_text",
    "array_without",
    "doubts",
    "energy_table",
    "energy_tables",
    "load_architecture",
    "measured_text",
    "narrowed_array",
    "read_architecture",
    "read_architecture_text",
    "read_timeloop",
    "scaled_array",
    "wired_array",
    "write_architecture",
]
