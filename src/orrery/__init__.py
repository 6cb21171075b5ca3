"""orrery: how a neural network travels over machines.

``import orrery`` loads nothing heavy; each function loads what it needs when it is first used::

    import orrery
    result = orrery.map("resnet50", on="aws-f1")
    print(result.scorecard_text)
"""

from __future__ import annotations

from .provenance import PROGRAM_VERSION as __version__

#: public function -> the api file it lives in
_VERBS = {
    "accelerators": "_catalogues",
    "load_model": "_resolve",
    "load_system": "_resolve",
    "map": "_map",
    "models": "_catalogues",
    "operators": "_catalogues",
    "run": "_run",
    "score": "_score",
    "show": "_show",
    "simulate": "_simulate",
    "systems": "_catalogues",
}

__all__ = ["__version__", *_VERBS]


def __getattr__(name: str) -> object:
    if name not in _VERBS:
        raise AttributeError(f"module 'orrery' has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
