"""A page as one HTML file that needs nothing else: no network, no fonts, no libraries.

The file carries the JSON document of the page; tables are written out by the template, charts are
drawn from that document by the script, so that every number shown has one origin.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orrery.store import whole_folder, write_text

from ._format import context_label, format_value
from ._json import to_document, to_json
from ._sections import Page, Table
from ._sort import sort_rows
from ._text import render_text

if TYPE_CHECKING:
    from jinja2 import Environment

#: what `write_report` writes
_FILES = {"report": "report.html", "report data": "report.json", "report text": "report.txt"}
_SCRIPTS = ("core.js", "charts.js", "timeline.js", "strip.js", "diagram.js", "tables.js")


def render_html(page: Page) -> str:
    """Return the page as one self-contained HTML document."""
    from markupsafe import Markup

    document = to_document(page)
    sections = document["report"]["sections"]
    script = "\n".join(_template(name) for name in _SCRIPTS)
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=document["report"],
            program=document["orrery"]["program"],
            anchors=[_anchor(number, section["title"]) for number, section in enumerate(sections)],
            tables={
                number: sort_rows(section)
                for number, section in enumerate(page.sections)
                if isinstance(section, Table)
            },
            largest={number: _largest(section) for number, section in enumerate(page.sections)},
            data=Markup(_embedded(document)),
            style=Markup(_template("style.css")),
            script=Markup(script),
            script_hash=_hash(script),
        )
    )


@cache
def _environment() -> Environment:
    """Return the template engine, which compiles the template once in a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orrery.report", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["value"] = format_value
    environment.filters["label"] = context_label
    environment.filters["number"] = json.dumps
    environment.filters["phrases"] = _have_phrases
    return environment


def write_report(page: Page, folder: Path) -> tuple[Path, Path, Path]:
    """Write ``report.html``, ``report.json`` and ``report.txt``; return their paths.

    All three are rendered before the first is written.
    """
    texts = {
        "report.html": render_html(page),
        "report.json": to_json(page),
        "report.txt": render_text(page),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    html, record, plain = (folder / name for name in texts)
    return html, record, plain


def write_result(
    folder: str | Path, page: Page, beside: Mapping[str, tuple[str, Callable[[Path], None]]]
) -> dict[str, Path]:
    """Write a result and its report into a folder: all files, or none; return them by name.

    Parameters
    ----------
    beside : files beside the report: name -> (file, what writes it)
    """
    with whole_folder(Path(folder)) as fresh:
        for file, write in beside.values():
            write(fresh / file)
        write_report(page, fresh)
    names = {name: file for name, (file, _) in beside.items()} | _FILES
    return {name: Path(folder) / file for name, file in names.items()}


def _template(name: str) -> str:
    return (files("orrery.report") / "templates" / name).read_text(encoding="utf-8")


def _embedded(document: dict[str, Any]) -> str:
    """Return JSON in which nothing can end the script element or start a comment."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _anchor(number: int, title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:40]
    return f"section-{number}" + (f"-{words}" if words else "")


def _have_phrases(rows: Sequence[Sequence[object]]) -> bool:
    """Whether some row is named by a phrase: then all rows of the table look like phrases."""
    heads = (row[0] for row in rows)
    return any(isinstance(head, str) and len(head) > 30 and " " in head for head in heads)


def _largest(section: object) -> list[float]:
    """Return per column the largest magnitude, to which the bars of a table relate."""
    if not isinstance(section, Table):
        return []
    columns = [
        [abs(cell) for cell in cells if isinstance(cell, int | float)]
        for cells in zip(*section.rows)
    ]
    return [float(max(numbers, default=0)) for numbers in columns]
