"""Functions of a binary read as loops and stores."""

from ._lift import Lifting, lift
from ._source import ARCHITECTURES, Code

__all__ = ["ARCHITECTURES", "Code", "Lifting", "lift"]
