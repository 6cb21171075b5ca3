"""Score a network on a system, or evidence that earlier commands wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.report import Page, Text
from orrery.store import read_record

from ._map import map
from ._options import ModelOptions

__all__ = ["score"]


def score(
    models: object = (),
    *,
    on: object = None,
    evidence: Sequence[str | Path] = (),
    options: ModelOptions | None = None,
    needs: str | Sequence[str] = (),
    strict: bool = False,
) -> Page:
    """Return a page with the seven metrics and the answers to needs.

    Parameters
    ----------
    models, on, options : a network and a system, mapped first; or none of them
    evidence : evidence.json files of earlier commands, put on the same card
    needs : e.g. ``["latency<33ms", "energy<=0.5J"]``
    strict : refuse when anything of the network could not be priced

    Raises
    ------
    SpecError : no network and no figure; `strict` without a network
    """
    from orrery.report import judge, make_scorecard, parse_needs

    from .figures import WHY_UNKNOWN

    networks = list(models) if isinstance(models, list | tuple) else [models]
    parsed = parse_needs(needs)
    if strict and not networks:
        raise SpecError(
            "score", found="strict with evidence files alone", wanted="a network to price",
            fix="leave out --strict: evidence does not say what it could not price",
        )  # fmt: skip
    figures: list[Evidence] = []
    for path in evidence:
        read = read_record(Path(path), "evidence", tuple[Evidence, ...], 1)
        if not read:
            raise SpecError(
                str(path), found="no figure", wanted="evidence of a run, a map or a simulation",
                fix="make the file again",
            )  # fmt: skip
        figures += read
    if not networks and not figures:
        raise SpecError("score", found="nothing", wanted="a network or evidence files",
                        fix="give at least one")  # fmt: skip
    covered: tuple[Text, ...] = ()
    if networks:
        result = map(networks, on=on, options=options, strict=strict)
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
