"""One network on several workers of this machine, and the page that says whether it pays."""

from ._choose import Choice, choose, local_workers
from ._here import is_kept, run_here
from ._place import place
from ._placed_model import PlacedModel

__all__ = [
    "Choice",
    "PlacedModel",
    "choose",
    "is_kept",
    "local_workers",
    "place",
    "run_here",
]
