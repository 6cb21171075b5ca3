"""Numbers with a unit at the border; plain SI-based numbers inside.

Inside the program the unit stands in the name (``latency_s``, ``size_bytes``). In YAML and on the
command line a quantity is text with a unit, and a bare number is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .errors import SpecError, did_you_mean

__all__ = ["DIMENSIONS", "counted", "format_quantity", "format_si", "read_quantity"]

_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
_DECIMAL = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}
_SIZE = {"B": 1.0, **_DECIMAL, **_BINARY}


def _prefixed(unit: str, prefixes: str) -> dict[str, float]:
    factors = {
        "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3,
        "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    }  # fmt: skip
    return {unit: 1.0, **{prefix + unit: factors[prefix] for prefix in prefixes}}


#: dimension -> (unit -> factor to the internal unit); the internal unit is the one with factor 1.
DIMENSIONS: Mapping[str, Mapping[str, float]] = {
    "size": _SIZE,
    "bandwidth": {f"{u}/s": f for u, f in _SIZE.items()}
    | {f"{u}/s": f / 8 for u, f in _prefixed("bit", "kMGT").items()},
    "time": {**_prefixed("s", "pnuµm"), "min": 60.0, "h": 3600.0},
    "frequency": _prefixed("Hz", "kMGT"),
    "energy": {**_prefixed("J", "fpnuµmk"), "kWh": 3.6e6},
    "power": _prefixed("W", "nuµmkM"),
    "area": {"mm2": 1.0, "mm²": 1.0, "um2": 1e-6, "µm²": 1e-6, "cm2": 100.0},
    "rate": _prefixed("op/s", "kMGTP"),
    "macs": _prefixed("MAC/s", "kMGTP"),
    "energy per byte": {f"{u}/B": f for u, f in _prefixed("J", "fpnuµ").items()}
    | {f"{u}/bit": f * 8 for u, f in _prefixed("J", "fpnuµ").items()},
    "energy per operation": {f"{u}/{o}": f for u, f in _prefixed("J", "fpnuµ").items()
                             for o in ("op", "MAC")},
    "price": {"USD": 1.0, "kUSD": 1e3},
    "width": {"bit": 1.0, "kbit": 1e3, "Kibit": 1024.0, **{u: 8 * f for u, f in _SIZE.items()}},
    "bits per cycle": {"bit/cycle": 1.0, "B/cycle": 8.0},
    "energy per bit": {f"{u}/bit": f for u, f in _prefixed("J", "fpnuµ").items()},
    "ratio": {"x": 1.0, "%": 0.01},
    "length": {"nm": 1.0, "um": 1e3, "µm": 1e3},
}  # fmt: skip

_QUANTITY = re.compile(
    r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf))\s*(\S*)\s*"
)


def read_quantity(text: object, dimension: str, *, where: str, zero_allowed: bool = False) -> float:
    """Read text such as ``"24 MiB"`` or ``"1.2 Gbit/s"`` into the internal unit.

    Parameters
    ----------
    text : what the user wrote
    dimension : a key of `DIMENSIONS`
    where : file and key, for the message
    zero_allowed : whether zero has a meaning here (a latency, an energy)

    Raises
    ------
    SpecError : a bare number, an unknown unit, NaN, infinity, a negative value, or zero where zero
        has no meaning
    """
    units = DIMENSIONS[dimension]
    example = next((u for u, f in units.items() if f not in (1.0,)), next(iter(units)))
    wanted = f"{indefinite(dimension)} with a unit"
    if not isinstance(text, str):
        raise SpecError(where, found=text, wanted=wanted, fix=f"write e.g. '24 {example}'")
    match = _QUANTITY.fullmatch(text)
    if match is None or not match[2]:
        raise SpecError(where, found=text, wanted=wanted, fix=f"write e.g. '24 {example}'")
    if match[2] not in units:
        raise SpecError(
            where,
            found=text,
            wanted=f"{wanted}, one of {', '.join(units)}",
            fix=f"change the unit {match[2]!r}{did_you_mean(match[2], units)}",
        )
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
        kind = "a finite number, zero or more" if zero_allowed else "a finite number above zero"
        raise SpecError(where, found=text, wanted=kind, fix="correct the number")
    return value


def indefinite(noun: str) -> str:
    """Return a noun with its article, e.g. ``"an energy"``."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def counted(number: int, noun: str) -> str:
    """Return a number of things, e.g. ``"1 node"``, ``"2 nodes"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


#: Units of what is counted one by one: less than a thousand of them has no decimals.
_COUNTED = frozenset({"", "MAC", "op", "FLOP"})

#: seconds from which on a time is told in this unit, and the seconds it has
_LONG_TIMES = ((8.64e7, "years", 365.25 * 86400), (172800.0, "d", 86400.0),
               (7200.0, "h", 3600.0), (1000.0, "min", 60.0))  # fmt: skip


def format_si(value: float, unit: str, *, digits: int = 3) -> str:
    """Return e.g. ``"1.25 ms"`` for 0.00125 and ``"s"``.

    Long times are told in minutes, hours, days (from two of them on) and years; counts below a
    thousand have no decimals; what no prefix reaches stands as a power of ten.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".strip()
    if unit in _COUNTED and abs(value) < 1000 and value == int(value):
        return f"{value:.0f} {unit}".strip()
    prefixes = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G",
                12: "T", 15: "P", 18: "E", 21: "Z", 24: "Y", 27: "R", 30: "Q"}  # fmt: skip
    # Round first, so that 999.96 becomes 1.00 k and not 1000.
    rounded = float(f"{value:.{digits - 1}e}")
    if unit == "s":
        for least, name, size in _LONG_TIMES:
            if abs(rounded) >= least:
                return f"{_long(value / size)} {name}"
    if abs(rounded) >= 1e33:
        return f"{value:.{digits - 1}e} {unit}".strip()
    exponent = min(30, max(-15, 3 * math.floor(math.log10(abs(rounded)) / 3)))
    scaled = rounded / 10.0**exponent
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(scaled)))) if scaled else 0
    return f"{scaled:.{decimals}f} {prefixes[exponent]}{unit}".strip()


def _long(value: float) -> str:
    rounded = float(f"{value:.2e}")
    if abs(rounded) >= 1e6:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


#: Units of measured quantities, whose digits mean precision; others are counts.
_PHYSICAL = frozenset({"s", "J", "W", "Hz", "mm2", "USD", "B/s", "bytes/s", "%"})


def format_quantity(value: float, unit: str) -> str:
    """Return a value in the internal unit as a person reads it; bytes in binary multiples."""
    if unit != "bytes":
        whole = value == int(value) if math.isfinite(value) else False
        counted = whole and abs(value) < 1000 and unit not in _PHYSICAL
        return f"{value:.0f} {unit}".strip() if counted else format_si(value, unit)
    if abs(value) >= 2**70:
        return f"{value:.2e} B"
    for name, factor in reversed(_BINARY.items()):
        scaled = value / factor
        if abs(scaled) >= 1:
            # Up to 1023.x of a unit: three digits, but never 1e+03.
            return f"{scaled:.0f} {name}" if abs(scaled) >= 999.5 else f"{scaled:.3g} {name}"
    return f"{value:.0f} B"
