"""A table of measured layers, from CSV text.

Before (file)::

    network,layer,latency_us,energy_mj
    resnet18,conv1,152.1,1.9
    resnet18,layer1.0.conv1,80.3,1.0

After: `MeasuredRow`s in seconds and joules. A layer that was measured several times stands once,
with the median. Layers of networks that are not at hand give their work instead: columns
``operator, dtype, macs, other_operations, bytes``. How the network was taken may stand in columns
``batch, phase, context, precision, training, optimizer, shape``; an empty cell says nothing. The
same layer of another batch is another row, no repeated measurement.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orrery.errors import SpecError, did_you_mean
from orrery.hardware import ELEMENT_TYPES, OPERATOR_CLASSES

#: header -> (field, factor to the internal unit)
_LATENCY = {f"latency_{unit}": 10.0**power
            for unit, power in (("s", 0), ("ms", -3), ("us", -6), ("ns", -9))}  # fmt: skip
_CYCLES = "latency_cycles"
_LATENCY[_CYCLES] = 0.0  # depends on the clock
_ENERGY = {f"energy_{unit}": 10.0**power
           for unit, power in (("j", 0), ("mj", -3), ("uj", -6), ("nj", -9))}  # fmt: skip
_WORK = ("operator", "dtype", "macs", "other_operations", "bytes")
#: how a network was taken
_TAKEN = ("batch", "phase", "context", "precision", "training", "optimizer", "shape")
_KNOWN = ("network", "layer", *_LATENCY, *_ENERGY, *_WORK, *_TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One layer as it was measured.

    Attributes
    ----------
    where : file and line, from one; the first of several
    work : class of operators, element type, MACs, other operations, bytes; None: the network tells
    taken : options that the network was taken with, and their values as written
    """

    where: str
    network: str
    layer: str
    latency_s: float
    energy_j: float | None = None
    work: tuple[str, str, int, int, int] | None = None
    taken: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The layer, with what tells it from the same one of a network taken otherwise."""
        how = ", ".join(f"{name} {value}" for name, value in self.taken)
        return f"{self.layer} ({how})" if how else self.layer


def read_measurements(
    files: Mapping[str, str], clock_hz: float | None = None
) -> tuple[MeasuredRow, ...]:
    """Read measured layers from the texts of files, by the name that stands in messages.

    Parameters
    ----------
    clock_hz : of the machine, so that latencies may stand in cycles; None: it has none

    Raises
    ------
    SpecError : no such columns, a value that is no number above zero, a line that stands twice
    """
    rows: list[MeasuredRow] = []
    for file, text in files.items():
        found = _rows(text, file, clock_hz)
        if not found:
            raise SpecError(file, found="no rows", wanted="measured layers below the header",
                            fix="add them")  # fmt: skip
        rows += found
    return _merged(rows)


def _rows(text: str, file: str, clock_hz: float | None) -> list[MeasuredRow]:
    lines = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(lines, [])]
    latency, energy = _columns(header, file)
    rows: list[MeasuredRow] = []
    seen: dict[tuple[str, ...], int] = {}
    for cells in lines:
        where = f"{file}:{lines.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise SpecError(where, found=f"{len(cells)} cells", wanted=f"{len(header)}, as the "
                            "header names", fix="correct the line")  # fmt: skip
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        if (key := tuple(values.values())) in seen:
            raise SpecError(where, found=f"the same as line {seen[key]}", wanted="each measurement "
                            "once", fix="remove one of the two")  # fmt: skip
        seen[key] = lines.line_num
        rows.append(_row(values, latency, energy, where, clock_hz))
    return rows


def _columns(header: Sequence[str], file: str) -> tuple[str, str]:
    """Return the columns of latency and energy (empty: none)."""
    where = f"{file}:1"
    if len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), "")):
        name = {";": "semicolons", "\t": "tabs"}.get(other, other)
        raise SpecError(where, found=f"cells with {name} between", wanted="commas",
                        fix="save the table as CSV with commas (and decimal points)")  # fmt: skip
    for name in header:
        if name in ("latency", "time", "energy"):
            units = _ENERGY if name == "energy" else _LATENCY
            raise SpecError(where, found=f"column {name!r} without a unit",
                            wanted=f"one of {', '.join(units)}", fix="rename it")  # fmt: skip
        if name not in _KNOWN:
            raise SpecError(where, found=f"column {name!r}", wanted=f"columns of {_list(_KNOWN)}",
                            fix=f"remove or rename it{did_you_mean(name, _KNOWN)}")  # fmt: skip
        if header.count(name) > 1:
            raise SpecError(where, found=f"column {name!r} twice", wanted="each column once",
                            fix="remove one")  # fmt: skip
    given = [name for name in header if name in _WORK]
    needed = ["network", "layer", *(_WORK if given else ())]
    missing = [name for name in needed if name not in header]
    if missing:
        raise SpecError(where, found=f"columns {_list(header) or '(none)'}",
                        wanted=f"also {_list(missing)}", fix="add the column")  # fmt: skip
    times = [name for name in header if name in _LATENCY]
    joules = [name for name in header if name in _ENERGY]
    for found, units in ((times, _LATENCY), (joules, _ENERGY)):
        if len(found) > 1 or (units is _LATENCY and not found):
            raise SpecError(where, found=_list(found) or f"columns {_list(header)}",
                            wanted=f"exactly one of {', '.join(units)}",
                            fix="add it" if not found else "remove one")  # fmt: skip
    return times[0], joules[0] if joules else ""


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _row(
    values: Mapping[str, str], latency: str, energy: str, where: str, clock_hz: float | None
) -> MeasuredRow:
    for name in ("network", "layer"):
        if not values[name]:
            raise SpecError(f"{where}: {name}", found="nothing", wanted=f"the name of a {name}",
                            fix="fill it in")  # fmt: skip
    joules = values[energy] if energy else ""
    factor = _LATENCY[latency]
    if latency == _CYCLES:
        if clock_hz is None:
            raise SpecError(f"{where}: {latency}", found="a device without a clock",
                            wanted="seconds, or a `clock:` of the device",
                            fix="give latency_s instead")  # fmt: skip
        factor = 1 / clock_hz
    return MeasuredRow(
        where=where, network=values["network"], layer=values["layer"],
        latency_s=_number(values[latency], f"{where}: {latency}") * factor,
        energy_j=_number(joules, f"{where}: {energy}") * _ENERGY[energy] if joules else None,
        work=_work(values, where) if "operator" in values else None,
        taken=tuple((name, values[name]) for name in _TAKEN if values.get(name)),
    )  # fmt: skip


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise SpecError(where, found=text or "nothing", wanted="a finite number above zero",
                        fix="correct or remove the line")  # fmt: skip
    return value


def _work(values: Mapping[str, str], where: str) -> tuple[str, str, int, int, int]:
    for name, known in (("operator", OPERATOR_CLASSES), ("dtype", ELEMENT_TYPES)):
        if values[name] not in known:
            raise SpecError(f"{where}: {name}", found=values[name], wanted=f"one of {_list(known)}",
                            fix=f"correct it{did_you_mean(values[name], known)}")  # fmt: skip
    counts = []
    for name in _WORK[2:]:
        if not (values[name].isascii() and values[name].isdigit() and len(values[name]) < 19):
            raise SpecError(f"{where}: {name}", found=values[name] or "nothing",
                            wanted="a whole number, zero or more",
                            fix="correct the number")  # fmt: skip
        counts.append(int(values[name]))
    return values["operator"], values["dtype"], counts[0], counts[1], counts[2]


def _merged(rows: Sequence[MeasuredRow]) -> tuple[MeasuredRow, ...]:
    """Return every layer once, measured repeatedly or not."""
    groups: dict[tuple[str, str], list[MeasuredRow]] = {}
    for row in rows:
        groups.setdefault((row.network, row.label), []).append(row)
    merged = []
    for same in groups.values():
        first = same[0]
        other = next((row for row in same if row.work != first.work), None)
        if other is not None:
            raise SpecError(other.where, found=f"layer {first.layer!r} with other work "
                            f"than in {first.where}", wanted="one meaning for one name",
                            fix="rename one of the two")  # fmt: skip
        joules = [row.energy_j for row in same if row.energy_j is not None]
        merged.append(replace(
            first, latency_s=statistics.median(row.latency_s for row in same),
            energy_j=statistics.median(joules) if joules else None,
        ))  # fmt: skip
    return tuple(merged)
