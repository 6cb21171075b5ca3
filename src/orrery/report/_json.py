"""A page as one plain document: the schema that the JSON file and the HTML page share.

Schema 1: ``{"orrery": header, "report": body}``, and the body holds title, subtitle, scorecard,
needs, sections and provenance. Each section carries its ``kind``; numbers are in internal units.
Spans and samples stand as rows under ``span_fields`` and ``sample_fields``, because a page may hold
thousands of them.
"""

from __future__ import annotations

import json
from typing import Any

from orrery.evidence import Evidence
from orrery.provenance import PROGRAM_VERSION
from orrery.store import encode

from ._needs import Verdict, limit_text, verdict_text
from ._scorecard import Scorecard, doubt_texts, marks, unchecked, value_text
from ._sections import (
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

SCHEMA = 1
_KIND = {
    Text: "text", Table: "table", Series: "series", TimelineChart: "timeline",
    MemoryChart: "memory", Waterfall: "waterfall", Strip: "strip", Diagram: "diagram",
}  # fmt: skip


def to_json(page: Page, *, indent: int | None = 1) -> str:
    """Return the page as one JSON document that ends with a line feed."""
    return json.dumps(to_document(page), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def to_document(page: Page) -> dict[str, Any]:
    """Return the page as dictionaries, lists, text and numbers."""
    return {
        "orrery": {"kind": "report", "schema": SCHEMA, "program": PROGRAM_VERSION},
        "report": {
            "title": page.title,
            "subtitle": page.subtitle,
            "scorecard": None if page.scorecard is None else card_document(page.scorecard),
            "needs": [_verdict(verdict) for verdict in page.verdicts],
            "sections": [section_document(section) for section in page.sections],
            "provenance": dict(page.provenance),
        },
    }


def card_document(card: Scorecard) -> dict[str, Any]:
    """Return a scorecard as plain data: all seven metrics, known or not."""
    return {
        "subject": card.subject,
        "not_validated": list(unchecked(card)),
        "metrics": [
            {
                "name": metric.name,
                "question": metric.question,
                "known": metric.headline is not None,
                "why_unknown": metric.why_unknown,
                "headline": None
                if metric.headline is None
                else metric.figures.index(metric.headline),
                "others": [metric.figures.index(figure) for figure in metric.others],
                "figures": [_figure(figure) for figure in metric.figures],
            }
            for metric in card.metrics
        ],
    }


def section_document(section: Section) -> dict[str, Any]:
    """Return one section as plain data with its ``kind``."""
    kind = _KIND[type(section)]
    if isinstance(section, TimelineChart):
        rows = {name: number for number, name in enumerate(section.rows())}
        busy = section.timeline.busy_s()
        return {
            "kind": kind, "title": section.title, "caption": section.caption,
            "name": section.timeline.name, "makespan_ps": section.timeline.makespan_ps,
            "resources": list(rows), "marks": dict(section.marks),
            "busy_s": [busy.get(name, 0.0) for name in rows],
            "span_fields": ["resource", "name", "kind", "start_ps", "end_ps", "details"],
            "spans": [
                [rows[span.resource], span.name, span.kind, span.start_ps, span.end_ps,
                 dict(span.details)]
                for span in section.timeline.spans
            ],
        }  # fmt: skip
    if isinstance(section, MemoryChart):
        return {
            "kind": kind, "title": section.title, "caption": section.caption,
            "end_ps": section.end_ps, "sample_fields": ["time_ps", "used_bytes"],
            "tracks": [
                {
                    "memory": memory,
                    "capacity_bytes": section.capacity_bytes.get(memory),
                    "peak_bytes": max(sample.used_bytes for sample in samples),
                    "samples": [[sample.time_ps, sample.used_bytes] for sample in samples],
                }
                for memory, samples in section.tracks().items()
            ],
        }  # fmt: skip
    body: dict[str, Any] = {"kind": kind, **encode(section)}
    if isinstance(section, Waterfall):
        body["bars"] = [list(bar) for bar in section.bars()]
    if isinstance(section, Strip):
        body["groups"] = list(section.order())
    return body


def _figure(figure: Evidence) -> dict[str, Any]:
    return {
        **encode(figure),
        "text": value_text(figure),
        "uncertainty": doubt_texts(figure),
        "marks": marks(figure),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "need": encode(verdict.need),
        "limit_text": limit_text(verdict.need),
        "status": verdict.status,
        "margin_percent": verdict.margin_percent,
        "figure": None if verdict.figure is None else _figure(verdict.figure),
        "note": verdict.note,
        "text": verdict_text(verdict),
    }
