"""How do I ask for it in one call? One file per verb; nothing is loaded before it is used."""

from __future__ import annotations

from importlib import import_module

#: public name -> file of this package
_PLACES = {
    "MapResult": "_map",
    "ModelOptions": "_resolve",
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

__all__ = [  # loaded on first use by __getattr__
    *_PLACES,
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'orrery.api' has no attribute {name!r}")
    return getattr(import_module(f"orrery.api.{_PLACES[name]}"), name)
