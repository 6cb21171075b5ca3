"""The checker of certificates, written from the definitions of what a plan means.

Models:  devices that compute one thing at a time in the plan's order; parts of tensors that are
         made, sent, summed and read; links with a rate; memories with a size; transfers that the
         plan lists; elementary lower bounds (`_bounds`).
Ignores: the searcher's proof of a closer bound. Bytes of views and transposes where they are made,
         and of an input before its first use, are not counted.
Judge:   every kind of violation by a deliberate corruption of valid certificates; valid ones of
         random plans, whole and split, pass (tests).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from orrery.certificate import Certificate, Computation, Delivery, plan_digest
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan

from ._bounds import WholeSeconds, check_bounds
from ._devices import check_devices
from ._flow import check_flow
from ._links import check_links
from ._period import check_period
from ._regions import Regions
from ._report import Report, Violations


def check_certificate(
    certificate: Certificate,
    plan: Plan,
    graphs: Sequence[Graph],
    system: System,
    seconds: Callable[[Computation], float | None],
    whole: WholeSeconds | None = None,
    proofs: Collection[str] = (),
) -> Report:
    """Check a certificate against its plan, networks and system; believe nothing.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound
    seconds : what a computation takes by the cost models; None when the plan has no such part
    whole : (region, device, design) -> what a region takes whole, by the cost models, None where it
        cannot run; with it, a bound over all plans of whole layers is proved
    proofs : words of bounds that searchers prove of plans with shared layers; others are refused

    Returns
    -------
    what is wrong, each with a kind of `KINDS`, `Report.holds` when nothing is; and the bounds that
    the checker proves itself
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
    _check_transfers(plan, certificate.deliveries, found)
    _check_needs(regions, found)
    _check_makespan(certificate, found)
    check_period(certificate, plan, sound, found)
    return found.report(
        *check_bounds(certificate, plan, regions, sound, system, whole, proofs, found)
    )


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


def _check_makespan(certificate: Certificate, found: Violations) -> None:
    ends = [c.end_ps for c in certificate.computations]
    last = max([*ends, *(d.end_ps for d in certificate.deliveries)], default=0)
    if certificate.makespan_ps != last:
        found.add("makespan", "certificate", f"{certificate.makespan_ps} ps", f"{last} ps")


def _check_needs(regions: Regions, found: Violations) -> None:
    """Check that the plan lets every region wait for those whose results it reads."""
    maker = {k.prefix + t: name for name, k in regions.known.items() for t in k.writes}
    for name, known in regions.known.items():
        needs = {maker[t] for t in (known.prefix + t for t in known.reads) if t in maker}
        missing = sorted(needs - {name} - set(known.assignment.after))
        if missing:
            found.add("after", f"{name!r}", f"not after {', '.join(missing)}",
                      "after all regions whose results it reads")  # fmt: skip


def _check_transfers(plan: Plan, deliveries: Iterable[Delivery], found: Violations) -> None:
    """Check that what is delivered is what a plan of whole layers lists, route and all."""
    if plan.is_split:
        if plan.transfers:
            found.add("transfer", "plan", f"{len(plan.transfers)} transfers beside shared layers",
                      "none: they follow from what each set holds and needs")  # fmt: skip
        return
    listed = Counter(
        (t.tensor, t.source, target, links, t.size_bytes)
        for t in plan.transfers for target, links in zip(t.targets, t.links)
    )  # fmt: skip
    made = Counter((d.tensor, d.source, d.target, d.links, d.size_bytes) for d in deliveries)
    for these, here, there in ((made - listed, "a delivery", "in the plan"),
                               (listed - made, "a transfer of the plan", "delivered")):  # fmt: skip
        for (tensor, source, target, links, size), count in these.items():
            found.add("transfer", f"{tensor!r} from {source!r} to {target!r}",
                      f"{here} of {size} bytes by {', '.join(links) or 'no link'}",
                      f"{count} fewer, or {count} such {there}")  # fmt: skip
