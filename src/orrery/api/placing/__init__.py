"""One network on several workers of this machine, and the page that says whether it pays."""

from ._choose import Choice
from ._here import is_kept, run_here
from ._place import PlacedModel, place

__all__ = ["Choice", "PlacedModel", "is_kept", "place", "run_here"]
