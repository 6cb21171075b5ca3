"""The checker of certificates, written from the definitions of what a plan means.

Models:  devices that compute one thing at a time in the plan's order; parts of tensors that are
         made, sent, summed and read; links with a rate; memories with a size.
Ignores: how good a plan is beyond the bound that it names. Bytes of views and transposes where
         they are made, and of an input before its first use, are not counted.
Judge:   every kind of violation by a deliberate corruption of valid certificates; valid ones of
         random plans, whole and split, pass (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, isclose

from orrery.certificate import SAME_PLACES, Certificate, Computation, gap_of, plan_digest
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan

from ._devices import check_devices
from ._flow import check_flow
from ._links import check_links
from ._regions import Regions
from ._report import Report, Violations

__all__ = ["check_certificate"]

_PS = 10**12


def check_certificate(
    certificate: Certificate,
    plan: Plan,
    graphs: Sequence[Graph],
    system: System,
    seconds: Callable[[Computation], float | None],
) -> Report:
    """Check a certificate against its plan, networks and system; believe nothing.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound
    seconds : what a computation takes by the cost models; None when the plan has no such part

    Returns
    -------
    what is wrong, each with a kind of `KINDS`; `Report.holds` when nothing is
    """
    found = Violations()
    _check_names(certificate, plan, graphs, system, found)
    regions = Regions(plan, graphs, found)
    sound = [c for c in certificate.computations if regions.check(c, system, found)]
    check_devices(sound, plan, system, seconds, found)
    ends = {d.name for d in system.devices} | {end for link in system.links for end in link.ends}
    deliveries = []
    for d in certificate.deliveries:
        where = f"delivery of {d.tensor!r} from {d.source!r} to {d.target!r}"
        if d.start_ps < 0 or d.end_ps < d.start_ps:
            found.add("time", where, f"{d.start_ps} to {d.end_ps} ps", "zero or later, in order")
        strange = [end for end in (d.source, d.target) if end not in ends]
        if strange:
            found.add("device", where, strange[0], f"an end of {system.name}")
        else:
            deliveries.append(d)
    check_links(system, deliveries, found)
    check_flow(certificate, sound, deliveries, regions, system, found)
    _check_times(certificate, sound, plan, regions, found)
    return found.report()


def _check_names(
    certificate: Certificate, plan: Plan, graphs: Sequence[Graph], system: System, found: Violations
) -> None:
    if len(graphs) != len(plan.models):
        found.add("model", "plan", f"{len(plan.models)} networks", f"{len(graphs)}")
    for reference, graph in zip(plan.models, graphs):
        if (reference.name, reference.digest) != (graph.name, graph.digest):
            found.add("model", f"plan: network {reference.name!r}", reference.digest,
                      f"{graph.name!r} {graph.digest}")  # fmt: skip
    if certificate.models != plan.models:
        found.add("model", "certificate", ", ".join(m.name for m in certificate.models),
                  "the networks of the plan, hashes and all")  # fmt: skip
    if (plan.system.name, plan.system.digest) != (system.name, system.digest):
        found.add("system", "plan", f"{plan.system.name!r} {plan.system.digest}",
                  f"{system.name!r} {system.digest}")  # fmt: skip
    if certificate.system != plan.system:
        found.add("system", "certificate", certificate.system.name, "the system of the plan")
    if certificate.plan != plan_digest(plan):
        found.add("plan", "certificate", certificate.plan, plan_digest(plan))
    if certificate.objective != plan.objective:
        found.add("plan", "certificate: objective", certificate.objective, plan.objective)


def _check_times(
    certificate: Certificate, computations: Sequence[Computation], plan: Plan, regions: Regions,
    found: Violations,
) -> None:  # fmt: skip
    """Check makespan, bound and gap against each other and against a bound of our own."""
    ends = [c.end_ps for c in certificate.computations]
    last = max([*ends, *(d.end_ps for d in certificate.deliveries)], default=0)
    if certificate.makespan_ps != last:
        found.add("makespan", "certificate", f"{certificate.makespan_ps} ps", f"{last} ps")
    bound = certificate.lower_bound_ps
    if not 0 <= bound <= certificate.makespan_ps:
        found.add("bound", "certificate", f"{bound} ps",
                  f"at most the makespan, {certificate.makespan_ps} ps")  # fmt: skip
    if plan.lower_bound_s is not None:
        if (bound, certificate.bound) != (floor(plan.lower_bound_s * _PS), plan.bound):
            found.add("bound", "certificate", f"{bound} ps ({certificate.bound})",
                      f"the plan's {plan.lower_bound_s} s ({plan.bound})")  # fmt: skip
    elif (bound, certificate.bound) != (own := regions.own_bound_ps(computations), SAME_PLACES):
        found.add("bound", "certificate", f"{bound} ps ({certificate.bound})",
                  f"{own} ps, the busiest device or longest chain ({SAME_PLACES})")  # fmt: skip
    gap = gap_of(certificate.makespan_ps, bound)
    stated = certificate.gap
    both = stated is not None and gap is not None
    if stated != gap and not (both and isclose(stated or 0.0, gap or 0.0, rel_tol=1e-12)):
        found.add("gap", "certificate", certificate.gap, gap)
