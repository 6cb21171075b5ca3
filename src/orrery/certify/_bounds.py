"""What the checker can prove by itself, and whether what others claim is said consistently.

Models:  three elementary bounds. Of plans that compute the same parts on the same devices: the
         busiest device, the longest chain of regions. Of plans of whole layers: the longest chain
         with every region where it is fastest, inputs from the host and results to it; all work,
         shared out over all devices by weights; bytes that the host sends. Of any plan: bytes of
         results that the host receives.
Ignores: how the searcher proved its bound: what is larger than ours stays a claim.
Judge:   replays of all plans of small networks; forged claims (tests).

Why the weights prove something: let w(d) >= 0 sum to one, t(d, r) be the seconds of region r on
device d. No device is busy beyond the end T, so T >= sum over d of w(d) times its work, which is at
least the sum over r of the least w(d) t(d, r), wherever each region is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor, inf, isclose

from orrery.certificate import SAME_PLACES, WHOLE_LAYERS, Certificate, Computation, gap_of
from orrery.hardware import System
from orrery.plan import Plan

from ._regions import Regions
from ._report import Proved, Violations

ANY_PLAN = "any plan"
EVERY_LAYER_WHOLE = "plans of whole layers on any devices"

#: seconds of a region of the plan, whole, on a device under a design; None where it cannot run
WholeSeconds = Callable[[str, str, str | None], float | None]

_PS = 10**12
#: relative rounding of rates and times kept as floating-point numbers
_HAIR = 1e-9
_SETS = r"no plan of these sets in series, units in this order,?( on at most \d+ devices|, that "\
        r"keeps .+,)? is faster"  # fmt: skip
#: bounds in seconds that a searcher may claim, by their words, those of earlier versions too;
#: whether of whole layers
_CLAIMS: Mapping[str, bool] = {
    re.escape(WHOLE_LAYERS): True,
    r"no plan of whole layers is faster: .+": True,
    _SETS: False,
    "every layer shared in its fastest way, layers that need each other one by one": False,
}
_OBJECTIVES = ("latency", "throughput", "energy")


def check_bounds(
    certificate: Certificate, plan: Plan, regions: Regions, computations: Sequence[Computation],
    system: System, whole: WholeSeconds | None, proofs: Collection[str], found: Violations,
) -> tuple[tuple[Proved, ...], bool]:  # fmt: skip
    """Check bound, gap, prediction and objective; return our own bounds and if they prove it.

    A bound of fewer plans is returned only where it is larger than those of more.
    """
    same, host = regions.own_bound_ps(computations), _Host(regions, system)
    known = [Proved(value_ps=_down(host.results_s, 2), of=ANY_PLAN)]  # of most plans first
    if whole is not None and not plan.is_split:
        value = _whole_layers_ps(regions, system, host, whole)
        known.append(Proved(value_ps=value, of=EVERY_LAYER_WHOLE))
    known.append(Proved(value_ps=same, of=SAME_PLACES))
    _check_claim(certificate, plan, same, found)
    _check_words(plan, proofs, found)
    predicted = plan.predicted_latency_s
    slack = len(plan.assignments) + 1  # each duration is rounded to whole picoseconds
    if predicted is not None and predicted * _PS * (1 + _HAIR) + slack < same:
        least = f"{same} ps or more, the plan's busiest device or longest chain"
        found.add("prediction", "plan: predicted_latency_s", f"{predicted} s", least)
    proves = any(
        (plan.lower_bound_s is None or bound.of != SAME_PLACES)
        and bound.value_ps + _rounding(plan, bound) >= certificate.lower_bound_ps
        for bound in known
    )
    best, shown = 0, []
    for bound in known:
        if bound.value_ps > best:
            best = bound.value_ps
            shown.append(bound)
    return tuple(shown), proves


def _rounding(plan: Plan, bound: Proved) -> float:
    """Return picoseconds that two ways to round the same bound may differ by."""
    if bound.of == SAME_PLACES:
        return 0.0
    return 8 * len(plan.assignments) + 8 + 10 * _HAIR * bound.value_ps


def _check_claim(
    certificate: Certificate, plan: Plan, same_ps: int, found: Violations
) -> None:  # fmt: skip
    """Check that bound and gap are the plan's, or our own where the plan has none."""
    bound = certificate.lower_bound_ps
    if not 0 <= bound <= certificate.makespan_ps:
        found.add("bound", "certificate", f"{bound} ps",
                  f"at most the makespan, {certificate.makespan_ps} ps")  # fmt: skip
    if plan.lower_bound_s is not None:
        if (bound, certificate.bound) != (floor(plan.lower_bound_s * _PS), plan.bound):
            found.add("bound", "certificate", f"{bound} ps ({certificate.bound})",
                      f"the plan's {plan.lower_bound_s} s ({plan.bound})")  # fmt: skip
    elif (bound, certificate.bound) != (same_ps, SAME_PLACES):
        found.add("bound", "certificate", f"{bound} ps ({certificate.bound})",
                  f"{same_ps} ps, the busiest device or longest chain ({SAME_PLACES})")  # fmt: skip
    gap, stated = gap_of(certificate.makespan_ps, bound), certificate.gap
    both = stated is not None and gap is not None
    if stated != gap and not (both and isclose(stated or 0.0, gap or 0.0, rel_tol=1e-12)):
        found.add("gap", "certificate", certificate.gap, gap)


def _check_words(plan: Plan, proofs: Collection[str], found: Violations) -> None:
    """Check that objective and bound of a plan go together and say what somebody proves."""
    if plan.objective not in _OBJECTIVES:
        found.add("claim", "plan: objective", plan.objective, f"one of {', '.join(_OBJECTIVES)}")
    if plan.lower_bound_j is not None and plan.objective != "energy":
        found.add("claim", "plan: lower_bound_j", f"beside {plan.objective!r}", "energy")
    if plan.lower_bound_s is None:
        return
    if plan.objective != "latency" or plan.lower_bound_j is not None:
        joules = "" if plan.lower_bound_j is None else " and a bound of joules"
        found.add("claim", "plan: lower_bound_s", f"beside {plan.objective!r}{joules}", "latency")
    of_whole = next((w for text, w in _CLAIMS.items() if re.fullmatch(text, plan.bound)),
                    False if plan.bound in proofs else None)  # fmt: skip
    if of_whole is None:
        found.add("claim", "plan: bound", plan.bound or "nothing", "the words of a known proof")
    elif of_whole == plan.is_split:
        kind = "shared" if plan.is_split else "whole"
        found.add("claim", "plan: bound", plan.bound, f"a bound of plans of {kind} layers")


class _Host:
    """The least seconds for the bytes of a host that computes nothing."""

    def __init__(self, regions: Regions, system: System) -> None:
        self.results_s, self.inputs_s = 0.0, 0.0
        links = [link for link in system.links if system.host in link.ends]
        computes = system.host in {device.name for device in system.devices}
        self._free = not system.host or computes or not links
        # Which way a link of several ends is taken depends on their order: both, at most.
        self._rate = sum(link.bandwidth_bytes_per_s * (1 + (link.duplex and len(link.ends) > 2))
                         for link in links)  # fmt: skip
        self._latency_s = min((link.latency_s for link in links), default=0.0)
        self.results: set[str] = set()
        self.inputs: set[str] = set()
        self._bytes: dict[str, float] = {}
        made = {k.prefix + t for k in regions.known.values() for t in k.writes}
        read = {k.prefix + t for k in regions.known.values() for t in k.reads}
        for prefix, graph in regions.graphs:
            following = set(graph.states.values())
            self.results |= {prefix + t for t in graph.outputs if t not in following} & made
            given = (t for t in graph.inputs if t not in graph.states and t not in graph.constants)
            self.inputs |= {prefix + t for t in given} & read
        for tensor in self.results | self.inputs:
            type_ = regions.types.get(tensor)
            if type_ is not None and type_.rank:  # scalars of shared layers travel free
                self._bytes[tensor] = type_.size_bytes
        self.results_s, self.inputs_s = self._all(self.results), self._all(self.inputs)

    def way_s(self, tensor: str) -> float:
        """Return the least seconds that a tensor takes to or from the host."""
        size = self._bytes.get(tensor, 0)
        return 0.0 if self._free or not size else self._latency_s + size / self._rate

    def _all(self, tensors: set[str]) -> float:
        total = sum(self._bytes.get(tensor, 0) for tensor in tensors)
        return 0.0 if self._free or not total else self._latency_s + total / self._rate


def _whole_layers_ps(
    regions: Regions, system: System, host: _Host, whole: WholeSeconds
) -> int:  # fmt: skip
    """Return picoseconds that no plan undercuts that leaves each of these regions whole."""
    devices = system.devices
    times: dict[str, list[float]] = {}
    for name in regions.known:
        row = []
        for device in devices:
            ways = [whole(name, device.name, design) for design in (None, *device.designs)]
            row.append(min((s for s in ways if s is not None), default=inf))
        times[name] = row if min(row) < inf else [0.0] * len(devices)
    ready = {tensor: host.way_s(tensor) for tensor in host.inputs}
    longest = max(host.inputs_s, host.results_s)
    for name in _in_order(regions):
        known = regions.known[name]
        begin = max((ready.get(known.prefix + t, 0.0) for t in known.reads), default=0.0)
        end = begin + min(times[name])
        for tensor in known.writes:
            ready[known.prefix + tensor] = end
            back = host.way_s(known.prefix + tensor) if known.prefix + tensor in host.results else 0
            longest = max(longest, end + back)
        longest = max(longest, end)
    totals = [sum(row[d] for row in times.values() if row[d] < inf) for d in range(len(devices))]
    for weights in ([1.0] * len(devices), [1 / total if total else 0.0 for total in totals]):
        work = sum(min(w * t for w, t in zip(weights, row, strict=True) if t < inf)
                   for row in times.values())  # fmt: skip
        longest = max(longest, work / sum(weights) if work else 0.0)
    return _down(longest, 2 * len(regions.known) + 1)


def _in_order(regions: Regions) -> list[str]:
    """Return the regions in the order of their networks, whatever the plan says."""
    place = {
        prefix + node.name: number
        for prefix, graph in regions.graphs for number, node in enumerate(graph.nodes)
    }  # fmt: skip
    return sorted(regions.known, key=lambda n: max(
        place[node] for node in regions.known[n].assignment.nodes))  # fmt: skip


def _down(seconds: float, roundings: int) -> int:
    """Return whole picoseconds that a clock surely shows at least, after so many roundings."""
    return max(0, floor(seconds * _PS * (1 - _HAIR)) - roundings)
