"""A plan with split regions, written out: who holds what, and every message in order.

Models:  a tensor lies in one layout at a time, among all ends (devices, then the host): as its
         region leaves it, then as the last reader that had to move it needed it. A reader fetches
         what its devices lack from there; one that lacks nothing leaves the tensor as it is.
         Network inputs lie on the host (without one, where they are first needed), results return
         there, the next value of a state returns to where the state is first read. Constants are
         resident wherever they are needed. Scalars are everywhere at no cost.
Ignores: times (`price` and replay give them); a second copy of a tensor in another layout; state
         caches that grow in place (a shard makes its part anew).
Judge:   executed by processes, bit for bit (tests/runtime); sums of `sharded_cost` (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orrery.errors import SpecError
from orrery.graph import Graph, TensorType
from orrery.hardware import System
from orrery.plan import Assignment, Plan

from ._cost import Refusal
from ._plan_regions import PlannedRegion, plan_regions
from .sharding import (
    Box,
    Layout,
    Phase,
    Resharding,
    Sharding,
    Shared,
    Strategy,
    combining,
    reshard,
    shard,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One assignment: fetch, compute in rounds, sum.

    Attributes
    ----------
    parties : ends (by number) that compute it, in the order of the split
    sharding : its shards; None for a region that one device computes whole
    after : numbers of the steps whose outputs it reads, and of those that brought them to where
        it reads them
    arrivals : changes of layout before it starts, among all ends; only those that move something
    rotation : phases that go on while rounds compute, among all ends
    combines : phases that sum results, among all ends
    needs, outputs : tensor (with its network's prefix) -> layout among all ends
    """

    assignment: Assignment
    region: PlannedRegion
    parties: tuple[int, ...]
    sharding: Sharding | None
    after: tuple[int, ...]
    arrivals: tuple[Resharding, ...]
    rotation: tuple[Phase, ...]
    combines: tuple[Phase, ...]
    needs: Mapping[str, Layout]
    outputs: Mapping[str, Layout]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A tensor in one layout from the start of a step to the end of another.

    Attributes
    ----------
    first : step that makes it or brings it; -1 for what is there before the first step
    last : last step, in plan order, that reads it or takes it away; the number of steps for what
        stays to the end
    users : steps that read it in this layout or take it away; on other devices a later one may end
        earlier
    """

    tensor: str
    layout: Layout
    first: int
    last: int
    users: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """A plan written out.

    Attributes
    ----------
    ends : devices in the system's order, then the host if it is no device
    steps : in plan order
    returns : (step that makes it, change of layout) of results and next values of states
    residents : per end, (tensor, text of its box) -> bytes of constants and states
    holdings : activations, and for how long
    """

    ends: tuple[str, ...]
    steps: tuple[Step, ...]
    returns: tuple[tuple[int, Resharding], ...]
    residents: tuple[Mapping[tuple[str, str], int], ...]
    holdings: tuple[Holding, ...]


def strategy_of(assignment: Assignment) -> Strategy:
    """Return the strategy that an assignment's split names; that of one device has no loops."""
    split = assignment.split
    if split is None:
        return Strategy()
    shared = None if split.shared is None else Shared(loop=split.shared[0], operand=split.shared[1])
    return Strategy(exclusive=split.exclusive, shared=shared, combine=split.combine)


def expand(plan: Plan, graphs: Sequence[Graph], system: System) -> Expansion:
    """Write out the steps and messages of a plan.

    Parameters
    ----------
    graphs : in the order of ``plan.models``, types inferred and dimensions bound

    Raises
    ------
    SpecError : the plan does not fit the networks, a split that its region cannot have, a region
        before one whose output it reads
    UnknownNameError : a node or device that does not exist
    """
    return _Expander(plan, graphs, system).run()


class _Expander:
    def __init__(self, plan: Plan, graphs: Sequence[Graph], system: System) -> None:
        self.plan, self.graphs, self.system = plan, graphs, system
        self.regions = plan_regions(plan, graphs)
        self.ends = [device.name for device in system.devices]
        if system.host and system.host not in self.ends:
            self.ends.append(system.host)
        self.host = self.ends.index(system.host) if system.host else -1
        self.number = {end: i for i, end in enumerate(self.ends)}
        self.home: dict[str, Layout] = {}
        self.since: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.users: dict[str, list[int]] = {}
        self.maker: dict[str, int] = {}
        self.mover: dict[str, int] = {}
        self.made: dict[str, tuple[int, Layout]] = {}
        self.state_homes: dict[str, dict[Layout, None]] = {}
        self.residents: list[dict[tuple[str, str], int]] = [{} for _ in self.ends]
        self.holdings: list[Holding] = []
        self.returns: list[tuple[int, Resharding]] = []
        self.known: dict[tuple[object, ...], Sharding | Refusal] = {}
        self.changes: dict[tuple[Layout, Layout], Resharding] = {}

    def run(self) -> Expansion:
        plan = self.plan
        steps = tuple(self._step(number, a) for number, a in enumerate(plan.assignments))
        self._renew_states()
        for tensor, layout in self.home.items():
            self._hold(tensor, layout, self.used.get(tensor, self.since[tensor]))
        return Expansion(
            ends=tuple(self.ends), steps=steps, returns=tuple(self.returns),
            residents=tuple(self.residents), holdings=tuple(self.holdings),
        )  # fmt: skip

    # -- one step ---------------------------------------------------------------------------------

    def _step(self, number: int, assignment: Assignment) -> Step:
        planned = self.regions[assignment.region]
        graph, prefix = planned.region.graph, planned.prefix
        for device in assignment.devices:
            self.system.device(device)
        parties = tuple(self.number[device] for device in assignment.devices)
        sharding = self._sharding(assignment, planned)
        needs = self._needs(planned, sharding, parties)
        arrivals, after = [], dict[int, None]()
        for tensor, need in needs:
            name = prefix + tensor
            if tensor in graph.constants or tensor in graph.states:
                self._settle(name, need, parties, state=tensor in graph.states)
                continue
            if graph.producer(tensor) is not None and name not in self.home:
                raise SpecError(
                    f"plan: region {assignment.region!r}", found=f"{name!r}, not made before it",
                    wanted="producers before consumers", fix="reorder the assignments",
                )  # fmt: skip
            for before in (self.maker.get(name), self.mover.get(name)):
                if before is not None and before != number:
                    after[before] = None
            change = self._fetch(name, need, number)
            if change is not None:
                arrivals.append(change)
        # Constants inside bodies have no name outside; a line feed keeps theirs apart.
        for position, inner in enumerate(planned.region.inner_constants):
            held = self.residents[parties[0]]
            held[f"{assignment.region}\n{position}", ""] = inner.type.size_bytes
        outputs, combines = self._results(number, planned, sharding, parties)
        rotation = () if sharding is None else sharding.rotation
        return Step(
            assignment=assignment, region=planned, parties=parties, sharding=sharding,
            after=tuple(after), arrivals=tuple(arrivals),
            rotation=tuple(phase.placed(parties) for phase in rotation), combines=combines,
            needs={prefix + tensor: layout for tensor, layout in needs}, outputs=outputs,
        )  # fmt: skip

    def _sharding(self, assignment: Assignment, planned: PlannedRegion) -> Sharding | None:
        split = assignment.split
        weights = (1.0,) if split is None else split.weights
        where = f"plan: region {assignment.region!r}: split"
        if split is not None and (
            split.devices[:1] != (assignment.device,)
            or len(set(split.devices)) != len(split.devices)
            or len(weights) != len(split.devices)
        ):
            raise SpecError(
                where, found=f"devices {', '.join(split.devices)} with {len(weights)} weights",
                wanted=f"different devices, {assignment.device!r} first, a weight for each",
                fix="make the plan again",
            )  # fmt: skip
        strategy = strategy_of(assignment)
        if len(assignment.devices) == 1 and strategy == Strategy():
            return None
        key = (planned.network, planned.region.nodes, strategy, weights)
        if key not in self.known:
            self.known[key] = shard(planned.region, strategy, weights)
        found = self.known[key]
        if isinstance(found, Refusal):
            raise SpecError(where, found=found.reason, wanted="a way to split this region",
                            fix="make the plan again")  # fmt: skip
        return found

    def _needs(
        self, planned: PlannedRegion, sharding: Sharding | None, parties: tuple[int, ...]
    ) -> list[tuple[str, Layout]]:
        graph, count = planned.region.graph, len(self.ends)
        if sharding is None:
            return [(t, _whole(graph, t, count, parties))
                    for t in (*planned.region.inputs, *planned.region.weights)]  # fmt: skip
        needs = []
        for operand, layout in zip(sharding.nest.operands, sharding.needs):
            if layout.type.rank == 0:
                layout = Layout.replicated(layout.type, count)
            else:
                layout = layout.placed(parties, count)
            needs.append((operand.tensor, layout))
        return needs

    def _fetch(self, name: str, need: Layout, number: int) -> Resharding | None:
        """Bring a tensor to where it is needed; it lies there from then on."""
        if name not in self.home:  # a network input
            start = Layout.replicated(need.type, need.parties)
            if need.type.rank:
                start = need if self.host < 0 else Layout.held_by(
                    need.type, need.parties, self.host)  # fmt: skip
            self.home[name], self.since[name] = start, -1
        here = self.home[name]
        self.used[name] = max(number, self.used.get(name, -1))
        self.users.setdefault(name, []).append(number)
        if need.type.rank == 0:
            return None
        change = self._change(here, need, name)
        if not change.phases:
            return None
        self._hold(name, here, number)
        self.home[name], self.since[name], self.mover[name] = need, number, number
        self.users[name] = [number]
        return change

    def _results(
        self, number: int, planned: PlannedRegion, sharding: Sharding | None,
        parties: tuple[int, ...],
    ) -> tuple[dict[str, Layout], tuple[Phase, ...]]:  # fmt: skip
        graph, prefix, count = planned.region.graph, planned.prefix, len(self.ends)
        made: dict[str, Layout] = {}
        combines: list[Phase] = []
        if sharding is None:
            made = {t: _whole(graph, t, count, parties) for t in planned.region.outputs}
        else:
            for change in combining(sharding):
                combines += [phase.placed(parties) for phase in change.phases]
            for result, layout in zip(sharding.nest.results, sharding.outputs):
                made[result.tensor] = (
                    layout.placed(parties, count) if layout.type.rank
                    else Layout.replicated(layout.type, count)
                )  # fmt: skip
        following = set(graph.states.values())
        for tensor, layout in made.items():
            name = prefix + tensor
            self.home[name], self.since[name], self.maker[name] = layout, number, number
            self.made[name] = (number, layout)
            if tensor not in graph.outputs or tensor in following:
                continue
            if self.host < 0:
                self.used[name] = len(self.plan.assignments)
            elif layout.type.rank:
                self._return(name, Layout.held_by(layout.type, count, self.host))
        return {prefix + tensor: layout for tensor, layout in made.items()}, tuple(combines)

    def _return(self, name: str, target: Layout) -> None:
        """Send what a step has made to where it ends."""
        number, layout = self.made[name]
        change = self._change(layout, target, name)
        if change.phases:
            self.returns.append((number, change))

    def _renew_states(self) -> None:
        """Send every next value to all places where the state is read."""
        for model, graph in zip(self.plan.models, self.graphs, strict=True):
            for state, value in graph.states.items():
                if model.prefix + value not in self.made:
                    continue
                for home in self.state_homes.get(model.prefix + state, ()):
                    if home.type.rank:
                        self._return(model.prefix + value, _grown(home, graph.type(value)))

    def _change(self, before: Layout, after: Layout, name: str) -> Resharding:
        """Return a change of layout; equal ones of different tensors are worked out once."""
        if before == after or before.type.rank == 0:
            return reshard(before, after, name)
        key = (before, after)
        if key not in self.changes:
            self.changes[key] = reshard(before, after, name)
        known = self.changes[key]
        if known.tensor == name:
            return known
        phases = tuple(replace(phase, tensor=name) for phase in known.phases)
        return replace(known, tensor=name, phases=phases)

    # -- what lies where --------------------------------------------------------------------------

    def _settle(self, name: str, need: Layout, parties: tuple[int, ...], *, state: bool) -> None:
        """Keep a constant or a state resident where it is needed."""
        if state:
            self.state_homes.setdefault(name, {})[need] = None
        for end in parties:
            box = need.boxes[end]
            if box.volume:
                self.residents[end][name, str(box)] = need.bytes_of(box)

    def _hold(self, name: str, layout: Layout, last: int) -> None:
        self.holdings.append(Holding(tensor=name, layout=layout, first=self.since[name], last=last,
                                     users=tuple(self.users.get(name, ()))))  # fmt: skip


def _grown(home: Layout, type_: TensorType) -> Layout:
    """Return the layout of a state's next value: parts that reach to the end still do."""
    if home.type == type_:
        return home
    ends = [*zip(home.type.sizes, type_.sizes, strict=True)]
    boxes = tuple(
        Box(spans=tuple((start, new if stop == old else stop)
                        for (start, stop), (old, new) in zip(box.spans, ends)))
        if box.volume else box
        for box in home.boxes
    )  # fmt: skip
    return Layout(type=type_, boxes=boxes)


def _whole(graph: Graph, tensor: str, count: int, parties: tuple[int, ...]) -> Layout:
    """Return the layout of a tensor that one device has."""
    type_ = graph.type(tensor)
    if type_.rank == 0:
        return Layout.replicated(type_, count)
    return Layout.held_by(type_, count, parties[0])
