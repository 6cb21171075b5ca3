"""Loop nests of a network together: fused tails, tensors that stay on chip, ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orrery.cost.nest import OTHER_UNIT, NestProblem, stages_of
from orrery.errors import SpecError, did_you_mean
from orrery.graph import Graph
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, StagedNests
from orrery.progress import Progress
from orrery.report import Page, Section, make_scorecard
from orrery.units import counted

from ..fusing import (
    Verdict,
    check_layer,
    kept_table,
    outside_sets,
    part_lines,
    seek_together,
    together,
    without_nest,
)
from ..validating import nest_part
from ._catalogue import array_source
from ._figures import nest_figures
from ._file import KeptTensor, NestFile
from ._layer_page import part_sections
from ._pages import bill_table, layer_table, level_table, zero_table
from ._result import NestResult, layer_nest
from ._sections import ZEROS_SAVE, array_sections, checked, listed
from ._zeros import ZeroOptions, layer_zeros

#: what may be joined: nothing; element-wise operators to the nest before; and tensors that stay
FUSE = ("none", "tails", "on-chip")


def fused_nest(
    graph: Graph, architecture: Architecture, *, on: str, objective: str, fuse: str, layer: str,
    need: Sequence[str], macs_only: bool, bill: bool, zeros: ZeroOptions | None,
    progress: Progress,
) -> NestResult:  # fmt: skip
    """Return the nests of a network that are best together; parameters as of `nest`."""
    if fuse not in FUSE:
        raise SpecError("fuse", found=fuse, wanted=f"one of {', '.join(FUSE)}",
                        fix=f"choose one{did_you_mean(fuse, FUSE)}")  # fmt: skip
    stages = stages_of(graph, tails=fuse != "none", passes=not macs_only)
    if layer:
        check_layer(stages, layer)
    sparse, said = layer_zeros(graph, zeros, progress) if zeros is not None else ({}, "")
    found, short = seek_together(
        graph.name, stages, architecture, objective, keep=fuse == "on-chip", need=need,
        zeros=sparse, progress=progress,
    )  # fmt: skip
    if layer in found.failed:
        raise without_nest(layer, str(found.failed[layer]))
    left = {s.name: s.reason for s in stages.stages if s.reason}
    verdict = Verdict(
        need=tuple(need), short=short, left=OTHER_UNIT in left.values(),
        unmapped=(*found.failed, *(n for n, why in left.items() if why != OTHER_UNIT)),
    )  # fmt: skip
    return _told(graph, architecture, found, on, fuse, layer, verdict, bill, left, said)


def _told(
    graph: Graph, architecture: Architecture, found: StagedNests, on: str, fuse: str, layer: str,
    verdict: Verdict, bill: bool, left: dict[str, str], said: str,
) -> NestResult:  # fmt: skip
    mapped: dict[str, NestFound] = {}
    problems: dict[str, NestProblem] = {}
    layers, operators, parts, shown = [], {}, [], list[Section]()
    for one in found.parts:
        tail = one.stage.tail.operators
        name = one.stage.name
        if one.rows:
            name += f", {one.problem.times} x {one.rows} rows"
        alike = sum(other == name or other.startswith(f"{name} (") for other in mapped)
        name += f" ({alike + 1})" if alike else ""
        mapped[name], problems[name] = one.nest, one.problem
        operators[name] = " + ".join((one.stage.operator, *(op for _, op, _ in tail)))
        layers.append(replace(
            layer_nest(name, operators[name], one.nest, one.architecture),
            fused=tuple(node for node, _, _ in tail), kept_roles=one.roles,
            kept_tensors=one.tail_kept, rows=one.rows, stage=one.stage.name,
        ))  # fmt: skip
        outside = outside_sets(one) or (ZEROS_SAVE if said else "")
        parts.append(nest_part(one.stage.operator, one.problem, one.nest.cost, architecture,
                               outside))  # fmt: skip
        if one.stage.name == layer:
            shown += part_sections(name, one, part_lines(one, found))
    failed = {name: str(why) for name, why in found.failed.items()}
    missing = [*failed, *left]
    figures, errors = checked(
        nest_figures(graph, architecture, found.objective, mapped, missing), parts,
        [part for part, one in zip(parts, found.parts) if layer in ("", one.stage.name)],
    )  # fmt: skip
    title = f"{graph.name} on {architecture.name}"
    card = make_scorecard(title, figures)
    sections = [together(found, architecture, verdict, fuse), *array_sections(architecture),
                *([zero_table(mapped, said)] if said else []), kept_table(found)]  # fmt: skip
    sections += shown or [layer_table(mapped, problems, lambda name: operators[name]),
                          level_table(mapped, architecture)]  # fmt: skip
    if bill:
        sections.append(bill_table(mapped))
    if failed:
        sections.append(listed("Layers without a nest that fits", failed, "warning"))
    if left:
        sections.append(listed("Not mapped, and in no total", left, "note"))
    sections.append(errors)
    page = Page(
        title=title, scorecard=card, sections=tuple(s for s in sections if s is not None),
        subtitle=f"{counted(len(mapped), 'loop nest')}, objective {found.objective}, fused: {fuse}",
        provenance={"structure": graph.structure_digest},
    )  # fmt: skip
    kept = tuple(
        KeptTensor(tensor=k.tensor, maker=k.maker, until=k.until, written=k.written,
                   size_bytes=-(-k.bits // 8)) for k in found.kept
    )  # fmt: skip
    file = NestFile(model=graph.name, structure=graph.structure_digest, objective=found.objective,
                    architecture=architecture.name, layers=tuple(layers), left_out=failed | left,
                    fuse=fuse, kept=kept, kept_in=found.level or "")  # fmt: skip
    return NestResult(file=file, architecture=architecture, text_of_array=array_source(on),
                      evidence=tuple(figures), scorecard=card, page=page,
                      needs_met=verdict.met)  # fmt: skip
