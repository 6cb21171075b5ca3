"""What a mapping gives back, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.plan import Infeasible, Plan, write_plan
from orrery.report import Page, Scorecard, Verdict
from orrery.store import write_record
from orrery.timeline import Timeline, write_timeline

if TYPE_CHECKING:
    from orrery.cost import PlanCost

__all__ = ["InfeasibleError", "MapResult"]


class InfeasibleError(SpecError):
    """No plan exists; `infeasible` says what is short, by how much, and what would help."""

    def __init__(self, where: str, infeasible: Infeasible) -> None:
        self.infeasible = infeasible
        super().__init__(
            where,
            found=f"no plan: {infeasible.what}",
            fix="; ".join(infeasible.remedies),
            wanted=str(infeasible).partition("; remedies")[0].rpartition(": ")[2],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapResult:
    """A plan and everything that is known about it.

    Attributes
    ----------
    plan, price, timeline : what was decided, what it takes, what happens when it is replayed
    evidence, scorecard, verdicts : every figure, the seven metrics, the answers to needs
    page : the report, for `orrery.report`'s writers
    """

    plan: Plan
    price: PlanCost
    timeline: Timeline
    evidence: tuple[Evidence, ...]
    scorecard: Scorecard
    verdicts: tuple[Verdict, ...]
    page: Page

    @property
    def text(self) -> str:
        """The scorecard and what it covers, as text."""
        from orrery.report import render_card

        card = render_card(self.scorecard, self.verdicts)
        return f"{card.rstrip()}\n\nCoverage: {self.price.coverage}.\n"

    @property
    def needs_met(self) -> bool:
        """Whether every need is met; *not known* is not met."""
        return all(verdict.status == "pass" for verdict in self.verdicts)

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write plan, timeline, evidence and report; returns the files by what they are."""
        from orrery.report import write_report

        folder = Path(folder)
        files = {name: folder / f"{name}.json" for name in ("plan", "timeline", "evidence")}
        write_plan(files["plan"], self.plan)
        write_timeline(files["timeline"], self.timeline)
        write_record(files["evidence"], "evidence", 1, self.evidence)
        html, record, plain = write_report(self.page, folder)
        return files | {"report": html, "report data": record, "report text": plain}
