"""Numbers as people read them: one rule for text, JSON and HTML.

``templates/core.js`` repeats the rule for axis ticks and tooltips; a page test holds the two equal.
"""

from __future__ import annotations

from orrery.units import format_quantity, format_si

NOT_KNOWN = "not known"

#: units that take an SI prefix; any other unit stands after a plain number
SI_UNITS = frozenset({
    "s", "J", "W", "Hz", "B/s", "bit/s", "MAC", "MAC/s", "op", "op/s", "FLOP", "FLOP/s",
    "J/op", "J/MAC", "J/B",
})  # fmt: skip
_SPELLED = {"bytes/s": "B/s", "mm2": "mm²", "x": "×", "1": ""}


def format_value(value: float | int | None, unit: str) -> str:
    """Return a value in the internal unit as a person reads it, three significant digits.

    Without an SI unit nothing before the point is rounded away, and thousands are marked:
    ``"1,814,073,344"``.

    >>> format_value(0.00125, "s"), format_value(3 * 2**20, "bytes"), format_value(1234, "layers")
    ('1.25 ms', '3 MiB', '1,234 layers')
    """
    if value is None:
        return NOT_KNOWN
    unit = _SPELLED.get(unit, unit)
    if unit == "bytes":
        return format_quantity(value, "bytes")
    if unit in SI_UNITS:
        return format_si(value, unit)
    number = _plain(value)
    return f"{number}{unit}" if unit == "×" else f"{number} {unit}".rstrip()


def _plain(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.2e}"
    rounded = float(f"{value:.2e}")
    return f"{value:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def context_label(key: str) -> str:
    """Return a context key as a person reads it."""
    return {"offchip": "off-chip"}.get(key, key.replace("_", " "))
