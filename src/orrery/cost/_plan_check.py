"""Whether a plan does what its networks ask for: nothing left out, and every tensor delivered.

Models:  every node in exactly one region; every tensor read where it is, or brought there by
         transfers of its true size that begin where it is made or starts; network inputs start on
         the host, or without one on a device that needs them; results end on the host; states
         start on a device that needs them and their next values end there; weights and states are
         resident where they are read. In a split plan, splits that their regions can have, and no
         transfers: what moves is derived.
Ignores: times and capacities; whether orders contradict each other (`plan_times` and replay say);
         an input that is returned as it is, as a result or as a state's next value, needs no way.
Judge:   plans of the searcher on many networks and systems pass, and every single edit of one that
         changes what it says is refused (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.plan import Plan, Transfer

from ._expand import Expansion
from ._plan_regions import PlannedRegion, plan_regions
from .split import check_split

_AGAIN = "make the plan again"


@dataclass(slots=True, kw_only=True)
class _Tensor:
    """What the networks say of one tensor, and where the plan puts it.

    Attributes
    ----------
    producer : the region that makes it; None for an input
    readers : regions that read it, the producer not counted
    sent : its transfers, in the order of the plan
    home : the end where it is made or starts; None when nobody needs it
    places : ends where it is at some time
    """

    name: str
    size_bytes: int
    producer: str | None
    constant: bool = False
    state: bool = False
    readers: dict[str, None] = field(default_factory=dict)
    sent: list[Transfer] = field(default_factory=list)
    home: str | None = None
    places: set[str] = field(default_factory=set)


def check_flow(plan: Plan, graphs: Sequence[Graph], system: System) -> None:
    """Refuse a plan that leaves out, doubles or invents anything of its networks.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound

    Raises
    ------
    SpecError : says which region, transfer or device of the plan contradicts which network
    UnknownNameError : a node or device that does not exist
    """
    check_expanded(plan, graphs, system)


def check_expanded(plan: Plan, graphs: Sequence[Graph], system: System) -> Expansion | None:
    """Do the same, and return a split plan written out; None for one that lists its transfers."""
    if not plan.assignments:
        raise SpecError("plan: assignments", found="none", wanted="every node of its networks",
                        fix=_AGAIN)  # fmt: skip
    regions = plan_regions(plan, graphs)
    _check_designs(plan, system)
    owner = _check_nodes(plan, graphs, regions)
    tensors = _number(plan, graphs, regions, owner)
    if plan.is_split:
        _check_needs(plan, tensors)
        return check_split(plan, graphs, system, regions)
    device = {assignment.region: assignment.device for assignment in plan.assignments}
    for transfer in plan.transfers:
        _check_transfer(transfer, tensors, device)
        tensors[transfer.tensor].sent.append(transfer)
    after = {assignment.region: set(assignment.after) for assignment in plan.assignments}
    successors = _successors(plan, graphs)
    _check_needs(plan, tensors)
    for tensor in tensors.values():
        if not tensor.constant:
            following = tensors.get(successors.get(tensor.name, ""))
            _place(tensor, following, device, system)
            _check_readers(tensor, device, after)
    _check_results(plan, graphs, tensors, system)
    for before, name in successors.items():
        _check_next_value(tensors[before], tensors[name])
    _check_residents(plan, tensors, regions, system)
    return None


def _check_designs(plan: Plan, system: System) -> None:
    """A device is configured once, with a design of its own."""
    chosen: dict[str, str] = {}
    for assignment in plan.assignments:
        for device in map(system.device, assignment.devices):
            design = assignment.design
            if design is None:
                continue
            where = f"plan: region {assignment.region!r}: design"
            if design not in device.designs:
                raise SpecError(
                    where, found=design, wanted=f"a design of {device.name!r}, or null: "
                    f"{_some(device.designs)}{did_you_mean(design, device.designs)}",
                    fix="correct it",
                )  # fmt: skip
            if chosen.setdefault(device.name, design) != design:
                raise SpecError(
                    where, wanted="one design per device", fix=_AGAIN,
                    found=f"{design}, and {chosen[device.name]} elsewhere on {device.name!r}",
                )  # fmt: skip


def _check_nodes(
    plan: Plan, graphs: Sequence[Graph], regions: Mapping[str, PlannedRegion]
) -> dict[tuple[int, str], str]:
    """Return the region of each node (network, name); every node has exactly one."""
    seen: set[str] = set()
    owner: dict[tuple[int, str], str] = {}
    order = [{node.name: i for i, node in enumerate(graph.nodes)} for graph in graphs]
    for assignment in plan.assignments:
        where = f"plan: region {assignment.region!r}"
        if assignment.region in seen:
            raise SpecError(where, found="two assignments of it", wanted="one", fix="remove one")
        seen.add(assignment.region)
        planned = regions[assignment.region]
        nodes = planned.region.nodes
        for node in nodes:
            other = owner.setdefault((planned.network, node), assignment.region)
            if other != assignment.region or nodes.count(node) > 1:
                raise SpecError(
                    where, found=f"node {planned.prefix + node!r}, which region {other!r} has too",
                    wanted="every node in one region, once", fix="remove it from one",
                )  # fmt: skip
    for assignment in plan.assignments:
        where, planned = f"plan: region {assignment.region!r}", regions[assignment.region]
        nodes = planned.region.nodes
        name = planned.prefix + Region(graph=planned.region.graph, nodes=nodes).name
        places = [order[planned.network][node] for node in nodes]
        if places != sorted(places):
            raise SpecError(where, found=f"nodes {', '.join(nodes)}", wanted="them in the order of "
                            "their network", fix="reorder them")  # fmt: skip
        if assignment.region != name:
            raise SpecError(where, found=f"nodes {_some(assignment.nodes)}", fix="rename it",
                            wanted=f"those, in a region named {name!r}")  # fmt: skip
    for network, (model, graph) in enumerate(zip(plan.models, graphs, strict=True)):
        left = [node.name for node in graph.nodes if (network, node.name) not in owner]
        if left:
            raise SpecError(
                f"plan: network {model.name!r}", found=f"{len(left)} of {len(graph.nodes)} nodes "
                f"in no region: {_some(left)}", wanted="every node in a region", fix=_AGAIN,
            )  # fmt: skip
    return owner


def _number(
    plan: Plan, graphs: Sequence[Graph], regions: Mapping[str, PlannedRegion],
    owner: Mapping[tuple[int, str], str],
) -> dict[str, _Tensor]:  # fmt: skip
    """Return every tensor of the networks by its name in the plan."""
    tensors: dict[str, _Tensor] = {}
    for network, (model, graph) in enumerate(zip(plan.models, graphs, strict=True)):
        names: list[tuple[str, str | None]] = [(name, None) for name in graph.constants]
        names += [(name, None) for name in graph.inputs if name not in graph.constants]
        names += [
            (name, owner[network, node.name])
            for node in graph.nodes
            for name in node.outputs
            if name
        ]
        for name, producer in names:
            full = model.prefix + name
            if full in tensors:
                raise SpecError("plan: models", found=f"tensor {full!r} of two networks",
                                wanted="prefixes that keep names apart", fix=_AGAIN)  # fmt: skip
            tensors[full] = _Tensor(
                name=full, size_bytes=graph.known_bytes(name) or 0, producer=producer,
                constant=name in graph.constants, state=name in graph.states,
            )  # fmt: skip
        for node in graph.nodes:
            region = owner[network, node.name]
            for name in node.inputs:
                if name and tensors[model.prefix + name].producer != region:
                    tensors[model.prefix + name].readers[region] = None
    return tensors


def _check_needs(plan: Plan, tensors: Mapping[str, _Tensor]) -> None:
    """Refuse a region that waits for one of which it reads nothing."""
    needs: dict[str, set[str]] = {}
    for tensor in tensors.values():
        for reader in tensor.readers if tensor.producer is not None else ():
            needs.setdefault(reader, set()).add(tensor.producer or "")
    for assignment in plan.assignments:
        needed = needs.get(assignment.region, set())
        for name in assignment.after:
            if name not in needed:
                raise SpecError(
                    f"plan: region {assignment.region!r}: after", found=name,
                    wanted=f"regions whose outputs it reads: {_some(sorted(needed))}",
                    fix="remove it",
                )  # fmt: skip


def _successors(plan: Plan, graphs: Sequence[Graph]) -> dict[str, str]:
    """Return state -> its next value, by their names in the plan, where a node makes that."""
    return {
        model.prefix + before: model.prefix + following
        for model, graph in zip(plan.models, graphs, strict=True)
        for before, following in graph.states.items()
        if before not in graph.constants and graph.producer(following) is not None
    }


def _check_transfer(
    transfer: Transfer, tensors: Mapping[str, _Tensor], device: Mapping[str, str]
) -> None:
    where = f"plan: transfer of {transfer.tensor!r}"
    tensor = tensors.get(transfer.tensor)
    if tensor is None:
        near = did_you_mean(transfer.tensor, tensors)
        raise SpecError(where, found="no tensor of this name", fix=_AGAIN,
                        wanted=f"a tensor of a network of the plan{near}")  # fmt: skip
    if tensor.constant:
        raise SpecError(where, found="a weight", wanted="no transfer: weights are on their devices "
                        "before the clock starts", fix="remove it")  # fmt: skip
    if transfer.size_bytes != tensor.size_bytes:
        raise SpecError(f"{where}: size_bytes", found=transfer.size_bytes, fix="correct it",
                        wanted=f"{tensor.size_bytes}, as the network says")  # fmt: skip
    if transfer.producer != tensor.producer:
        wanted = "null: it is a network input" if tensor.producer is None else (
            f"{tensor.producer!r}, which makes it")  # fmt: skip
        raise SpecError(f"{where}: producer", found=transfer.producer, wanted=wanted,
                        fix="correct it")  # fmt: skip
    targets = transfer.targets
    if not targets or len(set(targets)) < len(targets) or transfer.source in targets:
        raise SpecError(
            f"{where}: targets", found=", ".join(targets) or "none",
            wanted=f"one or more, each once, and not its source {transfer.source!r}",
            fix="correct them",
        )  # fmt: skip
    for consumer in transfer.consumers:
        if consumer not in device:
            raise SpecError(f"{where}: consumers", found=consumer, wanted="a region of the plan"
                            + did_you_mean(consumer, device), fix="correct it")  # fmt: skip
        if consumer not in tensor.readers:
            raise SpecError(f"{where}: consumers", found=consumer, wanted="regions that read it: "
                            f"{_some(tensor.readers)}", fix="correct it")  # fmt: skip
        if device[consumer] not in targets:
            raise SpecError(
                f"{where}: consumers", found=f"{consumer!r} on {device[consumer]!r}",
                wanted=f"consumers on {', '.join(targets)}",
                fix="add the target or correct the consumer",
            )  # fmt: skip


def _place(
    tensor: _Tensor, following: _Tensor | None, device: Mapping[str, str], system: System
) -> None:
    """Find where a tensor starts and where it gets; every transfer starts where it is."""
    where = f"plan: transfer of {tensor.name!r}"
    if tensor.producer is not None:
        tensor.home = device[tensor.producer]
    elif system.host and not tensor.state:
        tensor.home = system.host
    else:
        # It starts on one device of those that need it: where transfers begin, if there are any.
        users = [*tensor.readers]
        if following is not None and following.producer is not None:
            users.append(following.producer)
        starts = [t.source for t in tensor.sent] or [device[region] for region in users]
        tensor.home = starts[0] if starts else None
        if starts and tensor.home not in {device[region] for region in users}:
            raise SpecError(where, found=f"source {tensor.home!r}", wanted="a device that needs it:"
                            f" {_some(dict.fromkeys(device[r] for r in users))}",
                            fix="start it there")  # fmt: skip
    if tensor.home is None:
        return
    tensor.places.add(tensor.home)
    waiting = list(tensor.sent)
    while waiting:
        # Inputs leave at time zero, so none may be passed on before it has arrived.
        left = [t for t in waiting if t.source not in tensor.places
                or (tensor.producer is None and t.source != tensor.home)]  # fmt: skip
        if len(left) == len(waiting):
            wanted = f"{tensor.home!r}, where it starts"
            if tensor.producer is not None:
                wanted = f"the device that makes it, {tensor.home!r}, or an end it was sent to"
            raise SpecError(where, found=f"source {left[0].source!r}", wanted=wanted,
                            fix="correct the source")  # fmt: skip
        for transfer in waiting:
            if transfer not in left:
                tensor.places.update(transfer.targets)
        waiting = left


def _check_readers(
    tensor: _Tensor, device: Mapping[str, str], after: Mapping[str, set[str]]
) -> None:
    """Refuse a reader to whom nothing brings the tensor, or that does not wait for it."""
    brought = {consumer for transfer in tensor.sent for consumer in transfer.consumers}
    for reader in tensor.readers:
        if device[reader] == tensor.home:
            if tensor.producer is not None and tensor.producer not in after[reader]:
                raise SpecError(
                    f"plan: region {reader!r}: after", found=_some(after[reader]),
                    wanted=f"{tensor.producer!r} as well, whose output {tensor.name!r} it reads",
                    fix="add it",
                )  # fmt: skip
        elif reader not in brought:
            raise SpecError(
                f"plan: region {reader!r} on {device[reader]!r}",
                found=f"no transfer of {tensor.name!r}, which is on {tensor.home!r}, to it",
                wanted="one that names it among its consumers", fix="add the transfer",
            )  # fmt: skip


def _check_results(
    plan: Plan, graphs: Sequence[Graph], tensors: Mapping[str, _Tensor], system: System
) -> None:
    if not system.host:
        return  # results stay where they are made
    for model, graph in zip(plan.models, graphs, strict=True):
        following = set(graph.states.values())
        for name in dict.fromkeys(graph.outputs):
            tensor = tensors[model.prefix + name]
            made = tensor.producer is not None and name not in following
            if made and system.host not in tensor.places:
                raise SpecError(
                    f"plan: result {tensor.name!r} of {model.name!r}",
                    found=f"no transfer of it from {tensor.home!r} to the host",
                    wanted=f"results on {system.host!r}", fix="add the transfer",
                )  # fmt: skip


def _check_next_value(state: _Tensor, following: _Tensor) -> None:
    if state.home is not None and state.home not in following.places:
        raise SpecError(
            f"plan: state {state.name!r} on {state.home!r}",
            found=f"no transfer of its next value {following.name!r} from {following.home!r}",
            wanted="it where the state stays", fix="add the transfer",
        )  # fmt: skip


def _check_residents(
    plan: Plan, tensors: Mapping[str, _Tensor], regions: Mapping[str, PlannedRegion],
    system: System,
) -> None:  # fmt: skip
    """Compare `resident_bytes` with the weights and states that the regions need there."""
    names = [d.name for d in system.devices]
    needed = dict.fromkeys(names, 0)
    device = {assignment.region: assignment.device for assignment in plan.assignments}
    for name, planned in regions.items():
        inner = planned.region.inner_constants
        needed[device[name]] += sum(constant.type.size_bytes for constant in inner)
    for tensor in tensors.values():
        where: Iterable[str] = ()
        if tensor.constant:
            where = {device[region] for region in tensor.readers}
        elif tensor.state:
            where = tensor.places
        for name in where:
            if name in needed:
                needed[name] += tensor.size_bytes
    for name in dict.fromkeys((*plan.resident_bytes, *names)):
        if name not in needed:
            raise UnknownNameError(f"device of {system.name}", name, names)
        claimed = plan.resident_bytes.get(name, 0)
        if claimed != needed[name]:
            raise SpecError(f"plan: resident_bytes of {name!r}", found=claimed, fix="correct it",
                            wanted=f"the {needed[name]} of its weights and states")  # fmt: skip


def _some(names: Iterable[str]) -> str:
    listed = [*names]
    return ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "") if listed else "none"
