"""What a planner may say to a step that was measured."""

from __future__ import annotations

from orrery.errors import OrreryError
from orrery.plan import Infeasible


class OffloadInfeasibleError(OrreryError):
    """No plan keeps the step within its limit; `infeasible` says what is short."""

    def __init__(self, infeasible: Infeasible) -> None:
        self.infeasible = infeasible
        super().__init__(str(infeasible))
