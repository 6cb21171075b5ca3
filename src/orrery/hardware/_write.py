"""Systems written as the YAML that `read_system` reads: ``read(write(s)) == s``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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

__all__ = ["write_system"]


def write_system(system: System) -> str:
    """Return a system as YAML text, every number with the name of its source.

    Numbers are written in full in the internal unit, so reading gives back equal records. Names
    must be such as the reader accepts (letters, digits and ``_ . : + -``). The options of a
    catalogue entry are resolved: their values are written, not the choice.
    """
    names = _name_sources(system)
    lines = [f"name: {_text(system.name)}"]
    if system.description:
        lines.append(f"description: {_text(system.description)}")
    if system.host:
        lines.append(f"host: {_text(system.host)}")
    lines.append("sources:")
    for source, name in names.items():
        lines.append(
            f"  {name}: {{basis: {source.basis.value}, where: {_text(source.where)}, "
            f"note: {_text(source.note)}}}"
        )
    lines.append("devices:")
    for device in system.devices:
        lines += _device(device, names)
    known = {system.host, *(device.name for device in system.devices)}
    ends = dict.fromkeys(end for link in system.links for end in link.ends)
    switches = tuple(end for end in ends if end not in known)
    if switches:
        lines.append(f"switches: {_list(switches)}")
    if system.links:
        lines.append("links:")
    for link in system.links:
        parts = [f"name: {_text(link.name)}", f"ends: {_list(link.ends)}",
                 f"duplex: {_bool(link.duplex)}", *_numbers(link, LINK_KEYS, names)]  # fmt: skip
        lines.append(f"  - {{{', '.join(parts)}}}")
    return "\n".join(lines) + "\n"


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


def _device(device: Device, names: Mapping[Source, str]) -> list[str]:
    lines = [f"  - name: {_text(device.name)}", f"    kind: {_text(device.kind)}"]
    if device.group:
        lines.append(f"    group: {_text(device.group)}")
    if device.designs:
        lines.append(f"    designs: {_list(device.designs)}")
    if device.operators is not None:
        lines.append(f"    operators: {_list(device.operators)}")
    lines += [f"    {part}" for part in _numbers(device, DEVICE_KEYS, names)]
    compute = ", ".join(_numbers(device.compute, COMPUTE_KEYS, names))
    lines += [f"    compute: {{{compute}}}", "    memories:"]
    for memory in device.memories:
        parts = [f"name: {_text(memory.name)}", f"offchip: {_bool(memory.offchip)}"]
        lines.append(f"      - {{{', '.join(parts + _numbers(memory, MEMORY_KEYS, names))}}}")
    if device.calibration is not None:
        lines.append("    calibration:")
        lines += [f"      {p}" for p in _numbers(device.calibration, CALIBRATION_KEYS, names)]
    if device.flash:
        lines.append("    flash:")
    for disk in device.flash:
        parts = [f"name: {_text(disk.name)}", *_numbers(disk, FLASH_KEYS, names)]
        lines.append(f"      - {{{', '.join(parts)}}}")
    return lines


def _numbers(
    record: Any,
    keys: Mapping[str, tuple[str, str, bool]],
    names: Mapping[Source, str],
) -> list[str]:
    """Return ``key: {value: "…", source: …}`` for every number that is set."""
    parts = []
    for key, (name, dimension, _) in keys.items():
        value = getattr(record, name)
        unit = next(u for u, factor in DIMENSIONS[dimension].items() if factor == 1.0)
        if isinstance(value, Mapping):
            if value:
                inner = "".join(f', {dtype}: "{v!r} {unit}"' for dtype, v in value.items())
                parts.append(f"{key}: {{source: {names[record.sources[name]]}{inner}}}")
        elif value is not None:
            source = names[record.sources[name]]
            parts.append(f'{key}: {{value: "{value!r} {unit}", source: {source}}}')
    return parts


def _text(text: str) -> str:
    # A JSON string is a YAML double-quoted scalar.
    return json.dumps(text, ensure_ascii=False)


def _list(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _bool(value: bool) -> str:
    return "true" if value else "false"
