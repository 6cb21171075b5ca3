"""How do other libraries' training loops come to work in steps? Callbacks for them.

Each callback is a class of its library, which loads when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._step import LoopStep, Session

if TYPE_CHECKING:
    from ._lightning import OffloadLightningCallback
    from ._transformers import OffloadTrainerCallback

__all__ = ["LoopStep", "OffloadLightningCallback", "OffloadTrainerCallback", "Session"]


def __getattr__(name: str) -> object:
    if name == "OffloadLightningCallback":
        from ._lightning import OffloadLightningCallback

        return OffloadLightningCallback
    if name == "OffloadTrainerCallback":
        from ._transformers import OffloadTrainerCallback

        return OffloadTrainerCallback
    raise AttributeError(f"module 'orrery.runtime.loops' has no attribute {name!r}")
