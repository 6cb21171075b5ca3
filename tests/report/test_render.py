"""Sections refuse what cannot be shown; text and JSON say the same as the records."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.report import (
    Arrow,
    Axis,
    Box,
    Column,
    Diagram,
    Line,
    MemoryChart,
    Page,
    Point,
    Series,
    Step,
    Strip,
    Table,
    Text,
    Tile,
    TimelineChart,
    Waterfall,
    format_value,
    render_html,
    render_text,
    to_document,
    to_json,
    write_report,
)
from orrery.report._plot import sparkline, strip
from orrery.report._sort import natural_key, sort_rows
from orrery.timeline import Span, Timeline

from . import sample


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "not known"), (0, "s", "0 s"), (0.00125, "s", "1.25 ms"),
        (36000, "s", "10 h"), (8, "MAC", "8 MAC"), (1e30, "MAC", "1.00 QMAC"),
        (3 * 2**20, "bytes", "3 MiB"), (1023, "bytes", "1023 B"),
        (1023.7 * 2**10, "bytes", "1024 KiB"),
        (999.7 * 2**20, "bytes", "1000 MiB"), (1.154 * 2**20, "bytes", "1.15 MiB"),
        (1_814_073_344, "MAC", "1.81 GMAC"), (1_814_073_344, "", "1,814,073,344"),
        (999.96, "images", "1,000 images"), (1234.56, "inference/s", "1,235 inference/s"),
        (38.25, "%", "38.2 %"), (5.31, "x", "5.31×"), (2e-7, "MAC/byte", "2.00e-07 MAC/byte"),
        (1.5e9, "bytes/s", "1.50 GB/s"), (-0.5, "J", "-500 mJ"), (12.25, "mm2", "12.2 mm²"),
    ],
)  # fmt: skip
def test_numbers_read_as_people_write_them(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(1e-14, 1e17), st.sampled_from(["J", "MAC", "bytes", "MAC/byte", "layers"]))
def test_a_formatted_number_is_within_half_a_unit_of_its_last_digit(
    value: float, unit: str
) -> None:
    factors = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6,
               "G": 1e9, "T": 1e12, "P": 1e15,
               "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
               "Pi": 2.0**50}  # fmt: skip
    if unit == "bytes" and value < 1:
        return
    number, _, said = format_value(value, unit).partition(" ")
    prefix = said.removesuffix("B" if unit == "bytes" else unit)
    read = float(number.replace(",", "")) * factors[prefix]
    assert math.isclose(read, value, rel_tol=0.0051 if value >= 1000 or unit != "bytes" else 0.51)


def table(**more: Any) -> Table:
    columns = (Column(name="layer"), Column(name="n", kind="number"))
    return Table(title="t", columns=columns,
                 rows=(("conv10", 2), ("conv2", None), ("conv1", 7)), **more)  # fmt: skip


def test_tables_sort_as_people_count_and_put_the_unknown_last() -> None:
    assert [row[0] for row in sort_rows(table(sort_by="layer"))] == ["conv1", "conv2", "conv10"]
    assert [row[1] for row in sort_rows(table(sort_by="n"))] == [2, 7, None]
    assert [row[1] for row in sort_rows(table(sort_by="n", descending=True))] == [7, 2, None]
    assert [row[0] for row in sort_rows(table())] == ["conv10", "conv2", "conv1"]


@given(st.lists(st.text(max_size=8), max_size=8))
def test_natural_order_is_total_and_follows_numbers(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    assert sorted(ordered, key=natural_key) == ordered
    assert natural_key("a2b") < natural_key("a10b") < natural_key("b1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: table(sort_by="nn"), "did you mean 'n'"),
        (lambda: Table(title="t", columns=(Column(name="a"), Column(name="a")), rows=()),
         "different names"),
        (lambda: Table(title="t", columns=(Column(name="a"),), rows=(("x", "y"),)), "1 cells"),
        (lambda: Table(title="t", columns=(Column(name="a"),), rows=((1,),)), "wanted a text"),
        (lambda: Table(title="t", columns=(Column(name="a", kind="number"),),
                       rows=((float("nan"),),)), "finite numbers"),
        (lambda: Series(title="s", x=Axis(name="x", log=True), y=Axis(name="y"), lines=(
            Line(name="l", points=(Point(x=0.0, y=1.0),)),)), "logarithmic"),
        (lambda: Series(title="s", x=Axis(name="x"), y=Axis(name="y"), lines=(
            Line(name="l", points=(Point(x=0.0, y=math.inf),)),)), "finite numbers"),
        (lambda: Waterfall(title="w", unit="J", steps=(Step(name="a", value=math.nan),)),
         "finite numbers"),
        (lambda: Diagram(title="d", boxes=(Box(name="gpu0"),),
                         arrows=(Arrow(source="gpu0", target="gpu1"),)), "did you mean 'gpu0'"),
        (lambda: strip_of(Tile(name="a", group="g", letter="H")), "explain it"),
        (lambda: strip_of(Tile(name="a", group="g", letter="Co")), "one character"),
        (lambda: strip_of(Tile(name="a", group="g", value=-1.0)), "use a waterfall"),
        (lambda: strip_of(Tile(name="a", group="g", value=math.inf)), "finite numbers"),
        (lambda: strip_of(Tile(name="a", group="g", value=1.0, part=2.0)), "at most the value"),
        (lambda: TimelineChart(title="t", timeline=Timeline(name="t", spans=()),
                               marks={"bound": -1}), "0 or later"),
        (lambda: Diagram(title="d", boxes=(Box(name="a"), Box(name="a")), arrows=()),
         "different names"),
    ],
)  # fmt: skip
def test_sections_that_cannot_be_shown_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def strip_of(*tiles: Tile, **more: Any) -> Strip:
    return Strip(title="s", tiles=tiles, measure="time", unit="s", letters={"C": "Cout"}, **more)


def test_a_strip_reads_as_one_line_per_run_of_a_group() -> None:
    # judge: by hand; the largest value fills a character, the smallest of all shows
    tiles = [Tile(name=n, group=g, letter=how, value=v, part=v / 2)
             for n, g, how, v in (("a", "one", "C", 8.0), ("b", "one", "", 0.0),
                                ("c", "two", "C", 1e-9), ("d", "one", "C", 4.0))]  # fmt: skip
    strip_ = strip_of(*tiles, part="messages", groups=("two",))
    assert strip_.order() == ("two", "one")
    assert [group for group, _ in strip_.runs()] == ["one", "two", "one"]
    lines = render_text(Page(title="p", sections=(strip_,))).splitlines()
    start = lines.index("─") + 2
    assert lines[start : start + 8] == [
        "     █", "one  C·", "     ▁", "two  C", "     ▄", "one  C",
        "Height: time; largest 8.00 s, all together 12.0 s, messages 6.00 s of it.", "C  Cout",
    ]  # fmt: skip


def test_a_mark_stands_below_the_timeline_where_it_is() -> None:
    chart = next(s for s in sample.page().sections if isinstance(s, TimelineChart))
    lines = render_text(Page(title="p", sections=(chart,)), width=80).splitlines()
    axis = next(line for line in lines if line.endswith("busy"))
    mark = next(line for line in lines if "lower bound" in line)
    label = axis.index("0")
    cells = len(axis.removesuffix("    busy")) - label
    assert abs(mark.index("↑") - label - cells / 2) <= 1


def test_waterfall_bars_stand_on_one_another_and_levels_on_the_ground() -> None:
    steps = (Step(name="a", value=3.0), Step(name="b", value=-1.0),
             Step(name="total", value=2.0, kind="level"))  # fmt: skip
    bars = Waterfall(title="w", unit="J", steps=steps).bars()
    assert bars == ((0.0, 3.0), (3.0, 2.0), (0.0, 2.0))


def test_a_strip_fills_what_is_busy() -> None:
    # judge: by hand; 10 slices of 10 ps
    spans = [Span(resource="r", name="a", kind="compute", start_ps=0, end_ps=25),
             Span(resource="r", name="b", kind="compute", start_ps=20, end_ps=30),
             Span(resource="r", name="c", kind="compute", start_ps=95, end_ps=100)]  # fmt: skip
    assert strip(spans, 100, 10) == "███      ▄"


def test_a_sparkline_shows_the_highest_value_of_each_slice() -> None:
    assert sparkline([(0, 4), (50, 8), (55, 0)], 100, 10, top=8) == "▄▄▄▄▄█    "


@pytest.mark.parametrize("width", [60, 80, 96, 120])
def test_text_keeps_its_width(width: int) -> None:
    text = render_text(sample.page(), width=width)
    assert [line for line in text.splitlines() if len(line) > width] == []
    assert text.endswith("\n")


@given(
    st.lists(st.tuples(st.text("ab cd", min_size=1, max_size=40), st.booleans()), max_size=9),
    st.integers(60, 120),
)
def test_a_wide_table_goes_on_below(heads: list[tuple[str, bool]], width: int) -> None:
    names = [f"column {number} {text}".strip() for number, (text, _) in enumerate(heads)]
    columns = tuple(
        Column(name=name, kind="number", unit="s") if is_number else Column(name=name)
        for name, (_, is_number) in zip(names, heads, strict=True)
    )
    cells = [1e-3 * n if is_number else f"cell {n}" for n, (_, is_number) in enumerate(heads)]
    table = Table(title="T", columns=(Column(name="layer"), *columns),
                  rows=tuple((f"layer{n}", *cells) for n in range(2)))  # fmt: skip
    text = render_text(Page(title="p", sections=(table,)), width=width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    blocks = text.count("layer0")
    assert blocks == text.count("layer1") == sum("───" in line for line in lines)
    rows = "\n".join(line for line in lines if "layer0" in line)
    for cell, (_, is_number) in zip(cells, heads, strict=True):
        shown = format_value(cell, "s") if is_number and not isinstance(cell, str) else str(cell)
        assert shown in rows


def test_a_block_below_tells_its_rows_apart() -> None:
    rows = tuple((network, way, 1.0, "x" * 60, f"note {network} {way}")
                 for network in ("AlexNet", "VGG") for way in ("exact", "greedy"))  # fmt: skip
    columns = (Column(name="network"), Column(name="way"), Column(name="gap", kind="number"),
               Column(name="text"), Column(name="note"))  # fmt: skip
    text = render_text(Page(title="p", sections=(Table(title="T", columns=columns, rows=rows),)),
                       width=60)  # fmt: skip
    *_, block = text.strip().split("\n\n")
    assert [line.split() for line in block.splitlines()[2:]] == [
        [network, way, "note", network, way] for network, way, *_ in rows
    ]
    names = [f"a step of the search that is {kind} latency, reduced" for kind in ("least", "most")]
    rows = tuple((name, "y" * 40) for name in names)
    table = Table(title="T", columns=columns[:2], rows=rows)
    lines = render_text(Page(title="p", sections=(table,)), width=60).splitlines()
    told = [line.split("  ")[0] for line in lines if line.startswith("a step")]
    assert len(set(told)) == 2


def test_text_counts_the_rows_it_leaves_out() -> None:
    assert "… 40 more rows" in render_text(sample.page())
    assert "more rows" not in render_text(sample.page(), rows=60)


def numbers(document: Any) -> list[float]:
    if isinstance(document, dict):
        return [n for value in document.values() for n in numbers(value)]
    if isinstance(document, list):
        return [n for value in document for n in numbers(value)]
    return [document] if isinstance(document, int | float) else []


def test_json_holds_every_number_of_the_page() -> None:
    page = sample.page()
    document = json.loads(to_json(page))
    assert document == json.loads(json.dumps(to_document(page)))
    assert document["orrery"] == {"kind": "report", "schema": 1, "program": "0.1.0"}
    kinds = [section["kind"] for section in document["report"]["sections"]]
    assert kinds == [
        "text",
        "series",
        "table",
        "timeline",
        "memory",
        "waterfall",
        "strip",
        "diagram",
    ]
    held = set(numbers(document))
    for section in page.sections:
        if isinstance(section, Table):
            assert {c for row in section.rows for c in row if isinstance(c, int | float)} <= held
        elif isinstance(section, Series):
            assert {v for line in section.lines for p in line.points for v in (p.x, p.y)} <= held
        elif isinstance(section, TimelineChart):
            spans = section.timeline.spans
            assert {t for span in spans for t in (span.start_ps, span.end_ps)} <= held
            assert len(spans) >= 300
        elif isinstance(section, MemoryChart):
            assert {s.used_bytes for s in section.samples} <= held
    assert {f.value for f in sample.evidence() if f.value is not None} <= held


def test_html_is_one_offline_file_and_names_stay_text() -> None:
    html = render_html(sample.page(hostile=True))
    assert "<script>window" not in html and "<img" not in html
    assert html.count("<script") == 2
    for outside in ("http:", "https:", "@import", "url("):
        # A name space and the arrow heads of this very file are no addresses.
        own = html.replace("http://www.w3.org/2000/svg", "").replace('url("#', "")
        assert outside not in own
    data = html.split('id="report-data">')[1].split("</script>")[0]
    assert json.loads(data) == json.loads(to_json(sample.page(hostile=True)))
    assert len(render_html(sample.page())) < 300_000


def test_an_empty_page_renders_everywhere() -> None:
    page = Page(
        title="empty",
        sections=(
            Table(title="t", columns=(Column(name="a"),), rows=()),
            TimelineChart(title="l", timeline=Timeline(name="l", spans=())),
            MemoryChart(title="m", samples=(), end_ps=0),
            Waterfall(title="w", steps=(), unit="J"),
            Diagram(title="d", boxes=(), arrows=()),
            Series(title="s", x=Axis(name="x"), y=Axis(name="y"), lines=()),
        ),
    )
    assert "No spans." in render_text(page)
    assert json.loads(to_json(page))["report"]["scorecard"] is None
    assert "<h1>empty</h1>" in render_html(page)


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    paths = write_report(sample.page(), tmp_path / "out")
    assert [path.name for path in paths] == ["report.html", "report.json", "report.txt"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in paths)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_text_survives_the_page_and_none_becomes_markup(texts: list[str]) -> None:
    columns = (Column(name="name"), Column(name="n", kind="number"))
    page = Page(title=texts[0], subtitle=texts[-1], sections=(
        Table(title=texts[0], columns=columns, rows=tuple((text, 1) for text in texts)),
        Text(title="t", paragraphs=tuple(texts)),
    ))  # fmt: skip
    html = render_html(page)
    data = html.split('id="report-data">')[1].split("</script>")[0]
    assert json.loads(data) == json.loads(to_json(page))
    assert not set("<>&") & set(data)
    plain = render_html(Page(title="", sections=page.sections[:0]))
    assert html.count("<script") == plain.count("<script") == 2
    assert render_text(page)


def test_rows_look_alike_once_one_is_named_by_a_phrase() -> None:
    columns = (Column(name="what"), Column(name="s", kind="number"))
    for heads, expected in ((("conv1", "between them, before the first and after"), 2),
                            (("conv1", "a name with " + "x" * 9), 0)):  # fmt: skip
        table = Table(title="T", columns=columns, rows=tuple((head, 1.0) for head in heads))
        html = render_html(Page(title="P", sections=(table,)))
        assert html.count('class="text phrase"') == expected
