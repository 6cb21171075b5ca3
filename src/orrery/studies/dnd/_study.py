"""The study: a matrix of binaries, programs without a network, and what a recovered one is for."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from orrery.decompile import RecoverLimits
from orrery.errors import MissingExtraError, OrreryError
from orrery.graph import Graph
from orrery.progress import SILENT, Progress
from orrery.store import Cache, content_hash
from orrery.units import format_quantity

from .._frame import StudyResult
from ._attack import Used, use
from ._build import Workshop, tool_version
from ._cases import Asked, chosen, matrix, network_of
from ._keep import kept_or_measured, recalled
from ._measure import Effort, Found, measure
from ._ordinary import Ordinary, commands, look_into, numeric_programs
from ._records import attack_records, case_records, ordinary_records
from ._sections import sections_of

__all__ = ["conduct_on", "dnd_study"]

_WAYS = (("gcc", "x86-64", "-O1"), ("tvm", "x86-64", "fused"), ("gcc", "aarch64", "-O1"))


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
    effort, cache = Effort.at(scale), Cache("dnd")
    return conduct_on(
        chosen(scale), effort, progress, cache=cache,
        programs=partial(_programs, scale, cache, progress),
        used=partial(_uses, scale, effort, cache, progress),
    )  # fmt: skip


def _programs(scale: float, cache: Cache, progress: Progress) -> list[Ordinary]:
    """Look into ordinary programs: a few; from scale 0.1 on 50 commands and all that compute."""
    share, every = min(1.0, 10 * scale), 50
    limits = RecoverLimits(time_s=60 if scale >= 0.1 else 20, memory_bytes=3 << 30,
                           function_s=10)  # fmt: skip
    files = [(path, "command") for path in commands(max(2, round(every * share)))]
    numeric = list(numeric_programs().items())
    files += numeric[: max(2, round(len(numeric) * share))]
    found = []
    for done, (path, kind) in enumerate(files):
        progress.step("dnd: programs without a network", done, len(files))
        decided_by = (path.name, kind, content_hash(path.read_bytes()), repr(limits))
        one, _ = recalled(cache, decided_by, Ordinary,
                          partial(look_into, path, kind, limits, progress))  # fmt: skip
        found.append(one)
    return found


def _uses(scale: float, effort: Effort, cache: Cache, progress: Progress) -> list[Used]:
    images, epochs = (360, 8) if scale >= 1 else (40, 3)
    ways = _WAYS if scale >= 0.1 else _WAYS[:2]
    found = []
    for done, way in enumerate(ways):
        progress.step("dnd: networks in use", done, len(ways))
        try:
            tool = tool_version(*way[:2])
        except OrreryError:
            tool = "not installed"
        one, _ = recalled(
            cache, (*way, tool, str(images), str(epochs), repr(effort)), Used,
            partial(use, *way, images=images, epochs=epochs, time_s=effort.time_s,
                    progress=progress),
        )  # fmt: skip
        found.append(one)
    return found


def conduct_on(
    cases: Sequence[Asked], effort: Effort, progress: Progress = SILENT, *,
    cache: Cache | None = None, programs: Callable[[], Sequence[Ordinary]] = tuple,
    used: Callable[[], Sequence[Used]] = tuple, network: Callable[[str], Graph] = network_of,
) -> StudyResult:  # fmt: skip
    """Conduct the study on given cases.

    Parameters
    ----------
    cache : where cases are kept, and taken from; None measures all
    programs, used : measure the other two parts, after the binaries
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
    ordinary, uses_made = programs(), used()
    return StudyResult(
        records=(*case_records(found), *ordinary_records(ordinary), *attack_records(uses_made)),
        sections=sections_of(found, ordinary, uses_made, _notes(found, earlier, cache)),
    )


def _notes(found: Sequence[Found], earlier: int, cache: Cache | None) -> list[str]:
    notes = []
    if earlier and cache is not None:
        notes.append(f"{earlier} of {len(found)} binaries were measured by an earlier run with the "
                     "same sources, compilers and limits; what ran out of time did so beside what "
                     f"else ran then. Remove {cache.folder} to measure them again.")  # fmt: skip
    tried = [one.seconds for one in found if one.tried]
    if tried and len(found) < len(matrix()):
        whole = statistics.fmean(tried) * len(matrix())
        notes.append(
            f"These are {len(found)} of {len(matrix())} binaries, those nearest to the centre of "
            "the matrix. At their pace reading all of them would take "
            f"{format_quantity(whole, 's')}, building and checking not counted."
        )  # fmt: skip
    return notes
