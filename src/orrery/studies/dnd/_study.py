"""The study: a matrix of binaries, programs without a network, and what a recovered one is for."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from orrery.decompile import RecoverLimits
from orrery.errors import MissingExtraError
from orrery.graph import Graph
from orrery.progress import SILENT, Progress
from orrery.store import Cache
from orrery.units import format_quantity

from .._frame import StudyResult
from ._attack import Used, uses
from ._build import Workshop
from ._cases import Asked, chosen, matrix, network_of
from ._keep import kept_or_measured
from ._measure import Effort, Found, measure
from ._ordinary import Ordinary, commands, look_into, numeric_programs
from ._records import attack_records, case_records, ordinary_records
from ._sections import sections_of

__all__ = ["conduct_on", "dnd_study"]

_WAYS = (("gcc", "x86-64", "-O1"), ("gcc", "aarch64", "-O1"), ("tvm", "x86-64", "fused"))


def dnd_study(scale: float = 1.0, progress: Progress = SILENT) -> StudyResult:
    """Recover networks from binaries of several compilers for several machines, and judge each.

    What was measured is kept, so that a study that was stopped goes on where it was.

    Parameters
    ----------
    scale : from 1 on all binaries of the matrix with the limits that users have, which takes a day
        or two; below, the share of them that is nearest to LeNet by gcc and TVM for
        x86-64 and AArch64: 0.002 takes minutes

    Raises
    ------
    MissingExtraError : what reads machine code is not installed
    """
    for package in ("pyvex", "capstone"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "decompile", purpose="reading machine code")
    effort = Effort.at(scale)
    return conduct_on(
        chosen(scale), effort, progress, cache=Cache("dnd"),
        programs=_programs(scale, progress), used=_uses(scale, effort, progress),
    )  # fmt: skip


def _programs(scale: float, progress: Progress) -> list[Ordinary]:
    """Look into ordinary programs: a few of either kind below scale 0.1, all from 1 on."""
    share = min(1.0, 10 * scale)
    every = 50
    limits = RecoverLimits(time_s=60 if scale >= 0.1 else 20, memory_bytes=3 << 30,
                           function_s=10)  # fmt: skip
    files = [(path, "command") for path in commands(max(2, round(every * share)))]
    numeric = list(numeric_programs().items())
    files += numeric[: max(2, round(len(numeric) * share))]
    found = []
    for done, (path, kind) in enumerate(files):
        progress.step("dnd: programs without a network", done, len(files))
        found.append(look_into(path, kind, limits, progress))
    return found


def _uses(scale: float, effort: Effort, progress: Progress) -> list[Used]:
    images, epochs = (360, 8) if scale >= 1 else (40, 3)
    ways = _WAYS if scale >= 0.1 else _WAYS[:1]
    return uses(ways, images=images, epochs=epochs, time_s=effort.time_s, progress=progress)


def conduct_on(
    cases: Sequence[Asked], effort: Effort, progress: Progress = SILENT, *,
    cache: Cache | None = None, programs: Sequence[Ordinary] = (), used: Sequence[Used] = (),
    network: Callable[[str], Graph] = network_of,
) -> StudyResult:  # fmt: skip
    """Conduct the study on given cases.

    Parameters
    ----------
    cache : where cases are kept, and taken from; None measures all
    programs, used : what came of the other two parts
    network : from a case's network to its graph

    Raises
    ------
    CancelledError : the user asked to stop; what was finished is kept
    """
    found, earlier = list[Found](), 0
    with tempfile.TemporaryDirectory(prefix="orrery-dnd-") as folder:
        workshop = Workshop(Path(folder), network)
        for done, asked in enumerate(cases):
            progress.step("dnd: binaries", done, len(cases))
            one, kept = kept_or_measured(
                asked, effort, cache, partial(measure, asked, workshop, effort, progress)
            )
            found.append(one)
            earlier += kept
    return StudyResult(
        records=(*case_records(found), *ordinary_records(programs), *attack_records(used)),
        sections=sections_of(found, programs, used, _notes(found, earlier)),
    )


def _notes(found: Sequence[Found], earlier: int) -> list[str]:
    notes = []
    if earlier:
        notes.append(f"{earlier} of {len(found)} binaries were measured by an earlier run with the "
                     "same sources, compilers and limits.")  # fmt: skip
    tried = [one.seconds for one in found if one.tried]
    if tried and len(found) < len(matrix()):
        whole = statistics.fmean(tried) * len(matrix())
        notes.append(
            f"These are {len(found)} of {len(matrix())} binaries, those nearest to the centre of "
            "the matrix. At their pace reading all of them would take "
            f"{format_quantity(whole, 's')}, building and checking not counted."
        )  # fmt: skip
    return notes
