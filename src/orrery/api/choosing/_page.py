"""The page of a network on several workers: who runs what, what it gains, and why not more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.report import Column, Section, Table, Text, TimelineChart

from ._account import left_out, seconds
from ._choice import PLACED, Choice
from ._stands import stands
from ._tables import losses_table, phases_table, subgraphs_table, times_table
from ._why import reasons, verdict

if TYPE_CHECKING:
    from orrery.runtime.together import Outcome


def placing_sections(choice: Choice, outcome: Outcome | None) -> list[Section]:
    """Return the comparison, the placement step by step, and when what ran (of one request)."""
    sections: list[Section] = [_verdict(choice), _ways(choice), subgraphs_table(choice)]
    found = choice.found
    if found is not None:
        sections += [losses_table(choice, found), phases_table(choice, found),
                     times_table(choice, found)]  # fmt: skip
    if outcome is not None:
        sections.append(TimelineChart(
            title="One request", timeline=choice.networks[PLACED].timeline(outcome),
            caption="Measured: when each worker ran which subgraph of the placement, in a request "
            f"of {seconds(outcome.latency_s)} (in turn with the other ways: "
            f"{seconds(choice.comparison.median_s(PLACED))}). timeline.json holds the request that "
            + ("answered, by the placement as well." if choice.best == PLACED
               else f"answered, whole on {choice.best}."),
        ))  # fmt: skip
    sections.append(_corrections(choice))
    return sections


def _verdict(choice: Choice) -> Text:
    said = verdict(choice)
    if choice.found is not None:
        if choice.best != PLACED:
            said += reasons(choice, choice.found)
        said += stands(choice, choice.found)
    said += left_out(choice)
    said += choice.problem.partition.notes
    said += choice.notes
    refused = sorted(set(choice.profile.refusals.values()))
    said += [f"Not everywhere: {why}" for why in refused[:3]]
    if len(refused) > 3:
        said.append(f"And {len(refused) - 3} more reasons why a worker does not run a subgraph.")
    return Text(title="Does it pay?", paragraphs=tuple(said),
                tone="plain" if choice.best == PLACED else "note")  # fmt: skip


def _ways(choice: Choice) -> Table:
    found = choice.comparison
    rows = []
    for name in sorted(found.times_s, key=found.median_s):
        ratio, (low, high) = found.speedup(PLACED, name)
        over = (None, None, None) if name == PLACED else (ratio, low, high)
        rows.append((name, found.median_s(name), *found.interval_s(name), *over,
                     "yes" if name == choice.best else ""))  # fmt: skip
    return Table(
        title="Ways to run it", rows=tuple(rows), sort_by="median",
        columns=(Column(name="way"), Column(name="median", unit="s", kind="number", bar=True),
                 Column(name="from", unit="s", kind="number"),
                 Column(name="to", unit="s", kind="number"),
                 Column(name="placed is quicker by", kind="number", help="within rounds"),
                 Column(name="at least", kind="number", help="95 %"),
                 Column(name="at most", kind="number", help="95 %"), Column(name="taken")),
        caption=f"{found.rounds} rounds; each runs every way once.",
    )  # fmt: skip


def _corrections(choice: Choice) -> Table:
    rows = []
    for tried in choice.placed.log:
        quicker = tried.quicker or (None, None, None)
        takes_s = tried.seconds
        if takes_s is not None and tried.by == "predicted":
            takes_s *= choice.pace or 1.0
        rows.append((tried.what, takes_s, *quicker, tried.rounds or None, tried.by,
                     "kept" if tried.kept else "", tried.note))  # fmt: skip
    noted = any(row[-1] for row in rows)
    return Table(
        title="What was tried", columns=(
            Column(name="placement or change"),
            Column(name="takes", unit="s", kind="number",
                   help="measured in its race; predicted, at the machine's pace now"),
            Column(name="quicker by", kind="number", help="than the best so far, within rounds"),
            Column(name="at least", kind="number", help="95 %"),
            Column(name="at most", kind="number", help="95 %"),
            Column(name="rounds", kind="number"), Column(name="by"), Column(name="stayed"),
            *([Column(name="could not run")] if noted else [])),
        rows=tuple(row if noted else row[:-1] for row in rows),
        caption="Candidates race in turn with the best so far; only what is surely quicker stays.",
    )  # fmt: skip
