"""How do the operators hang together?"""

from ._assembly import AFTER, Assembled, assemble
from ._equality import differences
from ._program import PART_BYTES, program_of_calls, program_of_routines

__all__ = [
    "AFTER",
    "PART_BYTES",
    "Assembled",
    "assemble",
    "differences",
    "program_of_calls",
    "program_of_routines",
]
