"""The plan's regions against the networks: every node once, every part of a region as it can be.

Models:  a region of one node may be computed in parts of its results and of its sums; what a part
         must read follows from the operator (`_needs`). A region of several nodes is one whole.
Ignores: times and places.
Judge:   corruptions of valid plans and certificates (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orrery.certificate import Box, Computation
from orrery.graph import Graph, Node, Region, TensorType
from orrery.hardware import System
from orrery.plan import Assignment, Plan

from ._cells import fits
from ._needs import Need, operand_needs, summed_loops, whole_box
from ._report import Violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A region of the plan as its network has it; tensors without their prefix."""

    assignment: Assignment
    graph: Graph
    prefix: str
    node: Node | None  # of a region of one node
    reads: frozenset[str]
    writes: frozenset[str]
    loops: Mapping[str, int]
    inner_bytes: int


class Regions:
    """All regions of a plan.

    Attributes
    ----------
    known : by name; those whose nodes the networks have
    types : tensor with its prefix -> type, where it is known and bound
    """

    def __init__(self, plan: Plan, graphs: Sequence[Graph], found: Violations) -> None:
        self.plan = plan
        self.graphs = [(model.prefix, graph) for model, graph in zip(plan.models, graphs)]
        self.types: dict[str, TensorType] = {
            prefix + tensor: type_ for prefix, graph in self.graphs
            for tensor, type_ in graph.types.items() if type_.is_bound
        }  # fmt: skip
        self._sizes = {tensor: type_.sizes for tensor, type_ in self.types.items()}
        owner = {prefix + node.name: (prefix, graph) for prefix, graph in self.graphs
                 for node in graph.nodes}  # fmt: skip
        self.known: dict[str, Known] = {}
        taken: dict[str, int] = {}
        for assignment in plan.assignments:
            homes = {owner[node][0] for node in assignment.nodes if node in owner}
            strange = [node for node in assignment.nodes if node not in owner]
            if strange or len(homes) != 1 or assignment.region in self.known:
                found.add("node", f"region {assignment.region!r}",
                          f"node {strange[0]!r}" if strange else "nodes of several networks, none, "
                          "or a region twice", "nodes of one network")  # fmt: skip
                continue
            self.known[assignment.region] = _known(assignment, *owner[assignment.nodes[0]])
            for node in assignment.nodes:
                taken[node] = taken.get(node, 0) + 1
        for node in owner:
            if taken.get(node, 0) != 1:
                found.add("node", f"{node!r}", f"{taken.get(node, 0)} regions of it", "one")
        self._needs: dict[tuple[object, ...], Need] = {}

    def sizes(self, tensor: str) -> tuple[int, ...]:
        """Return the sizes of a tensor; none for one whose sizes only running can tell."""
        return self._sizes.get(tensor, ())

    def whole(self, tensor: str) -> Box:
        return whole_box(self.sizes(tensor))

    # -- one computation --------------------------------------------------------------------------

    def check(self, c: Computation, system: System, found: Violations) -> bool:
        """Check a computation by itself; return whether it makes enough sense to go on with."""
        where = f"{c.region!r} on {c.device!r}, round {c.round}"
        known = self.known.get(c.region)
        if known is None:
            found.add("region", where, "a region that the plan does not have", "one that it has")
            return False
        devices = [device.name for device in system.devices]
        if c.device not in known.assignment.devices or c.device not in devices:
            found.add("device", where, c.device, ", ".join(known.assignment.devices))
            return False
        if c.design != known.assignment.design:
            found.add("design", where, c.design, known.assignment.design)
        if c.start_ps < 0 or c.end_ps < c.start_ps:
            found.add("time", where, f"{c.start_ps} to {c.end_ps} ps", "zero or later, in order")
        sound = True
        for part, allowed in ((c.reads, known.reads), (c.writes, known.writes)):
            for tensor, box in part:
                if not tensor.startswith(known.prefix) or (
                    tensor[len(known.prefix) :] not in allowed
                ):
                    found.add("tensor", where, tensor, "tensors of the region")
                    sound = False
                elif not fits(box, self.sizes(tensor)):
                    found.add("box", f"{tensor!r}, {where}", box, f"a part of {self.whole(tensor)}")
                    sound = False
        for loop, start, stop in c.partial:
            extent = known.loops.get(loop, 0)
            if not 0 <= start < stop <= extent or stop - start == extent:
                found.add("addends", where, f"{loop} from {start} to {stop}",
                          f"a part of {dict(known.loops) or 'no sum'}")  # fmt: skip
                sound = False
        if sound:
            self._check_reads(c, known, where, found)
        return sound

    def _check_reads(self, c: Computation, known: Known, where: str, found: Violations) -> None:
        reads: dict[str, list[Box]] = {}
        for tensor, box in c.reads:
            reads.setdefault(tensor, []).append(box)
        for tensor, need in self._wanted(c, known):
            if all(start < stop for start, stop in need) and not any(
                _holds(box, need) for box in reads.get(tensor, ())
            ):
                found.add("reads", f"{tensor!r}, {where}", reads.get(tensor, "nothing"), need)

    def _wanted(self, c: Computation, known: Known) -> list[tuple[str, Box]]:
        """Return what a computation must read, tensor by tensor."""
        prefix, node = known.prefix, known.node
        whole = [(prefix + tensor, self.whole(prefix + tensor)) for tensor in known.reads]
        complete = not c.partial and {t for t, _ in c.writes} == {prefix + t for t in known.writes}
        if node is None or (complete and all(box == self.whole(t) for t, box in c.writes)):
            shape = None if node is None else _OWN_SHAPE.get(node.operator)
            if node is None or shape is None:
                return whole
            values = {prefix + t for i, t in enumerate(node.inputs) if i != shape}
            return [pair for pair in whole if pair[0] in values]
        if any(prefix + t not in self.types for t in (*node.inputs, *node.outputs) if t):
            return whole
        key = (known.assignment.region, c.writes, c.partial)
        if key not in self._needs:
            written = {node.outputs.index(t[len(prefix) :]): box for t, box in c.writes
                       if all(start < stop for start, stop in box)}  # fmt: skip
            partial = {loop: (start, stop) for loop, start, stop in c.partial}
            self._needs[key] = operand_needs(known.graph, node, written, partial) if written else []
        return [(prefix + name, box) for name, box in zip(node.inputs, self._needs[key])
                if name and box is not None]  # fmt: skip

    # -- all of them ------------------------------------------------------------------------------

    def own_bound_ps(self, computations: Sequence[Computation]) -> int:
        """Return a time that no order of these computations beats."""
        busy: dict[str, int] = {}
        lasts: dict[str, dict[str, int]] = {}
        for c in computations:
            length = c.end_ps - c.start_ps
            busy[c.device] = busy.get(c.device, 0) + length
            mine = lasts.setdefault(c.region, {})
            mine[c.device] = mine.get(c.device, 0) + length
        ready: dict[str, int] = {}
        longest = 0
        for region, known in self.known.items():
            begin = max((ready.get(known.prefix + t, 0) for t in known.reads), default=0)
            end = begin + max(lasts.get(region, {}).values(), default=0)
            ready |= {known.prefix + t: end for t in known.writes}
            longest = max(longest, end)
        return max([longest, *busy.values()])


#: Operators that need the shape they give, but not the input that says it (which one), once that
#: is known.
_OWN_SHAPE = {"Expand": 1, "Reshape": 1, "Squeeze": 1, "Unsqueeze": 1,
              "orrery.training.AveragePoolGrad": 1, "orrery.training.ConvGradInput": 2}  # fmt: skip


def _holds(box: Box, inner: Box) -> bool:
    return all(a <= c and d <= b for (a, b), (c, d) in zip(box, inner, strict=True))


def _known(assignment: Assignment, prefix: str, graph: Graph) -> Known:
    region = Region(graph=graph, nodes=tuple(n[len(prefix) :] for n in assignment.nodes))
    node = region.members[0] if len(region.nodes) == 1 else None
    typed = node is not None and all(
        t in graph.types and graph.types[t].is_bound for t in node.inputs if t
    )
    return Known(
        assignment=assignment, graph=graph, prefix=prefix, node=node,
        reads=frozenset((*region.inputs, *region.weights)), writes=frozenset(region.outputs),
        loops=summed_loops(graph, node) if node is not None and typed else {},
        inner_bytes=sum(constant.type.size_bytes for constant in region.inner_constants),
    )  # fmt: skip
