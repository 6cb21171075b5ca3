"""The tables and charts of the study."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.report import Axis, Cell, Column, Line, Point, Section, Series, Table, Text
from orrery.timeline import PS_PER_S

from ._case import BASELINES, Case
from ._platform import DESIGNS, NETWORKS
from ._sweeps import DesignRow, LinkSweep

_LINKS = {"all": "all links", "host": "links of the host", "devices": "links among FPGAs"}


def sections_of(
    cases: Sequence[Case], links: Sequence[LinkSweep], designs: Sequence[DesignRow]
) -> tuple[Section, ...]:
    """Return what the page shows beside the records."""
    whole = [sweep for sweep in links if sweep.which == "all"]
    return (
        _explained(), _ways(cases), _reductions(cases), _sets(cases), _ablations(cases),
        _links(links), *_regrets(whole), _series(whole), _designs(designs), *_refused(cases),
    )  # fmt: skip


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _explained() -> Text:
    return Text(
        title="How to read this",
        paragraphs=(
            "Eight FPGAs in two groups of four. A mapping divides them into sets of 1, 2, 4 or 8, "
            "gives each set one of three designs and a run of layers, and shares every layer "
            "among the set's FPGAs. Sets work one after the other: latency of one inference.",
            "Bandwidths (8 Gbit/s in a group, 2 Gbit/s to the host) and 1 GB per FPGA are from "
            "memory and unconfirmed; the sweeps show what hangs on them. The designs are "
            "substitutes with documented parameters: the tiled one is a float32 design of "
            "another board at 100 MHz, the others use 16-bit fixed point at 200 MHz, so that it "
            "is seldom chosen. Nothing was tuned to the published figures.",
            "The exact search is the optimum of all mappings of this form with units in their "
            "order; the two-level search is genetic, at its default settings, seed 0. Every plan "
            "was replayed with contention on links and its certificate checked by code that "
            "shares nothing with searches, prices or replay.",
            "Seconds are those of this run on this machine; listing and pricing all ways to "
            "share comes before the searches and is shown apart.",
        ),
        tone="note",
    )


def _ways(cases: Sequence[Case]) -> Table:
    rows = []
    for case in cases:
        best = case.ways["exact"].replayed_s
        for way in case.ways.values():
            rows.append((
                NETWORKS[case.network], way.name, way.predicted_s, way.replayed_s,
                100 * (way.replayed_s / best - 1), case.bound_s,
                100 * (way.predicted_s / case.bound_s - 1),
                "holds" if way.holds else f"{way.violations} violations", way.search_s,
                case.filling_s,
            ))  # fmt: skip
    return Table(
        title="Ways to map",
        columns=(
            Column(name="network"), Column(name="way"),
            Column.number("predicted", "s", "without contention"), Column.number("replayed", "s"),
            Column.number("above exact", "%", "replayed; below zero: faster than the exact search"),
            Column.number("bound of sets", "s", "no plan of sets in series is faster"),
            Column.number("gap", "%", "predicted above that bound"),
            Column(name="certificate"), Column.number("search took", "s"),
            Column.number("filling took", "s", "once for all ways"),
        ),
        rows=tuple(rows),
        caption="The bound holds for sets in series; the greedy ways and the single device keep "
        "layers whole and may overlap them. " + ". ".join(
            f"{name}: {does}" for name, does in BASELINES.items()) + ".",
    )  # fmt: skip


def _reductions(cases: Sequence[Case]) -> Table:
    others = ("single device", *BASELINES, "list schedule")
    return Table(
        title="Latency of the two-level search below other ways",
        columns=(Column(name="network"), *(Column.number(f"below {o}", "%") for o in others)),
        rows=tuple(
            (NETWORKS[case.network], *(_percent(case.reduction(other)) for other in others))
            for case in cases
        ),
        caption="Replayed. The paper gives no figure per network.",
    )


def _sets(cases: Sequence[Case]) -> Table:
    rows = [
        (NETWORKS[case.network], way.name, float(number), text)
        for case in cases
        for way in case.ways.values()
        for number, text in enumerate(way.sets, 1)
    ]
    return Table(
        title="Sets",
        columns=(Column(name="network"), Column(name="way"), Column.number("set"),
                 Column(name="FPGAs × design: layers")),
        rows=tuple(rows),
    )  # fmt: skip


def _ablations(cases: Sequence[Case]) -> Table:
    names = list(dict.fromkeys(name for case in cases for name in case.ablations))
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        best = case.ways["exact"].predicted_s
        for name in names:
            without = case.ablations.get(name)
            longer = None if without is None else 100 * (without / best - 1)
            rows.append((NETWORKS[case.network], name, without, longer))
    return Table(
        title="What each idea is worth",
        columns=(Column(name="network"), Column(name="with"), Column.number("latency", "s"),
                 Column.number("longer than with all", "%")),
        rows=tuple(rows),
        caption="Exact search under each restriction, but for the two of the two-level search, "
        "which keep all freedoms. Without contention. What a single design cannot do, the board's "
        "own units do. An empty cell: no mapping.",
    )  # fmt: skip


def _links(links: Sequence[LinkSweep]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for sweep in links:
        found = sweep.found
        changes = [None, *found.changes]
        for i, factor in enumerate(found.factors):
            change = changes[i]
            said = None if change is None else ", ".join(
                text for text, is_so in (
                    ("sets", change.sets), ("designs", change.designs),
                    (f"{change.units} units shared otherwise", change.units > 0),
                ) if is_so
            ) or "nothing"  # fmt: skip
            best = float(found.best_ps[i]) / PS_PER_S
            rows.append((
                NETWORKS[sweep.network], _LINKS[sweep.which], factor, best,
                100 * (best * PS_PER_S / found.bound_ps[i] - 1),
                *(_percent(sweep.reductions(baseline)[i]) for baseline in BASELINES),
                "; ".join(found.candidates[found.own[i]].sets), said,
            ))  # fmt: skip
    return Table(
        title="Other bandwidths",
        columns=(
            Column(name="network"),
            Column(name="scaled"),
            Column.number("times bandwidth"),
            Column.number("best latency", "s"),
            Column.number("gap", "%"),
            *(Column.number(f"below {baseline}", "%") for baseline in BASELINES),
            Column(name="sets of the optimum"),
            Column(name="changes", help="against the bandwidth before"),
        ),
        rows=tuple(rows),
        caption="Without contention. Baselines are mapped anew at every bandwidth.",
    )


def _regrets(links: Sequence[LinkSweep]) -> list[Table]:
    rows: list[tuple[Cell, ...]] = []
    for sweep in links:
        found = sweep.found
        for number, candidate in enumerate(found.candidates):
            worst = 100 * float(found.regret[number].max())
            kept = "yes" if number == found.robust else None
            rows.append((NETWORKS[sweep.network], ", ".join(candidate.names), worst, kept))
    if not rows:
        return []
    return [Table(
        title="Regret over bandwidths",
        columns=(
            Column(name="network"), Column(name="mapping"),
            Column.number("most regret", "%", "longer than the best at the bandwidth where worst"),
            Column(name="regrets least"),
        ),
        rows=tuple(rows),
        caption="Each mapping, found at one bandwidth of all links, in all the others.",
    )]  # fmt: skip


def _series(links: Sequence[LinkSweep]) -> Series:
    lines = [
        Line(name=f"{NETWORKS[sweep.network]} below {baseline}", points=tuple(
            Point(x=factor, y=100 * value)
            for factor, value in zip(sweep.found.factors, sweep.reductions(baseline), strict=True)
            if value is not None
        ))
        for sweep in links for baseline in BASELINES
    ]  # fmt: skip
    return Series(
        title="Latency reduction over bandwidths of all links",
        x=Axis(name="times bandwidth", log=True), y=Axis(name="reduction", unit="%"),
        lines=tuple(lines),
        caption="Published: 32.2 % in the mean, 10.1 to 46.6 %, at constants that are not public.",
    )  # fmt: skip


def _designs(rows: Sequence[DesignRow]) -> Table:
    base = {row.network: row.best_s for row in rows if not row.instead}
    shown: list[tuple[Cell, ...]] = []
    for row in rows:
        before = base[row.network]
        change = None if row.best_s is None or not before else 100 * (row.best_s / before - 1)
        shown.append((
            NETWORKS[row.network], row.instead or "as the platform", DESIGNS.get(row.kind),
            row.best_s, change, _percent(row.reduction), "; ".join(row.used),
        ))  # fmt: skip
    return Table(
        title="Other designs",
        columns=(
            Column(name="network"), Column(name="with"), Column(name="in the place of"),
            Column.number("best latency", "s"), Column.number("against the platform", "%"),
            Column.number("below greedy by layers", "%"), Column(name="designs used"),
        ),
        rows=tuple(shown),
        caption="Exact search without contention. Only designs that their part has DSP slices "
        "for: each design checks that itself.",
    )  # fmt: skip


def _refused(cases: Sequence[Case]) -> list[Text]:
    lines = tuple(
        f"{NETWORKS[case.network]}, {name}: {why}"
        for case in cases
        for name, why in case.refused.items()
    )
    return [Text(title="Without a plan", paragraphs=lines, tone="warning")] if lines else []
