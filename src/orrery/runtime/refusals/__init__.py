"""What a library is not given: operators it lacks or computes otherwise, numbers beyond its own."""

from ._openvino import refused_operators
from ._openvino_integers import SMALL, integer_limit

__all__ = ["SMALL", "integer_limit", "refused_operators"]
