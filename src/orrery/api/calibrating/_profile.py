"""Measured layers of a network as a table that `calibrate` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, did_you_mean
from orrery.graph import Graph
from orrery.report import Column, Table
from orrery.store import write_text

from .._options import ModelOptions

_PLAIN = ModelOptions()
_WORDS = {
    "phase": ("prefill", "decode"), "training": ("true", "false"),
    "optimizer": ("sgd", "momentum", "adam"),
}  # fmt: skip


#: options that change layers or their sizes
_TAKEN = ("batch", "phase", "context", "precision", "training", "optimizer", "shape")


def layer_rows(
    model: str | Path, times: Mapping[str, float], options: ModelOptions | None = None
) -> tuple[tuple[str, ...], ...]:
    """Return header and lines of a table that `calibrate` reads.

    Options that were given have columns of their own; the network stands as it can be found.
    """
    path = Path(model)
    network = str(path.resolve()) if path.suffix == ".onnx" or path.is_file() else str(model)
    taken = {name: value for name in _TAKEN
             if (value := getattr(options or _PLAIN, name)) != getattr(_PLAIN, name)}  # fmt: skip
    how = [";".join(value) if isinstance(value, tuple) else str(value).lower()
           if isinstance(value, bool) else str(value) for value in taken.values()]  # fmt: skip
    lines = ((network, layer, f"{1e6 * seconds:.3f}", *how) for layer, seconds in times.items())
    return (("network", "layer", "latency_us", *taken), *lines)


def taken_with(
    taken: Iterable[tuple[str, str]], options: ModelOptions | None, where: str
) -> ModelOptions:
    """Return options with those that a line of such a table states.

    Raises
    ------
    SpecError : a value that is none, or that contradicts the options given
    """
    given = options or _PLAIN
    changed: dict[str, Any] = {}
    for name, text in taken:
        value: object = text
        if name in ("batch", "context"):
            if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
                raise SpecError(f"{where}: {name}", found=text, wanted="a whole number above zero",
                                fix="correct it")  # fmt: skip
            value = int(text)
        elif name == "shape":
            value = tuple(text.split(";"))
        elif (known := _WORDS.get(name)) is not None:
            if text not in known:
                raise SpecError(f"{where}: {name}", found=text, wanted=f"one of {', '.join(known)}",
                                fix=f"correct it{did_you_mean(text, known)}")  # fmt: skip
            value = text == "true" if name == "training" else text
        if getattr(given, name) not in (getattr(_PLAIN, name), value):
            raise SpecError(f"{where}: {name}", found=text, wanted=f"{getattr(given, name)}, as "
                            f"--{name} says", fix=f"leave out --{name}")  # fmt: skip
        changed[name] = value
    return replace(given, **changed)


def profile_table(graph: Graph, times: Mapping[str, float]) -> Table:
    """Return the layers that took time, longest first."""
    whole = sum(times.values())
    return Table(
        title="Layers",
        columns=(Column(name="layer"), Column(name="operator"), Column.number("time", "s"),
                 Column.number("share", "%")),
        rows=tuple((name, graph.node(name).operator, seconds, 100 * seconds / whole)
                   for name, seconds in sorted(times.items(), key=lambda item: -item[1])),
        caption=f"Nothing fused; {len(graph.nodes) - len(times)} of {len(graph.nodes)} layers "
        "took less than the clock can tell.",
    )  # fmt: skip


def write_layers(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """Write the table, header first."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
