"""``orrery models``, ``systems``, ``accelerators``."""

from __future__ import annotations

from orrery import api

from ._options import JsonFlag, json_document, show_page

_ALL = 10_000


def models(*, json: JsonFlag = False) -> int:
    """List the networks of the library: family, task, parameters, MACs of one pass."""
    show_page(api.models(), as_json=json, rows=_ALL)
    return 0


def systems(name: str | None = None, /, *, json: JsonFlag = False) -> int:
    """List the systems of the catalogue, or print one as YAML.

    Parameters
    ----------
    name
        A system to print as YAML: a starting point for one of your own. `this-machine` is probed.
    """
    if name is None:
        show_page(api.systems(), as_json=json, rows=_ALL)
    elif json:
        json_document(api.system_document(name))
    else:
        print(api.system_yaml(name), end="")
    return 0


def accelerators(*, json: JsonFlag = False) -> int:
    """List the accelerator designs that a device can be configured with."""
    show_page(api.accelerators(), as_json=json, rows=_ALL)
    return 0
