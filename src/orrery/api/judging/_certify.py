"""Check the certificate of a plan again, from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.certificate import Certificate, gap_of, read_certificate
from orrery.certify import Report
from orrery.errors import printable
from orrery.store import encode
from orrery.timeline import PS_PER_S
from orrery.units import format_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A certificate, what the checker says of it, and of which plans its bound is claimed."""

    certificate: Certificate
    report: Report
    covers: str = ""

    @property
    def text(self) -> str:
        """The verdict, with every violation."""
        return printable(describe(self.certificate, self.report, self.covers))

    @property
    def document(self) -> dict[str, object]:
        """The same as plain data."""
        c = self.certificate
        return {
            "holds": self.report.holds, "violations": encode(self.report.violations),
            "more": self.report.more, "makespan_ps": c.makespan_ps,
            "lower_bound_ps": c.lower_bound_ps, "bound": c.bound, "gap": c.gap,
            "period_ps": c.period_ps, "lower_bound_period_ps": c.lower_bound_period_ps,
            "claim_proved": self.report.claim_proved, "proved": encode(self.report.proved),
            "computations": len(c.computations), "deliveries": len(c.deliveries),
        }  # fmt: skip


def certify(path: str | Path, *, models: Sequence[object] = (), on: object = None) -> Certified:
    """Check a certificate against the plan beside it.

    Parameters
    ----------
    path : a folder of ``orrery map --out``, or the certificate.json in it
    models, on : where its networks and its system are now, when they have moved

    Raises
    ------
    SpecError : a file that is missing or no certificate
    PlanMismatchError : the networks or the system are not those of the plan
    """
    from ..pages import covers
    from ..planned import load_planned
    from ._durations import check

    given = Path(path)
    file = given / "certificate.json" if given.is_dir() else given
    certificate = read_certificate(file)
    plan, graphs, system = load_planned(file.parent / "plan.json", models, on)
    report = check(certificate, plan, graphs, system)
    return Certified(certificate=certificate, report=report, covers=covers(plan))


def _of_period(certificate: Certificate) -> Iterator[str]:
    """Yield the period of a plan for throughput, and its bound; latencies have none beside it."""
    period, least = certificate.period_ps, certificate.lower_bound_period_ps
    yield f"period {format_quantity((period or 0) / PS_PER_S, 's')}"
    if least is not None:
        gap = gap_of(period or 0, least)
        yield (f"lower bound of the period {format_quantity(least / PS_PER_S, 's')}"
               f"{'' if gap is None else f', gap {100 * max(0.0, gap):.3g} %'}: claimed by the "
               f"searcher, not proved by this check ({certificate.period_bound})")  # fmt: skip


def describe(certificate: Certificate, report: Report, covers: str = "") -> str:
    """Return the verdict with makespan, bounds and gaps, claimed and proved.

    `covers` says of which plans the bound is claimed, where that is told better than in its words.
    """
    took = f"makespan {format_quantity(certificate.makespan_ps / PS_PER_S, 's')}"
    if certificate.period_ps is not None:
        return "\n".join([str(report), took, *_of_period(certificate), ""])

    def line(value_ps: int, who: str) -> str:
        gap = gap_of(certificate.makespan_ps, value_ps)
        return (f"lower bound {format_quantity(value_ps / PS_PER_S, 's')}"
                f"{'' if gap is None else f', gap {100 * gap:.3g} %'}: {who}")  # fmt: skip

    said = certificate.bound or "any plan"
    claimed, proved = certificate.lower_bound_ps, report.claim_proved
    who = "proved by this check" if proved else "claimed by the searcher, not proved by this check"
    own = [b for b in report.proved if (b.value_ps, b.of) != (claimed, said)]
    # A bound far below everything tells nobody anything; JSON has it all the same.
    own = [b for b in own if b.value_ps * 10 >= certificate.makespan_ps] or own[-1:]
    lines = [took, line(claimed, f"{who} ({covers or said})"),
             *(line(b.value_ps, f"proved by this check ({b.of})") for b in own)]  # fmt: skip
    return "\n".join([str(report), *lines, ""])
