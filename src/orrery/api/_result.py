"""What a mapping gives back, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orrery.certificate import Certificate, write_certificate
from orrery.certify import Report
from orrery.cost import PlanCost
from orrery.errors import SpecError, printable
from orrery.evidence import Evidence
from orrery.hardware import System, write_system
from orrery.mapping import Tried
from orrery.plan import Infeasible, Plan, write_plan
from orrery.report import Page, Scorecard, Verdict, render_card, wrap, write_result
from orrery.store import write_record, write_text
from orrery.timeline import Timeline, write_timeline
from orrery.units import format_quantity


class InfeasibleError(SpecError):
    """No plan exists; `infeasible` says what is short, by how much, and what would help."""

    def __init__(self, where: str, infeasible: Infeasible) -> None:
        self.infeasible = infeasible
        need, have = (
            format_quantity(n, infeasible.unit) for n in (infeasible.need, infeasible.have)
        )
        super().__init__(
            where,
            found=f"no plan{'' if infeasible.proved else ' found'}: {infeasible.what}",
            wanted=f"{need} (there is {have})",
            fix="; or ".join(infeasible.remedies),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapResult:
    """A plan and everything that is known about it.

    Attributes
    ----------
    plan, system : what was decided, for which machines
    price, timeline : what it takes, what happens when it is replayed
    certificate, report : everything that happens, and what the independent checker says of it
    evidence, scorecard, verdicts : every figure, the seven metrics, the answers to needs
    page : the report, for `orrery.report`'s writers
    tried : every search method that was run, with its plan or why it found none
    interrupted : whether the user stopped the search, so that this is the best it had found
    """

    plan: Plan
    system: System
    price: PlanCost
    timeline: Timeline
    certificate: Certificate
    report: Report
    evidence: tuple[Evidence, ...]
    scorecard: Scorecard
    verdicts: tuple[Verdict, ...]
    page: Page
    tried: tuple[Tried, ...] = ()
    interrupted: bool = False

    def compared(self, tried: Sequence[Tried]) -> MapResult:
        """Return the same with a comparison of what several search methods gave."""
        from .pages import comparison, regrets

        tables = (*([comparison(tried, self.plan)] if len(tried) > 1 else []), *regrets(tried))
        sections = (*self.page.sections[:1], *tables, *self.page.sections[1:])
        return replace(self, tried=tuple(tried), page=replace(self.page, sections=sections))

    @property
    def text(self) -> str:
        """The scorecard, which set of devices takes which layer, and what that covers, as text."""
        return self.render()

    def render(self, width: int = 96) -> str:
        """Return `text` for a terminal of some columns, at least 60."""
        from ._render import glance_text
        from .judging import describe
        from .pages import covers, energy_bound, forecast, machine_bound

        card = render_card(self.scorecard, self.verdicts, width=width)
        said = "\n".join(filter(None, (
            f"Coverage: {self.price.coverage}.", forecast(self.plan, self.timeline),
            energy_bound(self.plan, self.price),
            describe(self.certificate, self.report, covers(self.plan)), machine_bound(self.plan),
        )))  # fmt: skip
        glance = glance_text(self.page, width=width).rstrip()
        below = "\n".join(wrap(line, width) for line in said.splitlines())
        ways = self._ways(width)
        parts = (card.rstrip(), *ways, *([glance] if glance else []), below)
        return printable("\n\n".join(parts) + "\n")

    def _ways(self, width: int) -> list[str]:
        """Return the comparison of search methods as text, where there is one."""
        from ._render import page_text
        from .pages import comparison, regrets

        tables = (comparison(self.tried, self.plan),) if len(self.tried) > 1 else ()
        alone = Page(title="ways", sections=(*tables, *regrets(self.tried)))
        return [page_text(alone, width=width).split("\n", 3)[3].strip()] if alone.sections else []

    @property
    def needs_met(self) -> bool:
        """Whether every need is met; *not known* is not met."""
        return all(verdict.status == "pass" for verdict in self.verdicts)

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write plan, timeline, certificate, evidence, system, report: all of them, or none."""
        from .planned import placed_beside

        plan = placed_beside(self.plan, Path(folder))
        certificate = replace(self.certificate, models=plan.models, system=plan.system)
        return write_result(folder, self.page, {
            "plan": ("plan.json", lambda path: write_plan(path, plan)),
            "timeline": ("timeline.json", lambda path: write_timeline(path, self.timeline)),
            "certificate": ("certificate.json", lambda path: write_certificate(path, certificate)),
            "evidence": ("evidence.json",
                         lambda path: write_record(path, "evidence", 1, self.evidence)),
            "system": ("system.yaml", lambda path: write_text(path, write_system(self.system))),
        })  # fmt: skip
