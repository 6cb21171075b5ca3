"""Energies that physics makes unlikely: warnings, each with the row, its value and the band.

Models:  what a bit costs to read or write at a register, an on-chip memory and off chip, and a
         MAC. A band runs from a tenth of the lowest to ten times the highest row of that kind in
         the shipped tables (registers 0.009 pJ a bit at 40 nm to 0.12 for a pad of 192 words at
         65 nm; buffers 0.16 to 1.6; memories from HBM2 at 3.9 to DDR3 at 70; MACs from 0.2 pJ at
         8 bits to 52 at 32; hops from 0.02, a short wire, to 0.25). An idle multiplier takes
         no more than one that works. Going outwards a bit of the same role costs no less.
Ignores: process and voltage (a tenfold margin covers 130 to 7 nm), memories that are no SRAM.
Judge:   every row of the shipped tables, and every catalogue architecture, lies within.
"""

from __future__ import annotations

from itertools import pairwise

from orrery.units import format_quantity

from ._records import ROLES, Architecture, Level

#: kind -> joules per bit (of a MAC: joules), least and most
BANDS = {
    "register": (0.9e-15, 1.2e-12), "buffer": (16e-15, 16e-12),
    "off-chip memory": (0.39e-12, 7e-10), "MAC": (20e-15, 520e-12),
    "hop between elements": (2e-15, 2.5e-12),
}  # fmt: skip

#: what a package can be cooled of, in watts, beyond which standing still is no operating point
MOST_STATIC_W = 1000.0

#: a memory up to so many bits per instance is a register file or pad
REGISTER_BITS = 8 * 1024

_PRICES = (("read", "read_energy_j"), ("write", "write_energy_j"))


def doubts(architecture: Architecture) -> tuple[str, ...]:
    """Return a sentence for every energy outside a physical band; nothing where all is well.

    A price of zero is no doubt: latches and gated multipliers are declared so.
    """
    found = []
    mac = architecture.mac_energy_j
    if mac and not _within(mac, "MAC"):
        found.append(_said(f"{architecture.name}: MAC", mac, "MAC", ""))
    idle = architecture.idle_mac_energy_j
    if idle and mac and idle > mac:
        found.append(f"{architecture.name}: idle multiplier, {format_quantity(idle, 'J')} a cycle; "
                     f"one that works takes {format_quantity(mac, 'J')}")  # fmt: skip
    hop = architecture.hop_energy_j_per_bit
    if hop and not _within(hop, "hop between elements"):
        found.append(_said(f"{architecture.name}: hop", hop, "hop between elements", "/bit"))
    static = {architecture.name: architecture.static_power_w}
    static |= {level.name: level.static_power_w for level in architecture.levels}
    for name, watts in static.items():
        if watts and watts > MOST_STATIC_W:
            found.append(f"{name}: static power {format_quantity(watts, 'W')}; no package is "
                         f"cooled of more than {MOST_STATIC_W:g} W")  # fmt: skip
    for place, level in enumerate(architecture.levels):
        for action, price in _PRICES:
            joules = getattr(level, price)
            each = joules / level.word_bits if joules else 0
            kind = _kind(place, level)
            if each and not _within(each, kind):
                found.append(_said(f"{level.name}: {action}", each, kind, "/bit"))
    for role in ROLES:
        chain = [architecture.levels[i] for i in architecture.chain(role)]
        for outer, inner in pairwise(chain):
            found += _inverted(outer, inner)
    return tuple(dict.fromkeys(found))


def _kind(place: int, level: Level) -> str:
    if place == 0:
        return "off-chip memory"
    small = level.capacity_bits is not None and level.capacity_bits <= REGISTER_BITS
    return "register" if small else "buffer"


def _within(value: float, kind: str) -> bool:
    least, most = BANDS[kind]
    return least <= value <= most


def _said(row: str, value: float, kind: str, per: str) -> str:
    least, most = (format_quantity(joules, "J") for joules in BANDS[kind])
    return (f"{row}: {format_quantity(value, 'J')}{per}; "
            f"a {kind} takes {least} to {most}{per}, going by the shipped tables")  # fmt: skip


def _inverted(outer: Level, inner: Level) -> list[str]:
    found = []
    for action, price in _PRICES:
        far, near = getattr(outer, price), getattr(inner, price)
        if far is None or near is None:
            continue
        far, near = far / outer.word_bits, near / inner.word_bits
        if near > far:
            found.append(
                f"{inner.name}: {action}: {format_quantity(near, 'J')}/bit, more than "
                f"{format_quantity(far, 'J')}/bit at {outer.name} further out"
            )
    return found
