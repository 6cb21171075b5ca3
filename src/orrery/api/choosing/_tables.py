"""Tables of a placement: where its time goes, phase by phase, subgraph by subgraph."""

from __future__ import annotations

from orrery.report import Cell, Column, Table

from ._account import apart_s, basis, is_paced
from ._choice import PLACED, Choice, Found


def losses_table(choice: Choice, found: Found) -> Table:
    """Return the time of the placement taken apart, beside that of the whole."""
    losses, one = found.losses, choice.single
    names = [part.region.name for part in choice.problem.partition.subgraphs]
    path = " → ".join(names[k] for k in losses.path)
    rows = [
        (f"the whole on {one}", losses.whole_s),
        (f"its subgraphs on {one}, one after the other", losses.parts_s),
        (
            f"no placement of them takes less than, {basis(choice)}"
            + ("" if losses.undercut_s is None else " (undercut: it says nothing)"),
            losses.bound_s,
        ),
        ("no placement of them takes less than, with company as it was measured", losses.limit_s),
        ("placed: the subgraphs of the critical path, alone", losses.path_s),
        ("placed: longer beside others", losses.company_s),
        ("placed: longer or shorter with nothing beside them", losses.drift_s),
        ("placed: between them, before the first and after the last", losses.hand_over_s),
        ("placed: together, a request", losses.placed_s),
        ("not accounted for: more or less in turn with the other ways", apart_s(choice, found)),
        ("in turn with the other ways", choice.comparison.median_s(PLACED)),
    ]
    return Table(
        title="Where the time goes", rows=tuple(rows), filterable=False,
        columns=(Column(name="what"), Column(name="seconds", unit="s", kind="number", bar=True)),
        caption=f"Medians of requests; the critical path as measured: {_short(path)}.",
    )  # fmt: skip


def _short(path: str, most: int = 160) -> str:
    if len(path) <= most:
        return path
    first, last = path[: most // 2].rsplit(" → ", 1)[0], path[-most // 2 :].split(" → ", 1)[-1]
    return f"{first} → … → {last}"


def phases_table(choice: Choice, found: Found) -> Table:
    """Return when each phase is predicted to run and did."""
    problem, foreseen = choice.problem, choice.foreseen
    predicted = problem.phases(foreseen)
    measured = problem.phases(found.measured)
    rows: list[tuple[Cell, ...]] = []
    for before, after in zip(predicted, measured, strict=True):
        phase = problem.partition.phases[before.phase]
        inside = "" if phase.within is None else f"path {phase.within[1] + 1} of p{phase.within[0]}"
        length, took = before.end_s - before.begin_s, after.end_s - after.begin_s
        rows.append((
            f"p{before.phase}", phase.kind, inside, len(phase.subgraphs), before.begin_s,
            before.end_s, after.begin_s, after.end_s, took,
            None if took <= 0 else 100 * (length / took - 1),
        ))  # fmt: skip
    whole, spent = foreseen.makespan_s, found.measured.makespan_s
    rows.append(("all", "", "", len(problem.order), 0.0, whole, 0.0, spent, spent,
                 100 * (whole / spent - 1) if spent > 0 else None))  # fmt: skip
    return Table(
        title="Phases, predicted and measured", rows=tuple(rows),
        columns=(
            Column(name="phase"), Column(name="kind"), Column(name="within"),
            Column(name="subgraphs", kind="number"),
            Column(name="predicted begin", unit="s", kind="number"),
            Column(name="predicted end", unit="s", kind="number"),
            Column(name="began", unit="s", kind="number"),
            Column(name="ended", unit="s", kind="number"),
            Column(name="took", unit="s", kind="number", bar=True),
            Column(name="predicted off by", unit="%", kind="number",
                   help="the predicted length beside the measured one"),
        ),
        caption="From when a request came; measured while the placement was watched at work, not "
                "in turn with the other ways. A phase within a path is a part of that path."
                + _at_pace(choice),
    )  # fmt: skip


def _at_pace(choice: Choice) -> str:
    return "" if not is_paced(choice) else (
        f" What is predicted is at the machine's pace now, {choice.pace:.2f} times as long as "
        "when subgraphs were timed.")  # fmt: skip


def subgraphs_table(choice: Choice) -> Table:
    """Return who runs each subgraph."""
    from orrery.runtime.together import PROCESS

    problem, rows = choice.problem, []
    last = choice.placed.placement[problem.order[-1]]
    for number in problem.order:
        part, where = problem.partition.subgraphs[number], choice.placed.placement[number]
        nodes = part.region.nodes
        rows.append((
            part.region.name, problem.partition.phases[part.phase].kind,
            nodes[0] if len(nodes) == 1 else f"{nodes[0]} … {nodes[-1]}", len(nodes),
            problem.workers[where].name + (PROCESS if choice.processes and where != last else ""),
        ))  # fmt: skip
    return Table(
        title="Who runs what", rows=tuple(rows),
        columns=(Column(name="subgraph"), Column(name="phase"), Column(name="nodes"),
                 Column(name="count", kind="number"), Column(name="worker")),
        caption="Subgraphs of one phase know nothing of each other. Which worker runs each single "
                "node is in nodes.csv (--out).",
    )  # fmt: skip


def times_table(choice: Choice, found: Found) -> Table:
    """Return when each subgraph is predicted to run and did, and what it takes alone."""
    problem, measured = choice.problem, found.measured
    timing = choice.foreseen
    foreseen, seen = set(timing.critical_path()), set(measured.critical_path())
    rows = []
    for number in problem.order:
        on = (("predicted", number in foreseen), ("measured", number in seen))
        rows.append((
            problem.partition.subgraphs[number].region.name, timing.begin[number],
            measured.begin[number], timing.end[number], measured.end[number],
            timing.end[number] - timing.begin[number], found.alone_s[number],
            measured.end[number] - measured.begin[number],
            " and ".join(said for said, yes in on if yes),
        ))  # fmt: skip
    return Table(
        title="Subgraphs, predicted and measured", rows=tuple(rows),
        columns=(
            Column(name="subgraph"), Column(name="predicted begin", unit="s", kind="number"),
            Column(name="began", unit="s", kind="number"),
            Column(name="predicted end", unit="s", kind="number"),
            Column(name="ended", unit="s", kind="number"),
            Column(name="predicted to take", unit="s", kind="number",
                   help="from the profile, longer beside others where that was measured"),
            Column(name="alone", unit="s", kind="number", help="with nothing beside it"),
            Column(name="in a request", unit="s", kind="number"), Column(name="critical path"),
        ),
        caption="On the critical path is what the end waits for, as predicted or as measured."
                + _at_pace(choice),
    )  # fmt: skip
