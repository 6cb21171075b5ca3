"""Which operators do these loops compute?"""

from ._matching import Matched, match
from ._statement import IMAGE, Unmatched

__all__ = ["IMAGE", "Matched", "Unmatched", "match"]
