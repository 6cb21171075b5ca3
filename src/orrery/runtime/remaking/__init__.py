"""How can a saved tensor be made again from others, or from fewer bits, instead of being kept?"""

from ._halves import MOST_OFF, halved, widened
from ._recipes import Leaf, Recipe, UnmadeError, covers_storage, recipe_of
from ._remaker import Again, Remade, Remaker, Way, bytes_of

__all__ = [
    "MOST_OFF",
    "Again",
    "Leaf",
    "Recipe",
    "Remade",
    "Remaker",
    "UnmadeError",
    "Way",
    "bytes_of",
    "covers_storage",
    "halved",
    "recipe_of",
    "widened",
]
