"""Spatial accelerators that ship with the program, by name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from orrery.errors import UnknownNameError

from ._records import Architecture
from ._timeloop import is_timeloop, read_timeloop
from ._yaml import read_architecture

_FOLDER = Path(__file__).parent / "catalogue"


def architecture_names() -> tuple[str, ...]:
    """Return the names of all catalogue architectures, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_architecture(name: str | Path, *, loops: tuple[str, ...] = ()) -> Architecture:
    """Return a spatial accelerator from a YAML file or, by name, from the catalogue.

    Parameters
    ----------
    name : a path (anything that ends in ``.yaml`` or ``.yml``, or contains a separator) or a name;
        a file for Timeloop, or a folder of such files, is translated
    loops : the loops that layers have, so that an axis that names another is refused

    Raises
    ------
    UnknownNameError : neither a file nor a name of the catalogue
    SpecError : the file does not describe one
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        if is_timeloop(Path(text)):
            return read_timeloop(Path(text)).architecture
        return read_architecture(Path(text), loops=loops)
    if text not in architecture_names():
        raise UnknownNameError("architecture", text, architecture_names())
    return _shipped(text, loops)


def architecture_text(name: str) -> str:
    """Return the YAML of a catalogue architecture, as it ships.

    Raises
    ------
    UnknownNameError : no such name in the catalogue
    """
    if name not in architecture_names():
        raise UnknownNameError("architecture", name, architecture_names())
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


@lru_cache
def _shipped(name: str, loops: tuple[str, ...]) -> Architecture:
    return read_architecture(_FOLDER / f"{name}.yaml", loops=loops)
