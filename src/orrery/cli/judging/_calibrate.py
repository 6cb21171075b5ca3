"""``orrery calibrate``."""

from __future__ import annotations

from pathlib import Path

from orrery import api

from .._options import JsonFlag, Options, Out, show_page
from .._terminal import progress_bar, written


def calibrate(
    device: str,
    measurements: list[Path],
    /,
    *,
    of: str = "",
    confidence: float = 0.8,
    rows: int = 60,
    out: Out = None,
    options: Options = api.ModelOptions(),  # noqa: B008  # frozen
    json: JsonFlag = False,
) -> int:
    """Fit the constants of a device to measured layers; judge them on networks left out in turn.

    Parameters
    ----------
    device
        YAML file of a system or of a spatial array, a name of `orrery systems` or `orrery arrays`,
        or this-machine.
    measurements
        CSV files of measured layers, of three networks or more in all.
    of
        Which device of the system was measured, where it has several kinds.
    confidence
        Share of layers that the intervals are to hold.
    rows
        Most rows shown of a table (JSON has all).
    """
    with progress_bar() as progress:
        result = api.calibrate(device, measurements, of=of, confidence=confidence, options=options,
                               progress=progress)  # fmt: skip
    files = result.write(out) if out is not None else {}
    show_page(result.page, as_json=json, rows=rows, files=files)
    if files and not json:
        print("\n" + written("written: ", files))
    return 0
