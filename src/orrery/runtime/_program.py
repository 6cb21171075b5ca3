"""A plan checked and turned into actions: who runs what, what is copied, who waits for what.

Everything that can be wrong with a plan is found here, before anything runs: foreign models, nodes
nobody runs, tensors that never arrive, orders that wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orrery.errors import SpecError, UnknownNameError, did_you_mean
from orrery.graph import Graph, Region, check_inputs
from orrery.hardware import System
from orrery.plan import Assignment, Plan, Transfer, check_plan

from ._backend import Tensors

Place = tuple[str, str]  #: (device or host, tensor with its model's prefix)


@dataclass(slots=True, kw_only=True)
class Action:
    """A region to run or a tensor to copy.

    Attributes
    ----------
    worker : the thread that does it, a device or ``copy from <device>``
    needs, gives : places that must hold a value before, and that hold one after
    after : regions that must have ended
    waiting : how many of `needs` and `after` are still missing
    """

    worker: str
    name: str
    needs: tuple[Place, ...]
    gives: tuple[Place, ...]
    after: tuple[str, ...] = ()
    region: Region | None = None
    prefix: str = ""
    transfer: Transfer | None = None
    waiting: int = 0

    @property
    def signals(self) -> tuple[Place | str, ...]:
        """What others may wait for: the places it fills and, for a region, its end."""
        return self.gives if self.region is None else (*self.gives, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A checked plan.

    Attributes
    ----------
    actions : per worker, in the order of the plan
    ordered : workers that must keep their order (devices); copies run as they become ready
    start : places that hold a value from the beginning, and the input (with prefix) they hold
    results : output (with prefix) -> the place to fetch it from
    readers : how many times each place will be read, results included
    """

    actions: Mapping[str, tuple[Action, ...]]
    ordered: frozenset[str]
    start: Mapping[Place, str]
    results: Mapping[str, Place]
    readers: Mapping[Place, int]
    waiters: Mapping[Place | str, tuple[Action, ...]] = field(default_factory=dict)


def make_program(
    plan: Plan,
    graphs: Sequence[Graph],
    inputs: Tensors,
    devices: Iterable[str],
    system: System | None = None,
) -> Program:
    """Check a plan against models, system, inputs and evaluators and return its actions.

    Raises
    ------
    PlanMismatchError : a model or the system is not the one planned for
    SpecError : a node nobody or two regions run, a tensor that never arrives, a waiting circle
    UnknownNameError : a device without an evaluator
    """
    by_prefix, runs = _checked_runs(plan, graphs, inputs, devices, system)
    copies = [
        Action(
            worker=f"copy from {t.source}", name=t.tensor, needs=((t.source, t.tensor),),
            gives=tuple((target, t.tensor) for target in t.targets), transfer=t,
        )
        for t in plan.transfers
    ]  # fmt: skip
    start = _start_places(by_prefix, runs, copies)
    results = _result_places(by_prefix, runs, copies)
    actions = [*runs, *copies]
    _check_arrivals(actions, start)
    waiters: dict[Place | str, list[Action]] = {}
    for action in actions:
        missing: list[Place | str] = [p for p in action.needs if p not in start]
        missing += action.after
        action.waiting = len(missing)
        for item in missing:
            waiters.setdefault(item, []).append(action)
    readers: dict[Place, int] = {}
    for place in (*(p for a in actions for p in a.needs), *results.values()):
        readers[place] = readers.get(place, 0) + 1
    workers: dict[str, list[Action]] = {}
    for action in actions:
        workers.setdefault(action.worker, []).append(action)
    program = Program(
        actions={name: tuple(mine) for name, mine in workers.items()},
        ordered=frozenset(run.worker for run in runs), start=start, results=results,
        readers=readers, waiters={k: tuple(v) for k, v in waiters.items()},
    )  # fmt: skip
    _check_progress(program)
    return program


def check_fit(
    plan: Plan,
    graphs: Sequence[Graph],
    inputs: Tensors,
    devices: Iterable[str],
    system: System | None = None,
) -> None:
    """Check what `make_program` checks, of a plan with split regions, whose messages are derived.

    Raises
    ------
    PlanMismatchError, SpecError, UnknownNameError : as `make_program`; a plan that lists transfers
    """
    _checked_runs(plan, graphs, inputs, devices, system)
    if plan.transfers:
        raise SpecError("plan: transfers", found=f"{len(plan.transfers)} beside split regions",
                        wanted="none: they follow from what each set holds and needs",
                        fix="make the plan again")  # fmt: skip


def _checked_runs(
    plan: Plan, graphs: Sequence[Graph], inputs: Tensors, devices: Iterable[str],
    system: System | None,
) -> tuple[dict[str, Graph], list[Action]]:  # fmt: skip
    """Return networks by prefix and the regions to run, each on its (first) device."""
    by_prefix = _check_models(plan, graphs, system)
    _check_inputs(by_prefix, inputs)
    known = tuple(devices)
    for assignment in plan.assignments:
        for device in assignment.devices:
            if device not in known:
                raise UnknownNameError("evaluator for device", device, known)
    runs = [_run(assignment, by_prefix) for assignment in plan.assignments]
    _check_coverage(by_prefix, runs)
    ended = {run.name for run in runs}
    for run in runs:
        for region in run.after:
            if region not in ended:
                raise SpecError(f"plan: region {run.name!r}: after", found=region,
                                wanted="regions of the plan", fix="correct the name"
                                + did_you_mean(region, ended))  # fmt: skip
    return by_prefix, runs


def _check_models(plan: Plan, graphs: Sequence[Graph], system: System | None) -> dict[str, Graph]:
    check_plan(plan, graphs, system or plan.system)
    by_prefix = {model.prefix: graph for model, graph in zip(plan.models, graphs)}
    if len(by_prefix) != len(graphs):
        raise SpecError("plan: models", found="one prefix twice", wanted="a prefix per network",
                        fix="make the plan again")  # fmt: skip
    return by_prefix


def _check_inputs(by_prefix: Mapping[str, Graph], inputs: Tensors) -> None:
    known = {prefix + name for prefix, graph in by_prefix.items() for name in graph.inputs}
    for name in inputs:
        if name not in known:
            raise SpecError(f"input {name!r}", found="no such input",
                            wanted=f"one of {', '.join(sorted(known))}",
                            fix=f"correct the name{did_you_mean(name, known)}")  # fmt: skip
    for prefix, graph in by_prefix.items():
        mine = {n: inputs[prefix + n] for n in graph.inputs if prefix + n in inputs}
        check_inputs(graph, mine)


def _run(assignment: Assignment, by_prefix: Mapping[str, Graph]) -> Action:
    where = f"plan: region {assignment.region!r}"
    prefixes = [
        prefix for prefix, graph in by_prefix.items()
        if all(n.startswith(prefix) and _has(graph, n[len(prefix):]) for n in assignment.nodes)
    ]  # fmt: skip
    if not prefixes or not assignment.nodes:
        raise SpecError(where, found=f"nodes {', '.join(assignment.nodes) or '(none)'}",
                        wanted="nodes of one network", fix="make the plan again")  # fmt: skip
    prefix = max(prefixes, key=len)
    nodes = tuple(name[len(prefix) :] for name in assignment.nodes)
    # The plan's own name, prefix included: evaluators tell regions apart by it.
    region = Region(graph=by_prefix[prefix], nodes=nodes, label=assignment.region)
    device = assignment.device
    return Action(
        worker=device, name=assignment.region, region=region, prefix=prefix,
        needs=tuple((device, prefix + name) for name in region.inputs),
        gives=tuple((device, prefix + name) for name in region.outputs), after=assignment.after,
    )  # fmt: skip


def _has(graph: Graph, name: str) -> bool:
    try:
        graph.node(name)
    except UnknownNameError:
        return False
    return True


def _check_coverage(by_prefix: Mapping[str, Graph], runs: Sequence[Action]) -> None:
    owner: dict[str, str] = {}
    regions: set[str] = set()
    for run in runs:
        if run.name in regions:
            raise SpecError(f"plan: region {run.name!r}", found="assigned twice",
                            wanted="one device per region", fix="remove one")  # fmt: skip
        regions.add(run.name)
        for name in run.region.nodes if run.region else ():
            full = run.prefix + name
            if full in owner:
                raise SpecError(
                    f"plan: node {full!r}", found=f"in {owner[full]!r} and {run.name!r}",
                    wanted="one region per node", fix="make the plan again",
                )  # fmt: skip
            owner[full] = run.name
    for prefix, graph in by_prefix.items():
        lost = [prefix + node.name for node in graph.nodes if prefix + node.name not in owner]
        if lost:
            raise SpecError(f"plan: network {graph.name!r}",
                            found=f"{len(lost)} nodes nobody runs: {', '.join(lost[:4])}",
                            wanted="every node in a region", fix="make the plan again")  # fmt: skip


def _start_places(
    by_prefix: Mapping[str, Graph], runs: Sequence[Action], copies: Sequence[Action]
) -> dict[Place, str]:
    """Network inputs start where their transfers leave, or at their readers when there are none."""
    start: dict[Place, str] = {}
    brought = {place for copy in copies for place in copy.gives}
    for prefix, graph in by_prefix.items():
        for name in graph.inputs:
            tensor = prefix + name
            leaving = [
                c.needs[0] for c in copies
                if c.name == tensor and c.needs[0] not in brought
            ]  # fmt: skip
            reading = [p for run in runs for p in run.needs if p[1] == tensor]
            start |= dict.fromkeys(leaving or reading, tensor)
    return start


def _result_places(
    by_prefix: Mapping[str, Graph], runs: Sequence[Action], copies: Sequence[Action]
) -> dict[str, Place]:
    """Outputs are fetched from where they are made, or from where a transfer leaves them last."""
    made = {tensor: (device, tensor) for run in runs for device, tensor in run.gives}
    wanted = [prefix + name for prefix, graph in by_prefix.items() for name in graph.outputs]
    results = {tensor: made[tensor] for tensor in wanted if tensor in made}
    for copy in copies:
        # A copy without consumers brings an output to whoever wants it: the host.
        if copy.name in results and copy.transfer is not None and not copy.transfer.consumers:
            results[copy.name] = copy.gives[-1]
    return results


def _check_arrivals(actions: Sequence[Action], start: Mapping[Place, str]) -> None:
    held = {*start, *(place for action in actions for place in action.gives)}
    for action in actions:
        for device, tensor in action.needs:
            if (device, tensor) not in held:
                raise SpecError(
                    f"plan: {action.name!r} on {action.worker}",
                    found=f"tensor {tensor!r}, which nothing brings to {device}",
                    wanted="a transfer to there", fix="add the transfer or make the plan again",
                )  # fmt: skip


def _check_progress(program: Program) -> None:
    """Run the plan with no work in it: whoever still waits at the end would wait forever."""
    missing = {id(a): a.waiting for mine in program.actions.values() for a in mine}
    left = {worker: list(mine) for worker, mine in program.actions.items()}
    moved = True
    while moved:
        moved = False
        for worker, mine in left.items():
            while mine:
                window = mine[:1] if worker in program.ordered else mine
                ready = next((a for a in window if missing[id(a)] == 0), None)
                if ready is None:
                    break
                mine.remove(ready)
                moved = True
                for item in ready.signals:
                    for waiter in program.waiters.get(item, ()):
                        missing[id(waiter)] -= 1
    stuck = [mine[0] for mine in left.values() if mine]
    if stuck:
        raise SpecError("plan: order", found="actions that wait for each other: " + ", ".join(
            f"{a.name} on {a.worker}" for a in stuck[:4]), wanted="an order without a circle",
            fix="make the plan again")  # fmt: skip
