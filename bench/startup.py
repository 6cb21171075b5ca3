"""How long a user waits before anything happens."""

from __future__ import annotations

import sys

from ._record import BIN, Figure, repeated, run_command


def figures() -> list[Figure]:
    """Time ``orrery --help`` and ``import orrery`` as whole processes."""
    python = sys.executable
    bare = repeated("python start", "s", lambda: run_command([python, "-c", "pass"]).wall_s, runs=9)
    return [
        repeated("orrery --help", "s", lambda: run_command([str(BIN / "orrery"), "--help"]).wall_s,
                 runs=9, target=0.3),
        repeated("import orrery, beyond starting Python", "s",
                 lambda: run_command([python, "-c", "import orrery"]).wall_s - bare.value,
                 runs=9, target=0.1),
        bare,
    ]  # fmt: skip
