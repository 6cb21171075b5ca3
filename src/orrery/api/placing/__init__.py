"""One network on several workers of this machine, and the page that says whether it pays."""

from ._here import run_here

__all__ = ["run_here"]
