"""Chakra execution traces: of a plan's replay to a folder, and from files of any origin back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.cost import work_of
from orrery.graph import Graph
from orrery.report import Cell, Column, Page, Table, Text, write_result
from orrery.sim import ChakraTrace, chakra_traces, encode_chakra, play_chakra, read_chakra
from orrery.store import atomic_write, whole_folder, write_text
from orrery.timeline import Timeline, write_timeline
from orrery.units import format_si

from .._result import MapResult
from ._files import check_heads, rank_files, read_groups

_LINKS = ("Links and their contention are not in a trace: a message takes as long as was recorded "
          "of it, and meets no other. A replay with contention can therefore end later than its "
          "own trace when played.")  # fmt: skip


def write_chakra(result: MapResult, graphs: Sequence[Graph], folder: str | Path) -> dict[str, Path]:
    """Write a replayed plan as one trace per device: ``chakra.0.et`` and so on, all or none.

    Beside them ``devices.json`` says which rank is which device, and ``groups.json`` which ranks
    meet in collectives, as simulators take it.
    """
    from ..pages import regions_of

    operations = {}
    for name, region in regions_of(graphs, result.plan).items():
        work = work_of(region)
        operations[name] = 2 * work.total_macs + work.others
    tensors = {
        model.prefix + name: (type_.elements, type_.size_bytes)
        for model, graph in zip(result.plan.models, graphs, strict=True)
        for name, type_ in graph.types.items() if type_.is_bound
    }  # fmt: skip
    traces, groups = chakra_traces(result.certificate, result.timeline, operations=operations,
                                   tensors=tensors)  # fmt: skip
    files = {f"trace of {device}": f"chakra.{rank}.et" for rank, device in enumerate(traces)}
    with whole_folder(Path(folder)) as fresh:
        for trace, file in zip(traces.values(), files.values(), strict=True):
            with atomic_write(fresh / file) as handle:
                handle.write(encode_chakra(trace))
        write_text(fresh / "devices.json", json.dumps(list(traces), indent=1) + "\n")
        write_text(fresh / "groups.json", json.dumps(groups, indent=1) + "\n")
    files |= {"devices": "devices.json", "groups": "groups.json"}
    return {name: Path(folder) / file for name, file in files.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraRun:
    """Traces and what happens when they are obeyed."""

    traces: tuple[ChakraTrace, ...]
    timeline: Timeline
    page: Page

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the timeline, which Perfetto opens, and the report: all or none."""
        return write_result(folder, self.page, {
            "timeline": ("timeline.json", lambda path: write_timeline(path, self.timeline)),
        })  # fmt: skip


def chakra(paths: Sequence[str | Path]) -> ChakraRun:
    """Read the traces of all ranks and play them.

    Parameters
    ----------
    paths : files in the order of ranks, or one folder of ``NAME.RANK.et``

    Raises
    ------
    SpecError : no trace; a file that is none; ranks that are missing; traces that do not fit each
        other, or the ``groups.json`` beside them (see `play_chakra`)
    """
    files = rank_files([Path(path) for path in paths])
    traces = tuple(read_chakra(file) for file in files)
    told = check_heads(files, traces)
    groups = read_groups(files[0].parent, len(files))
    timeline = play_chakra(traces, groups=groups)
    busy = timeline.busy_s()
    rows: list[tuple[Cell, ...]] = []
    for rank, trace in enumerate(traces):
        count = Counter(node.type for node in trace.nodes)
        sent = sum(_size(node.attributes.get("comm_size", 0)) for node in trace.nodes
                   if node.type == "COMM_SEND")  # fmt: skip
        name = str(trace.attributes.get("device", f"rank {rank}"))
        computing = sum(span.end_ps - span.start_ps for span in timeline.spans
                        if span.resource == name and span.kind == "compute") / 1e12  # fmt: skip
        rows.append((rank, name, count["COMP"], count["COMM_SEND"], count["COMM_RECV"],
                     count["COMM_COLL"], sent, computing, busy.get(name, 0.0)))  # fmt: skip
    columns = (
        Column.number("rank"), Column(name="device"),
        *(Column.number(n) for n in ("computations", "sends", "receives",
                                                  "collectives")),
        Column.number("sent", "bytes"),
        Column.number("computing", "s"),
        Column.number("busy", "s", help="computing or in a message"),
    )  # fmt: skip
    nodes = sum(len(trace.nodes) for trace in traces)
    said = (f"{nodes:,} nodes of {len(traces)} ranks, done after "
            f"{format_si(timeline.makespan_s, 's')} when every node starts as soon as what it "
            "depends on has ended and takes as long as it says.")  # fmt: skip
    page = Page(title=files[0].name.partition(".")[0], subtitle="Chakra execution traces, played",
                sections=(Text(title="Altogether", paragraphs=(said, _LINKS, *told)),
                          Table(title="Ranks", columns=columns, rows=tuple(rows))))  # fmt: skip
    return ChakraRun(traces=traces, timeline=timeline, page=page)


def _size(value: object) -> int:
    return value if isinstance(value, int) else 0
