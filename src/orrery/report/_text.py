"""A page as plain text of a stated width, for terminals, logs and mail."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from orrery.evidence import Evidence
from orrery.timeline import PS_PER_S

from ._format import NOT_KNOWN, context_label, format_value
from ._needs import Verdict, limit_text, verdict_text
from ._plot import level, plot, sparkline, strip
from ._scorecard import (
    METRICS,
    Scorecard,
    doubt_texts,
    marks,
    shown_context,
    unchecked,
    value_text,
)
from ._sections import (
    Cell,
    Column,
    Diagram,
    MemoryChart,
    Page,
    Section,
    Series,
    Strip,
    Table,
    Text,
    TimelineChart,
    Waterfall,
)
from ._sort import sort_rows

#: characters below which text in a table is not elided: it goes on in another block instead
_LEGIBLE = 28
#: and the least that is left of a row's name, in a terminal that is narrower than a figure
_NAME = 12


def render_text(page: Page, *, width: int = 96, rows: int = 20) -> str:
    """Return the page as plain text that ends with a line feed.

    Parameters
    ----------
    width : columns, at least 60
    rows : most rows shown of a table; the rest is counted, never dropped in silence
    """
    width = max(60, width)
    parts = [f"{wrap(page.title, width)}\n{'═' * min(width, len(page.title))}"]
    if page.subtitle:
        parts.append(wrap(page.subtitle, width))
    if page.scorecard is not None:
        parts.append(render_card(page.scorecard, page.verdicts, width=width))
    elif page.verdicts:
        parts.append(_needs(page.verdicts, width))
    for section in page.sections:
        parts.append(f"{wrap(section.title, width)}\n{'─' * min(width, len(section.title))}")
        parts.append(_section(section, width, rows))
        caption = getattr(section, "caption", "")
        if caption:
            parts.append(wrap(caption, width))
    if page.provenance:
        label = max(len(name) for name in page.provenance)
        parts.append("Provenance\n──────────")
        parts.append("\n".join(
            wrap(text, width, first=f"{name:<{label}}  ")
            for name, text in page.provenance.items()))  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def render_card(card: Scorecard, verdicts: Sequence[Verdict] = (), *, width: int = 96) -> str:
    """Return the scorecard alone, with the needs below it when there are any."""
    width = max(60, width)
    label = max(len(name) for name in METRICS)
    lines = [_rule(f"Scorecard: {card.subject}", width)]
    for metric in card.metrics:
        heading = metric.name.capitalize()
        shown = metric.others
        if metric.headline is None:
            lines.append(wrap(f"{NOT_KNOWN}: {metric.why_unknown}", width,
                               first=f"{heading:<{label}}  "))  # fmt: skip
            heading = ""
        else:
            shown = (metric.headline, *shown)
        for figure in shown:
            lines.append(
                _figure(figure, heading, label, width, metric=metric.name, subject=card.subject)
            )
            heading = ""
    if outside := unchecked(card):
        lines.append(wrap(f"no reference set speaks for {', '.join(outside)}", width,
                          first=f"{'Not validated':<{label}}  "))  # fmt: skip
    if verdicts:
        lines += ["", _needs(verdicts, width)]
    return "\n".join(lines)


def _figure(
    figure: Evidence, heading: str, label: int, width: int, *, metric: str, subject: str
) -> str:
    whose = "" if figure.subject == subject else f" of {figure.subject}"
    if figure.value is None:
        return wrap(f"{figure.metric}{whose} {NOT_KNOWN}: {figure.source.note}", width,
                     first=f"{heading:<{label}}  ")  # fmt: skip
    parts = [f"{figure.source.basis.value} ({figure.source.where})"]
    if figure.metric != metric or whose:
        parts.insert(0, f"{figure.metric}{whose}")
    parts += marks(figure)
    parts += doubt_texts(figure)
    parts += [f"{context_label(key)} {text}" for key, text in shown_context(figure).items()]
    return wrap("; ".join(parts), width,
                 first=f"{heading:<{label}}  {value_text(figure):<16} ")  # fmt: skip


def _needs(verdicts: Sequence[Verdict], width: int) -> str:
    lines = [_rule("Needs", width)]
    label = max(len(f"{v.need.figure} {limit_text(v.need)}") for v in verdicts)
    for verdict in verdicts:
        asked = f"{verdict.need.figure} {limit_text(verdict.need)}"
        answer = verdict_text(verdict) if verdict.figure is not None else verdict.note
        if verdict.note and verdict.figure is not None:
            answer += f"; {verdict.note}"
        lines.append(wrap(answer, width, first=f"{verdict.status.upper():<9}  {asked:<{label}}  "))
    return "\n".join(lines)


def _section(section: Section, width: int, rows: int) -> str:
    if isinstance(section, Text):
        return "\n\n".join(wrap(paragraph, width) for paragraph in section.paragraphs)
    if isinstance(section, Table):
        return _table(section, width, rows)
    if isinstance(section, Series):
        return plot(section, width)
    if isinstance(section, TimelineChart):
        return _timeline(section, width)
    if isinstance(section, MemoryChart):
        return _memory(section, width)
    if isinstance(section, Waterfall):
        return _waterfall(section, width)
    if isinstance(section, Strip):
        return _tiles(section, width)
    return _diagram(section, width)


def _table(table: Table, width: int, limit: int) -> str:
    ordered = sort_rows(table)
    shown = ordered[:limit]
    grid = [[column.name for column in table.columns]] + [
        [_cell(cell, column) for cell, column in zip(row, table.columns)] for row in shown
    ]
    text = grid_text(grid, [column.kind == "number" for column in table.columns], width)
    more = len(ordered) - len(shown)
    return f"{text}\n… {more} more rows" if more else text


def _cell(cell: Cell, column: Column) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else format_value(cell, column.unit)


def grid_text(grid: Sequence[Sequence[str]], right: Sequence[bool], width: int) -> str:
    """Align a grid whose first row is the heading.

    Where it is too wide, headings of numbers take several lines and text is elided, but not below
    `_LEGIBLE` characters; columns that still find no room go on in a further block below, with the
    first columns again, as many as tell the rows apart.
    """
    columns = range(len(right))
    sizes = [max(len(row[place]) for row in grid) for place in columns]
    if sum(sizes) + 2 * (len(sizes) - 1) > width:
        heads = [max(map(len, name.split()), default=0) for name in grid[0]]
        sizes = [max(heads[n], *(len(row[n]) for row in grid[1:]), 0) if right[n] else sizes[n]
                 for n in columns]  # fmt: skip
    sizes[1:] = (min(size, width - _NAME - 2) for size in sizes[1:])
    least = [s if number else min(s, _LEGIBLE) for s, number in zip(sizes, right)]
    least[0] = _telling([row[0] for row in grid], least[0])
    keys = _keys(grid, least, width)
    blocks: list[list[int]] = [[*range(keys)]]
    for place in columns[keys:]:
        held = [*blocks[-1], place]
        if len(held) > keys + 1 and sum(least[p] for p in held) + 2 * (len(held) - 1) > width:
            held = [*range(keys), place]
            blocks.append(held)
        blocks[-1] = held
    return "\n\n".join(_block([[row[p] for p in places] for row in grid],
                              [right[p] for p in places], [sizes[p] for p in places],
                              [least[p] for p in places], width) for places in blocks)  # fmt: skip


def _telling(names: Sequence[str], least: int) -> int:
    """Return a size, `least` or more, at which different names are not elided to the same."""
    most = max(map(len, names))
    sizes = (size for size in range(least, most)
             if len({elide(name, size) for name in names}) == len(set(names)))  # fmt: skip
    return next(sizes, most)


def _keys(grid: Sequence[Sequence[str]], least: Sequence[int], width: int) -> int:
    """Return how many columns tell the rows apart; one where they would take half the width."""
    for keys in range(1, len(least)):
        if 2 * (sum(least[:keys]) + 2 * keys) > width:
            break
        if len({tuple(row[:keys]) for row in grid}) == len(grid):
            return keys
    return 1


def _block(
    grid: Sequence[Sequence[str]], right: Sequence[bool], sizes: list[int], least: list[int],
    width: int,
) -> str:  # fmt: skip
    """Align columns, the widest text elided first; below its least the first column at last."""
    while sum(sizes) + 2 * (len(sizes) - 1) > width:
        texts = [n for n, size in enumerate(sizes) if n and not right[n] and size > _NAME]
        places = [n for n, size in enumerate(sizes) if size > least[n]] or texts or [0]
        widest = max(places, key=lambda n: sizes[n])
        sizes[widest] -= 1

    def line(row: Sequence[str]) -> str:
        cells = (elide(text, size) for text, size in zip(row, sizes))
        return "  ".join(
            f"{text:>{size}}" if is_number else f"{text:<{size}}"
            for text, size, is_number in zip(cells, sizes, right)
        ).rstrip()

    heads = [textwrap.wrap(name, size) if is_number and len(name) > size else [name]
             for name, size, is_number in zip(grid[0], sizes, right)]  # fmt: skip
    tall = max(map(len, heads))
    above = zip(*([""] * (tall - len(head)) + head for head in heads))
    return "\n".join([*map(line, above), "  ".join("─" * size for size in sizes),
                      *map(line, grid[1:])])  # fmt: skip


def _timeline(chart: TimelineChart, width: int) -> str:
    timeline = chart.timeline
    if not timeline.spans:
        return "No spans."
    names = chart.rows()
    label = min(24, max(len(name) for name in names))
    cells = width - label - 9
    busy = timeline.busy_s()
    total = timeline.makespan_s or 1.0
    lines = [
        f"{elide(name, label):<{label}} "
        f"{strip([s for s in timeline.spans if s.resource == name], timeline.makespan_ps, cells)} "
        f"{100 * busy.get(name, 0.0) / total:5.1f} %"
        for name in names
    ]
    end = format_value(timeline.makespan_s, "s")
    lines.append(f"{'':<{label}} 0{end:>{cells - 1}}    busy")
    for name, time_ps in chart.marks.items():
        place = min(cells - 1, round(time_ps / (timeline.makespan_ps or 1) * cells))
        said = f"{name}, {format_value(time_ps / PS_PER_S, 's')}"
        beside = f"{said} ↑" if len(said) + 2 <= place else ""
        lines.append(f"{'':<{label}} {beside:>{place + 1}}" if beside
                     else f"{'':<{label}} {'':<{place}}↑ {said}")  # fmt: skip
    return "\n".join(lines)


def _memory(chart: MemoryChart, width: int) -> str:
    tracks = chart.tracks()
    if not tracks:
        return "No samples."
    label = min(24, width // 5, max(len(name) for name in tracks))
    lines = []
    for name, samples in tracks.items():
        peak = max(sample.used_bytes for sample in samples)
        capacity = chart.capacity_bytes.get(name)
        of = f" of {format_value(capacity, 'bytes')}" if capacity else ""
        said = f"peak {format_value(peak, 'bytes')}{of}"
        cells = max(10, width - label - 34)
        curve = sparkline([(s.time_ps, s.used_bytes) for s in samples], chart.end_ps, cells,
                          top=peak)  # fmt: skip
        lines.append(f"{elide(name, label):<{label}} {curve}  {said}")
    lines.append(f"{'':<{label}} 0 to {format_value(chart.end_ps / PS_PER_S, 's')}; each row "
                 "scaled to its own peak")  # fmt: skip
    return "\n".join(lines)


def _waterfall(chart: Waterfall, width: int) -> str:
    if not chart.steps:
        return "No steps."
    label = min(32, max(len(step.name) for step in chart.steps))
    values = [format_value(step.value, chart.unit) for step in chart.steps]
    figure = max(len(value) for value in values)
    cells = max(10, width - label - figure - 4)
    low = min(0.0, *(min(bar) for bar in chart.bars()))
    high = max(0.0, *(max(bar) for bar in chart.bars()))
    scale = cells / ((high - low) or 1.0)
    lines = []
    for step, value, (begin, end) in zip(chart.steps, values, chart.bars()):
        left = round((min(begin, end) - low) * scale)
        length = max(1, round(abs(end - begin) * scale)) if begin != end else 0
        bar = " " * min(left, cells - length) + ("█" if step.kind == "level" else "▒") * length
        lines.append(f"{elide(step.name, label):<{label}}  {value:>{figure}}  {bar}".rstrip())
    return "\n".join(lines)


def _tiles(strip: Strip, width: int) -> str:
    """Draw a run of neighbours per line: letters, and above them how much each takes."""
    if not strip.tiles:
        return "No tiles."
    names = strip.order()
    label = min(28, max(len(name) for name in names))
    cells = max(10, width - label - 2)
    top = max((tile.value or 0.0 for tile in strip.tiles), default=0.0)
    lines = []
    for group, run in strip.runs():
        for start in range(0, len(run), cells):
            part = run[start : start + cells]
            heat = "".join(level(tile.value or 0.0, top) for tile in part)
            lines.append(f"{'':<{label}}  {heat}".rstrip())
            name = elide(group, label) if start == 0 else ""
            lines.append(f"{name:<{label}}  {''.join(t.letter or '·' for t in part)}".rstrip())
    known = [tile.value for tile in strip.tiles if tile.value is not None]
    total = format_value(sum(known), strip.unit) if known else NOT_KNOWN
    of_it = format_value(sum(tile.part for tile in strip.tiles), strip.unit)
    lines.append(wrap(f"Height: {strip.measure}; largest {format_value(top, strip.unit)}, all "
                       f"together {total}" + (f", {strip.part} {of_it} of it." if strip.part
                       else "."), width))  # fmt: skip
    lines += [wrap(text, width, first=f"{letter}  ") for letter, text in strip.letters.items()]
    return "\n".join(lines)


def _diagram(diagram: Diagram, width: int) -> str:
    grid = [["from", "to", "link"]] + [
        [arrow.source, f"{'↔' if arrow.both else '→'} {arrow.target}", arrow.label]
        for arrow in diagram.arrows
    ]
    boxes = [["box", "kind", "group", "facts"]] + [
        [box.name, box.kind, box.group, ", ".join(box.lines)] for box in diagram.boxes
    ]
    parts = [grid_text(boxes, [False] * 4, width)]
    if diagram.arrows:
        parts.append(grid_text(grid, [False] * 3, width))
    return "\n\n".join(parts)


def elide(text: str, size: int) -> str:
    """Shorten text in its middle: names differ at both ends."""
    text = " ".join(text.split())
    if len(text) <= size:
        return text
    head = size // 2
    tail = size - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}" if tail else f"{text[:head]}…"


def _rule(title: str, width: int) -> str:
    """Return a title in a rule; one that is longer than the line goes on below."""
    first, *more = textwrap.wrap(" ".join(title.split()), max(1, width - 7)) or [""]
    return "\n".join([f"── {first} {'─' * max(3, width - len(first) - 4)}",
                      *(f"   {line}" for line in more)])  # fmt: skip


def wrap(text: str, width: int, *, first: str = "") -> str:
    """Return a paragraph in lines of at most `width`, indented by what stands `first`."""
    return textwrap.fill(" ".join(text.split()), width, initial_indent=first,
                         subsequent_indent=" " * len(first), break_on_hyphens=False)  # fmt: skip
