"""What a binary tells of the network in it, before anybody reads its code."""

from ._find import HARDENING, KINDS, ORDINARY, Leak, find_leaks
from ._weights import Floats, find_floats

__all__ = ["HARDENING", "KINDS", "ORDINARY", "Floats", "Leak", "find_floats", "find_leaks"]
