"""How much each device must hold at once while a split plan runs.

Models:  weights and states resident from start to end; a tensor in each of its layouts from the
         step that makes or brings it to the end of the last that reads it there, and of its
         return; while a step runs, what partial sums take beyond what is left of them, and the
         second buffer of a rotating operand (a third one where the first part is read again).
         A view shares the bytes of what it looks at, a grown cache those of its state.
Ignores: where addends land before they are added; work space inside kernels; fragmentation.
Judge:   a naive count at every instant; `Sharding.resident_bytes` of single layers (tests).
"""

from __future__ import annotations

from collections.abc import Sequence

from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Infeasible

from .._expand import Expansion, Holding, Step
from .._work import moves_nothing
from ._times import SplitTimes

_Interval = tuple[int, int, int]  #: begin, end, bytes


def split_memory(
    expansion: Expansion, times: SplitTimes, system: System
) -> tuple[dict[str, int], tuple[Infeasible, ...]]:
    """Return the peak per device that the plan uses, and what does not fit."""
    used = {party for step in expansion.steps for party in step.parties}
    holding = _Lives(expansion, times)
    peaks, short = {}, []
    for party, name in enumerate(expansion.ends):
        if all(name != device.name for device in system.devices):
            continue  # a host that computes nothing for us has no memory here
        fixed = sum(expansion.residents[party].values())
        lives = holding.at(party)
        if party not in used and not lives:
            continue
        most = peaks[name] = fixed + _most(lives)
        memory = system.device(name).offchip
        if most > memory.size_bytes:
            short.append(Infeasible(
                what=f"weights and live activations in {name}.{memory.name}", need=most,
                have=memory.size_bytes, unit="bytes",
                remedies=(
                    ("split weights among more devices, or let them rotate",)
                    if fixed > memory.size_bytes
                    else ("split its largest layers among more devices", "halve the batch")
                ) + ("use a device with more memory",),
            ))  # fmt: skip
    return peaks, tuple(short)


class _Lives:
    """What lies where, and when; a group of views is one."""

    def __init__(self, expansion: Expansion, times: SplitTimes) -> None:
        self.expansion, self.times = expansion, times
        self.graphs = {  # prefix -> network
            step.region.prefix: step.region.region.graph for step in expansion.steps
        }
        self.of: dict[str, list[int]] = {}
        for index, holding in enumerate(expansion.holdings):
            self.of.setdefault(holding.tensor, []).append(index)
        self.spans = [self._span(holding) for holding in expansion.holdings]
        self.views = self._views()

    def at(self, party: int) -> list[_Interval]:
        """Return the intervals of what one end holds, residents left out."""
        groups: dict[int, _Interval] = {}
        root: dict[int, int] = {}
        resident: set[int] = set()
        for index, holding in enumerate(self.expansion.holdings):
            size_bytes = holding.layout.held_bytes(party)
            begin, end = self.spans[index]
            root[index] = index
            base = self.views.get(index)
            if size_bytes and base is not None:
                tensor, below = base
                if below is None and self._resident(party, tensor) == size_bytes:
                    resident.add(index)  # it looks at a constant or a state
                elif below is not None and below < index:
                    held = self.expansion.holdings[below].layout.held_bytes(party)
                    if held >= size_bytes:
                        root[index] = root[below]
            if root[index] in resident:
                continue
            size_bytes = max(0, size_bytes - self._grown(party, holding))
            if size_bytes or root[index] != index:
                first, last, most = groups.get(root[index], (begin, end, size_bytes))
                groups[root[index]] = (min(first, begin), max(last, end), max(most, size_bytes))
        lives = [life for life in groups.values() if life[2]]
        return lives + self._buffers(party) + self._returned(party)

    def _span(self, holding: Holding) -> tuple[int, int]:
        times, steps = self.times, self.expansion.steps
        begin = 0 if holding.first < 0 else times.starts_ps[holding.first]
        end = begin if holding.first < 0 else times.ends_ps[holding.first]
        for user in holding.users:
            end = max(end, times.ends_ps[user])
        if holding.last == len(steps):
            end = times.makespan_ps
        for (number, change), returned in zip(self.expansion.returns, times.returned_ps):
            if number == holding.first and change.tensor == holding.tensor:
                end = max(end, returned)
        return begin, end

    def _views(self) -> dict[int, tuple[str, int | None]]:
        """Return holding -> (tensor, its holding) that it looks at, made by steps of views only."""
        views: dict[int, tuple[str, int | None]] = {}
        for number, step in enumerate(self.expansion.steps):
            region, prefix = step.region.region, step.region.prefix
            if not all(moves_nothing(region.graph, node) for node in region.members):
                continue
            for output in step.outputs:
                root = prefix + _root(region.graph, output[len(prefix) :], region.nodes)
                if root == output:
                    continue
                below = [i for i in self.of.get(root, ())
                         if number in self.expansion.holdings[i].users]  # fmt: skip
                made = [i for i in self.of.get(output, ())
                        if self.expansion.holdings[i].first == number]  # fmt: skip
                for index in made:
                    views[index] = (root, below[-1] if below else None)
        return views

    def _resident(self, party: int, tensor: str) -> int:
        return sum(size for (name, _), size in self.expansion.residents[party].items()
                   if name == tensor)  # fmt: skip

    def _grown(self, party: int, holding: Holding) -> int:
        """Return the bytes of a grown cache that lie in its state already."""
        if holding.first < 0:
            return 0
        prefix = self.expansion.steps[holding.first].region.prefix
        graph = self.graphs[prefix]
        state = graph.grown_from(holding.tensor[len(prefix) :])
        return 0 if state is None else self._resident(party, prefix + state)

    def _buffers(self, party: int) -> list[_Interval]:
        """Return what steps need beside what they hold before and after."""
        found = []
        for number, step in enumerate(self.expansion.steps):
            if step.sharding is None or party not in step.parties:
                continue
            sharding, place = step.sharding, step.parties.index(party)
            extra = sum(
                max(0, partial.held_bytes(place) - output.held_bytes(place))
                for partial, output in zip(sharding.partials, sharding.outputs)
            )
            extra += self._rotating(number, step, party)
            if extra:
                found.append((self.times.starts_ps[number], self.times.ends_ps[number], extra))
        return found

    def _rotating(self, number: int, step: Step, party: int) -> int:
        arriving = [m.size_bytes for phase in step.rotation for m in phase.messages
                    if m.target == party]  # fmt: skip
        if not arriving or step.sharding is None or step.sharding.rotating is None:
            return 0
        tensor = step.region.prefix + step.sharding.nest.operands[step.sharding.rotating].tensor
        kept = any(
            number in holding.users and (holding.last > number or max(holding.users) > number)
            for holding in (self.expansion.holdings[i] for i in self.of.get(tensor, ()))
        )
        return max(arriving) * (2 if kept and len(step.rotation) > 1 else 1)

    def _returned(self, party: int) -> list[_Interval]:
        """Return results and next values where they arrive, until all have."""
        found = []
        for (number, change), end in zip(self.expansion.returns, self.times.returned_ps):
            size_bytes = change.after.held_bytes(party)
            if size_bytes and change.before.boxes[party] != change.after.boxes[party]:
                found.append((self.times.ends_ps[number], end, size_bytes))
        return found


def _root(graph: Graph, tensor: str, nodes: Sequence[str]) -> str:
    """Return the tensor that views of some nodes look at, or the tensor itself."""
    while True:
        node = graph.producer(tensor)
        if node is None or node.name not in nodes or not moves_nothing(graph, node):
            return tensor
        if node.op in ("Shape", "Size", "Constant") or not node.inputs:
            return tensor
        tensor = node.inputs[0]


def _most(lives: Sequence[_Interval]) -> int:
    """Return the most bytes at once; at one instant what ends is freed before what begins."""
    changes = [change for begin, end, size in lives if end > begin
               for change in ((begin, 1, size), (end, 0, -size))]  # fmt: skip
    most = now = 0
    for _, _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
