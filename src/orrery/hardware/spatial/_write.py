"""Spatial accelerators written as the YAML that `read_architecture` reads.

Numbers stand in the internal unit, in full, each with its source; rows of tables are written out.
Notes of a translation become comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orrery.provenance import Basis, Source
from orrery.units import DIMENSIONS

from .._write import _bool, _list, _text
from ._records import ROLES, Architecture, ArrayAxis, Level

__all__ = ["write_architecture"]

_CHIP = {"clock": ("clock_hz", "frequency"), "process": ("process_nm", "length"),
         "area": ("area_mm2", "area"), "price": ("price_usd", "price"),
         "static_power": ("static_power_w", "power")}  # fmt: skip
_ENERGY = {"mac": ("mac_energy_j", "energy"), "idle_mac": ("idle_mac_energy_j", "energy"),
           "hop": ("hop_energy_j_per_bit", "energy per bit")}  # fmt: skip
_LEVEL = {
    "size": ("capacity_bits", "width"), "word": ("word_bits", "width"),
    "read": ("read_energy_j", "energy"), "write": ("write_energy_j", "energy"),
    "read_bandwidth": ("read_bits_per_cycle", "bits per cycle"),
    "write_bandwidth": ("write_bits_per_cycle", "bits per cycle"),
    "static_power": ("static_power_w", "power"), "area": ("area_mm2", "area"),
}  # fmt: skip
_UNSAID = Source(basis=Basis.ASSUMED, where="unsaid", note="its description names no source")

Names = Mapping[Source, str]


def write_architecture(architecture: Architecture) -> str:
    """Return a spatial accelerator as YAML; what is read from it takes the same."""
    a = architecture
    records: tuple[Any, ...] = (a, *a.axes, *a.levels)
    known = dict.fromkeys(source for record in records for source in record.sources.values())
    names = {source: f"s{number}" for number, source in enumerate((*known, _UNSAID), 1)}
    default = _name(names, a.sources, "macs_per_cycle")
    lines = [f"# {note}" for note in a.notes] + [f"name: {_text(a.name)}"]
    if a.description:
        lines.append(f"description: {_text(a.description)}")
    lines += _numbers(a, _CHIP, names)
    used = {source: name for source, name in names.items() if source in known or name == default}
    lines += [f"source: {default}", "sources:"]
    lines += [f"  {name}: {{basis: {s.basis.value}, where: {_text(s.where)}, "
              f"note: {_text(s.note)}}}" for s, name in used.items()]  # fmt: skip
    lines.append(f"macs_per_cycle: {a.macs_per_cycle}")
    bits = ", ".join(f"{role}: {a.bits[role]}" for role in ROLES)
    lines.append(f"bits: {{{bits}, partial_sum: {a.partial_sum_bits}, "
                 f"source: {_name(names, a.sources, 'bits')}}}")  # fmt: skip
    if energies := _numbers(a, _ENERGY, names):
        lines += ["energy:", *(f"  {line}" for line in energies)]
    lines += ["array:" if a.axes else "array: []", *(_axis(axis, names) for axis in a.axes)]
    lines.append("levels:")
    for level in a.levels:
        lines += _level(level, names)
    return "\n".join(lines) + "\n"


def _axis(axis: ArrayAxis, names: Names) -> str:
    parts = [f"axis: {_text(axis.name)}", f"size: {axis.size}"]
    if axis.loops is not None:
        parts.append(f"loops: {_list(axis.loops)}")
    if axis.fixed is not None:
        inner = ", ".join(f"{loop}: {factor}" for loop, factor in axis.fixed.items())
        parts.append(f"fixed: {{{inner}}}")
    if axis.systolic:
        parts.append(f"systolic: {_bool(True)}")
    parts.append(f"source: {_name(names, axis.sources, 'size')}")
    return f"  - {{{', '.join(parts)}}}"


def _level(level: Level, names: Names) -> list[str]:
    key = "shares_bits" if level.shares_bits else "word_bits"
    lines = [f"name: {_text(level.name)}", f"holds: {_list(level.holds)}",
             f"source: {_name(names, level.sources, key)}"]  # fmt: skip
    for field in ("per", "double_buffered", "streams", "slides", "multicast", "reduces"):
        if value := getattr(level, field):
            lines.append(f"{field}: {_list(value)}")
    if level.loops is not None:
        lines.append(f"loops: {_list(level.loops)}")
    if level.one_port:
        lines.append(f"one_port: {_bool(True)}")
    if level.shares_bits:
        inner = ", ".join(f'{role}: "{n} bit"' for role, n in level.shares_bits.items())
        lines.append(f"shares: {{{inner}}}")
    if level.network_bits_per_cycle:
        rates = ", ".join(f'{role}: "{rate!r} bit/cycle"'
                          for role, rate in level.network_bits_per_cycle.items())  # fmt: skip
        source = _name(names, level.sources, "network_bits_per_cycle")
        lines.append(f"networks: {{{rates}, source: {source}}}")
    lines += _numbers(level, _LEVEL, names)
    return [f"  {'-' if not n else ' '} {line}" for n, line in enumerate(lines)]


def _numbers(record: Any, keys: Mapping[str, tuple[str, str]], names: Names) -> list[str]:
    found = []
    for key, (field, dimension) in keys.items():
        value = getattr(record, field)
        if value is not None:
            unit = next(u for u, factor in DIMENSIONS[dimension].items() if factor == 1.0)
            source = _name(names, record.sources, field)
            found.append(f'{key}: {{value: "{value!r} {unit}", source: {source}}}')
    return found


def _name(names: Names, sources: Mapping[str, Source], field: str) -> str:
    return names[sources.get(field, _UNSAID)]
