"""Tables of a comparison: figures, layers, transfers."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.evidence import Evidence
from orrery.report import Cell, Column, FigureChange, Section, Table, Text, format_value

from ._sides import LayerTakes, Side

#: what a layer has on one side alone, in words
_ALONE = {"stays": "{}stays {}", "tiles": "{}in tiles of {}"}
_UNITS = {"time": "s", "energy": "J"}


def figure_table(changes: Sequence[FigureChange]) -> Table:
    """Return the figures that both sides have, with the change and whether it is for the better."""
    rows: list[tuple[Cell, ...]] = []
    for change in changes:
        if change.values is None:
            continue
        share = change.share if change.verdict != "not known" else 0.0
        by = "–" if not share else "from zero" if share == float("inf") else f"{100 * share:+.3g} %"
        rows.append((change.metric, _text(change.before), _text(change.after), by, change.verdict,
                     "; ".join(change.doubts)))  # fmt: skip
    columns = [Column(name="figure"), Column(name="before"), Column(name="after"),
               Column(name="change"), Column(name="which is"),
               Column(name="mind", help="why the two may not be comparable")]  # fmt: skip
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(title="Figures", columns=tuple(columns), rows=tuple(rows), filterable=False)


def _text(figure: Evidence | None) -> str:
    if figure is None or figure.value is None:
        return "not known"
    sign = {"lower": "≥ ", "upper": "≤ ", "": ""}[figure.bound]
    return sign + format_value(figure.value, figure.unit)


def unmatched(changes: Sequence[FigureChange]) -> list[Section]:
    """Return what cannot be compared, with the reason."""
    lines = []
    for change in changes:
        known = [side is not None and side.value is not None
                 for side in (change.before, change.after)]  # fmt: skip
        if not any(known) or all(known):
            continue
        where = "before" if known[0] else "after"
        figure = change.before if known[0] else change.after
        lacking = change.after if known[0] else change.before
        why = f" ({lacking.source.note})" if lacking is not None and lacking.source.note else ""
        lines.append(f"{change.metric}: {_text(figure)} {where}, not known on the other side{why}")
    return [Text(title="On one side only", paragraphs=tuple(lines), tone="note")] if lines else []


def layer_table(before: Side, after: Side, quantity: str) -> Table:
    """Return the layers by how much of the change they explain, and what was decided anew."""
    unit = _UNITS[quantity]
    names = dict.fromkeys((*before.layers, *after.layers))
    both = {name: (before.layers.get(name), after.layers.get(name)) for name in names}
    deltas = {name: _delta(a, b, quantity) for name, (a, b) in both.items()}
    moved = sum(abs(delta) for delta in deltas.values() if delta is not None)
    rows: list[tuple[Cell, ...]] = []
    for name in sorted(deltas, key=lambda name: -abs(deltas[name] or 0.0)):
        (one, other), delta = both[name], deltas[name]
        if delta == 0 and (one and other) and one.how == other.how:
            continue
        share = "" if delta is None or not moved else f"{100 * delta / moved:+.3g} %"
        rows.append((name, one.takes.get(quantity) if one else None,
                     other.takes.get(quantity) if other else None,
                     "not known" if delta is None else _signed(delta, unit), share,
                     _what(one, other)))  # fmt: skip
    total = sum(delta for delta in deltas.values() if delta is not None)
    unknown = sum(delta is None for delta in deltas.values())
    same = len(names) - len(rows)
    return Table(
        title=f"{quantity.capitalize()} by layer",
        columns=(Column(name="layer"), Column.number("before", unit), Column.number("after", unit),
                 Column(name="change"),
                 Column(name="of all changes", help="signed share of the sum of all changes, each "
                        "taken without its sign"),
                 Column(name="what changed")),
        rows=tuple(rows),
        caption=f"All layers together: {_signed(total, unit)}"
        + (f", without {unknown} that one side has no value for" if unknown else "")
        + f". {same} of {len(names)} layers are unchanged."
        + (" Layers may run side by side, so the latency need not change by their sum."
           if quantity == "time" and (before.beside or after.beside) else ""),
    )  # fmt: skip


def _delta(one: LayerTakes | None, other: LayerTakes | None, quantity: str) -> float | None:
    """Return the change; a layer that a side does not have at all takes nothing there."""
    if (one and quantity not in one.takes) or (other and quantity not in other.takes):
        return None
    return _take(other, quantity) - _take(one, quantity)


def _take(layer: LayerTakes | None, quantity: str) -> float:
    return 0.0 if layer is None else layer.takes.get(quantity, 0.0)


def _signed(value: float, unit: str) -> str:
    return f"{'−' if value < 0 else '+'}{format_value(abs(value), unit)}" if value else "–"


def _what(one: LayerTakes | None, other: LayerTakes | None) -> str:
    if one is None or other is None:
        return "only after" if one is None else "only before"
    found = []
    for key in dict.fromkeys((*one.how, *other.how)):
        first, second = one.how.get(key, ""), other.how.get(key, "")
        if first == second:
            continue
        fits = "nothing fits" not in (first, second)
        if key in _ALONE and not (first and second):
            said = (first or second).replace(" rows; ", ", ")
            found.append(_ALONE[key].format("no longer " if first else "", said))
        elif key != "nest" or not fits:
            found.append(f"{key}: {first or 'none'} -> {second or 'none'}")
        elif one.how.get("tiles") == other.how.get("tiles"):  # tiles have nests of their own
            # Factors of a nest are long and say little beside each other.
            found.append("another nest")
    return "; ".join(found) or "same choice, other machine or price"


def beside_table(before: Side, after: Side) -> Table:
    """Return what is spent beside layers: transfers and the like, summed over links."""
    names = dict.fromkeys((*before.beside, *after.beside))
    rows = tuple((name, before.beside.get(name, 0.0), after.beside.get(name, 0.0),
                  _signed(after.beside.get(name, 0.0) - before.beside.get(name, 0.0), "s"))
                 for name in names)  # fmt: skip
    return Table(
        title="Beside layers",
        columns=(Column(name="kind"), Column.number("before", "s"), Column.number("after", "s"),
                 Column(name="change")),
        rows=rows, caption="Busy time summed over links and devices; much of it may overlap.",
        filterable=False,
    )  # fmt: skip
