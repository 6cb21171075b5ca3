"""How much each device must hold at once while a plan runs.

Models:  weights and states resident from start to end, each once per device; an activation from its
         making (or the start of its transfer) to the end of its last use there; views (reshapes)
         share the bytes of what they look at; results stay to the end of their last use.
Ignores: work space inside kernels, fragmentation, on-chip memories.
Judge:   closed forms on chains; a naive count at every instant (tests).
"""

from __future__ import annotations

from collections.abc import Mapping

from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Infeasible, Plan

from ._plan_order import PlanTimes
from ._plan_regions import PlannedRegion
from ._work import moves_nothing

_Tensor = tuple[int, str]  #: number of the network in the plan, name of the tensor in it


def peak_memory(
    plan: Plan, regions: Mapping[str, PlannedRegion], system: System, times: PlanTimes
) -> tuple[dict[str, int], tuple[Infeasible, ...]]:
    """Return the peak per device, and what does not fit into its off-chip memory."""
    resident = _resident(plan, regions)
    lives = _lives(plan, regions, times, resident)
    changes: dict[str, list[tuple[float, int, int]]] = {}
    for (device, _), (start, end, size_bytes) in lives.items():
        # At one instant what ends is freed before what begins is made.
        changes.setdefault(device, []).append((start, 1, size_bytes))
        changes[device].append((end, 0, -size_bytes))
    peaks, short = {}, []
    for device in dict.fromkeys((*resident, *changes)):
        if device not in {d.name for d in system.devices}:
            continue  # a host that computes nothing for us has no memory here
        fixed = sum(resident.get(device, {}).values())
        most = now = fixed
        for _, _, change in sorted(changes.get(device, ())):
            now += change
            most = max(most, now)
        peaks[device] = most
        memory = system.device(device).offchip
        if most > memory.size_bytes:
            short.append(Infeasible(
                what=f"weights and live activations in {device}.{memory.name}",
                need=most, have=memory.size_bytes, unit="bytes",
                remedies=(
                    ("place fewer weights there: use more devices",)
                    if fixed > memory.size_bytes else ("halve the batch",)
                ) + ("use a device with more memory",),
            ))  # fmt: skip
    return peaks, tuple(short)


def _resident(plan: Plan, regions: Mapping[str, PlannedRegion]) -> dict[str, dict[_Tensor, int]]:
    """Return per device the bytes of each weight and state it keeps."""
    found: dict[str, dict[_Tensor, int]] = {}
    for assignment in plan.assignments:
        planned = regions[assignment.region]
        region, graph = planned.region, planned.region.graph
        mine = found.setdefault(assignment.device, {})
        for tensor in (*region.weights, *(t for t in region.inputs if t in graph.states)):
            mine[planned.network, tensor] = graph.known_bytes(tensor) or 0
        # Constants inside bodies have no name outside; a line feed keeps theirs apart.
        for number, constant in enumerate(region.inner_constants):
            mine[planned.network, f"{region.name}\n{number}"] = constant.type.size_bytes
    return found


def _lives(
    plan: Plan, regions: Mapping[str, PlannedRegion], times: PlanTimes,
    resident: Mapping[str, Mapping[_Tensor, int]],
) -> dict[tuple[str, _Tensor], tuple[float, float, int]]:  # fmt: skip
    """Return (device, tensor) -> begin, end and bytes of each activation."""
    lives: dict[tuple[str, _Tensor], tuple[float, float, int]] = {}

    def extend(device: str, planned: PlannedRegion, tensor: str, start: float, end: float) -> None:
        graph = planned.region.graph
        root = _root(graph, tensor)
        key = (device, (planned.network, root))
        if root in graph.constants or key[1] in resident.get(device, {}):
            return
        size = graph.known_bytes(root) or 0
        state = graph.grown_from(root)
        if state is not None and (planned.network, state) in resident.get(device, {}):
            size -= graph.known_bytes(state) or 0  # the rest lies in the state
        begin, finish, size_bytes = lives.get(key, (start, end, size))
        lives[key] = (min(begin, start), max(finish, end), size_bytes)

    senders = {transfer.producer for transfer in plan.transfers}
    for assignment in plan.assignments:
        planned = regions[assignment.region]
        start, end = times.starts_s[assignment.region], times.ends_s[assignment.region]
        for tensor in planned.region.inputs:
            extend(assignment.device, planned, tensor, start, end)
        for tensor in planned.region.outputs:
            # A result that nobody sends away stays where it was made.
            stays = tensor in planned.region.graph.outputs and assignment.region not in senders
            extend(assignment.device, planned, tensor, start, times.makespan_s if stays else end)
    for transfer, sent, arrivals in zip(plan.transfers, times.sent_s, times.arrivals_s):
        named = transfer.producer or next(iter(transfer.consumers), None)
        if named is None:
            continue  # an input that nobody reads
        planned = regions[named]
        tensor = transfer.tensor[len(planned.prefix) :]
        extend(transfer.source, planned, tensor, sent, max(arrivals.values(), default=sent))
        for target, arrival in arrivals.items():
            extend(target, planned, tensor, sent, arrival)
    return lives


def _root(graph: Graph, tensor: str) -> str:
    """Return the tensor whose bytes this one looks at (itself, unless it is a view)."""
    while True:
        node = graph.producer(tensor)
        if node is None or not moves_nothing(graph, node) or not node.inputs:
            return tensor
        if node.op in ("Shape", "Size", "Constant"):
            return tensor
        tensor = node.inputs[0]
