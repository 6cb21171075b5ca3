"""What a whole plan takes, and whether it can be done at all.

Models:  every region by the cost model of its device's design (or the device as it is); each device
         runs its regions in plan order; a region waits for its inputs; transfers start when their
         tensor is there and take their route alone. Weights and states stay resident; an
         activation lives from its making (or sending) to its last use there. Split plans: see
         `orrery.cost.split`.
Ignores: contention on links and memories (replay judges that), so the makespan is a lower bound of
         a replay; fragmentation and work space inside a kernel.
Judge:   closed forms on chains and branches; replay is never faster (tests).

Static energy is idle power times the makespan on every device the plan uses, where the idle power
is known; notes name the devices where it is not. `PlanCost.at_makespan` charges it again for the
makespan of a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orrery.errors import SpecError
from orrery.graph import Graph, Region
from orrery.hardware import Device, System
from orrery.plan import Assignment, Infeasible, Plan, Transfer
from orrery.timeline import MOST_PS, PS_PER_S

from ._cost import Charge, Cost, CostModel
from ._coverage import Coverage, Unpriced
from ._energy import IDLE, bill, offchip_charge, static_charge
from ._expand import Expansion
from ._guards import check_cost, check_power
from ._plan_check import check_expanded
from ._plan_memory import peak_memory
from ._plan_order import PlanTimes, plan_times
from ._plan_regions import PlannedRegion, plan_regions
from ._transfer import Movement, moves_cost
from ._work import Work, count_problem, signature, unpriceable, work_of
from .split import (
    ShardPrices,
    StepCost,
    kind_of,
    price_steps,
    split_memory,
    split_times,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCost:
    """The price of a plan.

    Attributes
    ----------
    total : latency is the makespan without contention; energy and off-chip bytes are None when any
        part of them is not known; where `coverage` is not complete, all is a lower bound
    per_region : region -> its cost; regions without a price are absent (see `coverage`)
    priced_by : region -> name of the cost model that answered
    transfers : each transfer with what it takes alone
    starts_s, busy_s : start of each region; seconds of work per device
    peak_bytes : device -> most bytes in its off-chip memory at once, residents included
    infeasible : why the plan cannot be done; empty when it can
    notes : what a reader should know of these figures
    dynamic_energy_j : joules of the work and the transfers alone, whatever time they take; None
        when not known
    idle_unknown : devices of the plan whose idle power is not known, so that the energy is dynamic
        only there
    steps : region -> its terms, in a split plan; its messages are in `per_region` too, and its
        devices are busy from its start to its end
    expansion : of a split plan, so that nobody has to write it out again
    """

    total: Cost
    per_region: Mapping[str, Cost]
    priced_by: Mapping[str, str]
    transfers: tuple[tuple[Transfer, Movement], ...]
    starts_s: Mapping[str, float]
    busy_s: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    infeasible: tuple[Infeasible, ...]
    coverage: Coverage
    notes: tuple[str, ...] = ()
    dynamic_energy_j: float | None = None
    idle_unknown: tuple[str, ...] = ()
    steps: Mapping[str, StepCost] = field(default_factory=dict)
    expansion: Expansion | None = field(default=None, repr=False, compare=False)
    _used: tuple[Device, ...] = ()
    _links: frozenset[str] = frozenset()

    @property
    def feasible(self) -> bool:
        return not self.infeasible

    def at_makespan(self, seconds: float) -> PlanCost:
        """Return the same plan's cost when all is done after so many seconds, e.g. by replay.

        The latency is then `seconds`, and idle power is charged for all of it; what work and
        transfers take stays. Starts and busy times stay those without contention.

        Raises
        ------
        SpecError : not a finite time, or less than some device is busy
        ImplausibleCostError : more power than the devices can take
        """
        busiest = max(self.busy_s.values(), default=0.0)
        # Replay rounds every region to whole picoseconds.
        slack_s = len(self.starts_s) / PS_PER_S + busiest * 1e-9
        if not 0.0 <= seconds <= MOST_PS / PS_PER_S or seconds < busiest - slack_s:
            raise SpecError(
                "plan cost: makespan", found=f"{seconds} s",
                wanted=f"a finite time, at least the {busiest:.6g} s that one device is busy",
                fix="give the makespan of a replay of this plan",
            )  # fmt: skip
        if self.dynamic_energy_j is None or self.total.energy_j is None:
            return replace(self, total=replace(self.total, latency_s=seconds))
        statics, _ = _static(self._used, seconds)
        moving = tuple(c for c in self.total.charges if c.action != IDLE)
        total = replace(
            self.total, latency_s=seconds, charges=(*moving, *statics),
            energy_j=self.dynamic_energy_j + sum(charge.energy_j for charge in statics),
        )  # fmt: skip
        check_power(total, self._used, links=self._links)
        return replace(self, total=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """A region's answer: a cost and who gave it, or a reason."""

    cost: Cost | None
    model: str
    reason: str
    work: Work | None


def price(
    plan: Plan, graphs: Sequence[Graph], system: System, models: Mapping[str, CostModel]
) -> PlanCost:
    """Price a plan.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound
    models : cost model by design text; ``""`` for a device as it is

    Raises
    ------
    SpecError : the plan does not fit graphs, system or models, its order contradicts itself, or it
        ends later than any clock can say
    UnknownNameError : a device, link or node that does not exist
    ImplausibleCostError : a cost model answered what no machine can do
    """
    regions = plan_regions(plan, graphs)
    expansion = check_expanded(plan, graphs, system)
    if expansion is not None:
        return _price_split(plan, graphs, system, models, regions, expansion)
    answers = _answers(plan, regions, system, models)
    costs = {name: a.cost for name, a in answers.items() if a.cost is not None}
    moved = tuple((t, _move(t, system)) for t in plan.transfers)
    durations = {name: cost.latency_s for name, cost in costs.items()}
    times = plan_times(plan, durations, system)
    _check_end(times, system)
    peaks, short = peak_memory(plan, regions, system, times)
    links = frozenset(name for _, movement in moved for name in movement.link_bytes)
    found = _Found(costs=costs, answers=answers, moved=moved, links=links, times=times,
                   peaks=peaks, infeasible=short, steps={})  # fmt: skip
    return _summed(plan, graphs, system, regions, found)


def _price_split(
    plan: Plan, graphs: Sequence[Graph], system: System, models: Mapping[str, CostModel],
    regions: Mapping[str, PlannedRegion], expansion: Expansion,
) -> PlanCost:  # fmt: skip
    """Price a plan whose messages follow from what each set holds and needs."""
    shards = ShardPrices(system, models)
    given = [shards.answer(step) for step in expansion.steps]
    priced = price_steps(expansion, given, system)
    when = split_times(expansion, priced)
    times = when.as_seconds(expansion)
    _check_end(times, system)
    peaks, short = split_memory(expansion, when, system)
    names = [step.assignment.region for step in expansion.steps]
    answers = {
        name: _Priced(cost=step.cost if answer.rounds else None, model=answer.model,
                      reason=answer.reason, work=answer.work)
        for name, step, answer in zip(names, priced, given)
    }  # fmt: skip
    found = _Found(
        # Without a price a region's messages are still part of what the plan takes.
        costs={name: step.cost for name, step in zip(names, priced)}, answers=answers, moved=(),
        links=frozenset().union(*(step.links for step in priced)), times=times, peaks=peaks,
        infeasible=short, steps={name: step.terms for name, step in zip(names, priced)},
    )  # fmt: skip
    return replace(_summed(plan, graphs, system, regions, found), expansion=expansion)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What both kinds of plans come down to."""

    costs: Mapping[str, Cost]
    answers: Mapping[str, _Priced]
    moved: tuple[tuple[Transfer, Movement], ...]
    links: frozenset[str]
    times: PlanTimes
    peaks: Mapping[str, int]
    infeasible: tuple[Infeasible, ...]
    steps: Mapping[str, StepCost]


def _check_end(times: PlanTimes, system: System) -> None:
    if not times.makespan_s <= MOST_PS / PS_PER_S:
        slow = max(times.busy_s, key=times.busy_s.__getitem__)
        raise SpecError(
            f"plan for {system.name}", found=f"{times.makespan_s:.3g} s to the end ({slow!r} works "
            f"{times.busy_s[slow]:.3g} s of it)", wanted=f"at most {MOST_PS / PS_PER_S:.3g} s",
            fix="correct the rates and bandwidths of its devices and links",
        )  # fmt: skip


def _summed(
    plan: Plan, graphs: Sequence[Graph], system: System, regions: Mapping[str, PlannedRegion],
    found: _Found,
) -> PlanCost:  # fmt: skip
    notes: list[str] = []
    names = dict.fromkeys(name for a in plan.assignments for name in a.devices)
    used = tuple(system.device(name) for name in names)
    times, answers = found.times, found.answers
    total, dynamic, idle_unknown = _total(system, used, found.costs, found.moved, times,
                                          found.peaks, notes)  # fmt: skip
    check_power(total, used, links=found.links)
    coverage = _coverage(graphs, regions, answers)
    if not coverage.complete:
        # A sum with an unknown part is unknown; the latency stays, marked as a lower bound.
        total = replace(total, energy_j=None, offchip_bytes=None, charges=())
        dynamic = None
        notes.append(
            f"Lower bounds of time, energy and memory: {len(coverage.unpriced)} regions have "
            "no price"
        )
    return PlanCost(
        total=total, transfers=found.moved, coverage=coverage,
        per_region={n: c for n, c in found.costs.items() if answers[n].cost is not None},
        priced_by={name: a.model for name, a in answers.items() if a.cost is not None},
        starts_s=times.starts_s, busy_s=times.busy_s, peak_bytes=found.peaks,
        infeasible=found.infeasible, notes=tuple(notes), dynamic_energy_j=dynamic,
        idle_unknown=idle_unknown, steps=found.steps, _used=used, _links=found.links,
    )  # fmt: skip


def _answers(
    plan: Plan,
    regions: Mapping[str, PlannedRegion],
    system: System,
    models: Mapping[str, CostModel],
) -> dict[str, _Priced]:
    """Ask the models once per (design, schedule, kind of device, work)."""
    kinds = {device.name: kind_of(device) for device in system.devices}
    known: dict[tuple[str, str, str, str], _Priced] = {}
    answers = {}
    for assignment in plan.assignments:
        region = regions[assignment.region].region
        device = system.device(assignment.device)
        key = (assignment.design or "", repr(assignment.schedule), kinds[device.name],
               signature(region, models))  # fmt: skip
        if key not in known:
            known[key] = _ask(assignment, region, device, models)
        answers[assignment.region] = known[key]
    return answers


def _ask(
    assignment: Assignment, region: Region, device: Device, models: Mapping[str, CostModel]
) -> _Priced:
    problem = unpriceable(region) or count_problem(region)
    if problem is not None:
        return _Priced(cost=None, model="", reason=problem, work=None)
    work = work_of(region)
    reasons = []
    # What a configured design refuses runs on the device's own units.
    for design in dict.fromkeys((assignment.design or "", "")):
        if design not in models:
            raise SpecError(f"plan: region {assignment.region!r}: design", found=design,
                            wanted=f"one of {', '.join(sorted(filter(None, models)))}",
                            fix="hand in a cost model for this design")  # fmt: skip
        model = models[design]
        refusal = model.refuses(region, device)
        if refusal is not None:
            reasons.append(f"{model.name}: {refusal.reason}")
            continue
        cost = model.cost(region, device, assignment.schedule)
        check_cost(cost, work, row=region.name, device=device, as_is=not design)
        return _Priced(cost=cost, model=model.name, reason="", work=work)
    return _Priced(cost=None, model="", reason="; ".join(reasons), work=work)


def _move(transfer: Transfer, system: System) -> Movement:
    """Price a transfer: its targets share the channels they meet on."""
    moves = [(transfer.source, target, transfer.size_bytes) for target in transfer.targets]
    return moves_cost(system, moves, transfer.links)


def _static(used: Sequence[Device], seconds: float) -> tuple[tuple[Charge, ...], tuple[str, ...]]:
    """Return idle power over a time, and the devices where it is not known."""
    charges = {device.name: static_charge(device, seconds) for device in used}
    known = tuple(charge for charge in charges.values() if charge is not None)
    return known, tuple(name for name, charge in charges.items() if charge is None)


def _total(
    system: System, used: Sequence[Device], costs: Mapping[str, Cost],
    moved: Sequence[tuple[Transfer, Movement]], times: PlanTimes, peaks: Mapping[str, int],
    notes: list[str],
) -> tuple[Cost, float | None, tuple[str, ...]]:  # fmt: skip
    """Add everything up; what is not known makes its sum None and is named in a note.

    Returns the total, its dynamic energy, and the devices without a known idle power.
    """
    charges: list[Charge] = []
    unknown: list[str] = []
    energy_j = 0.0
    offchip: int | None = 0
    for name, cost in costs.items():
        if cost.energy_j is None:
            unknown.append(name)
        energy_j += cost.energy_j or 0.0
        charges += cost.charges
        offchip = None if offchip is None or cost.offchip_bytes is None else (
            offchip + cost.offchip_bytes)  # fmt: skip
    devices = {device.name: device for device in system.devices}
    for transfer, movement in moved:
        bills: list[Charge | None] = list(movement.charges)
        if movement.energy_j is None:
            unknown.append(f"links of {transfer.tensor}")
        # Both ends keep tensors in their off-chip memory: one read, one write per target.
        for end in (transfer.source, *transfer.targets):
            if end in devices:
                bills.append(offchip_charge(devices[end], transfer.size_bytes))
                offchip = None if offchip is None else offchip + transfer.size_bytes
        if None in bills:
            unknown.append(f"memories of {transfer.tensor}")
        charges += [charge for charge in bills if charge is not None]
        energy_j += sum(charge.energy_j for charge in bills if charge is not None)
    statics, idle_unknown = _static(used, times.makespan_s)
    if unknown:
        listed = ", ".join(dict.fromkeys(unknown[:6])) + (", …" if len(unknown) > 6 else "")
        notes.append(f"Energy is not known: no price for {listed}")
    elif idle_unknown:
        notes.append(f"Energy is dynamic only on {', '.join(idle_unknown)}: idle power not known")
    total = Cost(
        latency_s=times.makespan_s, offchip_bytes=offchip,
        energy_j=None if unknown else energy_j + sum(charge.energy_j for charge in statics),
        peak_bytes={f"{name}.{devices[name].offchip.name}": peak for name, peak in peaks.items()},
        charges=() if unknown else (*bill(charges), *statics),
        macs_nominal=sum(cost.macs_nominal for cost in costs.values()),
        macs_performed=sum(cost.macs_performed for cost in costs.values()),
    )  # fmt: skip
    return total, None if unknown else energy_j, idle_unknown


def _coverage(
    graphs: Sequence[Graph], regions: Mapping[str, PlannedRegion], answers: Mapping[str, _Priced]
) -> Coverage:
    operators = macs = size_bytes = 0
    unpriced = []
    for name, planned in regions.items():
        region = planned.region
        answer = answers[name]
        if answer.cost is not None and answer.work is not None:
            operators += len(region.nodes)
            macs += answer.work.total_macs
            size_bytes += answer.work.traffic_bytes
        else:
            work = answer.work
            unpriced.append(Unpriced(
                region=name, operators=tuple(n.operator for n in region.members),
                reason=answer.reason, macs=None if work is None else work.total_macs,
                size_bytes=None if work is None else work.traffic_bytes,
            ))  # fmt: skip
    return Coverage(
        operators=operators, total_operators=sum(len(graph.nodes) for graph in graphs), macs=macs,
        size_bytes=size_bytes, unpriced=tuple(unpriced),
    )  # fmt: skip
