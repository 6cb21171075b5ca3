"""Zeros in the data: how many there are, and what the array is to make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orrery.cost.nest import Zeros, operand_density
from orrery.errors import SpecError, did_you_mean
from orrery.graph import Graph, Statistics, measure_statistics
from orrery.progress import Progress
from orrery.settings import setting

from .._inputs import read_arrays
from .._options import numbers

if TYPE_CHECKING:
    from orrery.runtime import LabelledData

_OPERANDS = ("input", "weight")
#: densities are taken to so many steps, so that layers of nearly equal ones are searched once
_STEPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroOptions:
    """What is known of zeros, and what multipliers do with them."""

    gate: tuple[str, ...] = setting(
        (), "Operand (input, weight) whose zeros spend a cycle and no energy; repeatable."
    )
    skip: tuple[str, ...] = setting(
        (), "Operand (input, weight) whose zeros spend no cycle either; repeatable."
    )
    compress: tuple[str, ...] = setting(
        (), "Operand stored without its zeros, with the bits that each element takes to say where "
        "it stands, e.g. input=5; repeatable."
    )  # fmt: skip
    density: tuple[str, ...] = setting(
        (), "Share of an operand that is not zero, e.g. input=0.4, in every layer; repeatable. "
        "Else weights are counted as they are."
    )  # fmt: skip
    data: str | None = setting(
        None, "Count the zeros of activations on these inputs: an .npz file of the network's."
    )
    samples: int | None = setting(None, "Samples to take of the data; all where not given.")
    mean: str = setting("", "Images in bytes: mean per channel, of byte / 255.")
    std: str = setting("", "Images in bytes: deviation per channel.")


def layer_zeros(
    graph: Graph, options: ZeroOptions, progress: Progress
) -> tuple[Mapping[str, Zeros], str]:
    """Return region -> zeros, and in words what they were taken from; empty when nobody looks.

    Counted densities are rounded up to a 64th, so that layers of nearly equal ones are searched
    once and no figure is better than the data allow.

    Raises
    ------
    SpecError : an operand that is none, a share outside 0 to 1, data without effect
    """
    for option, names in (("--gate", options.gate), ("--skip", options.skip)):
        for name in names:
            _operand(option, name)
    compressed = {}
    for name, bits in _pairs("--compress", options.compress).items():
        if bits != int(bits) or bits < 0:
            raise SpecError(f"--compress: {name}", found=bits, wanted="whole bits, 0 or more",
                            fix="give the bits that say where an element stands")  # fmt: skip
        compressed[name] = int(bits)
    both = sorted({*options.gate} & {*options.skip})
    if both:
        raise SpecError("--gate, --skip", found=f"both for {', '.join(both)}",
                        wanted="one of the two: what is skipped never reaches a gate",
                        fix="leave one out")  # fmt: skip
    given = _pairs("--density", options.density)
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise SpecError(f"--density: {name}", found=share, wanted="a share from 0 to 1",
                            fix="give the share that is not zero")  # fmt: skip
    if not (options.gate or options.skip or compressed):
        if given or options.data is not None:
            raise SpecError("--density, --data", found="zeros that the array makes nothing of",
                            wanted="--gate, --skip or --compress",
                            fix="say what it does with them, e.g. --gate input")  # fmt: skip
        return {}, ""
    statistics, said = _statistics(graph, options, progress)
    found = {}
    for region in graph.regions():
        density = {**operand_density(region, statistics), **given}
        found[region.name] = Zeros(
            density={role: given.get(role, float(np.ceil(share * _STEPS) / _STEPS))
                     for role, share in density.items()},
            gates=options.gate, skips=options.skip, compressed=compressed,
        )  # fmt: skip
    told = ", ".join(f"{role} {share:.3g}" for role, share in given.items())
    said += f"; each rounded up to a {_STEPS}th"
    return found, f"{said}{f'; given for every layer: {told}' if told else ''}"


def _statistics(
    graph: Graph, options: ZeroOptions, progress: Progress
) -> tuple[Statistics, str]:  # fmt: skip
    from orrery.runtime import measure_densities, read_labelled

    if options.data is None:
        return measure_statistics(graph, progress=progress), "weights counted, activations dense"
    path = Path(options.data)
    arrays = dict(read_arrays(path))
    if not any(name in arrays for name in ("labels", "label", "targets", "target", "y")):
        first = next(iter(arrays.values()), np.zeros(0))  # nobody asks what is right
        arrays["labels"] = np.zeros(len(first) if first.ndim else 0, np.int64)
    data: LabelledData = read_labelled(
        arrays, graph, name=path.name, samples=options.samples,
        mean=numbers("--mean", options.mean), std=numbers("--std", options.std),
    )  # fmt: skip
    found = measure_densities(graph, data, progress=progress)
    return found, f"weights counted, activations measured on {path.name}, {data.drawn}"


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        (number, *more) = numbers(option, value) or (None,)
        if not equals or number is None or more:
            raise SpecError(option, found=text, wanted="an operand and a number",
                            fix="write e.g. input=0.4")  # fmt: skip
        if _operand(option, name.strip()) in found:
            raise SpecError(option, found=f"{name.strip()} twice", wanted="each operand once",
                            fix="leave one out")  # fmt: skip
        found[name.strip()] = number
    return found


def _operand(option: str, name: str) -> str:
    if name not in _OPERANDS:
        raise SpecError(option, found=name, wanted="input or weight",
                        fix=f"name an operand{did_you_mean(name, _OPERANDS)}")  # fmt: skip
    return name
