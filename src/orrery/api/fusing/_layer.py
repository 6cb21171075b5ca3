"""One layer of a network whose nests were sought together."""

from __future__ import annotations

from orrery.cost.nest import Stages
from orrery.errors import SpecError, UnknownNameError
from orrery.mapping.nest import PartNest, StagedNests
from orrery.units import counted, format_quantity


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
