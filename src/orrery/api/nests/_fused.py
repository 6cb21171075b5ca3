"""Loop nests of a network together: fused tails, tensors that stay on chip, ceilings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orrery.errors import SpecError, did_you_mean
from orrery.plan import Infeasible
from orrery.progress import Progress
from orrery.report import Page, make_scorecard
from orrery.units import counted

from .._result import InfeasibleError
from ..fusing import Verdict, ceilings, kept_table, nothing, outside_sets, shortfall, together
from ..validating import nest_part
from ._catalogue import array_source
from ._figures import nest_figures
from ._file import KeptTensor, NestFile
from ._pages import bill_table, layer_table, level_table
from ._result import NestResult, layer_nest
from ._sections import array_sections, checked, listed

if TYPE_CHECKING:
    from orrery.cost.nest import NestProblem
    from orrery.graph import Graph
    from orrery.hardware import Architecture
    from orrery.mapping.nest import NestFound, StagedNests

__all__ = ["FUSE", "fused_nest"]

#: what may be joined: nothing; element-wise operators to the nest before; and tensors that stay
FUSE = ("none", "tails", "on-chip")


def fused_nest(
    graph: Graph, architecture: Architecture, *, on: str, objective: str, fuse: str,
    need: Sequence[str], macs_only: bool, bill: bool, progress: Progress,
) -> NestResult:  # fmt: skip
    """Return the nests of a network that are best together; parameters as of `nest`."""
    from orrery.cost.nest import OTHER_UNIT, stages_of
    from orrery.mapping.nest import StagedNests, nest_stages
    from orrery.store import Cache

    if fuse not in FUSE:
        raise SpecError("fuse", found=fuse, wanted=f"one of {', '.join(FUSE)}",
                        fix=f"choose one{did_you_mean(fuse, FUSE)}")  # fmt: skip
    most_cycles, most_energy_j = ceilings(need, architecture)
    stages = stages_of(graph, tails=fuse != "none", passes=not macs_only)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        seek = partial(nest_stages, stages, architecture, keep=fuse == "on-chip",
                       cache=Cache("nests"), executor=threads, progress=progress)  # fmt: skip
        found = seek(objective, most_cycles=most_cycles, most_energy_j=most_energy_j)
        short = ""
        if isinstance(found, Infeasible):
            # What cannot be kept within is shown as near as it comes.
            missed, alone = found, "latency" if found.unit == "cycles" else "energy"
            found = seek(alone)
            enough = isinstance(found, StagedNests) and found.value <= (most_energy_j or 0.0)
            if alone == "energy" and enough:
                nearer = seek(alone, most_cycles=most_cycles)
                if isinstance(nearer, StagedNests):
                    found, missed = nearer, replace(missed, need=nearer.value)
            short = shortfall(missed, need, architecture) if missed.need > missed.have else ""
    if isinstance(found, Infeasible):
        raise InfeasibleError(f"{graph.name} on {architecture.name}", found)
    if not found.parts:
        raise SpecError(graph.name, found=nothing(found), wanted="one layer that fits at least",
                        fix="try another network or array")  # fmt: skip
    left = {s.name: s.reason for s in stages.stages if s.reason}
    verdict = Verdict(
        need=tuple(need), short=short, left=OTHER_UNIT in left.values(),
        unmapped=(*found.failed, *(n for n, why in left.items() if why != OTHER_UNIT)),
    )  # fmt: skip
    return _told(graph, architecture, found, on, fuse, verdict, bill, left)


def _told(
    graph: Graph, architecture: Architecture, found: StagedNests, on: str, fuse: str,
    verdict: Verdict, bill: bool, left: dict[str, str],
) -> NestResult:  # fmt: skip
    mapped: dict[str, NestFound] = {}
    problems: dict[str, NestProblem] = {}
    layers, operators, parts = [], {}, []
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
        parts.append(nest_part(one.stage.operator, one.problem, one.nest.cost, architecture,
                               outside_sets(one)))  # fmt: skip
    failed = {name: str(why) for name, why in found.failed.items()}
    missing = [*failed, *left]
    figures, errors = checked(
        nest_figures(graph, architecture, found.objective, mapped, missing), parts, parts
    )
    title = f"{graph.name} on {architecture.name}"
    card = make_scorecard(title, figures)
    sections = [together(found, architecture, verdict, fuse), *array_sections(architecture),
                kept_table(found)]  # fmt: skip
    sections += [layer_table(mapped, problems, lambda name: operators[name]),
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
