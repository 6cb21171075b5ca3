"""Chakra execution traces of any origin, played: what happens when their durations are obeyed.

Models:  a node starts when all that it depends on has ended; computations of a rank run one at a
         time, in the order in which they become ready. A message takes the time of its send; a
         receive ends with it, if it was posted by then. A collective starts when all its ranks are
         there and takes its longest part; it is matched by group, kind and count.
Ignores: links and contention (times of messages are as recorded), memory, streams of one rank side
         by side.
Judge:   closed forms; traces that `chakra_traces` wrote of replays without contention (tests).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orrery.errors import SpecError
from orrery.timeline import MOST_PS, Span, Timeline

from ._chakra_wire import COLLECTIVES, ChakraNode, ChakraTrace

_Key = tuple[int, int]  # rank, id
_KINDS = {"COMP": "compute", "COMM_SEND": "transfer", "COMM_RECV": "transfer",
          "COMM_COLL": "transfer", "MEM_LOAD": "read", "MEM_STORE": "write"}  # fmt: skip


@dataclass(slots=True)
class _Waiting:
    """Nodes that run as one: a message's send alone, a collective's parts together."""

    keys: list[_Key]
    left: int = 0
    ready: int = 0
    after: list[int] = field(default_factory=list)


def play_chakra(
    traces: Sequence[ChakraTrace], *, groups: Mapping[str, Sequence[int]] | None = None
) -> Timeline:
    """Return what happens when traces, one per rank, are obeyed.

    Parameters
    ----------
    groups : group -> ranks of its collectives; None: the ranks that have a node of the group

    Raises
    ------
    SpecError : a node twice, a dependency on none, a send without its receive, a collective that
        some member calls less often, two ranks of one device's name, a duration that is none,
        parts that wait for each other for ever, an end that no clock can say
    """
    names = [str(one.attributes.get("device", f"rank {rank}")) for rank, one in enumerate(traces)]
    for rank, name in enumerate(names):
        if names.index(name) < rank:
            raise SpecError(
                f"rank {rank}", found=f"device {name!r}, as of rank {names.index(name)}",
                wanted="a device of its own for every rank", fix="name every file once",
            )  # fmt: skip
    nodes = {(rank, node.id): node for rank, trace in enumerate(traces) for node in trace.nodes}
    if len(nodes) < sum(len(trace.nodes) for trace in traces):
        twice = next(f"{node.id} of rank {rank}" for rank, trace in enumerate(traces)
                     for node in trace.nodes
                     if [n.id for n in trace.nodes].count(node.id) > 1)  # fmt: skip
        raise SpecError("trace", found=f"node {twice} twice", wanted="each id once",
                        fix="record it again")  # fmt: skip
    jobs = _jobs(traces, groups)
    place = {key: number for number, job in enumerate(jobs) for key in job.keys}
    for key, node in nodes.items():
        for before in {*node.data_deps, *node.ctrl_deps}:
            if (key[0], before) not in nodes:
                raise SpecError(f"rank {key[0]}: {node.name}", found=f"a dependency on {before}",
                                wanted="a node of this trace", fix="record it again")  # fmt: skip
            jobs[place[key[0], before]].after.append(place[key])
            jobs[place[key]].left += 1
    for send, receive in _messages(nodes):
        jobs[place[send]].after.append(place[receive])
        jobs[place[receive]].left += 1
    return _played(names, nodes, jobs)


def _played(
    names: Sequence[str], nodes: Mapping[_Key, ChakraNode], jobs: list[_Waiting]
) -> Timeline:
    heap = [(0, job.keys[0], number) for number, job in enumerate(jobs) if not job.left]
    heapq.heapify(heap)
    free = dict.fromkeys(range(len(names)), 0)
    spans: list[Span] = []
    done = 0
    while heap:
        ready, _, number = heapq.heappop(heap)
        job = jobs[number]
        rank = job.keys[0][0]
        kind = nodes[job.keys[0]].type
        start = max(ready, free[rank]) if kind == "COMP" else ready
        lasts = 0 if kind == "COMM_RECV" else max(_lasts(key[0], nodes[key]) for key in job.keys)
        end = start + lasts
        if end > MOST_PS:
            raise SpecError(
                f"rank {rank}: {nodes[job.keys[0]].name}", found=f"an end at {end} ps",
                wanted="a time that the clock can say", fix="correct its duration",
            )  # fmt: skip
        if kind == "COMP":
            free[rank] = end
        spans += [Span(resource=names[key[0]], name=nodes[key].name, start_ps=start, end_ps=end,
                       kind=_KINDS.get(kind, kind.lower())) for key in job.keys]  # fmt: skip
        done += 1
        for after in job.after:
            follower = jobs[after]
            follower.left -= 1
            follower.ready = max(follower.ready, end)
            if not follower.left:
                heapq.heappush(heap, (follower.ready, follower.keys[0], after))
    if done < len(jobs):
        stuck = next(job.keys[0] for job in jobs if job.left)
        raise SpecError(
            f"rank {stuck[0]}: {nodes[stuck].name}", found="nodes that wait for each other",
            wanted="dependencies without a circle", fix="record it again",
        )  # fmt: skip
    spans.sort(key=lambda span: span.start_ps)
    return Timeline(name="Chakra trace", spans=tuple(spans))


def _lasts(rank: int, node: ChakraNode) -> int:
    """Return picoseconds: ours where they stand there, else microseconds of field or attribute."""
    said, unit = node.attributes.get("duration_ps"), 1
    if said is None:
        unit, micros = 10**6, node.duration_micros
        said = micros - (1 << 64) if micros >> 63 else micros  # negative ones come as unsigned
        said = said or node.attributes.get("duration_micros", 0)
    if isinstance(said, bool) or not isinstance(said, int | float):
        found = f"a duration {said!r}"
    elif not (math.isfinite(said) and said >= 0):
        found = f"a duration of {said} {'ps' if unit == 1 else 'us'}"
    else:
        return round(said * unit)
    raise SpecError(f"rank {rank}: {node.name}", found=found, wanted="a time, 0 or more",
                    fix="correct its duration")  # fmt: skip


def _jobs(
    traces: Sequence[ChakraTrace], groups: Mapping[str, Sequence[int]] | None
) -> list[_Waiting]:
    """Return every node alone, but the parts of a collective together."""
    jobs: list[_Waiting] = []
    together: dict[tuple[object, ...], _Waiting] = {}
    calls: dict[tuple[object, ...], Counter[int]] = {}
    key: tuple[object, ...]
    which: tuple[object, ...]
    for rank, trace in enumerate(traces):
        for node in trace.nodes:
            if node.type != "COMM_COLL":
                jobs.append(_Waiting([(rank, node.id)]))
                continue
            which = (node.attributes.get("pg_name", ""), node.attributes.get("comm_type", 0))
            calls.setdefault(which, Counter())[rank] += 1
            key = (*which, calls[which][rank])
            if key not in together:
                together[key] = _Waiting([])
                jobs.append(together[key])
            together[key].keys.append((rank, node.id))
    for which, counts in calls.items():
        _everyone(which, counts, calls, groups)
    return jobs


def _everyone(
    which: tuple[object, ...], counts: Counter[int],
    calls: Mapping[tuple[object, ...], Counter[int]],
    groups: Mapping[str, Sequence[int]] | None,
) -> None:  # fmt: skip
    """Refuse a collective that its group's members do not call equally often."""
    name, kind = str(which[0]), which[1]
    what = f"collective {kind} of group {name!r}"
    if isinstance(kind, int) and 0 <= kind < len(COLLECTIVES):
        what = f"{COLLECTIVES[kind]} of group {name!r}"
    if groups is not None and name and name not in groups:
        raise SpecError("groups of collectives", found=what,
                        wanted=f"one of groups {', '.join(groups) or '(none)'}",
                        fix="give the groups of this run")  # fmt: skip
    if groups is not None and name:
        members = {*groups[name]}
        strangers = sorted(set(counts) - members)
        if strangers:
            raise SpecError(
                f"rank {strangers[0]}", found=what, wanted=f"ranks {sorted(members)} alone in it",
                fix="give the groups of this run, and the traces in the order of ranks",
            )  # fmt: skip
    else:
        members = {rank for (group, _), by in calls.items() if group == which[0] for rank in by}
    if len({counts[rank] for rank in members}) > 1:
        least, most = (pick(sorted(members), key=counts.__getitem__) for pick in (min, max))
        raise SpecError(
            what, found=f"{counts[most]} calls by rank {most}, {counts[least]} by rank {least}",
            wanted="as many by every member", fix="give the whole traces of one run, of all ranks",
        )  # fmt: skip


def _messages(nodes: Mapping[_Key, ChakraNode]) -> list[tuple[_Key, _Key]]:
    """Return each send with its receive, by both ends, tag and size, in the order of ids."""
    ends: dict[str, dict[tuple[object, ...], list[_Key]]] = {"COMM_SEND": {}, "COMM_RECV": {}}
    for key in sorted(nodes):
        node = nodes[key]
        if node.type in ends:
            get = node.attributes.get
            src: object = key[0] if node.type == "COMM_SEND" else get("comm_src")
            dst: object = key[0] if node.type == "COMM_RECV" else get("comm_dst")
            which: tuple[object, ...] = (src, dst, get("comm_tag"), get("comm_size"))
            ends[node.type].setdefault(which, []).append(key)
    sends, receives = ends["COMM_SEND"], ends["COMM_RECV"]
    for which in {**sends, **receives}:
        if len(sends.get(which, ())) != len(receives.get(which, ())):
            some = (sends.get(which) or receives[which])[0]
            raise SpecError(
                f"rank {some[0]}: {nodes[some].name}",
                found=f"{len(sends.get(which, ()))} sends and {len(receives.get(which, ()))} "
                f"receives from {which[0]} to {which[1]} with tag {which[2]}",
                wanted="a receive for every send", fix="give the traces of all ranks, in order",
            )  # fmt: skip
    return [
        pair for which, keys in sends.items() for pair in zip(keys, receives[which], strict=True)
    ]
