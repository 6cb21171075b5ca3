"""Find the best loop nest of every layer of a network on one spatial accelerator."""

from __future__ import annotations

from collections.abc import Callable

from orrery.cost.nest import LOOPS
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph
from orrery.hardware import load_architecture
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.report import Page, Section, make_scorecard
from orrery.units import counted

from .._options import ModelOptions
from .._resolve import load_model
from ..validating import nest_part
from ._catalogue import array_source
from ._figures import nest_figures
from ._fused import fused_nest
from ._layer_page import layer_sections
from ._pages import bill_table, layer_table, level_table, totals, zero_table
from ._result import NestFile, NestResult, layer_nest
from ._search import nest_problems, search_layers
from ._sections import ZEROS_SAVE, array_sections, checked, listed
from ._zeros import ZeroOptions, layer_zeros


def nest(
    model: object,
    *,
    on: str,
    objective: str = "latency",
    layer: str = "",
    bill: bool = False,
    fuse: str = "none",
    need: tuple[str, ...] = (),
    macs_only: bool = False,
    options: ModelOptions | None = None,
    zeros: ZeroOptions | None = None,
    most: int | None = None,
    progress: Progress = SILENT,
) -> NestResult:
    """Return the best loop nest of every layer: cycles, joules, traffic, utilisation.

    Parameters
    ----------
    model : an ONNX file, a library name, or a `Graph`
    on : a YAML file of an array, or a name of `arrays`
    objective : ``latency``, ``energy`` or ``edp``; of equally fast nests those of least energy
        are taken, of equally frugal ones the fastest
    layer : show the nest of this layer, its bounds step by step, and what would help
    bill : list every charge: how often at which price, from which source
    fuse : ``tails``: element-wise operators join the nest before them; ``on-chip``: and tensors
        stay on chip between layers where that is best for the whole network
    need : ceilings over all layers together: ``cycles<=N``, ``latency<T``, ``energy<E``
    macs_only : leave passes over data to another unit
    zeros : what is known of zeros in the data, and what the array makes of them
    most : evaluations per layer before the search gives up the proof; None: plenty

    Raises
    ------
    SpecError : the file does not describe an array; no layer of the network can be mapped
    UnknownNameError : no such array, no such layer
    """
    architecture = load_architecture(on, loops=tuple(LOOPS))
    graph = load_model(model, options)
    if fuse != "none" or need or macs_only:
        return fused_nest(graph, architecture, on=on, objective=objective, fuse=fuse, layer=layer,
                          need=need, macs_only=macs_only, bill=bill, zeros=zeros,
                          progress=progress)  # fmt: skip
    problems, left_out = nest_problems(graph)
    if layer and layer not in {name.partition(" (")[0] for name in problems}:
        raise UnknownNameError("layer with a loop nest", layer, list(problems))
    if not problems:
        raise SpecError(graph.name, found="no layer with a loop nest", fix="try another network",
                        wanted="one at least")  # fmt: skip
    sparse, said = layer_zeros(graph, zeros, progress) if zeros is not None else ({}, "")
    found = search_layers(problems, architecture, objective, sparse, progress, most)
    mapped = {name: one for name, one in found.items() if not isinstance(one, Infeasible)}
    failed = {name: str(one) for name, one in found.items() if isinstance(one, Infeasible)}
    if not mapped:
        raise SpecError(f"{graph.name} on {architecture.name}", found="no layer fits: "
                        + "; ".join(dict.fromkeys(failed.values())),
                        wanted="one at least", fix="enlarge what is short")  # fmt: skip
    sections: list[Section] = [totals(mapped, architecture)]
    if said:
        sections.append(zero_table(mapped, said))
    if failed:
        sections.append(listed("Layers without a nest that fits", failed, "warning"))
    sections += array_sections(architecture)
    if layer:
        for name in mapped:
            if name.partition(" (")[0] == layer:
                sections += layer_sections(name, problems[name], mapped[name], architecture)
    else:
        sections += [layer_table(mapped, problems, _operator(graph)),
                     level_table(mapped, architecture)]  # fmt: skip
    if bill:
        sections.append(bill_table(mapped))
    if left_out:
        sections.append(listed("Not mapped, and in no total", left_out, "note"))
    operator = _operator(graph)
    file = NestFile(
        model=graph.name, structure=graph.structure_digest, architecture=architecture.name,
        objective=objective, left_out=left_out,
        layers=tuple(layer_nest(name, operator(name), one, architecture)
                     for name, one in found.items()),
    )  # fmt: skip
    missing = [*failed, *left_out]
    outside = ZEROS_SAVE if sparse else ""
    parts = {
        name: nest_part(operator(name), problems[name], one.cost, architecture, outside)
        for name, one in mapped.items()
    }
    figures, errors = checked(
        nest_figures(graph, architecture, objective, mapped, missing), list(parts.values()),
        [part for name, part in parts.items() if layer in ("", name.partition(" (")[0])],
    )  # fmt: skip
    sections.append(errors)
    title = f"{graph.name} on {architecture.name}"
    card = make_scorecard(title, figures)
    page = Page(
        title=title, scorecard=card, sections=tuple(sections),
        subtitle=f"{counted(len(mapped), 'loop nest')}, objective {objective}",
        provenance={"structure": graph.structure_digest},
    )  # fmt: skip
    return NestResult(file=file, architecture=architecture, text_of_array=array_source(on),
                      evidence=tuple(figures), scorecard=card, page=page)  # fmt: skip


def _operator(graph: Graph) -> Callable[[str], str]:
    operators = {region.name: region.members[0].operator for region in graph.regions()}
    return lambda name: operators.get(name, operators.get(name.rpartition(" (")[0], ""))
