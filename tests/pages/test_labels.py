"""Names in a plot: none over another, none outside, whatever the bounds have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from orrery.report import Axis, Line, Page, Point, Series, write_report

from .browser import Browser

pytestmark = pytest.mark.pages

BANDWIDTH = 64e9


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def _roof(name: str, peak: float) -> Line:
    corners = ((0.05, 0.05 * BANDWIDTH), (peak / BANDWIDTH, peak), (400.0, peak))
    return Line(name=name, style="bound", points=tuple(Point(x=x, y=y) for x, y in corners))


def _page(peaks: dict[str, float]) -> Page:
    """Designs of one board share its bandwidth, hence their slope; two share their level."""
    layers = tuple(Point(x=0.1 * 3**i, y=1e9 * 2**i, label=f"conv{i}") for i in range(7))
    roofline = Series(
        title="Roofline of fpga0",
        x=Axis(name="operations per off-chip byte", unit="op/B", log=True),
        y=Axis(name="operations per second", unit="op/s", log=True),
        lines=(
            *(_roof(f"bound, {name}", peak) for name, peak in peaks.items()),
            Line(name="layers", style="scatter", points=layers),
        ),
    )
    return Page(title="bounds", sections=(roofline,))


PEAKS = {
    "as it is": 2.0e11,
    "systolic(rows=32, cols=32, vector=4, clock_mhz=200.0, precision='fixed16')": 1.6e12,
    "tiled(tm=64, tn=7, tr=13, tc=13, clock_mhz=100.0)": 1.7e12,
    "tiled(tm=64, tn=7, tr=26, tc=26, clock_mhz=100.0)": 1.7e12,
}


@pytest.mark.parametrize("width", [1280, 700, 360])
def test_names_of_bounds_neither_overlap_nor_leave_the_plot(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    browser.open(write_report(_page(PEAKS), tmp_path)[0], width=width)
    assert browser.problems() == []
    rectangles = browser.value(
        "[...document.querySelectorAll('svg text.halo')].map(t => { const r = "
        "t.getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom]; })"
    )
    assert len(rectangles) == len(PEAKS)
    left, right, top, bottom = browser.value(
        "(() => { const r = document.querySelector('svg:has(text.halo)').getBoundingClientRect();"
        "return [r.left, r.right, r.top, r.bottom]; })()"
    )
    for a in rectangles:
        assert left <= a[0] and a[1] <= right and top <= a[2] and a[3] <= bottom
    for a, b in combinations(rectangles, 2):
        # A line of text is a little higher than its letters: a pixel of it may be shared.
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] + 1 or b[3] <= a[2] + 1
