"""What becomes of a plan, whoever made it: priced, replayed, checked, shown."""

from ._accuracy import LabelledTask, labelled_task
from ._certify import Certified, certify, describe
from ._judge import ceilings_of, judge_plan, plan_seconds

__all__ = [
    "Certified",
    "LabelledTask",
    "ceilings_of",
    "certify",
    "describe",
    "judge_plan",
    "labelled_task",
    "plan_seconds",
]
