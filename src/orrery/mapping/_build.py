"""From a schedule to a plan, and from a failed search to its reasons.

Models:  assignments in the order of their expected start; transfers in the order of theirs.
Ignores: times: a plan says who, where and in which order, replay says when.
Judge:   the validity checker and the replay of every plan in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orrery.plan import Assignment, Infeasible, Plan, SystemReference, Transfer
from orrery.units import format_quantity

from ._memory import Shortage
from ._schedule import Schedule, Sent
from ._tables import LONGEST_S, Tables


def build_plan(
    schedule: Schedule,
    tables: Tables,
    *,
    searcher: str,
    settings: Mapping[str, str | int | float | bool],
) -> Plan:
    """Write a schedule as a plan."""
    w = tables.workload
    # A region that takes no time stands before one that begins at the same instant and takes some.
    order = sorted(range(len(w.regions)), key=lambda r: (schedule.start_s[r], schedule.end_s[r], r))
    assignments = tuple(
        Assignment(
            region=w.names[r],
            nodes=tuple(_prefix(tables, r) + node for node in w.regions[r].nodes),
            device=tables.ends[schedule.device[r]],
            design=_design(schedule, tables, r),
            after=tuple(w.names[p] for p in w.needs[r]),
        )
        for r in order
    )
    # All that leaves one end with one tensor is one transfer: it is issued when the tensor is made.
    fans: dict[tuple[int, int], list[Sent]] = {}
    for sent in schedule.sent:
        fans.setdefault((sent.tensor, sent.source), []).append(sent)
    transfers = tuple(
        Transfer(
            tensor=w.tensors[tensor],
            size_bytes=w.size_bytes[tensor],
            source=tables.ends[source],
            targets=tuple(tables.ends[sent.target] for sent in fan),
            producer=w.names[w.producer[tensor]] if w.producer[tensor] >= 0 else None,
            consumers=tuple(w.names[r] for sent in fan for r in sent.consumers),
            links=tuple(tables.route_links[source][sent.target] or () for sent in fan),
        )
        for (tensor, source), fan in fans.items()
    )
    return Plan(
        models=w.references,
        system=SystemReference(name=tables.system.name, digest=tables.system.digest),
        assignments=assignments, transfers=transfers, objective="latency", searcher=searcher,
        settings=settings, predicted_latency_s=schedule.makespan_s,
        resident_bytes={
            tables.ends[d]: size for d, size in enumerate(schedule.resident_bytes)
            if size or d in schedule.device
        },
        notes=plan_notes(tables),
    )  # fmt: skip


def _prefix(tables: Tables, region: int) -> str:
    name = tables.workload.names[region]
    return name[: len(name) - len(tables.workload.regions[region].name)]


def _design(schedule: Schedule, tables: Tables, region: int) -> str | None:
    row = schedule.configuration[schedule.device[region]]
    return None if tables.own_units[row, region] else tables.configurations[row].design


def plan_notes(tables: Tables) -> tuple[str, ...]:
    host = (
        f"Network inputs start on {tables.ends[tables.host]!r} and results return there; both "
        "transfers count."
        if tables.host >= 0
        else "The system has no host: a network input starts on the first device that needs it, "
        "and results stay where they are made."
    )
    notes = ["Weights are on their devices before the clock starts.", host]
    if tables.workload.states:
        notes.append(
            "A state (such as a key/value cache) starts on the device that first needs it, and its "
            "next value is brought back there."
        )
    if tables.unpriced:
        names = [tables.workload.names[region] for region in tables.unpriced]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        notes.append(
            f"Not priced, and counted as no time at all: {', '.join(names[:8])}{more}. The plan's "
            "latency is a lower bound."
        )
    return tuple(notes)


def explain_refusals(tables: Tables) -> Infeasible:
    """Say which operators no device runs, on which nodes, and every model's reason."""
    w = tables.workload
    nodes: dict[str, list[str]] = {}
    reasons: dict[str, None] = {}
    for region, refusals in tables.refusals.items():
        operators = dict.fromkeys(node.operator for node in w.regions[region].members)
        nodes.setdefault("+".join(operators), []).append(w.names[region])
        reasons.update(dict.fromkeys(refusals))
    listed = "; ".join(
        f"{operator} ({len(names)}×: {', '.join(names[:4])}{', …' if len(names) > 4 else ''})"
        for operator, names in sorted(nodes.items())
    )
    return Infeasible(
        what=f"operators that no device of {tables.system.name} runs: {listed}. "
        f"Reasons: {'; '.join(reasons)}",
        need=float(len(w.regions)), have=float(len(w.regions) - len(tables.refusals)),
        unit="regions",
        remedies=(
            *(["take the network in an element type of the devices (--precision)"]
              if any("MAC rate" in reason for reason in reasons) else []),
            "add a device that runs these operators (a cpu or gpu has no restriction)",
            "list them under the device's operators if its own units can do them",
        ),
    )  # fmt: skip


def explain_cover(tables: Tables, regions: Sequence[int]) -> Infeasible:
    """Say which operators are left when every device holds one design only."""
    w = tables.workload
    operators = dict.fromkeys(n.operator for r in regions for n in w.regions[r].members)
    return Infeasible(
        what=f"one design per device on {tables.system.name}: no choice of designs runs all "
        f"operators; at best these are left: {', '.join(operators)}",
        need=float(len(w.regions)), have=float(len(w.regions) - len(regions)), unit="regions",
        remedies=("add a device", "add a design that accepts these operators"),
    )  # fmt: skip


def explain_shortage(short: Shortage, tables: Tables, capacity_bytes: Sequence[int]) -> Infeasible:
    """Say what does not fit: the whole network's weights, or a region on the roomiest device."""
    w = tables.workload
    weights = sum(w.weight_bytes) + sum(w.size_bytes[state] for state in w.states)
    total = sum(capacity_bytes)
    bigger = (
        "use devices with more memory, or more devices",
        "reduce the batch, the context or the element size",
    )
    if weights > total:
        return Infeasible(
            what=f"weights and states of {', '.join(m.name for m in w.references)} in the memories "
            f"of all devices of {tables.system.name}",
            need=float(weights), have=float(total), unit="bytes", remedies=bigger,
        )  # fmt: skip
    where = f"device {tables.ends[short.device]!r}"
    what = f"weights and live activations on {where}"
    if short.region >= 0:
        region = short.region
        own = sum(w.weight_bytes[x] for x in w.weights[region])
        live = sum(w.size_bytes[x] for x in (*w.inputs[region], *w.outputs[region]))
        what += (
            f" with region {w.names[region]!r} (itself {format_quantity(own, 'bytes')} of weights "
            f"and {format_quantity(live, 'bytes')} of inputs and outputs)"
        )
    return Infeasible(
        what=what, need=float(short.need), have=float(short.have), unit="bytes", remedies=bigger
    )


def explain_time(makespan_s: float, tables: Tables) -> Infeasible:
    """Say that even the best plan ends later than any clock can say."""
    return Infeasible(
        what=f"time of the best plan on {tables.system.name}", need=makespan_s, have=LONGEST_S,
        unit="s",
        remedies=(
            "reduce the batch, the context or other sizes of the network",
            "correct the rates and bandwidths of the system", "use faster devices or links",
        ),
    )  # fmt: skip
