"""The study: bits with the published sparsity, and trained weights where there are some.

Ours is the released engine's window rule in closed form, its judge the same rule walked bit by bit
on drawn weights; published energy is checked against the published power.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orrery.accel.bitlet import array_power, expected_cycles, number_format
from orrery.accel.bitlet.baselines import NETWORKS, PUBLISHED_CYCLES, baseline_cycles
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Cell, Column, Section, Table, Text

from .._frame import Record, StudyResult, compared
from ._area import area_parts
from ._beyond import beyond_part
from ._published import CASES, EFFICIENCY, HEADLINES, PAPER, PEAKS, Case
from ._runs import accuracy_tables, scaling_records, trained_files, trained_records
from ._training import training_part

ELEMENTS, GROUP, FPGA_HZ = 32, 64, 200e6
_DRAWN = "bits drawn independently with the published share of zeros of each network"


def bitlet_study(
    scale: float, progress: Progress, *, weights: Path | None = None, data: Path | None = None
) -> StudyResult:
    """Hold the window rule against the published figures.

    Parameters
    ----------
    scale : below 1, fewer drawn groups, one network for scaling and no accuracy; from 1 on,
        accuracy on 100 x scale images where there are some, training in all formats,
        and the element synthesised
    weights, data : trained weights of ResNet-20, and images with labels; None: those of the
        checkout's shared data, if they are there

    Raises
    ------
    SpecError : data without weights, weights of another network
    """
    files = trained_files(weights, data)
    records: list[Record] = []
    rows = []
    groups = max(50, int(1000 * min(scale, 1.0)))
    for done, case in enumerate(CASES):
        progress.step("published sparsities", done, len(CASES))
        ours = expected_cycles([case.zeros] * case.bits)
        beside = _beside(case, groups)
        rows.append((case, ours, beside))
        records += _case_records(case, ours, beside["bitlet"], groups)
    records += [_least(), *_efficiency(), *_headlines(rows)]
    records += scaling_records(scale, progress)
    trained = trained_records(files, progress)
    sections: list[Section] = [_machines(rows, groups), _products(), _quotients()]
    sections += accuracy_tables(files, scale, progress)
    areas, shown = area_parts(scale, progress)
    sections += shown
    if not trained:
        said = (
            "No trained weights (--weights FILE --data FILE): figures of the published networks "
            f"are of {_DRAWN}, those of signed digits and bit columns of ResNet-20 with weights "
            "drawn from a bell curve, not learned. Training learns networks of its own."
        )
        sections.append(Text(title="Trained weights", tone="note", paragraphs=(said,)))
    learnt, learning = training_part(scale, progress)
    further, beyond = beyond_part(files, scale, progress)
    return StudyResult(
        records=(*records, *areas, *trained, *learnt, *further),
        sections=(*sections, *learning, *beyond),
    )


def _beside(case: Case, groups: int) -> dict[str, float]:
    """Return cycles of all machines on the same drawn groups, activations drawn alike."""
    draw = np.random.default_rng(case.bits)
    places = 1 << np.arange(case.bits, dtype=np.int64)
    pair = [((draw.random((groups, GROUP, case.bits)) >= case.zeros) * places).sum(-1)
            for _ in range(2)]  # fmt: skip
    return baseline_cycles(pair[0], pair[1], case.bits)


def _case_records(case: Case, ours: float, walked: float, groups: int) -> list[Record]:
    rate = ELEMENTS * 2 * GROUP * FPGA_HZ / (1e9 * case.gflops)
    return [
        compared(
            f"{case.name}: cycles of 64 MACs", "", published=case.cycles, ours=ours,
            basis=Basis.ESTIMATED, source=f"{PAPER}, tables 2 and 4", tolerance=0.10,
            judge=f"the rule walked over {groups} drawn groups", judge_value=walked,
            note=f"closed form, {case.bits} lanes, {_DRAWN}; real lanes are neither alike nor "
            "independent",
        ),
        compared(
            f"{case.name}: frames a second", "", published=case.fps, ours=rate / ours,
            basis=Basis.ESTIMATED, source=f"{PAPER}, figure 7, 200 MHz", tolerance=0.10,
            note="32 elements always busy, memory free; every published rate times its cycles and "
            "GFLOPs is 1000, which at full occupancy is a clock of 244 MHz and not 200",
        ),
        compared(
            f"{case.name}: speed-up by distilling", "x", published=case.fps / case.plain_fps,
            ours=GROUP / ours, basis=Basis.ESTIMATED, source=f"{PAPER}, table 8, groups of 64",
            tolerance=0.10, note="not distilled, a lane takes 64 cycles for 64 weights; the "
            "published rates stand for about 36, whatever the network",
        ),
    ]  # fmt: skip


def _least() -> Record:
    return compared(
        "8 bits: cycles of 64 MACs at the published peak", "", published=PEAKS["fixed8"][1],
        ours=expected_cycles([1.0] * 8), basis=Basis.ESTIMATED,
        source=f"{PAPER}, table 3: 744.7 GOPs of 32 elements at 1 GHz",
        note="with no ones at all a window of 8 bits still takes 8 cycles for 64 weights, so the "
        "released engine cannot reach this peak",
    )  # fmt: skip


def _efficiency() -> list[Record]:
    records = []
    for (precision, process), published in EFFICIENCY.items():
        form = number_format(precision)
        found = array_power(form, form.lanes, elements=ELEMENTS, process_nm=process)
        if found is None:
            continue
        records.append(compared(
            f"{precision} at {process} nm: peak GOPs/W", "", published=published,
            ours=PEAKS[precision][0] / found[0], basis=Basis.ESTIMATED,
            source=f"{PAPER}, tables 3 and 9",
            note="published peak over published power; at 28 nm the figures for 16 and 8 bits "
            "both stand for 557 mW, which is neither's power",
        ))  # fmt: skip
    return records


def _headlines(rows: list[tuple[Case, float, dict[str, float]]]) -> list[Record]:
    dense = next((beside["dense"] / ours for case, ours, beside in rows
                  if case.name == "DenseNet-161"))  # fmt: skip
    first, *others = HEADLINES
    records = [compared(
        "headline 15x: cycles of 64 MACs, dense over bit-interleaving, DenseNet-161", "x",
        published=first.printed, ours=dense, basis=Basis.ESTIMATED, source=PAPER,
        note="one product a cycle is 64 cycles; the paper charges Eyeriss 343.68 and does not say "
        "why",
    )]  # fmt: skip
    records += [
        Record(
            name=f"headline {one.name}: {one.means}", unit="x", published=one.printed, ours=None,
            basis=Basis.ESTIMATED, source=PAPER, status="not reproducible",
            note="needs the other machine's energy, which is given as a result only",
        )
        for one in others
    ]  # fmt: skip
    return records


def _machines(rows: list[tuple[Case, float, dict[str, float]]], groups: int) -> Table:
    columns = [Column(name="network"), Column.number("bits")]
    for name in PUBLISHED_CYCLES:
        columns += [Column.number(name), Column.number(f"{name}, published")]  # fmt: skip
    cells: list[tuple[Cell, ...]] = []
    for place, (case, _, beside) in enumerate(rows):
        if tuple(NETWORKS)[place] != case.name:
            raise ValueError("the published tables stand in different orders")
        both = [(beside[name], PUBLISHED_CYCLES[name][place]) for name in PUBLISHED_CYCLES]
        cells.append((case.name, case.bits, *(value for pair in both for value in pair)))
    return Table(
        title="Cycles of 64 MACs on the same weights", columns=tuple(columns), rows=tuple(cells),
        caption=f"Ours: walked over {groups} groups of {_DRAWN}, activations alike, so bitlet's "
        "differ by the draw from the closed form in the records. Models of one element each, "
        "sixteen products side by side in Stripes and Laconic (assumed). The published rows of the "
        "other machines are in a unit that the paper does not derive: compare down a column.",
    )  # fmt: skip


def _products() -> Table:
    return Table(
        title="What the published rates say of each other",
        columns=(Column(name="network"), Column.number("rate x GFLOPs x cycles"),
                 Column.number("clock that it stands for", "Hz"),
                 Column.number("cycles without distilling")),
        rows=tuple(
            (c.name, c.fps * c.gflops * c.cycles,
             c.fps * c.gflops * 1e9 * c.cycles / (ELEMENTS * 2 * GROUP),
             1000 / (c.plain_fps * c.gflops))
            for c in CASES
        ),
        caption="The product is 1000 within the digits printed, whatever the network: the rates "
        "follow from the cycles, with no time for memory or idle elements. Without distilling a "
        "lane needs 64 cycles; the published rates stand for 36.",
    )  # fmt: skip


def _quotients() -> Table:
    return Table(
        title="Headlines and what they are quotients of",
        columns=(Column(name="headline"), Column.number("printed", "x"),
                 Column.number("quotient", "x"), Column(name="definition")),
        rows=tuple((h.name, h.printed, h.over / h.under, h.means) for h in HEADLINES),
        caption="Quotients of figures as published; none of them is ours.",
    )  # fmt: skip
