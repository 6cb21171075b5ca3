"""What have we got? Devices, memories, links, flash, systems, and a catalogue of sourced numbers."""

from ._records import Compute, Device, Flash, Link, Memory, System

__all__ = ["Compute", "Device", "Flash", "Link", "Memory", "System"]
