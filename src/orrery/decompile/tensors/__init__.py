"""What do the loops compute, as tensors; and what are several operators together?"""

from ._activations import ACTIVATIONS, FOLDING
from ._digits import Digits, common, groups_of, refine
from ._functions import known_function
from ._normalising import NORMALISING, PLAIN
from ._rewriting import ancestors, noted, rewritten
from ._tensors import ELEMENTWISE, Tensor, Tensors

__all__ = [
    "ACTIVATIONS",
    "ELEMENTWISE",
    "FOLDING",
    "NORMALISING",
    "PLAIN",
    "Digits",
    "Tensor",
    "Tensors",
    "ancestors",
    "common",
    "groups_of",
    "known_function",
    "noted",
    "refine",
    "rewritten",
]
