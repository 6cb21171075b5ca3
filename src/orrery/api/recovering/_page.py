"""The page of a recovered network: operators with their evidence, what is left, what it told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orrery.report import Cell, Column, Page, Section, Table, Text
from orrery.units import counted

from ._check import TOLERANCE, Checked
from ._harden import Hardened
from ._tables import leak_table, stage_table, tried_table, unmatched_table, weight_table

if TYPE_CHECKING:
    from orrery.decompile import Recovered

_VERDICTS = {
    "whole": "A network was recovered; nothing of its code is left unmatched.",
    "partial": "A part of a network was recovered.",
    "none": "No network was found.",
}


def recovery_page(
    binary: Path, found: Recovered, checked: Checked | None, hardened: Hardened | None, *,
    leaks: bool,
) -> Page:  # fmt: skip
    """Return the page of one recovery."""
    network = found.network
    sections: list[Section] = [_summary(found, checked)]
    if network is not None and network.recovery.nodes:
        sections.append(_nodes(found, checked))
        sections.append(weight_table(network.recovery, checked))
    if network is not None and network.loose:
        rows = tuple((f"{one.address:#x}", one.operator) for one in network.loose)
        sections.append(Table(title="Loops that compute as operators do",
                              columns=(Column(name="address"), Column(name="operator")), rows=rows,
                              caption="Not a network: none leads to another."))  # fmt: skip
    if network is not None and network.recovery.unmatched:
        sections.append(unmatched_table(network.recovery))
    if leaks:
        sections.append(leak_table(() if network is None else network.leaks, hardened))
    if network is not None and len(network.tried) > 1:
        sections.append(tried_table(network.tried))
    sections.append(stage_table(found.stages))
    graph = None if found.recovery is None else found.recovery.graph
    provenance = {"binary": str(binary)}
    if graph is not None:
        provenance["network"] = graph.digest
    return Page(title=f"Recovered from {binary.name}", sections=tuple(sections),
                provenance=provenance)  # fmt: skip


def _summary(found: Recovered, checked: Checked | None) -> Text:
    network = found.network
    lines = [_VERDICTS[found.verdict]]
    if found.problem:
        lines.append(f"It ended early: {found.problem}")
    if network is not None:
        if network.reason:
            lines.append(f"Why: {network.reason}.")
        if network.container:
            lines.append(f"Its calls were read from a {network.container}.")
        elif network.entry is not None and found.verdict != "none":
            named = f" ({network.function}, which is a hint)" if network.function else ""
            lines.append(f"It is computed by the function at {network.entry:#x}{named}.")
        absent = [one.tensor for one in network.recovery.weights if not one.present]
        if absent:
            lines.append(f"Absent weights, inputs of the network instead: {', '.join(absent)}. "
                         "Give the file that holds them with --with.")  # fmt: skip
        lines += [*network.notes, *network.recovery.notes]
    lines += _checked(checked)
    bad = found.verdict != "whole" or (checked is not None and not checked.agrees)
    return Text(title="Result", paragraphs=tuple(lines), tone="warning" if bad else "plain")


def _checked(checked: Checked | None) -> list[str]:
    if checked is None:
        return ["The binary was not run: --check compares its answers with the network's."]
    if checked.error is None:
        return [f"The binary was not compared: {checked.failure}."]
    lines = [
        f"The binary was run {checked.how} on {checked.rounds} of "
        f"{counted(checked.asked, 'input')}: "
        f"largest |a - b| / (1 + |b|) {checked.error:.2e}, at most {TOLERANCE:.0e} is allowed; "
        f"{100 * checked.exact:.1f} % of the numbers are the same to the bit."
    ]  # fmt: skip
    apart = [one.error for one in checked.nodes.values() if one.error is not None]
    if apart:
        lines.append(
            f"{len(apart)} of {counted(len(checked.nodes), 'node')} were compared with "
            f"what their own code leaves in memory: {max(apart):.2e} apart at most."
        )
    elif checked.unjudged:
        lines.append(f"Nodes were not judged one by one: {checked.unjudged}.")
    if checked.failure:
        lines.append(f"It did not answer all: {checked.failure}.")
    wrong = [name for name, one in checked.weights.items() if not one.holds]
    if wrong:
        lines.append(f"Weights that do not stand in the file as said: {', '.join(wrong)}.")
    return [*lines, f"It was confined by: {'; '.join(checked.held_by)}."]


def _nodes(found: Recovered, checked: Checked | None) -> Table:
    recovery = found.recovery
    assert recovery is not None and recovery.graph is not None
    graph = recovery.graph
    known = {one.name: one for one in recovery.nodes}
    rows: list[tuple[Cell, ...]] = []
    for node in graph.nodes:
        one = known.get(node.name)
        attributes = ", ".join(f"{key}={_plain(value)}" for key, value in node.attributes.items())
        weights = [checked.weights[name] for name in node.inputs
                   if checked is not None and name in checked.weights]  # fmt: skip
        same = "weights bit-exact" if all(w.holds for w in weights) else "weights differ"
        judged = None if checked is None else checked.nodes.get(node.name)
        parts = (same if weights else "", "" if judged is None else judged.text)
        said = "; ".join(part for part in parts if part)
        rows.append((
            node.name, node.op, attributes, f"{one.address:#x}" if one and one.address else "",
            "; ".join(one.evidence) if one else "", one.confidence if one else None,
            None if judged is None else judged.error, said,
        ))  # fmt: skip
    columns = (
        Column(name="node"), Column(name="operator"), Column(name="attributes"),
        Column(name="address", help="of the store that computes it"),
        Column(name="evidence", help="what it was concluded from"),
        Column(name="confidence", kind="number", help="1: nothing else fits"),
        Column(name="error", kind="number", help="with --check: of what its own code left in "
               "memory, largest |a - b| / (1 + |b|)"),
        Column(name="certificate", help="with --check"),
    )  # fmt: skip
    return Table(title=counted(len(rows), "operator"), columns=columns, rows=tuple(rows))


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + " ".join(str(one) for one in value) + "]"
    return str(value)
