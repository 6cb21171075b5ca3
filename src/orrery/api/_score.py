"""Score a network on a system, or evidence that earlier commands wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.evidence import Evidence
from orrery.report import Page, Text
from orrery.store import read_record

from ._map import map
from ._options import ModelOptions

__all__ = ["score"]


def score(
    models: Sequence[object],
    *,
    on: object = None,
    evidence: Sequence[str | Path] = (),
    options: ModelOptions | None = None,
    needs: Sequence[str] = (),
    strict: bool = False,
) -> Page:
    """Return a page with the seven metrics and the answers to needs.

    Parameters
    ----------
    models, on, options : a network and a system, mapped first; or none of them
    evidence : evidence.json files of earlier commands, put on the same card
    needs : e.g. ``["latency<33ms", "energy<=0.5J"]``
    strict : refuse when anything of the network could not be priced
    """
    from orrery.report import judge, make_scorecard, parse_need

    from .pages import WHY_UNKNOWN

    parsed = [parse_need(text) for text in needs]
    figures: list[Evidence] = []
    for path in evidence:
        figures += read_record(Path(path), "evidence", tuple[Evidence, ...], 1)
    covered: tuple[Text, ...] = ()
    if models:
        result = map(list(models), on=on, options=options, strict=strict)
        figures += result.evidence
        coverage = result.price.coverage
        covered = (
            Text(
                title="What the figures cover",
                paragraphs=(f"Coverage: {coverage}.",),
                tone="note" if coverage.complete else "warning",
            ),
        )
    subject = "; ".join(dict.fromkeys(figure.subject for figure in figures))
    card = make_scorecard(subject, figures, reasons=WHY_UNKNOWN)
    return Page(title=subject, scorecard=card, verdicts=judge(card, parsed), sections=covered)
