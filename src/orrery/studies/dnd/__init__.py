"""DnD: networks back from binaries, judged beside what was published."""

from ._cases import Asked, chosen, matrix
from ._compare import Likeness, likeness, weights_found
from ._keep import recalled
from ._measure import Effort, Found, measure
from ._ordinary import Ordinary, commands, look_into, numeric_programs
from ._study import conduct_on, dnd_study

__all__ = [
    "Asked",
    "Effort",
    "Found",
    "Likeness",
    "Ordinary",
    "chosen",
    "commands",
    "conduct_on",
    "dnd_study",
    "likeness",
    "look_into",
    "matrix",
    "measure",
    "numeric_programs",
    "recalled",
    "weights_found",
]
