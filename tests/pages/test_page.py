"""The HTML page in a real browser: what is drawn, what is said, what keys and pointer do."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.report import format_value, to_json, write_report
from orrery.report._sort import natural_key

from ..report import sample
from .browser import Browser

pytestmark = pytest.mark.pages


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(sample.page(), tmp_path_factory.mktemp("page"))[0]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(json.loads(to_json(sample.page()))["report"])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_draws_at_every_width_without_a_word_on_the_console(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.problems() == []
    assert browser.value("document.querySelectorAll('.chart svg').length") == 5
    assert browser.value("document.documentElement.scrollWidth") == width
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    red = int(paper.removeprefix("rgb(").split(",")[0])
    assert (red < 60) == dark


CONTRAST = """(() => {
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    const text = walk.currentNode.data.trim();
    if (!text || node.closest('script, style, noscript, svg, .hidden, .skip')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    seen += 1;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${node.className} ${text}`);
  }
  return [seen, [...new Set(bad)]];
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, page: Path, dark: bool) -> None:
    # judge: WCAG 2.2, contrast of 4.5 to 1
    browser.open(page, dark=dark)
    seen, bad = browser.value(CONTRAST)
    assert seen > 500
    assert bad == []


def test_numbers_shown_equal_the_json(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.open(page)
    # Every number of the scorecard, as value and as text.
    shown = browser.value(
        "[...document.querySelectorAll('data')].map(d => [+d.value, d.textContent])"
    )
    figures = [f for m in document["scorecard"]["metrics"] for f in m["figures"]]
    known = [[f["value"], f["text"]] for f in figures if f["value"] is not None]
    assert sorted(shown) == sorted(known)
    # Every cell of the layer table, in the order of its heading.
    table = next(s for s in document["sections"] if s["kind"] == "table")
    number = document["sections"].index(table)
    cells = browser.value(
        f"[...document.querySelectorAll('#table-{number} tbody tr')].map(r => [...r.cells].map("
        "c => [c.textContent, c.dataset.v ?? null]))"
    )
    rows = {tuple(row): row for row in table["rows"]}
    assert len(cells) == len(rows) == 60
    names = {row[0][0]: row for row in cells}
    for row in table["rows"]:
        for column, cell, (text, value) in zip(table["columns"], row, names[row[0]]):
            if isinstance(cell, int | float):
                assert float(value) == cell
                assert text == format_value(cell, column["unit"])
            else:
                assert text == (cell or "–")
    # Every point and every span that the charts hold, through the words of their tooltips.
    browser.value("document.querySelector('.timeline details').open = true")
    browser.settle()
    timeline = next(s for s in document["sections"] if s["kind"] == "timeline")
    listed = browser.value(
        "[...document.querySelectorAll('[data-spans] tbody tr')].map(r => [...r.cells].map("
        "c => c.textContent))"
    )
    expected = [
        [name, kind, timeline["resources"][resource], format_value(start / 1e12, "s"),
         format_value((end - start) / 1e12, "s")]
        for resource, name, kind, start, end, _ in timeline["spans"]
    ]  # fmt: skip
    assert sorted(listed) == sorted(expected)


def test_a_strip_is_a_table_too(browser: Browser, page: Path, document: dict[str, Any]) -> None:
    browser.open(page)
    strip = next(s for s in document["sections"] if s["kind"] == "strip")
    listed = browser.value(
        "[...document.querySelectorAll('section.strip tbody tr')].map(r => [...r.cells].map("
        "c => c.textContent))"
    )
    assert listed == [
        [t["name"], t["group"], strip["letters"].get(t["letter"], ""),
         format_value(t["value"], "s"), format_value(t["part"], "s"), t["note"]]
        for t in strip["tiles"]
    ]  # fmt: skip
    boxes = "[...document.querySelectorAll('section.strip svg text')].map(t => t.textContent)"
    drawn = "".join(text for text in browser.value(boxes) if len(text) == 1)
    assert drawn == "".join(tile["letter"] for tile in strip["tiles"])


def test_the_script_writes_numbers_as_the_program_does(browser: Browser, page: Path) -> None:
    # judge: the Python rule, itself judged in tests/report/test_render.py
    draw = random.Random(11)
    units = ["s", "J", "bytes", "MAC", "MAC/byte", "%", "layers", "x", "bytes/s", "mm2"]
    values = [0.0, 1.125, 1.135, 0.125, 2.5, 999.5, 999.96, 1234.5, 1235.5, 1e15, 1e-5, 1.005e-3,
              1023.5, 1048576.0, 0.5, 1.5, 7199.0, 7200.0, 172800.0, 8.64e7, 8.0]  # fmt: skip
    values += [draw.uniform(1, 10) * 10.0 ** draw.randrange(-14, 40) for _ in range(400)]
    values += [draw.randrange(1, 4000) / 8 for _ in range(200)]
    cases = [(value, unit) for value in values for unit in units]
    browser.open(page)
    texts = browser.value(f"{json.dumps(cases)}.map(([v, u]) => format(v, u))")
    assert [
        (case, text, format_value(*case))
        for case, text in zip(cases, texts)
        if text != format_value(*case)
    ] == []


def test_hostile_names_are_inert(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(sample.page(hostile=True), tmp_path)[0])
    assert browser.problems() == []
    assert browser.value("typeof window.stolen") == "undefined"
    assert browser.value("document.querySelectorAll('img, main script').length") == 0
    assert browser.value("document.querySelector('h1').textContent").endswith(sample.HOSTILE)


def test_tables_sort_and_filter_from_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    column = (
        "[...document.querySelectorAll('#table-2 tbody tr:not([hidden])')].map(r => r.cells[{}])"
    )
    head = "document.querySelectorAll('#table-2 thead th')[{}]"
    assert browser.value(f"{head.format(5)}.getAttribute('aria-sort')") == "descending"
    browser.value(f"{head.format(0)}.querySelector('button').focus()")
    browser.press("Enter")
    assert browser.value(f"{head.format(0)}.getAttribute('aria-sort')") == "ascending"
    assert browser.value(f"{head.format(5)}.getAttribute('aria-sort')") is None
    names = browser.value(f"{column.format(0)}.map(c => c.textContent)")
    assert names == sorted(sample.layer_names(), key=natural_key)
    browser.value(f"{head.format(6)}.querySelector('button').focus()")
    for way in (True, False):
        browser.press("Space")
        energy = browser.value(f"{column.format(6)}.map(c => c.dataset.v ?? null)")
        known = [float(value) for value in energy if value is not None]
        assert known == sorted(known, reverse=way)
        assert energy[len(known) :] == [None] * (60 - len(known)), "unknown cells stay last"
    browser.value("document.getElementById('filter-2').focus()")
    for letter in "conv fpga3":
        browser.press("Space" if letter == " " else letter)
    said = browser.value("document.getElementById('count-2').textContent")
    rows = browser.value(f"{column.format(0)}.length")
    wanted = [row for row in sample_rows() if "conv" in f"{row}".lower() and row[2] == "fpga3"]
    assert (rows, said) == (len(wanted), f"{len(wanted)} of 60 rows")


def sample_rows() -> list[tuple[Any, ...]]:
    return [row for s in sample.page().sections if hasattr(s, "rows") and hasattr(s, "columns")
            for row in s.rows]  # fmt: skip


def test_the_timeline_zooms_moves_and_speaks(browser: Browser, page: Path) -> None:
    browser.open(page)
    view = "document.querySelector('.timeline .count').textContent"
    canvas = "document.querySelector('.timeline .canvas')"
    spoken = "document.getElementById('live').textContent"
    browser.value(f"{canvas}.focus()")
    browser.settle()  # focus may scroll, and scrolling hides the tooltip
    whole = browser.value(view)
    assert whole.startswith("all ")
    browser.press("ArrowRight")
    first = browser.value(spoken)
    assert first.startswith("conv1 #0, compute on fpga0")
    assert browser.value("document.getElementById('tooltip').hidden") is False
    browser.press("ArrowRight")
    assert browser.value(spoken).startswith("bn1 #0")
    browser.press("ArrowDown")
    assert "on fpga1" in browser.value(spoken)
    browser.press("+")
    near = browser.value(view)
    assert near.startswith("0 s to ") or " to " in near
    browser.press("ArrowRight", shift=True)
    assert browser.value(view) != near
    browser.press("End")
    assert browser.value(f"!!{canvas}.querySelector('.chosen')"), (
        "a visited span is brought to view"
    )
    browser.press("0")
    assert browser.value(view) == whole
    x, y = browser.value(
        f"(() => {{ {canvas}.scrollIntoView({{block: 'center'}}); const b ="
        f" {canvas}.getBoundingClientRect(); return [b.x + 500, b.y + 60]; }})()"
    )
    browser.pointer("wheel", x, y, deltaX=0, deltaY=-200, modifiers=2)
    zoomed = browser.value(view)
    assert zoomed != whole
    browser.pointer("moved", x, y)
    browser.pointer("pressed", x, y, button="left", buttons=1, clickCount=1)
    browser.pointer("moved", x - 200, y, button="left", buttons=1)
    browser.pointer("released", x - 200, y, button="left", clickCount=1)
    assert browser.value(view) not in (zoomed, whole)
    browser.press("Escape")
    assert browser.value("document.getElementById('tooltip').hidden") is True
    assert browser.problems() == []


def test_every_chart_speaks_and_the_page_has_its_landmarks(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "skip"
    assert browser.value("document.querySelectorAll('header, nav, main, footer').length") == 4
    charts = browser.value("document.querySelectorAll('.canvas').length")
    for number in range(charts):
        canvas = f"document.querySelectorAll('.canvas')[{number}]"
        browser.value(f"{canvas}.focus()")
        assert browser.value(f"getComputedStyle({canvas}).outlineStyle") == "solid"
        browser.value("document.getElementById('live').textContent = ''")
        browser.press("ArrowRight")
        assert browser.value("document.getElementById('live').textContent")
        assert browser.value(f"{canvas}.getAttribute('aria-label')")
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    unnamed = [node for node in tree if node.get("role", {}).get("value") in ("button", "link",
               "searchbox", "region", "navigation") and not node["name"]["value"]]  # fmt: skip
    assert unnamed == []


def test_the_theme_is_the_systems_until_the_reader_chooses(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True)
    assert browser.value("document.getElementById('theme').textContent") == "Light theme"
    browser.value("document.getElementById('theme').click()")
    assert browser.value("document.documentElement.dataset.theme") == "light"
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert int(paper.removeprefix("rgb(").split(",")[0]) > 200
    browser.value("try { localStorage.clear() } catch {}")


def test_it_prints_in_full(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True, width=800)
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.settle()
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    table = "document.querySelector('#table-2')"
    assert browser.value(f"{table}.parentElement.clientHeight >= {table}.offsetHeight")
    browser.call("Emulation.setEmulatedMedia", media="")


def test_an_empty_page_opens_quietly(browser: Browser, tmp_path: Path) -> None:
    from orrery.report import Axis, Diagram, MemoryChart, Page, Series, TimelineChart
    from orrery.timeline import Timeline

    empty = Page(title="empty", sections=(
        TimelineChart(title="l", timeline=Timeline(name="l", spans=())),
        MemoryChart(title="m", samples=(), end_ps=0),
        Diagram(title="d", boxes=(), arrows=()),
        Series(title="s", x=Axis(name="x"), y=Axis(name="y"), lines=()),
    ))  # fmt: skip
    browser.open(write_report(empty, tmp_path)[0])
    assert browser.problems() == []
