"""Exact mapping of whole regions, for networks of up to a few dozen regions of any shape.

Models:  what `_dag_model` says, searched to the end by constraint programming: first with shared
         links, which gives the bound and often the plan too; then, where that plan takes longer
         than the bound, with one transfer at a time on each link, for a better plan. Every solution
         is timed again with the real durations before anybody is told how long it takes.
Ignores: splitting regions. Runs of regions are not fused first, though only their ends meet other
         devices: between two of them a device may well serve another branch, and the optimum would
         be lost.
Judge:   replays of all plans (devices, configurations, homes and orders) of small random networks.

Activations are held to the memory limit at the instants of the search. A plan says orders and no
instants, so each solution is checked again at the times that its orders give; what is too big then
is dropped, and the search may end with a gap although the model is solved. A proof that activations
cannot fit at all may take longer than any limit; then it is said that nothing is proved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from orrery.certificate import WHOLE_LAYERS
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.settings import require, setting, to_record

from ._build import build_plan
from ._dag_bound import dag_bound, rounding_s
from ._dag_model import DagModel, Placement, interchangeable, roomy, sendings
from ._greedy import GreedySearch, greedy_schedules, usable_bytes
from ._memory import Occupancy
from ._schedule import Schedule, Sent
from ._solver import Limits, Verdict, constraint_programming, solve
from ._tables import LONGEST_S, Tables

#: Units of time in the best known schedule: fine enough that rounding is lost in the gap's digits.
RESOLUTION = 2**30
#: Where live activations count, coarse first: the solver proves that memory is short by shifting
#: times one unit after the other, which in fine units takes for ever.
COARSE, FINE = 2**12, 2**20
_KEPT = 8
_Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DagSearch:
    """Settings of the exact mapper of whole regions."""

    work: float = setting(
        20.0, "Deterministic work units (about seconds of one core) after which the search stops."
    )
    limit_s: float = setting(
        60.0, "Wall-clock seconds after which the search stops; 0: never. Where it strikes, the "
        "result depends on the machine."
    )  # fmt: skip
    workers: int = setting(1, "Threads of the solver; they take turns, so results repeat.")
    memory_share: float = setting(
        1.0, "Share of each device's off-chip memory that weights and activations may take."
    )
    seed: int = setting(0, "Seed of the solver's random choices.")

    def __post_init__(self) -> None:
        require(
            "exact mapper", self, work=("above 0", self.work > 0),
            limit_s=("0 or more", self.limit_s >= 0), workers=("one or more", self.workers >= 1),
            memory_share=("above 0, at most 1", 0.0 < self.memory_share <= 1.0),
            seed=("0 or more, below 2^31", 0 <= self.seed < 2**31),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A plan and how good it is known to be.

    Attributes
    ----------
    makespan_s : of the plan: the judge's seconds; without a judge, each link carrying one transfer
        at a time
    lower_bound_s, bound : what no plan takes less than, and of which plans that is proved
    status : ``optimal`` (gap within rounding), ``feasible`` (a gap is left), ``interrupted``
    work : deterministic work units spent
    """

    plan: Plan
    makespan_s: float
    lower_bound_s: float
    bound: str
    status: str
    work: float

    @property
    def gap(self) -> float:
        """By how much of the makespan a better plan might be faster, 0 to 1."""
        if self.makespan_s <= 0:
            return 0.0
        return max(0.0, 1.0 - self.lower_bound_s / self.makespan_s)


def exact_dag(
    tables: Tables,
    settings: DagSearch = DagSearch(),
    *,
    progress: Progress = SILENT,
    judge: Callable[[Plan], float] | None = None,
) -> Certified | Infeasible:
    """Map whole regions so that all are done as early as possible, and prove it.

    Parameters
    ----------
    tables : filled
    settings : how long to search
    progress : told of best and bound; when it is cancelled, the best plan so far is returned
    judge : seconds that a plan takes, e.g. by replay; decides among the last solutions

    Returns
    -------
    Certified or Infeasible
        Infeasible when no plan exists, or none was found within the limits.

    Raises
    ------
    MissingExtraError : OR-Tools is not installed
    """
    constraint_programming()
    warm = greedy_schedules(tables, GreedySearch(memory_share=settings.memory_share),
                            progress=progress)  # fmt: skip
    if isinstance(warm, Infeasible) and tables.refusals:
        return warm
    capacity = usable_bytes(tables, settings.memory_share)
    known = [] if isinstance(warm, Infeasible) else list(warm[:_KEPT])
    simple = dag_bound(tables, memory_share=settings.memory_share)
    if simple.value_s == math.inf and isinstance(warm, Infeasible):
        return warm
    limit_s = known[0].makespan_s if known else _serial_s(tables)
    if limit_s > LONGEST_S and isinstance(warm, Infeasible):
        return warm
    tight = not all(roomy(tables, size) for size in capacity)
    lower_s, spent, resolution, proved = simple.value_s, 0.0, RESOLUTION, False
    steps = [(COARSE, 0.25), (FINE, 0.75)] if tight else [(RESOLUTION, 1.0)]
    hair_s = 2 * rounding_s(tables)
    for (resolution, part), exclusive in product(steps, (False, True)):
        first = known[0].makespan_s if known else limit_s
        if exclusive and known and first - lower_s <= 2 * first / resolution + hair_s:
            continue
        round_ = _Round(tables, capacity, settings, unit_s=first / resolution if first > 0 else 1.0,
                        spent=spent, least_s=lower_s, limit_s=first, part=part / 2,
                        exclusive=exclusive)  # fmt: skip
        verdict, found = round_.search(known[0] if known else None, progress)
        spent += verdict.work
        if verdict.status == "infeasible" and not exclusive:
            proved = not known
            lower_s = max(lower_s, first if known else lower_s)
        elif not exclusive:
            lower_s = max(lower_s, verdict.bound * round_.unit_s - rounding_s(tables))
        timed = [timed_schedule(placement, tables) for placement in reversed(found)]
        known += [s for s in timed if _fits(s, tables, capacity) and s.makespan_s <= LONGEST_S]
        known.sort(key=lambda schedule: schedule.makespan_s)
        # Without a plan by now, fine units would only take longer.
        stop = verdict.interrupted or spent >= settings.work
        if stop or proved or (exclusive and not known):
            break
    if not known:
        return _nothing(warm, proved, tables)
    verdict = replace(verdict, work=spent)
    return _certify(known, lower_s, verdict, tables, settings, resolution, judge)


class _Round:
    """One search of the model in one unit of time."""

    def __init__(
        self, tables: Tables, capacity: Sequence[int], settings: DagSearch, *, unit_s: float,
        spent: float, least_s: float, limit_s: float, part: float, exclusive: bool,
    ) -> None:  # fmt: skip
        self.tables, self.capacity, self.unit_s, self.exclusive = (
            tables,
            capacity,
            unit_s,
            exclusive,
        )
        work = settings.work - spent
        self.limits = Limits(work=max(work if exclusive else work / 2, 1e-3),
                             seconds=settings.limit_s * part, workers=settings.workers,
                             seed=settings.seed)  # fmt: skip
        horizon = math.floor(limit_s / unit_s) + 1
        # A bound is a sum of real durations: of rounded ones there may be a unit less for each.
        slack = 2 * len(tables.workload.regions) + 2 * len(tables.workload.tensors) + 2
        least = math.floor(least_s / unit_s * (1 - 1e-9)) - slack
        self.model = DagModel(
            tables, capacity, unit_s=unit_s, exclusive=exclusive, horizon=horizon,
            least=max(0, least),
        )  # fmt: skip

    def search(
        self, start: Schedule | None, progress: Progress
    ) -> tuple[Verdict, list[Placement]]:  # fmt: skip
        """Return the verdict and the last few solutions."""
        model, found = self.model, list[Placement]()
        if start is not None:
            first = _canonical(_placement(start, self.tables), self.tables, self.capacity)
            model.hint(first, _whole(first, self.tables, model.units, self.exclusive))

        def keep(value: Callable[[Any], int], objective: float) -> None:
            del objective
            found.append(model.read(value))
            del found[:-_KEPT]

        verdict = solve(model.model, self.limits, found=keep, task="exact mapping",
                        progress=progress, scale=self.unit_s)  # fmt: skip
        return verdict, found


def _nothing(warm: Infeasible | list[Schedule], proved: bool, tables: Tables) -> Infeasible:
    """Say why there is no plan: proved, or only not found."""
    reason = warm if isinstance(warm, Infeasible) else Infeasible(
        what=f"time of the best plan on {tables.system.name}", need=math.inf, have=LONGEST_S,
        unit="s", remedies=("correct the rates and bandwidths of the system",),
    )  # fmt: skip
    if proved:
        return replace(reason, what=f"{reason.what} (proved: no whole-region plan exists)")
    return replace(
        reason, what=f"{reason.what} (not proved: the search ended first)",
        remedies=("let the exact search work longer", *reason.remedies),
    )  # fmt: skip


def _certify(
    schedules: Sequence[Schedule],
    lower_s: float,
    verdict: Verdict,
    tables: Tables,
    settings: DagSearch,
    resolution: int,
    judge: Callable[[Plan], float] | None,
) -> Certified:
    record = to_record(settings)
    ranked = sorted(schedules, key=lambda schedule: schedule.makespan_s)
    lower_s = min(lower_s, ranked[0].makespan_s)  # sums in another order differ in the last digit

    def plan_of(schedule: Schedule) -> Plan:
        plan = build_plan(schedule, tables, searcher="exact", settings=record)
        return replace(plan, seed=settings.seed, lower_bound_s=lower_s, bound=WHOLE_LAYERS)

    best, plan = ranked[0], plan_of(ranked[0])
    makespan_s = best.makespan_s
    if judge is not None:
        plans = [plan_of(schedule) for schedule in ranked]
        judged = [judge(plan) for plan in plans]
        chosen = min(range(len(plans)), key=judged.__getitem__)
        if judged[chosen] < math.inf:
            best, makespan_s = ranked[chosen], judged[chosen]
            plan = replace(plans[chosen], predicted_latency_s=makespan_s)
    rounding = 2 * (len(best.device) + len(best.sent) + 1) / resolution
    if verdict.interrupted and verdict.status != "optimal":
        status = "interrupted"
    else:
        close = makespan_s - lower_s <= rounding * makespan_s + 2 * rounding_s(tables)
        status = "optimal" if close else "feasible"
    return Certified(plan=plan, makespan_s=makespan_s, lower_bound_s=lower_s, bound=WHOLE_LAYERS,
                     status=status, work=verdict.work)  # fmt: skip


def _serial_s(tables: Tables) -> float:
    """Return seconds in which everything surely is done, one thing after the other."""
    w, t = tables.workload, tables
    finite = [[s for s in column if s != math.inf] for column in t.seconds.T.tolist()]
    total = float(sum(max(column) for column in finite))
    ends = range(len(t.ends))
    for size in w.size_bytes:
        ways = [
            size / float(t.width_bytes_per_s[i, j]) + float(t.route_s[i, j])
            for i in ends for j in ends if i != j and t.route_links[i][j] is not None
        ]  # fmt: skip
        total += max(ways, default=0.0) * len(ends)
    return total


# -- times from orders ----------------------------------------------------------------------------


def _placement(schedule: Schedule, tables: Tables) -> Placement:
    """Return what a schedule says without its times being binding."""
    w, home = tables.workload, dict[int, int]()
    when: dict[_Key, tuple[float, float]] = {
        (r, -1, -1): (schedule.start_s[r], schedule.end_s[r]) for r in range(len(w.regions))
    }
    for sent in schedule.sent:
        when[sent.tensor, sent.source, sent.target] = sent.start_s, sent.arrival_s
        if w.producer[sent.tensor] < 0:
            home[sent.tensor] = sent.source
    for tensor, readers in enumerate(w.consumers):
        if w.producer[tensor] < 0 and readers and (tensor in w.states or tables.host < 0):
            home.setdefault(tensor, schedule.device[readers[0]])
    return Placement(configuration=schedule.configuration, device=schedule.device, home=home,
                     when=when)  # fmt: skip


def _canonical(placement: Placement, tables: Tables, capacity: Sequence[int]) -> Placement:
    """Exchange interchangeable devices so that they are taken into use in their order."""
    to = list(range(len(tables.ends)))
    for members in interchangeable(tables, capacity):
        used = [d for d in dict.fromkeys(placement.device) if d in members]
        for device, name in zip([*used, *(d for d in members if d not in used)], members,
                                strict=True):  # fmt: skip
            to[device] = name
    rows = list(placement.configuration)
    for device, row in enumerate(placement.configuration):
        rows[to[device]] = tables.of_device[to[device]][tables.of_device[device].index(row)]
    return Placement(
        configuration=tuple(rows), device=tuple(to[d] for d in placement.device),
        home={tensor: to[d] for tensor, d in placement.home.items()},
        when={
            (x, s if s < 0 else to[s], e if e < 0 else to[e]): times
            for (x, s, e), times in placement.when.items()
        },
    )  # fmt: skip


def _ordered(placement: Placement, tables: Tables) -> list[_Key]:
    """Return regions and transfers in an order that respects starts, needs and numbering."""
    producer = tables.workload.producer

    def key(entry: _Key) -> tuple[float, float, int, int]:
        x, source, _ = entry
        # What starts and ends with what it waits for: both take no time, and numbers decide.
        number = (x, 0) if source < 0 else (producer[x], 1)
        return *placement.when[entry], *number

    return sorted(placement.when, key=key)


def _play(
    placement: Placement,
    tables: Tables,
    spent: Callable[[int], Any],
    way: Callable[[_Key], tuple[Any, Any]],
    *,
    exclusive: bool,
) -> dict[_Key, tuple[Any, Any]]:
    """Return start and end of everything, each as early as the given order allows.

    `spent` and `way` give the duration of a region, and of a transfer without and with its latency,
    in any kind of number.
    """
    w, times = tables.workload, dict[_Key, tuple[Any, Any]]()
    device_free: dict[int, Any] = {}
    channel_free: dict[int, Any] = {}
    arrival: dict[tuple[int, int], Any] = {}
    for entry in _ordered(placement, tables):
        x, source, target = entry
        if source < 0:
            device = placement.device[x]
            begin = device_free.get(device, 0)
            for tensor in w.inputs[x]:
                producer = w.producer[tensor]
                made = times[producer, -1, -1][1] if producer >= 0 else 0
                begin = max(begin, arrival.get((tensor, device), made))
            device_free[device] = begin + spent(x)
            times[entry] = begin, device_free[device]
            continue
        producer = w.producer[x]
        begin = times[producer, -1, -1][1] if producer >= 0 else 0
        taken, whole = way(entry)
        channels = tables.route_channels[source][target] if exclusive and taken > 0 else ()
        begin = max([begin, *(channel_free.get(channel, 0) for channel in channels)])
        for channel in channels:
            channel_free[channel] = begin + taken
        times[entry] = begin, begin + whole
        arrival[x, target] = begin + whole
    return times


def _whole(
    placement: Placement, tables: Tables, units: Callable[[float], int], exclusive: bool
) -> dict[_Key, int]:
    """Return starts in whole units, durations rounded down."""
    times = _play(
        placement, tables, lambda r: units(_seconds(placement, tables, r)),
        lambda entry: _pair(units(x) for x in _way(tables, entry)), exclusive=exclusive,
    )  # fmt: skip
    return {entry: int(begin) for entry, (begin, _) in times.items()}


def _pair(values: Any) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _seconds(placement: Placement, tables: Tables, region: int) -> float:
    return float(tables.seconds[placement.configuration[placement.device[region]], region])


def _way(tables: Tables, entry: _Key) -> tuple[float, float]:
    tensor, source, target = entry
    taken = tables.workload.size_bytes[tensor] / float(tables.width_bytes_per_s[source, target])
    return taken, taken + float(tables.route_s[source, target])


def timed_schedule(placement: Placement, tables: Tables) -> Schedule:
    """Return a placement with its real times, each link carrying one transfer at a time."""
    w = tables.workload
    regions = range(len(w.regions))
    times = _play(
        placement, tables, lambda r: _seconds(placement, tables, r),
        lambda entry: _way(tables, entry), exclusive=True,
    )  # fmt: skip
    waiting = sendings(tables, placement.device, placement.home)
    sent = [
        Sent(tensor=x, source=s, target=e, start_s=times[x, s, e][0], arrival_s=times[x, s, e][1],
             consumers=consumers)
        for (x, s, e), consumers in waiting.items()
    ]  # fmt: skip
    held: Mapping[int, set[int]] = {d: set() for d in range(len(tables.of_device))}
    for region in regions:
        held[placement.device[region]].update(w.weights[region])
    states: list[set[int]] = [set() for _ in tables.of_device]
    for region in regions:
        states[placement.device[region]] |= {t for t in w.inputs[region] if t in w.states}
    return Schedule(
        configuration=placement.configuration, device=placement.device,
        start_s=tuple(float(times[r, -1, -1][0]) for r in regions),
        end_s=tuple(float(times[r, -1, -1][1]) for r in regions),
        sent=tuple(sorted(sent, key=lambda s: s.start_s)),
        resident_bytes=tuple(
            sum(w.weight_bytes[x] for x in held[d]) + sum(w.size_bytes[x] for x in states[d])
            for d in range(len(tables.of_device))
        ),
        makespan_s=max((float(end) for _, end in times.values()), default=0.0),
    )  # fmt: skip


def _fits(schedule: Schedule, tables: Tables, capacity: Sequence[int]) -> bool:
    """Say whether residents and live activations fit into every memory at every instant."""
    w = tables.workload
    lies: dict[tuple[int, int], list[float]] = {}  # (tensor, device) -> begin, finish

    def lie(tensor: int, device: int, begin: float, finish: float) -> None:
        life = lies.setdefault((tensor, device), [begin, finish])
        life[0], life[1] = min(life[0], begin), max(life[1], finish)

    for region, device in enumerate(schedule.device):
        begin, end = schedule.start_s[region], schedule.end_s[region]
        for tensor in w.inputs[region]:
            begins = 0.0 if w.producer[tensor] < 0 and device == tables.host else begin
            lie(tensor, device, begins, end)
        for tensor in w.outputs[region]:
            leaves = tensor in w.results and tables.host >= 0
            lie(tensor, device, begin, end if leaves or w.consumers[tensor] else math.inf)
            if tensor in w.results and tables.host in (-1, device):
                lie(tensor, device, begin, math.inf)
    for sent in schedule.sent:
        lie(sent.tensor, sent.source, sent.start_s, sent.arrival_s)
        stays = not sent.consumers and w.producer[sent.tensor] >= 0
        lie(sent.tensor, sent.target, sent.start_s, math.inf if stays else sent.arrival_s)
    memories = [Occupancy(size) for size in capacity]
    for device, size in enumerate(schedule.resident_bytes):
        memories[device].resident_bytes = size
    for (tensor, device), (begin, finish) in lies.items():
        if tensor in w.states or device >= len(memories):
            continue
        size, state = w.size_bytes[tensor], w.grown.get(tensor)
        if state is not None and any(
            schedule.device[reader] == device for reader in w.consumers[state]
        ):
            size -= w.size_bytes[state]
        memories[device].allocate(begin, size)
        if finish < math.inf:
            memories[device].free(finish, size)
    return all(memory.peak() <= memory.capacity_bytes for memory in memories)
