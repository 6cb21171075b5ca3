"""How the way of running a network on the workers here is found, and why it is that one."""

from ._agree import deviating
from ._choice import PLACED, Choice, Effort, Found
from ._explained import explained
from ._out import Out
from ._page import placing_sections
from ._requests import answered, patience_s, typical_request
from ._search import in_one_piece, problem_of, search
from ._ways import Ways
from ._work import load_note, node_work

__all__ = [
    "PLACED",
    "Choice",
    "Effort",
    "Found",
    "Out",
    "Ways",
    "answered",
    "deviating",
    "explained",
    "in_one_piece",
    "load_note",
    "node_work",
    "patience_s",
    "placing_sections",
    "problem_of",
    "search",
    "typical_request",
]
