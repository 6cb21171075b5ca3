"""How do the operators hang together?"""

from ._assembly import Assembled, assemble

__all__ = ["Assembled", "assemble"]
