"""Spatial accelerators written as the YAML that `read_architecture` reads.

Numbers stand in the internal unit, in full, each with its source; rows of tables are written out.
Notes of a translation become comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orrery.provenance import Basis, Source

from .._write import _numbers, _said, _sources, _yaml
from ._records import ROLES, Architecture, ArrayAxis, Level

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
    used = {source: name for source, name in names.items() if source in known or name == default}
    return "".join(f"# {note}\n" for note in a.notes) + _yaml({
        "name": a.name, "description": a.description, **_numbers(a, _CHIP, names, _UNSAID),
        "source": default, "sources": _sources(used), "macs_per_cycle": a.macs_per_cycle,
        "bits": {**{role: a.bits[role] for role in ROLES}, "partial_sum": a.partial_sum_bits,
                 "source": _name(names, a.sources, "bits")},
        "energy": _numbers(a, _ENERGY, names, _UNSAID) or None,
        "array": [_axis(axis, names) for axis in a.axes],
        "levels": [_level(level, names) for level in a.levels],
    })  # fmt: skip


def _axis(axis: ArrayAxis, names: Names) -> dict[str, Any]:
    return _said({
        "axis": axis.name, "size": axis.size,
        "loops": None if axis.loops is None else list(axis.loops),
        "fixed": None if axis.fixed is None else dict(axis.fixed),
        "systolic": axis.systolic or None, "source": _name(names, axis.sources, "size"),
    })  # fmt: skip


def _level(level: Level, names: Names) -> dict[str, Any]:
    key = "shares_bits" if level.shares_bits else "word_bits"
    rates = {role: f"{rate!r} bit/cycle" for role, rate in level.network_bits_per_cycle.items()}
    source = _name(names, level.sources, "network_bits_per_cycle")
    fields = ("per", "double_buffered", "streams", "slides", "multicast", "reduces")
    return _said({
        "name": level.name, "holds": list(level.holds),
        "source": _name(names, level.sources, key),
        **{field: getattr(level, field) for field in fields},
        "loops": None if level.loops is None else list(level.loops),
        "one_port": level.one_port or None,
        "shares": {role: f"{n} bit" for role, n in level.shares_bits.items()} or None,
        "networks": {**rates, "source": source} if rates else None,
        **_numbers(level, _LEVEL, names, _UNSAID),
    })  # fmt: skip


def _name(names: Names, sources: Mapping[str, Source], field: str) -> str:
    return names[sources.get(field, _UNSAID)]
