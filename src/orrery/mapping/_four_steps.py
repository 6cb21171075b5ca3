"""The four steps of locality-aware mapping as mappers of any workload on any system.

Models:  a workload in the terms of `LocalityProblem`: a region is a layer; each device keeps the
         configuration that does most of the network fastest; devices that run the same regions are
         of one kind, and a region that several kinds run belongs to the kind that does it fastest;
         chains are paths through the network, along the largest tensor; weights, inputs and
         results of a layer come from and go to the host, or a device's best link without one. What
         the steps decide (who, in which order) is then scheduled with its true transfers.
Ignores: in its decisions, all that `LocalityProblem` ignores. The plan ignores none of it.
Judge:   `check_locality` of the decisions; flow, price and replay of the plans (tests).

After Zhang et al., "H2H", DAC 2022 (arXiv 2204.13852); see `orrery.mapping.locality`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress

from ._baselines import best_alone, plan_of_trial
from ._build import explain_cover, explain_refusals
from ._greedy import usable_bytes
from ._schedule import Trial
from ._tables import Tables
from .locality import (
    LocalityProblem,
    LocalitySchedule,
    check_locality,
    four_steps,
    safe_four_steps,
    sequence_of,
)

#: combinations of ready layers and devices that the first step may have to try at once
_MOST_COMBINATIONS = 1_000_000

_WORD_BYTES = 4  #: the published flow counts words, whatever an element takes


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityCase:
    """A workload in the terms of the four steps.

    Attributes
    ----------
    configuration : per device, the number of the configuration it keeps
    """

    problem: LocalityProblem
    configuration: tuple[int, ...]


def four_steps_plan(
    tables: Tables, *, memory_share: float = 1.0, progress: Progress = SILENT
) -> Plan | Infeasible:
    """Map by the four steps in their dependency-safe form.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    case = locality_of(tables, memory_share=memory_share)
    if isinstance(case, Infeasible):
        return case
    found = safe_four_steps(case.problem, progress=progress)[-1]
    return _placed(case, found, tables, memory_share, "four-steps")


def published_four_steps_plan(
    tables: Tables, *, memory_share: float = 1.0, progress: Progress = SILENT
) -> Plan | Infeasible:
    """Map by the four steps as published; say how many rules the result breaks, if it does.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    case = locality_of(tables, memory_share=memory_share)
    if isinstance(case, Infeasible):
        return case
    found = four_steps(case.problem, progress=progress)[-1]
    # The flow adds and takes away the same seconds in different orders.
    faults = check_locality(case.problem, found, tolerance_s=1e-9 * max(found.end_s))
    if not faults:
        return _placed(case, found, tables, memory_share, "four-steps-published")
    rules = Counter(fault.rule for fault in faults)
    counted = ", ".join(f"{count}× {rule}" for rule, count in rules.most_common())
    return Infeasible(
        what=f"violations in the schedule of the published flow ({counted}; e.g. "
        f"{faults[0].what}), so the {found.makespan_s:.4g} s that it claims are not real",
        need=0.0, have=float(len(faults)), unit="violations",
        remedies=("use its repaired form, four-steps",),
    )  # fmt: skip


def locality_of(tables: Tables, *, memory_share: float = 1.0) -> LocalityCase | Infeasible:
    """Return a workload in the terms of the four steps, or why it has none."""
    if tables.refusals:
        return explain_refusals(tables)
    w, regions = tables.workload, range(len(tables.workload.regions))
    configuration = best_alone(tables)
    compute = tables.seconds[list(configuration)].T.copy()
    width, route_s = _own_way(tables)
    lost = [r for r in regions if not np.isfinite(compute[r]).any()]
    if lost:
        return explain_cover(tables, lost)
    kinds = _kinds(compute)
    compute = _typed(compute, kinds)
    edges = [(p, r) for r in regions for p in w.needs[r]]
    chain, place = _chains(tables)
    weights = [sum(w.weight_bytes[x] for x in set(w.weights[r])) for r in regions]
    inputs = [sum(w.size_bytes[t] for t in set(w.inputs[r])) for r in regions]
    outputs = [sum(w.size_bytes[t] for t in w.outputs[r]) for r in regions]
    capacity = usable_bytes(tables, memory_share)
    problem = LocalityProblem(
        layers=w.names, accelerators=tables.ends[: len(configuration)],
        kinds=tuple(f"kind {kind}" for kind in kinds), chain=chain, place=place,
        edges=tuple(edges), compute_s=compute, weight_s=_seconds(weights, width, route_s),
        input_s=_seconds(inputs, width, route_s), output_s=_seconds(outputs, width, route_s),
        weight_words=np.array([-(-size // _WORD_BYTES) for size in weights], np.int64),
        capacity_words=np.array([min(size // _WORD_BYTES, 2**62) for size in capacity], np.int64),
        power_w=np.zeros(len(configuration)),
    )  # fmt: skip
    most = _combinations(problem)
    if most > _MOST_COMBINATIONS:
        return Infeasible(
            what="layers that are ready at once, times the devices they may go to, all tried "
            "together by the first of the four steps", need=float(most),
            have=float(_MOST_COMBINATIONS), unit="combinations",
            remedies=("use a greedy method", "map fewer networks at once", "use fewer devices"),
        )  # fmt: skip
    return LocalityCase(problem=problem, configuration=configuration)


def _own_way(tables: Tables) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per device the bandwidth and latency to the host, or of its best way to another."""
    devices = len(tables.of_device)
    width, latency_s = np.full(devices, np.inf), np.zeros(devices)
    for device in range(devices):
        others = [tables.host] if tables.host >= 0 else [d for d in range(devices) if d != device]
        if others:  # else it is alone, and nothing ever travels
            best = max(others, key=lambda end: float(tables.width_bytes_per_s[device, end]))
            width[device] = tables.width_bytes_per_s[device, best]
            latency_s[device] = tables.route_s[device, best]
    return width, latency_s


def _seconds(
    sizes: Sequence[int], width: NDArray[np.float64], latency_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return layers × devices: what sending so many bytes takes; nothing for no bytes."""
    size = np.array(sizes, np.float64)[:, None]
    found: NDArray[np.float64] = np.where(size > 0, size / width + latency_s, 0.0)
    return found


def _kinds(compute: NDArray[np.float64]) -> tuple[int, ...]:
    """Return per device a number that devices which run the same layers share."""
    seen: dict[bytes, int] = {}
    return tuple(seen.setdefault(np.isfinite(column).tobytes(), len(seen)) for column in compute.T)


def _typed(compute: NDArray[np.float64], kinds: Sequence[int]) -> NDArray[np.float64]:
    """Leave every layer to the one kind that does it fastest."""
    of = np.array(kinds)
    best = of[np.argmin(compute, axis=1)]
    return np.where(of[None, :] == best[:, None], compute, np.inf)


def _chains(tables: Tables) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return chain and place per region: paths that follow the largest tensor not yet followed."""
    w = tables.workload
    chain, place, tails = list[int](), list[int](), dict[int, int]()
    count = 0
    for region, needs in enumerate(w.needs):
        size = {p: sum(w.size_bytes[t] for t in w.inputs[region] if w.producer[t] == p)
                for p in needs}  # fmt: skip
        open_ends = [p for p in needs if tails.get(chain[p]) == p]
        if open_ends:
            before = max(open_ends, key=lambda p: (size[p], p))
            chain.append(chain[before])
            place.append(place[before] + 1)
        else:
            chain.append(count)
            place.append(0)
            count += 1
        tails[chain[region]] = region
    return tuple(chain), tuple(place)


def _combinations(problem: LocalityProblem) -> int:
    """Return the most combinations that one round of the first step tries, about."""
    runs_on, producers = problem.runs_on, problem.producers()
    left = dict.fromkeys(range(len(problem.layers)))
    most = 0
    while left:
        ready: dict[tuple[int, ...], list[int]] = {}
        for layer in left:
            if not any(p in left for p in producers[layer]):
                ready.setdefault(runs_on[layer], []).append(layer)
        for devices, layers in ready.items():
            size = min(len(layers), len(devices))
            most = max(most, math.comb(len(layers), size) * len(devices) ** size)
            for layer in layers[:size]:
                del left[layer]
    return most


def _placed(
    case: LocalityCase, found: LocalitySchedule, tables: Tables, memory_share: float, searcher: str
) -> Plan | Infeasible:
    """Schedule what the steps decided with its true transfers, and write it as a plan."""
    trial = Trial(
        configuration=case.configuration, order=sequence_of(found, case.problem),
        mapping=found.assigned,
    )  # fmt: skip
    return plan_of_trial(trial, tables, searcher, memory_share=memory_share)
