"""Does it hold? What a plan is said to do, judged from the definitions alone."""

from ._check import check_certificate
from ._report import KINDS, Proved, Report, Violation

__all__ = ["KINDS", "Proved", "Report", "Violation", "check_certificate"]
