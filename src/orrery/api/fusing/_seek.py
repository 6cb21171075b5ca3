"""The search over the layers of a network together, as near to ceilings as it comes; one layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from orrery.cost.nest import Stages, Zeros
from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Architecture
from orrery.mapping.nest import PartNest, StagedNests, nest_stages
from orrery.plan import Infeasible
from orrery.progress import Progress
from orrery.store import Cache
from orrery.units import counted, format_quantity

from .._result import InfeasibleError
from ._ceilings import ceilings, shortfall
from ._sections import nothing


def check_layer(stages: Stages, layer: str) -> None:
    """Refuse a layer that has no nest of its own.

    Raises
    ------
    SpecError : it runs in the tail of another, or has no nest
    UnknownNameError : no such layer
    """
    for stage in stages.stages:
        if layer in [node for node, _, _ in stage.tail.operators]:
            raise SpecError(f"layer {layer!r}", found=f"it runs on the results of {stage.name} as "
                            "they leave its nest", wanted="a layer with a nest of its own",
                            fix=f"show {stage.name}, or leave out --fuse")  # fmt: skip
        if stage.name == layer and stage.reason:
            raise without_nest(layer, stage.reason)
    names = [stage.name for stage in stages.stages if not stage.reason]
    if layer not in names:
        raise UnknownNameError("layer with a loop nest", layer, names)


def without_nest(layer: str, reason: str) -> SpecError:
    return SpecError(f"layer {layer!r}", found=reason, wanted="a layer with a nest",
                     fix="choose another")  # fmt: skip


def part_lines(one: PartNest, found: StagedNests) -> list[str]:
    """Say how a nest runs within the network: tiles, what stays on chip, its tail."""
    lines = []
    if one.rows:
        lines.append(f"{counted(one.problem.times, 'run')} of {one.rows} rows each, in turn with "
                     "the other layers of its chain.")  # fmt: skip
    if one.roles:
        lines.append(f"Its {' and '.join(one.roles)} {'stay' if len(one.roles) > 1 else 'stays'} "
                     f"in {found.level}.")  # fmt: skip
    if one.taken_bits:
        lines.append(f"Tensors take {format_quantity(-(-one.taken_bits // 8), 'bytes')} of "
                     f"{found.level} meanwhile.")  # fmt: skip
    names = [node for node, _, _ in one.stage.tail.operators]
    if names:
        lines.append(f"Its results then pass {', '.join(names)}: {one.tail.cycles:,} cycles a run "
                     "more, in none of the bounds here.")  # fmt: skip
    return lines


def seek_together(
    name: str, stages: Stages, architecture: Architecture, objective: str, *, keep: bool,
    need: Sequence[str], zeros: Mapping[str, Zeros], progress: Progress,
) -> tuple[StagedNests, str]:  # fmt: skip
    """Return the nests that are best together, and what is not within the ceilings.

    Parameters
    ----------
    name : of the network
    keep : whether tensors may stay on chip
    """
    most_cycles, most_energy_j = ceilings(need, architecture)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        seek = partial(nest_stages, stages, architecture, keep=keep, zeros=zeros,
                       cache=Cache("nests"), executor=threads, progress=progress)  # fmt: skip
        found = seek(objective, most_cycles=most_cycles, most_energy_j=most_energy_j)
        short = ""
        if isinstance(found, Infeasible):
            missed, alone = found, "latency" if found.unit == "cycles" else "energy"
            found = seek(alone)
            enough = isinstance(found, StagedNests) and found.value <= (most_energy_j or 0.0)
            if alone == "energy" and enough:
                nearer = seek(alone, most_cycles=most_cycles)
                if isinstance(nearer, StagedNests):
                    found, missed = nearer, replace(missed, need=nearer.value)
            short = shortfall(missed, need, architecture) if missed.need > missed.have else ""
    where = f"{name} on {architecture.name}"
    if isinstance(found, Infeasible):
        raise InfeasibleError(where, found)
    if not found.parts:
        raise SpecError(where, found=nothing(found), wanted="one layer that fits at least",
                        fix="try another network or array")  # fmt: skip
    return found, short
