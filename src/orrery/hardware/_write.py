"""Systems written as the YAML that `read_system` reads: ``read(write(s)) == s``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from orrery.provenance import Source
from orrery.units import DIMENSIONS

from ._records import Device, System
from ._yaml import (
    CALIBRATION_KEYS,
    COMPUTE_KEYS,
    DEVICE_KEYS,
    FLASH_KEYS,
    LINK_KEYS,
    MEMORY_KEYS,
)


def write_system(system: System) -> str:
    """Return a system as YAML text, every number with the name of its source.

    Numbers are written in full in the internal unit, so reading gives back equal records. Names
    must be such as the reader accepts (letters, digits and ``_ . : + -``). The options of a
    catalogue entry are resolved: their values are written, not the choice.
    """
    names = _name_sources(system)
    known = {system.host, *(device.name for device in system.devices)}
    ends = dict.fromkeys(end for link in system.links for end in link.ends)
    return _yaml({
        "name": system.name, "description": system.description, "host": system.host,
        "sources": _sources(names), "devices": [_device(d, names) for d in system.devices],
        "switches": tuple(end for end in ends if end not in known),
        "links": tuple({"name": link.name, "ends": link.ends, "duplex": link.duplex,
                        **_numbers(link, LINK_KEYS, names)} for link in system.links),
    })  # fmt: skip


def _name_sources(system: System) -> dict[Source, str]:
    tables = [link.sources for link in system.links]
    for device in system.devices:
        tables += [device.compute.sources, device.sources]
        tables += [memory.sources for memory in device.memories]
        tables += [disk.sources for disk in device.flash]
        tables += [device.calibration.sources] if device.calibration else []
    found: dict[Source, str] = {}
    for source in (source for table in tables for source in table.values()):
        found.setdefault(source, f"s{len(found) + 1}")
    return found


def _device(device: Device, names: Mapping[Source, str]) -> dict[str, Any]:
    return _said({
        "name": device.name, "kind": device.kind, "group": device.group, "designs": device.designs,
        "operators": None if device.operators is None else list(device.operators),
        **_numbers(device, DEVICE_KEYS, names),
        "compute": _numbers(device.compute, COMPUTE_KEYS, names),
        "memories": [{"name": one.name, "offchip": one.offchip,
                      **_numbers(one, MEMORY_KEYS, names)} for one in device.memories],
        "calibration": device.calibration and _numbers(device.calibration, CALIBRATION_KEYS, names),
        "flash": tuple({"name": disk.name, **_numbers(disk, FLASH_KEYS, names)}
                       for disk in device.flash),
    })  # fmt: skip


def _numbers(
    record: Any, keys: Mapping[str, tuple[Any, ...]], names: Mapping[Source, str],
    unsaid: Source | None = None,
) -> dict[str, dict[str, str]]:  # fmt: skip
    """Return every number that is set: its value, or one for each type, and its source.

    Parameters
    ----------
    keys : key -> field, dimension
    unsaid : source of those without one
    """
    found = {}
    for key, (name, dimension, *_) in keys.items():
        value = getattr(record, name)
        unit = next(u for u, factor in DIMENSIONS[dimension].items() if factor == 1.0)
        if value is None or value == {}:
            continue
        values = value if isinstance(value, Mapping) else {"value": value}
        texts = {kind: f"{number!r} {unit}" for kind, number in values.items()}
        found[key] = {**texts, "source": names[record.sources.get(name, unsaid)]}
    return found


def _sources(names: Mapping[Source, str]) -> dict[str, dict[str, str]]:
    """Return the table of sources."""
    return {
        name: {"basis": source.basis.value, "where": source.where, "note": source.note}
        for source, name in names.items()
    }


def _said(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table without what it does not say: None, no text, no tuple's items."""
    return {key: value for key, value in table.items() if value not in (None, "", ())}


class _Dumper(yaml.SafeDumper):
    """Writes out what stands twice: the reader takes no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _yaml(table: Mapping[str, Any]) -> str:
    """Return a table as text, without what it does not say; innermost tables take a line each."""
    return yaml.dump(_said(table), Dumper=_Dumper, sort_keys=False, allow_unicode=True,
                     default_flow_style=None, width=math.inf)  # fmt: skip
