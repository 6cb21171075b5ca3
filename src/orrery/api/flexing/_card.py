"""The seven metrics of a network on one spatial accelerator, with the waterfall of its bounds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orrery.evidence import Evidence
from orrery.hardware import Architecture, architecture_names, system_names
from orrery.progress import SILENT, Progress
from orrery.report import Page, Section, judge, make_scorecard, parse_needs

from .._options import BeyondOptions, ModelOptions, TaskOptions
from .._resolve import load_model
from ..nests import nest
from ..nests._search import nest_problems
from ._chips import grow_chips
from ._coverage import cover
from ._overhead import overhead
from ._runs import Problems, run_layers
from ._scaling import grow_array, grow_batch
from ._suite import published_suite
from ._waterfall import network_bounds, network_waterfall


def names_array(on: object, beyond: BeyondOptions) -> bool:
    """Return whether a text names an array and no system.

    Of a name that is both, an array is meant where flexibility or scalability is asked for.
    """
    if not isinstance(on, str | Path):
        return False
    path = Path(on)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return re.search(rb"^(levels|architecture)\s*:", path.read_bytes(), re.M) is not None
    asked = beyond.flexibility or beyond.scalability
    return str(on) in architecture_names() and (asked or str(on) not in system_names())


#: metric -> why it is not known as long as nobody asked
WHY_UNKNOWN = {
    "accuracy": "no labelled data set was run: --data X.npz runs one on the array's number formats",
    "flexibility": "only this network was looked at: --flexibility maps the published suite",
    "scalability": "only this array was looked at: --scalability makes it smaller and larger",
}


def products_of_network(model: object, options: ModelOptions | None, batch: int = 0) -> Problems:
    """Return a network's products by layer, at its own batch or at another."""
    taken = options or ModelOptions()
    graph = load_model(model, replace(taken, batch=batch) if batch else taken)
    found, _ = nest_problems(graph)
    return {name: (problem,) for name, problem in found.items() if problem.macs}


def array_card(
    model: object,
    on: str,
    *,
    options: ModelOptions | None = None,
    beyond: BeyondOptions | None = None,
    task: TaskOptions | None = None,
    needs: str | Sequence[str] = (),
    progress: Progress = SILENT,
) -> Page:
    """Return the card of a network on an array, with the waterfall of its bounds.

    Parameters
    ----------
    on : a YAML file of an array, or a name of `orrery.arrays`
    beyond : whether to map the published suite, and to make the array smaller and larger
    task : labelled data, run in the number formats of the array (one of the catalogue)

    Raises
    ------
    SpecError, UnknownNameError : an array, network, option or need that cannot be read
    """
    parsed, beyond = parse_needs(needs), beyond or BeyondOptions()
    result = nest(model, on=on, options=options, most=beyond.budget, progress=progress)
    array, title = result.architecture, f"{result.model} on {result.architecture.name}"
    figures, sections = list(result.evidence), list[Section]()
    if task is not None and task.data is not None:
        measured, table = _measured(model, array, options, task, progress)
        figures, sections = [*figures, *measured], [table]
    most = beyond.budget
    products = products_of_network(model, options)
    runs = run_layers(products, array, most=most, progress=progress)
    bounds = network_bounds(products, runs, array)
    if bounds:
        sections.append(network_waterfall(f"Where {result.model} loses speed", bounds))
    if beyond.flexibility:
        covered = cover(published_suite(), array, most=most, progress=progress)
        fixed = overhead(covered, most=most, progress=progress)
        figures += [*covered.figures(array.name), *fixed.figures(array.name)]
        sections += [*covered.sections(), *fixed.sections()]
    if beyond.scalability:
        series = [grow_array(products, array, memories=grows, most=most, progress=progress)
                  for grows in (False, True)]  # fmt: skip
        series.append(grow_batch(lambda batch: products_of_network(model, options, batch), array,
                                 most=most, progress=progress))  # fmt: skip
        counts = [2**n for n in range(beyond.chips.bit_length())]
        if len(counts) > 1:
            series.append(grow_chips(model, array, counts, options=options, progress=progress))
        for one in series:
            figures += one.figures(title)
            sections.append(one.section())
    card = make_scorecard(title, figures, reasons=WHY_UNKNOWN)
    return replace(result.page, scorecard=card, verdicts=judge(card, parsed),
                   sections=(*sections, *result.page.sections))  # fmt: skip


def _measured(
    model: object, array: Architecture, options: ModelOptions | None, task: TaskOptions,
    progress: Progress,
) -> tuple[list[Evidence], Section]:  # fmt: skip
    """Run labelled data as the array rounds it, and as the network is."""
    from orrery.accel.spatial import spatial_of

    from ..judging import labelled_task

    own = load_model(model, replace(options or ModelOptions(), precision=None))
    return labelled_task(own, own, task, progress, design=spatial_of(array)).measured(None)
