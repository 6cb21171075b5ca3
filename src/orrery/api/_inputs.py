"""Inputs for a run: from a file, from arrays, or drawn from a seed; and how outputs compare."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean
from orrery.graph import Graph, example_inputs
from orrery.store import open_plain


def make_inputs(
    graph: Graph,
    given: str | Path | Mapping[str, NDArray[Any]] | None,
    seed: int,
    prefix: str = "",
) -> dict[str, NDArray[Any]]:
    """Return a value for every input of a graph.

    What is not given is drawn from the seed, within the bounds that the network states.

    Raises
    ------
    SpecError : no such file, not an .npz file, or a name that no input has
    """
    arrays = read_arrays(given) if isinstance(given, str | Path) else dict(given or {})
    arrays = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    for name in arrays:
        if name not in graph.inputs:
            raise SpecError(
                f"{graph.name}: inputs",
                found=f"no input {name!r}",
                wanted=f"one of {', '.join(graph.inputs)}",
                fix=f"rename it{did_you_mean(name, graph.inputs)}",
            )
    if seed < 0:
        raise SpecError("--seed", found=seed, wanted="zero or more", fix="correct it")

    return {**example_inputs(graph, seed=seed), **arrays}


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name; nothing in it is executed.

    Raises
    ------
    SpecError : no such file, or not one of plain arrays
    """
    try:
        with open_plain(Path(path)) as handle:
            if handle.read(4) not in _ARCHIVES:
                raise ValueError("another kind of file")
            handle.seek(0)
            archive = np.load(handle, allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise SpecError(
            str(path),
            found=_why(error),
            wanted="an .npz file with one array per input",
            fix="write it with numpy.savez(path, input=array)",
        ) from None


#: How a zip archive begins, one with entries and an empty one.
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")


def _why(error: Exception) -> str:
    """Return what is wrong with a file, without NumPy's advice to trust it."""
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        return "no such file" if isinstance(error, FileNotFoundError) else said
    if "allow_pickle" in str(error):
        return "an array of Python objects, which only running its code could read"
    return str(error)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file; `numpy.savez` would take some tensor names for its own arguments."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as handle:
                np.lib.format.write_array(handle, np.asanyarray(array), allow_pickle=False)


def agreement(ours: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]]) -> float:
    """Return the largest |a - b| / (1 + |b|) over all outputs; infinite when NaNs differ."""
    worst = 0.0
    for name in reference:
        if np.asarray(reference[name]).dtype.kind not in "biufc" and not _is_small_float(
            reference[name]
        ):
            worst = worst if np.array_equal(ours[name], reference[name]) else float("inf")
            continue
        a, b = (np.asarray(x[name], np.float64) for x in (ours, reference))
        if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
            return float("inf")
        gap = np.abs(np.nan_to_num(a) - np.nan_to_num(b)) / (1 + np.abs(np.nan_to_num(b)))
        worst = max(worst, float(gap.max(initial=0.0)))
    return worst


def _is_small_float(array: NDArray[Any]) -> bool:
    """Return whether it is one of the short float types, which NumPy calls void."""
    return "float" in np.asarray(array).dtype.name
