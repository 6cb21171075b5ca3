"""Simple mappers to compare with, on the same tables: load balancing, random, one device.

Models:  `balanced`: layer by layer in the network's order, each to the device where it would be
         done first if links were never busy, the less loaded one when that is equal (the
         scheduler of Kwon et al., "Heterogeneous Dataflow Accelerators for Multi-DNN Workloads",
         HPCA 2021, in our words: dependences and device queues count, link contention does not);
         `random_mapping`: the best of many draws; `single_device`: everything in one place. Every
         choice is then scheduled with its transfers on the links, like any other plan.
Ignores: whatever a searcher would do about a bad choice.
Judge:   `orrery.cost.check_flow`, `price` and replay of every plan; bounds and exact optima.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orrery.errors import SpecError
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress

from ._build import build_plan, explain_cover, explain_refusals, explain_shortage, explain_time
from ._greedy import mend_cover, usable_bytes
from ._memory import Shortage
from ._schedule import Schedule, Scheduler, Trial
from ._tables import LONGEST_S, Tables


def balanced(tables: Tables, *, memory_share: float = 1.0) -> Plan | Infeasible:
    """Map region by region to where each is done first, links taken to be free.

    Each device keeps the configuration that does the whole network fastest (what it refuses at the
    price of the slowest). Weights count against memory while choosing.
    """
    if tables.refusals:
        return explain_refusals(tables)
    configuration = best_alone(tables)
    w, t = tables.workload, tables
    devices = range(len(t.of_device))
    left = usable_bytes(tables, memory_share)
    held: list[set[int]] = [set() for _ in devices]
    free, home = [0.0] * len(devices), dict[int, int]()
    made: dict[int, float] = {}
    mapping: list[int] = []
    for region in range(len(w.regions)):
        choices = []
        for device in devices:
            seconds = float(t.seconds[configuration[device], region])
            weights = sum(w.weight_bytes[x] for x in w.weights[region] if x not in held[device])
            if seconds == math.inf:
                continue
            ready = max((_arrival(t, tensor, device, home, made) for tensor in w.inputs[region]),
                        default=0.0)  # fmt: skip
            end = max(free[device], ready) + seconds
            choices.append((weights > left[device], end, free[device], device, weights))
        if not choices:
            return explain_cover(tables, [region])
        _, end, _, device, weights = min(choices)
        mapping.append(device)
        free[device] = end
        left[device] -= weights
        held[device].update(w.weights[region])
        for tensor in w.inputs[region]:
            if w.producer[tensor] < 0 and (tensor in w.states or t.host < 0):
                home.setdefault(tensor, device)
        for tensor in w.outputs[region]:
            home[tensor], made[tensor] = device, end
    trial = Trial(configuration=configuration, order=range(len(mapping)), mapping=mapping)
    return plan_of_trial(trial, tables, "balanced", memory_share=memory_share)


def _arrival(
    tables: Tables, tensor: int, device: int, home: dict[int, int], made: dict[int, float]
) -> float:
    """Return when a tensor could be on a device if nothing else travelled."""
    source = home.get(tensor, -1 if tensor in tables.workload.states else tables.host)
    if source in (-1, device):
        return made.get(tensor, 0.0)
    way = tables.workload.size_bytes[tensor] / float(tables.width_bytes_per_s[source, device])
    return made.get(tensor, 0.0) + way + float(tables.route_s[source, device])


def random_mapping(
    tables: Tables,
    *,
    draws: int = 100,
    seed: int = 0,
    memory_share: float = 1.0,
    progress: Progress = SILENT,
) -> Plan | Infeasible:
    """Draw a configuration per device and a device per region, many times; keep the best.

    Raises
    ------
    SpecError : fewer than one draw
    CancelledError : the user asked to stop before a first plan was found
    """
    if draws < 1:
        raise SpecError("random mapping: draws", found=draws, wanted="one or more",
                        fix="correct the setting")  # fmt: skip
    if tables.refusals:
        return explain_refusals(tables)
    capacity = usable_bytes(tables, memory_share)
    scheduler, chance = Scheduler(tables, capacity), random.Random(seed)
    regions = range(len(tables.workload.regions))
    finite = (tables.seconds < math.inf).tolist()
    best: Schedule | None = None
    short: Shortage | None = None
    uncovered: list[int] = []
    for draw in range(draws):
        if best is not None and progress.cancelled():
            break
        progress.step("random mapping", draw, draws, best=best.makespan_s if best else None)
        configuration = tuple(chance.choice(rows) for rows in tables.of_device)
        able = [[d for d, row in enumerate(configuration) if finite[row][r]] for r in regions]
        lacking = [r for r in regions if not able[r]]
        if lacking:
            uncovered = lacking if not uncovered or len(lacking) < len(uncovered) else uncovered
            continue
        mapping = [chance.choice(devices) for devices in able]
        trial = Trial(configuration=configuration, order=regions, mapping=mapping)
        try:
            schedule = scheduler.schedule(trial)
        except Shortage as missing:
            short = missing
            continue
        if best is None or schedule.makespan_s < best.makespan_s:
            best = schedule
    if best is None:
        if short is not None:
            return explain_shortage(short, tables, capacity)
        return explain_cover(tables, uncovered)
    record: dict[str, str | int | float | bool] = {
        "draws": draws, "seed": seed, "memory_share": memory_share
    }  # fmt: skip
    return _plan(best, tables, "random", record)


def single_device(
    tables: Tables, *, memory_share: float = 1.0, judge: Callable[[Plan], Any] | None = None
) -> Plan | Infeasible:
    """Map everything to the one device, in the one configuration, that is best.

    Parameters
    ----------
    judge : what a plan takes, the less the better; without it, how soon all is done. Devices that
        are alike in everything, their ways to the host included, are judged once.
    """
    if tables.refusals:
        return explain_refusals(tables)
    capacity = usable_bytes(tables, memory_share)
    scheduler = Scheduler(tables, capacity)
    regions = len(tables.workload.regions)
    found: list[tuple[Schedule, str]] = []
    short: Shortage | None = None
    complete = False
    for device, configuration in _each_alone(tables):
        complete = True
        trial = Trial(configuration=configuration, order=range(regions), mapping=[device] * regions)
        try:
            schedule = scheduler.schedule(trial)
        except Shortage as missing:
            short = missing
            continue
        found.append((schedule, f"{schedule.makespan_s} {_likeness(tables, device)}"))
    found.sort(key=lambda pair: pair[0].makespan_s)
    record: dict[str, str | int | float | bool] = {"memory_share": memory_share}
    if found and judge is None:
        return _plan(found[0][0], tables, "single device", record)
    if found and judge is not None:
        unlike = {key: schedule for schedule, key in reversed(found)}
        plans = [_plan(one, tables, "single device", record) for one in unlike.values()]
        able = [plan for plan in plans if isinstance(plan, Plan)]
        return min(able, key=judge) if able else plans[0]
    if complete and short is not None:
        return explain_shortage(short, tables, capacity)
    covered = (tables.seconds < math.inf).sum(axis=1)
    row = int(covered.argmax())
    return explain_cover(tables, [r for r in range(regions) if tables.seconds[row, r] == math.inf])


def _likeness(tables: Tables, device: int) -> str:
    """Return text that is equal for devices that nothing but their names tells apart."""
    system = tables.system
    one = system.device(tables.ends[device])
    way = (system.route(system.host, one.name) or ()) if system.host else ()
    links = [replace(link, name="", ends=("a", "b")) for link in way]
    return repr((replace(one, name="", group=""), links))


def _each_alone(tables: Tables) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each device and configuration that runs every region; equal devices each by itself."""
    first = [rows[0] for rows in tables.of_device]
    for device, rows in enumerate(tables.of_device):
        for row in rows:
            if (tables.seconds[row] < math.inf).all():
                yield device, (*first[:device], row, *first[device + 1 :])


def best_alone(tables: Tables) -> tuple[int, ...]:
    """Return per device the configuration that covers most regions, then takes least for all.

    Changed one by one while that lets more regions run somewhere.
    """

    def merit(row: int) -> tuple[int, float]:
        seconds = tables.seconds[row]
        able = seconds < math.inf
        return int((~able).sum()), float(seconds[able].sum())

    return mend_cover(tables, [min(rows, key=merit) for rows in tables.of_device])


def plan_of_trial(
    trial: Trial, tables: Tables, searcher: str, *, memory_share: float
) -> Plan | Infeasible:
    """Schedule what was decided with its true transfers, and write it as a plan."""
    capacity = usable_bytes(tables, memory_share)
    try:
        schedule = Scheduler(tables, capacity).schedule(trial)
    except Shortage as short:
        return explain_shortage(short, tables, capacity)
    return _plan(schedule, tables, searcher, {"memory_share": memory_share})


def _plan(
    schedule: Schedule,
    tables: Tables,
    searcher: str,
    record: Mapping[str, str | int | float | bool],
) -> Plan | Infeasible:
    if schedule.makespan_s > LONGEST_S:
        return explain_time(schedule.makespan_s, tables)
    return build_plan(schedule, tables, searcher=searcher, settings=record)
