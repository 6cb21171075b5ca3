"""Studies of a line each, by which the frame is tried."""

from __future__ import annotations

from orrery.errors import MissingExtraError
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Text
from orrery.studies import Record, StudyResult, compared


def square(scale: float, progress: Progress) -> StudyResult:
    """Hold the area of a square of side `scale` against a paper that says 4 square metres."""
    progress.step("square", 1, 1)
    area = compared("area", "m²", ours=scale**2, published=4.0, basis=Basis.ESTIMATED,
                    source="Euclid, book 2", judge="the definition",
                    judge_value=scale**2)  # fmt: skip
    colour = Record(name="colour", unit="", published=None, ours=None, basis=Basis.ASSUMED,
                    source="Euclid, book 2", status="not reproducible",
                    note="the paper does not say")  # fmt: skip
    seen = Text(title="Seen", paragraphs=("It has four sides.",))
    return StudyResult(records=(area, colour), sections=(seen,))


def broken(scale: float, progress: Progress) -> StudyResult:
    """Lack a package."""
    raise MissingExtraError("unobtainium", "solve", purpose="the exact search")
