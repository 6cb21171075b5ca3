"""Was it good? Scorecards, and text, JSON and HTML pages from neutral sections."""

from ._format import format_value
from ._html import render_html, write_report
from ._json import to_document, to_json
from ._needs import Need, Verdict, judge, parse_need
from ._scorecard import FIGURES, METRICS, FigureRule, Metric, Scorecard, make_scorecard
from ._sections import (
    Arrow,
    Axis,
    Box,
    Cell,
    Column,
    Diagram,
    Line,
    MemoryChart,
    Page,
    Point,
    Section,
    Series,
    Step,
    Strip,
    Table,
    Text,
    Tile,
    TimelineChart,
    Waterfall,
)
from ._text import render_card, render_text, wrap

__all__ = [
    "FIGURES",
    "METRICS",
    "Arrow",
    "Axis",
    "Box",
    "Cell",
    "Column",
    "Diagram",
    "FigureRule",
    "Line",
    "MemoryChart",
    "Metric",
    "Need",
    "Page",
    "Point",
    "Scorecard",
    "Section",
    "Series",
    "Step",
    "Strip",
    "Table",
    "Text",
    "Tile",
    "TimelineChart",
    "Verdict",
    "Waterfall",
    "format_value",
    "judge",
    "make_scorecard",
    "parse_need",
    "render_card",
    "render_html",
    "render_text",
    "to_document",
    "to_json",
    "wrap",
    "write_report",
]
