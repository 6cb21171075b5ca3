"""Callbacks with which other libraries' training loops run their steps in a session."""

from __future__ import annotations

import importlib.util
from importlib import import_module

from orrery.errors import MissingExtraError

#: name of a callback -> the package whose class it is
CALLBACKS = {
    "OffloadLightningCallback": "lightning",
    "OffloadTrainerCallback": "transformers",
}


def callback_class(name: str) -> object:
    """Return the class of this name.

    Raises
    ------
    MissingExtraError : its package is not installed
    """
    for package in ("torch", CALLBACKS[name]):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "torch", purpose=f"orrery.{name}")
    return getattr(import_module("orrery.runtime.loops"), name)
