"""Foreign code, confined: no network, no files, no other process, so much time and memory."""

from ._keeper import run_probe
from ._native import loadable, movable
from ._probe import (
    Answer,
    Block,
    Call,
    Emulated,
    Limits,
    Native,
    Piece,
    Pointer,
    Probe,
    VirtualMachine,
    Watched,
)

__all__ = [
    "Answer",
    "Block",
    "Call",
    "Emulated",
    "Limits",
    "Native",
    "Piece",
    "Pointer",
    "Probe",
    "VirtualMachine",
    "Watched",
    "loadable",
    "movable",
    "run_probe",
]
