"""What a binary tells of the network in it, before anybody reads its code."""

from ._find import HARDENING, KINDS, Leak, find_leaks
from ._weights import Floats, find_floats

__all__ = ["HARDENING", "KINDS", "Floats", "Leak", "find_floats", "find_leaks"]
