"""Compile the searches to machine code once, part by part side by side, before tests need them.

The code is kept where Numba keeps it (``NUMBA_CACHE_DIR``, else beside the sources), so that it
costs a second where it is there already. Test processes that begin without it would compile the
same functions each for itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def nests() -> None:
    """Search nests on an array with sliding windows: counts of tiles and the search itself."""
    from orrery import api
    from orrery.graph import build_model

    api.nest(build_model("alexnet", image=64, width=0.05), on="eyeriss-v1")


def sets() -> None:
    """Search sets of devices exactly and by evolution: phases, routes and the moves of both."""
    from orrery import api
    from orrery.graph import build_model

    search = api.MapSearch(search="two-level", generations=2, set_sizes=(1, 4))
    api.map(build_model("squeezenet1_1", image=64, width=0.125), on="aws-f1", search=search)


def placements() -> None:
    """Anneal placements of whole layers, and bound them."""
    from orrery.studies.h2h import h2h_study

    h2h_study(0.01)


PARTS = {part.__name__: part for part in (nests, sets, placements)}


def main(names: list[str]) -> int:
    """Compile the named parts here, or all of them in a process each; return 0 on success."""
    if names:
        for name in names:
            PARTS[name]()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ORRERY_CACHE": folder}  # the user's results stay as they are
        children = [
            subprocess.Popen([sys.executable, __file__, name], env=environment) for name in PARTS
        ]
        return max(child.wait() for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
