"""How the way of running a network on the workers here is found, and why it is that one."""

from ._choice import PLACED, Choice, Found
from ._page import placing_sections
from ._search import Effort, explained, in_one_piece, problem_of, search
from ._standing import MeasuredStanding, measured_standing
from ._ways import PATIENCE_S, Ways
from ._work import node_work

__all__ = [
    "PATIENCE_S",
    "PLACED",
    "Choice",
    "Effort",
    "Found",
    "MeasuredStanding",
    "Ways",
    "explained",
    "in_one_piece",
    "measured_standing",
    "node_work",
    "placing_sections",
    "problem_of",
    "search",
]
