"""What have we got? Devices, memories, links, flash, systems; a catalogue of sourced numbers."""

from ._catalogue import THIS_MACHINE, CatalogueEntry, catalogue, load_system, system_names
from ._records import Calibration, Compute, Device, Flash, Link, Memory, System
from ._varied import Description, read_description
from ._write import write_system
from ._yaml import ELEMENT_TYPES, OPERATOR_CLASSES, read_system, read_system_text
from .spatial import (
    ROLES,
    Architecture,
    ArrayAxis,
    EnergyTable,
    Level,
    Timeloop,
    TimeloopDirective,
    TimeloopProblem,
    architecture_names,
    architecture_text,
    doubts,
    energy_table,
    energy_tables,
    load_architecture,
    measured_text,
    read_timeloop,
)

__all__ = [
    "ELEMENT_TYPES",
    "OPERATOR_CLASSES",
    "ROLES",
    "THIS_MACHINE",
    "Architecture",
    "ArrayAxis",
    "Calibration",
    "CatalogueEntry",
    "Compute",
    "Description",
    "Device",
    "EnergyTable",
    "Flash",
    "Level",
    "Link",
    "Memory",
    "System",
    "Timeloop",
    "TimeloopDirective",
    "TimeloopProblem",
    "architecture_names",
    "architecture_text",
    "catalogue",
    "doubts",
    "energy_table",
    "energy_tables",
    "load_architecture",
    "load_system",
    "measured_text",
    "read_description",
    "read_system",
    "read_system_text",
    "read_timeloop",
    "system_names",
    "write_system",
]
