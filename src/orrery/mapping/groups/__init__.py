"""One choice per group, when a formula of products over the groups says what they are worth."""

from ._choices import ranked
from ._engine import engine
from ._tape import Row, Tape, Value

__all__ = ["Row", "Tape", "Value", "engine", "ranked"]
