"""The tables of the study; all follow from the cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orrery.report import Axis, Cell, Column, Line, Point, Section, Series, Table, Text

from ._case import ALONE, PLACED, Case, Effort
from ._published import CLAIMS, NETWORKS
from ._records import why
from ._rounds import SHARES, percentiles

_KINDS = {"served": "the quicker one", "steps": "no way to run it: what they sum to",
          "cpu": "whole, all cores", "gpu": "whole, GPU", "part": "whole, some cores"}  # fmt: skip


def sections_of(
    cases: Sequence[Case], effort: Effort, machine: str, lost: Sequence[str] = ()
) -> list[Section]:
    """Return what the records do not say: how it was done, and every way of every network."""
    found: list[Section] = [_explained(cases, effort, machine, lost), _short(cases), _ways(cases)]
    if any(case.tails for case in cases):
        found.append(_tails(cases))
    found += [_searches(cases), _placements(cases), _profiles(cases), _scatter(cases), _claims()]
    return found


def _number(name: str, unit: str = "s", help: str = "", bar: bool = False) -> Column:
    return Column(name=name, unit=unit, kind="number", help=help, bar=bar)


def _explained(cases: Sequence[Case], effort: Effort, machine: str, lost: Sequence[str]) -> Text:
    gpu = any(kind == "gpu" for case in cases for kind in case.kinds.values())
    missing = [n.name for n in NETWORKS if n.name not in effort.networks]
    left = [f"networks {', '.join(missing)}"] if missing else []
    left += ["slow tails (runs in their thousands)"] if effort.tail_runs == 0 else []
    left += ["PyTorch, compiled"] if effort.torch == "nodes" else []
    left += ["PyTorch"] if effort.torch == "off" else []
    said = [
        f"Batch 1, on {machine}. All ways of a network run in turn, once a round; ratios are taken "
        "within rounds. Weights are random: what is computed does not depend on them.",
        "The published system places branches on a CPU and a GPU. "
        + ("So does this." if gpu else
           "There is no GPU here, so that the same method places them on sets of cores with the "
           "back ends that are installed. The two halves of the cores are equal: they can gain 2 "
           "at the very most, and less where one back end uses all cores well by itself."),
        "The bound is measured: subgraphs' times with nothing beside them, the longest path of "
        "them, or all processors always busy. It says what no placement of these subgraphs "
        "undercuts, as they were timed; where a placement takes less all the same, it proves "
        "nothing, and that is said. The limit in company is the same for subgraphs that take as "
        "long as they did beside a busy neighbour whenever another one runs. It is what that "
        "measurement allows, and no proof.",
        "The machine's speed changes. What follows from subgraphs' times (bound, limit, exact, "
        "predicted, the sum of the parts) is at the pace of the rounds in which all ways ran: "
        "multiplied by what the placement's subgraphs take one at a time there, and divided by "
        "what they took when they were timed. At another pace a bound is one of times as measured, "
        "and no proof. Where it is as they were timed all the same, the table says so.",
    ]  # fmt: skip
    if left:
        said.append(f"Left out at this scale: {'; '.join(left)}. Scale 1 has them.")
    said += [f"{case.name}: {note.rstrip('.')}." for case in cases for note in case.notes]
    said += lost
    return Text(title="How to read this", paragraphs=tuple(said), tone="note")


def _short(cases: Sequence[Case]) -> Table:
    branches = {network.name: network.branches for network in NETWORKS}
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        gain = case.gain(*ALONE)
        low, high = gain[1] if gain else (None, None)
        usual = "branches" if case.branched else "single path"
        paths = branches.get(case.name) or usual
        rows.append((
            case.name, paths, gain[0] if gain else None, low, high,
            case.ceiling if case.undercut is None else None, case.reach,
            case.best(*ALONE),
            "placed" if case.chosen == PLACED else f"whole on {case.chosen}", why(case),
        ))  # fmt: skip
    return Table(
        title="Gain over the best back end alone", rows=tuple(rows),
        columns=(Column(name="network"), Column(name="paths"),
                 _number("times as fast", "", bar=True), _number("from", ""),
                 _number("to", "", "95 %"),
                 _number("at most", "", "by the bound, from times alone"),
                 _number("in company", "", "at most, as subgraphs slow each other down"),
                 Column(name="best alone"),
                 Column(name="the command runs it"), Column(name="why not more")),
        caption="The best alone is the one that the placement gains least over: of the workers' "
        "back ends on all and on some processors, and of PyTorch unless it is said to be left out. "
        "No bound: a placement took less than it.",
    )  # fmt: skip


def _ways(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        for block in case.blocks:
            for way in sorted(block.times_s, key=block.median_s):
                if block is not case.blocks[0] and way == PLACED:
                    continue
                times, error = block.times_s[way], case.errors.get(way, math.inf)
                rows.append((
                    case.name, way, _what(case, way), block.median_s(way),
                    *block.interval_s(way), *percentiles(times)[1:3],
                    block.speedup(PLACED, way)[0], error if math.isfinite(error) else None,
                    len(times),
                ))  # fmt: skip
    return Table(
        title="Every way to run them", rows=tuple(rows),
        columns=(Column(name="network"), Column(name="way"), Column(name="what"),
                 _number("median", bar=True), _number("from"), _number("to"), _number("P90"),
                 _number("P99"), _number("placed is quicker by", "x", "within rounds"),
                 _number("error of outputs", "", "largest |a - b| / (1 + |b|), NumPy reference"),
                 _number("runs", "")),
        caption="An empty percentile: too few runs to have one beyond it. PyTorch runs in a "
        "process of its own, in turn with the placement.",
    )  # fmt: skip


def _what(case: Case, way: str) -> str:
    kind = case.kinds[way]
    if kind != "placed":
        return _KINDS[kind]
    on = case.workers
    return "on several workers" if len(on) > 1 else f"in subgraphs, all on {', '.join(on)}"


def _tails(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        for way, times in (case.tails.times_s if case.tails else {}).items():
            rows.append((case.name, way, len(times), *percentiles(times)))
    return Table(
        title="Slow tails", rows=tuple(rows),
        columns=(Column(name="network"), Column(name="way"), _number("runs", ""),
                 *(_number(f"P{100 * share:g}") for share in SHARES)),
        caption="Runs in turn. Of 1000 runs a single one decides P99.9; empty: fewer than that.",
    )  # fmt: skip


def _searches(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        sweep, pace = case.sweep, case.pace or 1.0
        rows.append((
            case.name, len(case.steps), float(sweep.total), case.bound_s,
            None if sweep.exact_s is None else pace * sweep.exact_s, pace * sweep.corrected_s,
            case.predicted_s, sweep.rank, len(sweep.points),
            sweep.measured_rank, 100 * sweep.gap, *(100 * end for end in sweep.interval),
        ))  # fmt: skip
    return Table(
        title="The placement among all there are", rows=tuple(rows),
        columns=(Column(name="network"), _number("subgraphs", ""), _number("placements", ""),
                 _number("bound"), _number("exact", "s", "the least predicted, proved"),
                 _number("greedy-correction", "s", "by prediction alone"),
                 _number("ours", "s", "corrected by measuring, as predicted"),
                 _number("rank", "", "of ours by prediction"), _number("measured", ""),
                 _number("rank among these", ""), _number("gap", "%", "as measured"),
                 _number("gap from", "%"), _number("gap to", "%")),
        caption="The gap is that of ours over the quickest other placement measured, in rounds of "
        "their own; below zero, ours is the quickest. Empty: too many placements to work out. "
        "Seconds are at the pace of the rounds in which all ways ran.",
    )  # fmt: skip


def _placements(cases: Sequence[Case]) -> Table:
    return Table(
        title="Who runs what",
        columns=(Column(name="network"), Column(name="subgraph"), _number("nodes", ""),
                 Column(name="worker")),
        rows=tuple((case.name, *step) for case in cases for step in case.steps),
    )  # fmt: skip


def _profiles(cases: Sequence[Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        first, operators, summed = case.sweep.points[0], case.operators, case.sweep.summed_error
        rows.append((
            case.name, first.measured_s, first.predicted_s, 100 * case.sweep.error, first.summed_s,
            None if summed is None else 100 * summed,
            None if operators is None else "the same" if operators.same else "another",
            None if operators is None else operators.slower,
            *((None, None) if operators is None else operators.interval),
        ))  # fmt: skip
    return Table(
        title="Are subgraphs' times true, and would operators' do?", rows=tuple(rows),
        columns=(Column(name="network"), _number("measured"),
                 _number("from subgraphs", "s", "subgraphs timed as wholes, at no later pace"),
                 _number("error", "%", "median over the measured placements"),
                 _number("from operators", "s", "operators timed one by one and summed"),
                 _number("error of sums", "%", "median over the measured placements"),
                 Column(name="placement by sums"),
                 _number("it takes", "x", "of the time of the placement by subgraphs"),
                 _number("takes from", "x"), _number("takes to", "x")),
        caption="Both placements by prediction alone, and both predictions as they were timed, not "
        "at the pace of the rounds. Empty: operators were left out.",
    )  # fmt: skip


def _scatter(cases: Sequence[Case]) -> Series:
    lines = [
        Line(name=case.name, style="scatter", points=tuple(
            Point(x=p.measured_s, y=p.predicted_s, label=p.what if k < 1 else "")
            for k, p in enumerate(case.sweep.points)
        ))
        for case in cases
    ]  # fmt: skip
    every = [value for line in lines for p in line.points for value in (p.x, p.y)]
    ends = tuple(Point(x=end, y=end) for end in (min(every), max(every)))
    return Series(
        title="Predicted and measured makespans", lines=(*lines, Line(name="equal", points=ends)),
        x=Axis(name="measured", unit="s", log=True), y=Axis(name="predicted", unit="s", log=True),
        caption="Each point is a placement that was run; those predicted best were measured first. "
        "Predicted as subgraphs were timed, at no later pace.",
    )  # fmt: skip


def _claims() -> Table:
    rows = [
        (f"gain over the {claim.over.upper()} alone, best compiler",
         f"{claim.least:g} to {claim.most:g}", "the paper's abstract")
        for claim in CLAIMS
    ]  # fmt: skip
    rows += [
        ("gain of 15.9, also quoted", "15.9", "not confirmed; perhaps over a framework"),
        ("networks Wide&Deep, Siamese, MT-DNN, ResNet", "", "from memory, not confirmed"),
        ("CPU Xeon Gold class, GPU Titan V, PCIe 3.0 x16", "", "from memory, not confirmed"),
    ]
    return Table(
        title="What is known of the published figures", rows=tuple(rows),
        columns=(Column(name="what"), Column(name="figure"), Column(name="how well known")),
        caption="No latency of a single network and no slow tail of the paper could be read.",
    )  # fmt: skip
