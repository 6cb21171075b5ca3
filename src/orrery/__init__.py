"""orrery: how a neural network travels over machines.

``import orrery`` loads nothing heavy; each function loads what it needs when it is first used::

    import orrery
    result = orrery.map("resnet50", on="aws-f1")
    print(result.text)
"""

from __future__ import annotations

from .provenance import PROGRAM_VERSION as __version__

#: public functions and records; `orrery.api` knows where each lives
_VERBS = (
    "BeyondOptions", "ModelOptions", "OffloadLightningCallback", "OffloadOptions",
    "OffloadTrainerCallback", "TaskOptions", "ZeroOptions",
    "accelerators", "arrays", "calibrate", "diff", "load_model", "load_system", "map", "models",
    "nest", "offload", "operators", "place", "recover", "run", "score", "show", "simulate",
    "studies", "study", "sweep", "systems", "timeloop", "validate",
)  # fmt: skip

__all__ = ["__version__", *_VERBS]


def __getattr__(name: str) -> object:
    if name not in _VERBS:
        raise AttributeError(f"module 'orrery' has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
