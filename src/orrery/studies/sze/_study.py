"""The seven-metric card of six accelerators on the same networks, each with its waterfall.

Models:  every product of every network under the fastest nest found within a budget; what is no
         product as passes over data (`orrery.cost.nest`). Flexibility: the published suite.
         Scalability: four times the elements, shared memories as they are.
Ignores: what follows a product on its way out, the host, compression off chip.
Judge:   the bounds of all layers, added up, come to the cycles; published points beside ours.
"""

from __future__ import annotations

import time
from dataclasses import replace

from orrery.api import BeyondOptions, ModelOptions, TaskOptions, score
from orrery.api.flexing import (
    array_card,
    cover,
    grow_array,
    network_bounds,
    network_waterfall,
    products_of_network,
    published_suite,
    run_layers,
)
from orrery.evidence import Evidence
from orrery.graph import Graph, build_model
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import (
    Cell,
    Column,
    Page,
    Scorecard,
    Section,
    Table,
    Text,
    format_value,
    make_scorecard,
)

from .._frame import Record, StudyResult, compared, shared_data
from ._points import array, point_records

ARRAYS = ("eyeriss-v1", "eyeriss-v2", "tpu-v1", "nvdla-like", "gemmini-16", "tpu-like-32")
WHERE = "Sze et al., IEEE Solid-State Circuits Magazine 12(3), 2020, table 2"
#: evaluations of nests per layer at scale 1
BUDGET = 500_000
#: images that every array answers
SAMPLES = 200
#: networks whose layers every array maps; below a scale of 0.5 the small ones alone
SMALL, FULL = ("resnet20",), ("alexnet", "resnet18", "resnet20", "mobilenet_v2", "bert block")
#: columns of the table of cards: figure -> heading
COLUMNS = (
    "top-1 accuracy", "throughput", "latency", "energy", "off-chip traffic", "utilisation",
    "area", "processing elements", "operator coverage", "suite utilisation", "scaling efficiency",
)  # fmt: skip


def sze_study(scale: float, progress: Progress) -> StudyResult:
    """Score the accelerators; below scale 0.5 a cut ResNet-20 on four of them."""
    small = scale < 0.5
    names = ARRAYS[2:] if small else ARRAYS
    most = max(2_000, int(BUDGET * min(1.0, scale)))
    networks = {name: _network(name, small) for name in (SMALL if small else FULL)}
    records: list[Record] = []
    rows: dict[str, list[tuple[Cell, ...]]] = {name: [] for name in networks}
    pictures: list[Section] = []
    for name in names:
        chip = array(name)
        suite = published_suite()
        if small:
            suite = replace(suite.core, layers=suite.core.layers[::4])
        beyond = [*cover(suite, chip, most=most, progress=progress).figures(name)]
        for title, graph in networks.items():
            start = time.perf_counter()
            products = products_of_network(graph, None)
            growth = grow_array(products, chip, memories=False, doublings=(0, 2), most=most,
                                progress=progress)  # fmt: skip
            runs = run_layers(products, chip, most=most, progress=progress)
            bounds = network_bounds(products, runs, chip)
            page = array_card(graph, name, beyond=BeyondOptions(budget=most),
                              progress=progress)  # fmt: skip
            measured = _accuracy(title, name, small, progress)
            card = make_scorecard(
                f"{title} on {name}",
                [*_figures(page), *measured, *beyond, *growth.figures(f"{title} on {name}")],
            )
            least = sum(run.cycles * (1 - run.gap) for run in runs.values())
            gap = f"{100 * (1 - least / sum(run.cycles for run in runs.values())):.3g} %"
            rows[title].append((name, *_cells(card), gap))
            pictures.append(network_waterfall(f"Waterfall: {title} on {name}", bounds))
            cycles = sum(run.cycles for run in runs.values())
            work = sum(run.operations for run in runs.values())
            records.append(compared(
                f"{name}: {title}: time of its products", "s", ours=cycles / chip.clock_hz,
                basis=Basis.ESTIMATED, source=WHERE, judge="seven bounds of all layers, added up",
                judge_value=work / bounds[-1].operations_per_cycle / chip.clock_hz, tolerance=1e-6,
                note=f"{_said(card)}; gap of the search {gap}", seconds=time.perf_counter() - start,
            ))  # fmt: skip
    if not small:
        records += point_records(most, progress)
    tables = [_table(title, rows[title]) for title in networks]
    return StudyResult(records=tuple(records), sections=(*tables, _limits(most), *pictures))


def _network(name: str, small: bool) -> Graph:
    if small:
        return build_model(name, image=8, width=0.25, depth=0.2)
    if name == "bert block":
        return build_model("bert-base", layers=1)
    return build_model(name)


def _accuracy(title: str, name: str, small: bool, progress: Progress) -> list[Evidence]:
    """Return how often the network with trained weights is right in an array's formats."""
    folder = shared_data("cifar10")
    if small or folder is None or title != "resnet20":
        return []
    options = ModelOptions(batch=100, weights=str(folder / "resnet20.safetensors"))
    formats = f"spatial(architecture={name!r})"
    page = score(
        title,
        options=options,
        progress=progress,
        task=TaskOptions(data=str(folder / "test2000.npz"), samples=SAMPLES, numerics=(formats,)),
    )
    return [f for f in _figures(page) if formats in f.subject]


def _figures(page: Page) -> list[Evidence]:
    card = page.scorecard
    return [f for metric in card.metrics for f in metric.figures] if card is not None else []


def _cells(card: Scorecard) -> list[Cell]:
    """Return the figures of the columns as a person reads them."""
    cells: list[Cell] = []
    for name in COLUMNS:
        found = next((f for f in card.figures(name) if f.value is not None), None)
        cells.append(None if found is None else format_value(found.value, found.unit))
    return cells


def _said(card: Scorecard) -> str:
    """Return the card in a line, for the record."""
    known = zip(COLUMNS, _cells(card), strict=True)
    return "; ".join(f"{name} {cell or 'not known'}" for name, cell in known)


def _table(title: str, rows: list[tuple[Cell, ...]]) -> Table:
    return Table(
        title=f"The seven metrics: {title}", rows=tuple(rows), filterable=False,
        columns=(Column(name="accelerator"), *(Column(name=name) for name in COLUMNS),
                 Column(name="gap", help="by which better nests of the products may be faster")),
        caption="Batch 1, off-chip traffic counted, estimated by loop nests; accuracy measured by "
        "us in the number formats of the array, area as published. Scaling: four times the "
        "elements, shared memories and bandwidth as they are. An empty cell: not known.",
    )  # fmt: skip


def _limits(most: int) -> Text:
    return Text(title="How far the searches went", tone="note", paragraphs=(
        f"Nests of products were searched with {most:,} evaluations a layer and array; where that "
        "was not enough for a proof, a better nest may exist and the cycles are an upper bound.",
        "Prices: no description has one, and nobody published any of these chips'.",
    ))  # fmt: skip
