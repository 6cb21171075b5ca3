"""Made-up cases: every number is planted, so that what follows from it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orrery.runtime.together import Comparison
from orrery.studies.duet._case import PLACED, SERVED, Case, Operators, Point, Sweep

ROUNDS = 20


def block(**medians: float) -> Comparison:
    """Return rounds in which every way takes its seconds; placed 1, served 1.01 if not said."""
    usual = {"placed": 1.0, "served": 1.01}
    names = {"placed": PLACED, "served": SERVED, "ort": "cpu0-1 ort", "ov": "cpu0-1 ov",
             "half": "cpu0 ort"}  # fmt: skip
    return Comparison(times_s={
        names.get(name, name): (seconds,) * ROUNDS for name, seconds in (usual | medians).items()
    })  # fmt: skip


def sweep(**changes: Any) -> Sweep:
    points = (
        Point(what="ours", placement=(0, 1), predicted_s=0.98, measured_s=1.0, summed_s=1.3),
        Point(what="other", placement=(1, 0), predicted_s=1.1, measured_s=1.2, summed_s=1.5),
        Point(what="all", placement=(0, 0), predicted_s=1.5, measured_s=1.5, summed_s=2.1),
    )
    usual = Sweep(total=9, corrected_s=0.98, exact_s=0.97, rank=2, points=points, gap=-0.15,
                  interval=(-0.2, -0.1), least_s=None, pace=1.0)  # fmt: skip
    return replace(usual, **changes)


def case(**changes: Any) -> Case:
    """A network that gains 1.4 over cpu0-1 ort, 1.5 over cpu0-1 ov and 2 over half the cores."""
    usual = Case(
        name="made-up", single_path=False, steps=(("p0a", 3, "cpu0 ort"), ("p0b", 4, "cpu1 ort")),
        kinds={PLACED: "placed", SERVED: "served", "cpu0-1 ort": "cpu", "cpu0-1 ov": "cpu",
               "cpu0 ort": "part"},
        blocks=(block(ort=1.4, ov=1.5, half=2.0),),
        chosen=PLACED, predicted_s=0.98, bound_s=0.8, reason="all processors would be busy",
        cut_s=1.45, sweep=sweep(), operators=Operators(same=False, slower=1.2, interval=(1.1, 1.3)),
        errors={PLACED: 1e-6, "cpu0-1 ort": 2e-6}, tolerance=1e-4, tails=None, notes=(),
        seconds=3.0, date="", limit_s=None, pace=1.0, busy=None,
    )  # fmt: skip
    return replace(usual, **changes)
