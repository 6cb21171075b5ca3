"""Which operators do these loops compute?"""

from ._matching import Matched, arguments_used, match
from ._statement import IMAGE, Unmatched

__all__ = ["IMAGE", "Matched", "Unmatched", "arguments_used", "match"]
