"""From rows of a table to measured layers of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orrery.cost import roofline
from orrery.cost.calibration import (
    MeasuredRow,
    Sample,
    read_measurements,
    sample_of,
    sample_of_work,
)
from orrery.errors import OrreryError, SpecError, did_you_mean
from orrery.graph import Graph, Region
from orrery.hardware import Device
from orrery.progress import Progress
from orrery.store import content_hash, open_plain

from .._options import ModelOptions
from .._resolve import load_model
from ._profile import taken_with

_TASK = "read networks"


def read_tables(
    paths: Sequence[Path], clock_hz: float | None
) -> tuple[tuple[MeasuredRow, ...], str]:
    """Return the rows of CSV files, and the files' names with their hashes.

    Raises
    ------
    SpecError : a file that cannot be read, or that is no table of measured layers
    """
    texts: dict[str, str] = {}
    names: list[str] = []
    hashes: dict[str, Path] = {}
    for path in paths:
        try:
            with open_plain(path) as handle:
                raw = handle.read()
            texts[str(path)] = raw.decode("utf-8-sig")
        except OSError as error:
            raise SpecError(str(path), found=error.strerror or str(error), wanted="a readable file",
                            fix="check the path") from None  # fmt: skip
        except UnicodeDecodeError as error:
            raise SpecError(str(path), found=f"byte {error.start} is not UTF-8",
                            wanted="UTF-8 text",
                            fix="save the table as CSV in UTF-8") from None  # fmt: skip
        if (known := hashes.setdefault(content_hash(raw), path)) is not path:
            raise SpecError(str(path), found=f"the same content as {known}",
                            wanted="each table once", fix="leave one out")  # fmt: skip
        alike = sum(other.name == path.name for other in paths) > 1
        name = f"{path.resolve().parent.name}/{path.name}" if alike else path.name
        names.append(f"{name} (content {content_hash(raw)[:12]})")
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return read_measurements(texts, clock_hz), ", ".join(names[:4]) + more


def regions_of(
    rows: Sequence[MeasuredRow], options: ModelOptions | None, progress: Progress
) -> list[tuple[MeasuredRow, Region]]:
    """Return each row with the layer that it names; networks are sought beside the table too.

    Raises
    ------
    SpecError : a network or layer that does not exist, with the line
    """
    taken: dict[tuple[str, ModelOptions], MeasuredRow] = {}
    keys = []
    seen: dict[tuple[str, ModelOptions, str], MeasuredRow] = {}
    for row in rows:
        key = row.network, taken_with(row.taken, options, row.where)
        if (other := seen.setdefault((*key, row.layer), row)) is not row:
            raise SpecError(row.where, found=f"layer {row.layer!r} as in {other.where}, by what "
                            "one line states and the options given",
                            wanted="each layer and batch once",
                            fix="state the options in both tables, or in neither")  # fmt: skip
        taken.setdefault(key, row)
        keys.append(key)
    known: dict[tuple[str, ModelOptions], dict[str, Region]] = {}
    for done, (key, row) in enumerate(taken.items()):
        progress.step(_TASK, done, len(taken))
        graph = _network(row.network, row, key[1])
        known[key] = {region.name: region for region in graph.regions()}
    found = []
    for key, row in zip(keys, rows, strict=True):
        layers = known[key]
        if row.layer not in layers:
            near = did_you_mean(row.layer, layers)
            raise SpecError(
                f"{row.where}: layer", found=row.layer,
                wanted=f"one of the {len(layers)} layers of {row.network}",
                fix=f"correct it{near}; `orrery show {row.network}` lists them",
            )  # fmt: skip
        found.append((row, layers[row.layer]))
    return found


def _network(name: str, row: MeasuredRow, options: ModelOptions | None) -> Graph:
    beside = Path(row.where).parent / name
    try:
        return load_model(beside if beside.is_file() else name, options)
    except OrreryError as error:
        raise SpecError(f"{row.where}: network", found=name, fix=str(error),
                        wanted="an ONNX file or a library name") from None  # fmt: skip


def samples_of(
    rows: Sequence[MeasuredRow], device: Device, options: ModelOptions | None, progress: Progress
) -> tuple[Sample, ...]:  # fmt: skip
    """Return the measured layers, each checked to have a price on the device.

    Raises
    ------
    SpecError : as `regions_of`; a rate that the device lacks, with the line
    """
    told = [row for row in rows if row.work is not None]
    found = [sample_of_work(row, device) for row in told]
    named = [row for row in rows if row.work is None]
    for row, region in regions_of(named, options, progress):
        refusal = roofline.refuses(region, device)
        if refusal is not None:
            raise SpecError(f"{row.where}: layer {row.layer!r}", found=refusal.reason,
                            wanted="a layer that the device has a price for",
                            fix="add what lacks to the device, or remove the line")  # fmt: skip
        one = sample_of(region, row.network, row.latency_s, row.energy_j)
        found.append(replace(one, layer=row.label))
    return tuple(found)
