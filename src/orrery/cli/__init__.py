"""How do I ask from a shell? This package parses and prints, and calls only `orrery.api`.

Exit codes: 0 done; 1 a need is not met; 2 bad input, or no plan exists; 3 a defect of orrery;
130 interrupted; 143 told to end (SIGTERM).
"""

from ._main import main

__all__ = ["main"]
