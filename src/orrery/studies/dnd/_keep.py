"""Cases that were measured, kept: a study that was stopped goes on, one repeated takes no time.

A case is kept under everything that decides it: the case, the compiler, the limits, and all of our
sources that recover and judge. What cannot be read is measured again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

from orrery.errors import OrreryError, SpecError
from orrery.provenance import PROGRAM_VERSION
from orrery.runtime import describe_machine
from orrery.store import Cache, content_hash, encode, strict_convert

from ._build import tool_version
from ._cases import Asked
from ._measure import Effort, Found

__all__ = ["kept_or_measured"]

_ROOT = Path(__file__).parents[2]
_PARTS = ("decompile", "graph", "api/recovering", "runtime/binaries", "runtime/sandbox",
          "studies/dnd")  # fmt: skip


@cache
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
    key = content_hash("case-1", _sources(), tool, repr(asked), repr(effort))
    if (known := cache.get(key)) is not None:
        try:
            return strict_convert(json.loads(known), Found, where=f"kept case {asked.label}"), True
        except (ValueError, RecursionError, SpecError):  # of another program, or not ours
            pass
    found = measure()
    cache.put(key, json.dumps(encode(found)).encode())
    return found, False
