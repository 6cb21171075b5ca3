"""A network cut into phases: stretches that must follow each other, and paths side by side.

Models:  a scan over the nodes in their order. A node that every path from the inputs to the
         outputs passes through ends one stretch and begins the next (the chain of immediate
         post-dominators); between two such nodes lie paths that know nothing of each other. Paths
         become subgraphs of their own where at least two of them are worth it; what is nested in a
         path stays in it, unless that path outweighs the others together, or is the only one
         beside a shortcut: then it is cut in the same way. Where no single node is passed by
         everything (towers that also have outputs or inputs of their own), it is cut before the
         nodes that join heavy work, or after those that it branches from.
Ignores: devices. A node's work is what the caller says it is.
Judge:   immediate post-dominators by networkx, reachability by brute force
         (tests/mapping/phases/test_partition.py).
Source:  M. Zhang, Z. Hu, M. Li, DUET, IPDPS 2021 (the scheme; thresholds and nesting are ours).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orrery.errors import SpecError
from orrery.graph import Graph, Region

Kind = Literal["sequential", "multi-path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """Nodes that are compiled, timed and run as one.

    Attributes
    ----------
    region : named ``p3`` in a sequential phase, ``p4a``, ``p4b`` … in a multi-path one
    work : the sum over its nodes, in the caller's unit
    needs : numbers of the subgraphs whose outputs it reads
    phase : number of its phase
    """

    region: Region
    work: float
    needs: tuple[int, ...]
    phase: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One subgraph, or several that know nothing of each other.

    Attributes
    ----------
    subgraphs : their numbers; of a multi-path phase those of its paths that were not cut in turn
    within : the multi-path phase that this one is a part of, and which of its paths; None for a
        phase of the whole network. What lies within different paths runs side by side
    """

    kind: Kind
    subgraphs: tuple[int, ...]
    within: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A network as subgraphs, in an order in which they may run one after the other."""

    graph: Graph
    subgraphs: tuple[Subgraph, ...]
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_single_path(self) -> bool:
        """Whether nothing can run beside anything else."""
        return all(phase.kind == "sequential" for phase in self.phases)


def partition(
    graph: Graph,
    work: Mapping[str, float],
    *,
    least: float,
    dominance: float = 0.5,
) -> Partition:
    """Cut a network into phases.

    Parameters
    ----------
    work : per node by name, 0 where missing, in any unit (seconds, MACs)
    least : a path is worth a subgraph of its own from so much work on; a smaller one goes with
        its neighbours
    dominance : a path with more than this share of its phase's work is cut in turn

    Raises
    ------
    SpecError : a network without nodes, work that is negative or not finite, a share outside
        [0, 1]
    """
    _check(graph, work, least, dominance)
    cutter = _Cutter(graph, work, least, dominance)
    everything = list(range(len(graph.nodes)))
    shared = cutter.shared_preparation(everything)
    rest = [node for node in everything if node not in shared]
    series = cutter.cut(rest)
    if shared:
        series = _join([_Sequence(sorted(shared))], series)
    numbered = _Numbering(graph, cutter)
    numbered.add(series, None)
    return numbered.finish(len(shared))


def _check(graph: Graph, work: Mapping[str, float], least: float, dominance: float) -> None:
    where = f"partition of {graph.name!r}"
    if not graph.nodes:
        raise SpecError(where, found="no nodes", wanted="one or more",
                        fix="give a network that computes something")  # fmt: skip
    for name, value in work.items():
        if not 0 <= value < float("inf"):
            raise SpecError(f"{where}: work of {name!r}", found=value, wanted="0 or more",
                            fix="correct the number")  # fmt: skip
    if not least >= 0:
        raise SpecError(f"{where}: least work", found=least, wanted="0 or more",
                        fix="correct the number")  # fmt: skip
    if not 0 <= dominance <= 1:
        raise SpecError(f"{where}: dominance", found=dominance, wanted="a share from 0 to 1",
                        fix="write e.g. 0.5")  # fmt: skip


@dataclass(slots=True)
class _Sequence:
    """Nodes of one sequential stretch."""

    nodes: list[int]


@dataclass(slots=True)
class _Paths:
    """Paths side by side, each a series of its own."""

    paths: list[list[_Sequence | _Paths]] = field(default_factory=list)


_Series = list[_Sequence | _Paths]

#: Parts of a series, of which lists of nodes are still to be cut.
_Uncut = list[_Sequence | _Paths | list[int]]


def _join(before: _Series, after: _Series) -> _Series:
    """Return one series after another; stretches that meet become one."""
    if before and after and isinstance(before[-1], _Sequence) and isinstance(after[0], _Sequence):
        return [*before[:-1], _Sequence([*before[-1].nodes, *after[0].nodes]), *after[1:]]
    return [*before, *after]


class _Cutter:
    def __init__(
        self, graph: Graph, work: Mapping[str, float], least: float, dominance: float
    ) -> None:
        self.work = [work.get(node.name, 0.0) for node in graph.nodes]
        self.least, self.dominance = least, dominance
        place = {node.name: k for k, node in enumerate(graph.nodes)}
        self.after: list[list[int]] = [
            sorted({place[c.name] for t in node.outputs if t for c in graph.consumers(t)})
            for node in graph.nodes
        ]
        self.before: list[list[int]] = [[] for _ in graph.nodes]
        for node, readers in enumerate(self.after):
            for reader in readers:
                self.before[reader].append(node)

    def total(self, nodes: Sequence[int]) -> float:
        return sum(self.work[node] for node in nodes)

    def shared_preparation(self, nodes: list[int]) -> set[int]:
        """Return light work straight from the inputs that several stretches read.

        An attention mask, made once and read by every layer, would otherwise run beside the whole
        network and hide that its layers follow each other.
        """
        light = self._light_from(nodes, self.before)
        rest = [node for node in nodes if node not in light]
        passed = [part for part in self._segments(rest) if isinstance(part, int)] if rest else []
        found = 0
        for node, needs in light.items():
            stretches = {bisect(passed, r) for r in self.after[node] if r not in light}
            if len(stretches) > 1:
                found |= needs
        return set(_numbers(found))

    def cut(self, nodes: list[int]) -> _Series:
        """Return nodes, in order, as a series of stretches and paths."""
        series: _Series = []
        todo: _Uncut = [nodes]  # the last one is next: shortcuts may be nested by the thousand
        while todo:
            part = todo.pop()
            if isinstance(part, list):
                parts: _Uncut = []
                for one in self._segments(part):
                    if isinstance(one, int):
                        parts.append(_Sequence([one]))
                    else:
                        parts += self._beside(one, len(part))
                todo += reversed(parts)
            elif series and isinstance(part, _Sequence) and isinstance(series[-1], _Sequence):
                series[-1].nodes += part.nodes
            else:
                series.append(part)
        return series

    def _beside(self, segment: list[int], whole: int) -> _Uncut:
        """Return what lies between two nodes that everything passes."""
        if self.total(segment) < 2 * self.least:  # for two paths
            return [_Sequence(segment)]
        paths = self._components(segment)
        heavy = [path for path in paths if self.total(path) >= self.least]
        if len(heavy) < 2:
            if len(paths) == 1 and len(segment) == whole:
                return [*self._without_a_cut(segment)]
            largest = max(paths, key=self.total)
            aside = [node for path in paths if path is not largest for node in path]
            return [*([_Sequence(sorted(aside))] if aside else []), largest]
        light = [node for path in paths if self.total(path) < self.least for node in path]
        smallest = min(heavy, key=self.total)
        smallest[:] = sorted([*smallest, *light])
        total = self.total(segment)
        cut: list[_Series] = [
            self.cut(path) if self.total(path) > self.dominance * total else [_Sequence(path)]
            for path in heavy
        ]
        first, last = (sorted(self._light_ends(cut, end)) for end in (0, -1))
        return [
            *([_Sequence(first)] if first else []), _Paths(cut),
            *([_Sequence(last)] if last else []),
        ]  # fmt: skip

    def _light_ends(self, paths: list[_Series], end: int) -> Iterator[int]:
        """Take light stretches off an end of paths that were cut; they go with the neighbours."""
        for path in paths:
            at = path[end]
            if len(path) > 1 and isinstance(at, _Sequence) and self.total(at.nodes) < self.least:
                path.pop(end)
                yield from at.nodes

    def _segments(self, nodes: list[int]) -> Iterator[int | list[int]]:
        """Yield nodes that everything passes, and the lists of what lies between them.

        Every other node comes before or after such a node, so that in any order of the nodes it
        is one that no edge jumps over; edges from the inputs and to the outputs included.
        """
        position = {node: k for k, node in enumerate(nodes)}
        reach, opened, between = -1, False, list[int]()
        last = len(nodes)
        starts = [k for k, n in enumerate(nodes) if not any(b in position for b in self.before[n])]
        final_start = starts[-1]
        for k, node in enumerate(nodes):
            inside = [position[reader] for reader in self.after[node] if reader in position]
            # Before the last node that reads inputs alone, an edge from the inputs is open.
            passed = reach <= k and final_start <= k and not opened
            if passed:
                if between:
                    yield between
                between = []
                yield node
            else:
                between.append(node)
            reach = max([reach, *inside])
            opened = opened or (not inside and k + 1 < last)
        if between:
            yield between

    def _without_a_cut(self, segment: list[int]) -> _Series:
        """Return one connected segment, no node of which is passed by everything.

        It is cut into pieces where heavy work joins or branches; where its light ends hide that,
        what comes before and after them is looked at without them.
        """
        series: _Series = []
        pieces = self._pieces(segment)
        if len(pieces) > 1:
            for piece in pieces:
                series = _join(series, self.cut(piece))
            return series
        first = set(self._light_from(segment, self.before))
        last = set(self._light_from(segment[::-1], self.after)) - first
        middle = [node for node in segment if node not in first and node not in last]
        inner = self.cut(middle) if middle and (first or last) else []
        if not any(isinstance(part, _Paths) for part in inner):
            return [_Sequence(segment)]  # nothing left to cut it by
        series = _join([_Sequence(sorted(first))] if first else [], inner)
        return _join(series, [_Sequence(sorted(last))] if last else [])

    def _light_from(self, order: list[int], near: list[list[int]]) -> dict[int, int]:
        """Return nodes that are light together with all of `near` that they need: those, as bits.

        As sets they would fill the memory where thousands of nodes in a row are light.
        """
        inside, light, work = set(order), dict[int, int](), dict[int, float]()
        for node in order:
            needed = [n for n in near[node] if n in inside]
            if not all(n in light for n in needed):
                continue
            needs, total = 0, 0.0
            for n in sorted(needed, key=lambda n: -work[n]):
                more = light[n] & ~needs
                total += work[n] if more == light[n] else self.total(_numbers(more))
                needs |= more
            if total + self.work[node] < self.least:
                light[node], work[node] = needs | 1 << node, total + self.work[node]
        return light

    def _pieces(self, segment: list[int]) -> list[list[int]]:
        """Return pieces in sequence, of which the longest paths together are the least work.

        Either each ends before the nodes that join heavy work, or each begins after those from
        which heavy work branches; one piece where neither is found.
        """
        ways = []
        for order, near in ((segment, self.before), (segment[::-1], self.after)):
            pieces, rest = list[list[int]](), order
            while rest:
                apart = self._apart(rest, near)
                pieces.append(sorted(apart))
                rest = [node for node in rest if node not in apart]
            ways.append(pieces if near is self.before else pieces[::-1])

        def one_after_the_other(way: list[list[int]]) -> float:
            return sum(max(map(self.total, self._components(piece))) for piece in way)

        return min(ways, key=one_after_the_other)

    def _apart(self, order: list[int], near: list[list[int]]) -> set[int]:
        """Return the nodes that depend on none in which two heavy components meet.

        Parameters
        ----------
        order : nodes, each after all those of `near` that are among them
        """
        inside, joined = set(order), set[int]()
        head: dict[int, int] = {}  # of each component, as a forest
        work: dict[int, float] = {}

        def root(node: int) -> int:
            while head[node] != node:
                head[node] = head[head[node]]
                node = head[node]
            return node

        for node in order:
            neighbours = [n for n in near[node] if n in inside]
            met = {root(n) for n in neighbours if n not in joined}
            if any(n in joined for n in neighbours) or (
                sum(work[n] >= self.least for n in met) > 1
            ):
                joined.add(node)
                continue
            head[node], work[node] = node, self.work[node] + sum(work[n] for n in met)
            for n in met:
                head[n] = node
        return set(head)

    def _components(self, segment: list[int]) -> list[list[int]]:
        """Return the parts of a segment that no edge connects, in order."""
        inside = set(segment)
        left, found = set(segment), []
        for first in segment:
            if first not in left:
                continue
            left.discard(first)
            path, todo = [first], [first]
            while todo:
                node = todo.pop()
                for other in (*self.after[node], *self.before[node]):
                    if other in inside and other in left:
                        left.discard(other)
                        path.append(other)
                        todo.append(other)
            found.append(sorted(path))
        return found


class _Numbering:
    """Gives subgraphs and phases their numbers, in an order in which they may run."""

    def __init__(self, graph: Graph, cutter: _Cutter) -> None:
        self.graph, self.cutter = graph, cutter
        self.nodes: list[list[int]] = []
        self.phase_of: list[int] = []
        self.phases: list[Phase] = []
        self.labels: list[str] = []

    def add(self, series: _Series, within: tuple[int, int] | None) -> None:
        for part in series:
            number = len(self.phases)
            if isinstance(part, _Sequence):
                one = self._add(part.nodes, number, "")
                self.phases.append(Phase(kind="sequential", subgraphs=(one,), within=within))
                continue
            self.phases.append(Phase(kind="multi-path", subgraphs=(), within=within))
            whole = []
            for turn, path in enumerate(part.paths):
                if len(path) == 1 and isinstance(path[0], _Sequence):
                    whole.append(self._add(path[0].nodes, number, _letters(turn)))
                else:
                    self.add(path, (number, turn))
            self.phases[number] = Phase(kind="multi-path", subgraphs=tuple(whole), within=within)

    def _add(self, nodes: list[int], phase: int, letter: str) -> int:
        self.nodes.append(sorted(nodes))
        self.phase_of.append(phase)
        self.labels.append(f"p{phase}{letter}")
        return len(self.nodes) - 1

    def finish(self, shared: int) -> Partition:
        owner = {node: k for k, nodes in enumerate(self.nodes) for node in nodes}
        needs = [
            {owner[b] for node in nodes for b in self.cutter.before[node]} - {k}
            for k, nodes in enumerate(self.nodes)
        ]
        subgraphs = tuple(
            Subgraph(
                region=Region(graph=self.graph, label=self.labels[k],
                              nodes=tuple(self.graph.nodes[n].name for n in nodes)),
                work=self.cutter.total(nodes), needs=tuple(sorted(needs[k])),
                phase=self.phase_of[k],
            )
            for k, nodes in enumerate(self.nodes)
        )  # fmt: skip
        notes = (f"{shared} light nodes that many read (masks, positions) run first",) if (
            shared) else ()  # fmt: skip
        return Partition(graph=self.graph, subgraphs=subgraphs, phases=tuple(self.phases),
                         notes=notes)  # fmt: skip


def _numbers(bits: int) -> list[int]:
    """Return the numbers of the bits that are set."""
    return [number for number, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _letters(number: int) -> str:
    """Return a, b … z, aa, ab …"""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
