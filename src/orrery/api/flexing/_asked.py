"""Whether a name is that of an array."""

from __future__ import annotations

import re
from pathlib import Path

from orrery.hardware import architecture_names, system_names

from .._options import BeyondOptions


def names_array(on: object, beyond: BeyondOptions) -> bool:
    """Return whether a text names an array and no system.

    Of a name that is both, an array is meant where flexibility or scalability is asked for.
    """
    if not isinstance(on, str | Path):
        return False
    path = Path(on)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return re.search(rb"^(levels|architecture)\s*:", path.read_bytes(), re.M) is not None
    asked = beyond.flexibility or beyond.scalability
    return str(on) in architecture_names() and (asked or str(on) not in system_names())
