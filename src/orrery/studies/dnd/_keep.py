"""What was measured, kept: a study that was stopped goes on, one repeated takes no time.

It is kept under everything that decides it: the case, the compiler, the limits, and all of our
sources that recover and judge. What cannot be read is measured again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from functools import cache as once
from pathlib import Path
from typing import TypeVar

from orrery.errors import OrreryError, SpecError
from orrery.provenance import PROGRAM_VERSION
from orrery.runtime import describe_machine
from orrery.store import Cache, content_hash, encode, strict_convert

from ._build import tool_version
from ._cases import Asked
from ._measure import Effort, Found

__all__ = ["kept_or_measured", "recalled"]

T = TypeVar("T")

_ROOT = Path(__file__).parents[2]
_PARTS = ("decompile", "graph", "api/recovering", "runtime/binaries", "runtime/sandbox",
          "studies/dnd")  # fmt: skip


@once
def _sources() -> str:
    files = (path for part in _PARTS for path in sorted((_ROOT / part).rglob("*.py")))
    return content_hash(PROGRAM_VERSION, platform.python_version(), describe_machine().summary,
                        *(path.read_bytes() for path in files))  # fmt: skip


def kept_or_measured(
    asked: Asked, effort: Effort, cache: Cache | None, measure: Callable[[], Found]
) -> tuple[Found, bool]:
    """Return what came of a case, and whether it was measured in an earlier run.

    Parameters
    ----------
    cache : where cases are kept; None measures always
    """
    if cache is None:
        return measure(), False
    try:
        tool = tool_version(asked.compiler, asked.target)
    except OrreryError:  # not installed: cheap to say, and it may be tomorrow
        return measure(), False
    return recalled(cache, (tool, repr(asked), repr(effort)), Found, measure)


def recalled(
    cache: Cache | None, decided_by: Sequence[str], type_: type[T], measure: Callable[[], T]
) -> tuple[T, bool]:
    """Return what was measured, and whether an earlier run did it.

    Parameters
    ----------
    decided_by : all that decides it besides our sources
    """
    if cache is None:
        return measure(), False
    key = content_hash("dnd-1", type_.__name__, _sources(), *decided_by)
    if (known := cache.get(key)) is not None:
        try:
            return strict_convert(json.loads(known), type_, where=f"kept {decided_by}"), True
        except (ValueError, RecursionError, SpecError):  # of another program, or not ours
            pass
    found = measure()
    cache.put(key, json.dumps(encode(found)).encode())
    return found, False
