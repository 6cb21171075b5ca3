"""DUET: one network on several devices of one machine, measured here beside what was published."""

from ._case import ALONE, IN_TURN, PLACED, SERVED, Case, Effort
from ._measure import measure_case
from ._pytorch import Elsewhere, pytorch_ways
from ._records import counted
from ._rounds import in_rounds, outside, percentiles, timed
from ._study import conduct_on, duet_study, result_of

__all__ = [
    "ALONE",
    "IN_TURN",
    "PLACED",
    "SERVED",
    "Case",
    "Effort",
    "Elsewhere",
    "conduct_on",
    "counted",
    "duet_study",
    "in_rounds",
    "measure_case",
    "outside",
    "percentiles",
    "pytorch_ways",
    "result_of",
    "timed",
]
