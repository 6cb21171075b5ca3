"""What can go wrong with tensors that are away."""

from __future__ import annotations

from orrery.errors import OrreryError


class OffloadError(OrreryError, RuntimeError):
    """A saved tensor cannot be had, or may not be used: where, found, wanted, fix."""

    def __init__(self, where: str, *, found: object, wanted: str, fix: str) -> None:
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(f"{where}: found {found}, wanted {wanted}; {fix}")


class DamagedDataError(OffloadError):
    """What came back from a file is not what was written; no gradient was made from it."""
