"""Whether what came out is right: outputs against the reference, designs by what they state."""

from ._designs import judge_designs
from ._outputs import Judgement, judge_outputs

__all__ = ["Judgement", "judge_designs", "judge_outputs"]
