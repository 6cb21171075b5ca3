"""An array with one thing fixed at a time, so that what flexibility gives and takes can be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orrery.hardware import Architecture
from orrery.hardware.spatial import FREEDOMS, array_without, narrowed_array, wired_array

from ._coverage import Coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """An array with one thing fixed.

    Attributes
    ----------
    name, what : of the fixed design
    made_for : the layer that it was made for; empty: for all alike
    """

    name: str
    what: str
    array: Architecture
    made_for: str = ""


def variations(coverage: Coverage) -> Iterator[Variation]:
    """Yield an array with one thing fixed at a time."""
    array = coverage.architecture
    names = [layer.name for layer in coverage.suite.core.layers]
    able = {name: coverage.runs[name] for name in names if len(coverage.runs[name].found) == 1}
    best = max(able, key=lambda name: able[name].utilisation or 0.0, default=None)
    if best is not None:
        spatial = {axis: dict(loops) for axis, loops in able[best].found[0].mapping.spatial.items()}
        yield Variation(name="wired", array=wired_array(array, spatial), made_for=best,
                        what=f"every axis runs what {best!r} runs best")  # fmt: skip
    bits = min(array.bits.values())
    if bits >= 8:
        yield Variation(name="narrow", array=narrowed_array(array, bits // 2),
                        what=f"{bits // 2} bits, the multiplier at its old price")  # fmt: skip
    for freedom, what in FREEDOMS.items():
        bare = array_without(array, freedom)
        if bare is not None:
            yield Variation(name=f"no {freedom}", what=what, array=bare)
