"""What else could have been decided: other choices of a plan, and other plans."""

from ._ceilings import refuse_contradiction
from ._design_tables import EXPLAINED
from ._explained import explained, explained_text
from ._front import front_of
from ._front_page import FRONT, front_text, with_front
from ._under_load import INPUTS, under_load, under_load_text

__all__ = [
    "EXPLAINED",
    "FRONT",
    "INPUTS",
    "explained",
    "explained_text",
    "front_of",
    "front_text",
    "refuse_contradiction",
    "under_load",
    "under_load_text",
    "with_front",
]
