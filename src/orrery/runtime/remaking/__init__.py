"""How can a saved tensor be made again from others, or from fewer bits, instead of being kept?"""

from ._fingerprint import bytes_of, fingerprint
from ._halves import MOST_OFF, halved, widened
from ._recipes import Leaf, Recipe, UnmadeError, covers_storage, recipe_of
from ._remaker import DEEPEST, Again, Remade, Remaker, Way

__all__ = [
    "DEEPEST",
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
    "fingerprint",
    "halved",
    "recipe_of",
    "widened",
]
