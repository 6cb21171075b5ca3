"""Why a plan is as it is, on its page."""

from __future__ import annotations

from dataclasses import replace

from orrery.errors import CancelledError
from orrery.mapping import Found, explain_layers, explain_sets, layer_classes, mapping_of
from orrery.progress import Progress
from orrery.report import Section, Table

from .._result import MapResult
from ._choice_table import explain_sections
from ._design_tables import EXPLAINED, class_table
from ._late import late_line
from ._place_table import place_table

#: Plans of up to so many regions are explained unasked: that takes less than a second.
_FEW = 120


def explained(result: MapResult, found: Found, *, asked: bool, progress: Progress) -> MapResult:
    """Return the result with what other choices would cost on its page; as it is when stopped.

    Parameters
    ----------
    asked : also where that takes a while, or where only part of it can be said
    """
    plan = result.plan
    if not asked and (found.interrupted or not plan.is_split or len(plan.assignments) > _FEW):
        return result
    try:
        sections = _sections(result, found, progress)
    except CancelledError:  # the search is over: its result stays whole
        return result
    page = replace(result.page, sections=(*result.page.sections, *sections))
    return replace(result, page=page)


def _sections(result: MapResult, found: Found, progress: Progress) -> tuple[Section, ...]:
    plan, problem = result.plan, found.problem()
    classes = layer_classes(problem.tables)
    sections: tuple[Section, ...]
    if plan.is_split:
        reasons = explain_sets(problem, mapping_of(problem, plan), progress=progress)
        sections = explain_sections(problem, reasons, classes, plan, result.price)
    else:
        places = explain_layers(problem.tables, plan, progress=progress,
                                capacity_bytes=problem.capacity_bytes)  # fmt: skip
        sections = (place_table(places, plan, result.price), class_table(classes))
    late = late_line(plan, result.timeline, result.system)
    if late and isinstance(sections[0], Table):
        sections = (replace(sections[0], caption=f"{sections[0].caption} {late}"), *sections[1:])
    return sections


def explained_text(result: MapResult, *, width: int = 96) -> str:
    """Return as text what other choices would cost; empty where nobody asked."""
    from .._render import titled_text

    return titled_text(result.page, EXPLAINED, width=width)
