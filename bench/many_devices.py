"""Sets among 64 and 512 devices under one switch: exact search, price, replay, check."""

from __future__ import annotations

import time
from dataclasses import replace

from orrery.accel import resolve
from orrery.cost import CostModel, price, roofline
from orrery.graph import build_model
from orrery.hardware import System, load_system
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import best_series, fill_problem
from orrery.plan import Plan
from orrery.sim import replay_certified

from ._record import Figure

#: devices -> sizes of sets that are allowed; all sizes would ask for days
CASES = {64: (1, 2, 4, 8, 16, 32, 64), 512: (8, 64)}


def figures(network: str = "resnet34", system: str = "aws-f1") -> list[Figure]:
    """Map a network onto many copies of a catalogue device joined by one switch."""
    return [figure for count in CASES for figure in _case(network, system, count)]


def switched(system: str, count: int) -> System:
    """Return copies of a system's first device, each with a link to one switch, as to the host."""
    whole = load_system(system)
    between = next(link for link in whole.links if whole.host not in link.ends)
    to_host = next(link for link in whole.links if whole.host in link.ends)
    devices = tuple(
        replace(whole.devices[0], name=f"device{number:03}", group="") for number in range(count)
    )
    links = tuple(
        replace(between, name=f"port{number:03}", ends=(device.name, "switch"))
        for number, device in enumerate(devices)
    )
    up = replace(to_host, name="host port", ends=("switch", whole.host or "host"))
    return replace(whole, name=f"switch-{count}", devices=devices, links=(*links, up))


def _case(network: str, system: str, count: int) -> list[Figure]:
    graph, machine = build_model(network), switched(system, count)
    models: dict[str, CostModel] = {"": roofline}
    models |= {name: resolve(name).cost for name in machine.devices[0].designs}
    started = time.process_time()
    tables = fill_tables(number_workload([graph]), machine, models)
    routed = time.process_time()
    problem = fill_problem(tables, models, tables.capacity_bytes, sizes=CASES[count], shared=False)
    filled = time.process_time()
    plan = best_series(problem)
    solved = time.process_time()
    if not isinstance(plan, Plan) or plan.lower_bound_s is None:
        raise RuntimeError(f"{network} on {machine.name}: no plan: {plan}")
    cost = price(plan, [graph], machine, models)
    timeline, certificate = replay_certified(
        plan,
        [graph],
        machine,
        lambda a, party, turn: cost.steps[a.region].party_s[turn][party],
        expansion=cost.expansion,
    )
    replayed = time.process_time()
    makespan = timeline.makespan_s
    parts = (
        f"routes {routed - started:.1f} s, tables {filled - routed:.1f} s, search "
        f"{solved - filled:.1f} s, price and replay {replayed - solved:.1f} s of CPU; sets of "
        f"{', '.join(map(str, CASES[count]))}; {len(certificate.deliveries)} messages"
    )
    name = f"{network} on {count} devices"
    gap = 100 * (makespan / plan.lower_bound_s - 1)
    return [
        Figure(name=f"{name}: exact sets to replay", value=replayed - started, unit="s",
               runs=(replayed - started,), note=parts),
        Figure(name="… replayed makespan", value=1e3 * makespan, unit="ms",
               runs=(1e3 * makespan,), note=plan.bound),
        Figure(name="… above the bound", value=gap, unit="%", runs=(gap,)),
    ]  # fmt: skip
