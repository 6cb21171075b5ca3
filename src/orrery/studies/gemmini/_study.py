"""The study: cycles of given mappings by our engine beside those measured on Gemmini's RTL."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orrery.cost.validation import ValidationRow, ValidationSet, measured_set
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Column, Table, Text

from .._frame import Record, StudyResult
from ._fit import Shape, fit, halves, shapes_of
from ._price import BASE, Constants, cycles, tile_time, whole_cycles
from ._rows import MeasuredRow, data_file, read_rows

SOURCE = "DOSA release, firesim_results.csv: 1567 mappings, cycles on RTL under FireSim"
JUDGE = "RTL cycles, shapes that were not fitted"
SEED = 7
#: shapes with fewer mappings have no rank worth a median
LEAST_ROWS = 20
WANTED_RANK, WANTED_ERROR = 0.9, 0.1
TASK = "price mappings on Gemmini"
#: MACs a cycle of the array that the release is said to have
SAID = 16 * 16


def gemmini_study(scale: float, progress: Progress) -> StudyResult:
    """Price the given mappings; two constants from half the shapes, figures from the other half.

    Parameters
    ----------
    scale : below 1, so large a share of the mappings (every second one, …)
    """
    path = data_file()
    if path is None:
        return StudyResult(records=(Record(
            name="ranks of mappings by cycles", unit="", published=None, ours=None,
            basis=Basis.ESTIMATED, source=SOURCE, status="not reproducible",
            note="needs shared/data/gemmini/firesim_results.csv beside the checkout",
        ),))  # fmt: skip
    rows = read_rows(path)[:: max(1, round(1 / scale))]
    tiles = []
    for done, row in enumerate(rows):
        if done % 100 == 0:
            progress.step(TASK, done, len(rows))
        tiles.append(tile_time(row))
    fitted, judged = halves([row.key for row in rows], SEED)
    known = [i for i, row in enumerate(rows) if row.key in fitted]
    rest = [i for i, row in enumerate(rows) if row.key in judged]
    constants = fit([tiles[i] for i in known], [rows[i].cycles for i in known])
    ours = [cycles(tiles[i], constants) for i in rest]
    shapes = shapes_of([rows[i] for i in rest], ours)
    sections = (_groups(shapes), _table(shapes), _method(constants, fitted))
    sets = (
        *_sets(rows, [whole_cycles(row) for row in rows], "the mapping as one nest on the "
               "catalogue's array and memory, with the mapping's side, ports grown with it and "
               "capacities not checked; nothing fitted"),
        *_sets([rows[i] for i in rest], ours, "shapes that were not fitted, tile by tile",
               adapted="cycles of a call and bytes per cycle, fitted on the other shapes"),
    )  # fmt: skip
    return StudyResult(records=_records(rows, shapes), sections=sections, sets=sets)


def _sets(
    rows: Sequence[MeasuredRow], ours: Sequence[float], how: str, *, adapted: str = ""
) -> tuple[ValidationSet, ...]:
    """Return the sets of convolutions and of products, as far as there are any."""
    found = []
    for kind, operator, product in (("convolution", "Conv", False), ("product", "MatMul", True)):
        mine = [
            ValidationRow(name=f"line {row.line}", reference=row.cycles, ours=float(value),
                          operations=row.macs)
            for row, value in zip(rows, ours, strict=True) if row.is_product is product
        ]  # fmt: skip
        if mine:
            found.append(measured_set(
                f"gemmini-rtl-{kind}{'-fitted' if adapted else ''}", mine, study="gemmini",
                quantity="latency", unit="cycles", against="RTL (FireSim)", architecture=BASE,
                dataflow="weight-stationary", operators=(operator,), bits=(8,), adapted=adapted,
                reserve="" if adapted else _OTHER,
                covers=f"mappings given by the release, arrays of 4 x 4 to 64 x 64; {how}",
                explained=_FITTED if adapted else _PLAIN, source=SOURCE,
            ))  # fmt: skip
    return tuple(found)


_OTHER = "array side read from the mapping, capacities not checked"
_FITTED = (
    "products run in another routine and some carry up to three times more bytes a cycle than "
    "others; images that are not square took as long as square ones, so that those were run, it "
    "seems"
)
_PLAIN = (
    "every call of the array's routine takes cycles that the engine does not know, and requests to "
    "memory take time beside the bus's 8 bytes a cycle: too few cycles, most in small tiles. Too "
    "many where channels are stepped through outside of pixels, for sums go out and come back here "
    "each time, and where all operands lie in the cache before the memory, which is not described "
    "(40 products move up to 12.6 bytes a cycle). With constants fitted see the sets named fitted"
)


def _records(rows: Sequence[MeasuredRow], shapes: Sequence[Shape]) -> tuple[Record, ...]:
    ranked = [shape for shape in shapes if shape.rows >= LEAST_ROWS] or list(shapes)
    worst = min(ranked, key=lambda shape: shape.rank)
    off = np.abs(np.concatenate([shape.ratios for shape in shapes]) - 1)
    of = f"{len(ranked)} shapes of {min(s.rows for s in ranked)} mappings or more"
    values: list[tuple[str, str, float, bool, str]] = [
        ("Spearman of mappings, median over shapes", "", float(np.median([s.rank for s in ranked])),
         True, of),
        ("Spearman of mappings, worst shape", "", worst.rank, True, f"{_named(worst)}; {of}. "
         "In products and small images nearly every mapping is bound by memory, which carries up "
         "to three times more bytes a cycle in some tiles than in others; one constant for all "
         "cannot rank them"),
        ("error of cycles, median", "%", 100 * float(np.median(off)), False,
         "two constants; stores, bursts and refresh are not modelled one by one"),
        ("error of cycles, 90th percentile", "%", 100 * float(np.percentile(off, 90)), False,
         "the groups show where: products, which another routine runs, and images that are "
         "not square, which took as many times longer as a square image would, so that one was "
         "run, it seems; ours prices what the row says"),
        ("cycles of the mapping we rank best over the best, median", "x",
         float(np.median([s.regret for s in ranked])), True, of),
    ]  # fmt: skip
    found = []
    for name, unit, value, large, note in values:
        wanted = {"": value >= WANTED_RANK, "%": value <= 100 * WANTED_ERROR,
                  "x": value <= 1 + WANTED_ERROR}[unit]  # fmt: skip
        said = f"at least {WANTED_RANK}" if large and not unit else "within 10 %"
        found.append(Record(
            name=name, unit=unit, published=None, ours=value, basis=Basis.ESTIMATED, source=SOURCE,
            judge=JUDGE, status="match" if wanted else "differs", note=f"wanted: {said}; {note}",
        ))  # fmt: skip
    below = sum(row.cycles < row.macs / SAID for row in rows)
    broken = sum(row.cycles < _least(row) for row in rows)
    found.append(Record(
        name="mappings that beat their array's peak", unit="", published=None, ours=float(broken),
        basis=Basis.ESTIMATED, source=SOURCE, judge="one MAC per element and cycle",
        judge_value=0.0,
        status="match" if broken == 0 else "differs",
        note=f"the array is read off the mapping (the larger spatial factor, rounded up to a power "
        f"of two); with 16 x 16 throughout, as the release is usually described, {below} mappings "
        f"beat the peak, which no machine can",
    ))  # fmt: skip
    return tuple(found)


def _least(row: MeasuredRow) -> float:
    """Return the cycles of a row's multiplications on its array, idle columns and rows counted."""
    one = math.prod(n for letter, n in row.tile.items() if letter not in "CK")
    return row.tiles * one * -(-row.tile["C"] // row.side) * -(-row.tile["K"] // row.side)


def _named(shape: Shape) -> str:
    c, k, p, q, r, s, stride = shape.key
    return f"{c} to {k} channels, {p} x {q}, kernel {r} x {s}, stride {stride}"


def _groups(shapes: Sequence[Shape]) -> Table:
    groups = {
        "products": [s for s in shapes if s.product],
        "images that are not square": [s for s in shapes if not s.product and s.key[2] != s.key[3]],
        "square images": [s for s in shapes if not s.product and s.key[2] == s.key[3]],
    }
    cells = []
    for name, members in groups.items():
        if not members:
            continue
        ratios = np.concatenate([s.ratios for s in members])
        cells.append((name, len(members), len(ratios), float(np.median(ratios)),
                      100 * float(np.median(np.abs(ratios - 1))),
                      100 * float(np.percentile(np.abs(ratios - 1), 90)),
                      float(np.median([s.rank for s in members]))))  # fmt: skip
    return Table(
        title="Where the error is",
        columns=(Column(name="layers"), *_numbers(
            ("shapes", ""), ("mappings", ""), ("ours / measured, median", "x"),
            ("median error", "%"), ("90th percentile", "%"), ("median Spearman", ""))),
        rows=tuple(cells), caption="Shapes that were not fitted.",
    )  # fmt: skip


def _numbers(*named: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column.number(name, unit) for name, unit in named)


def _table(shapes: Sequence[Shape]) -> Table:
    return Table(
        title="Shapes that were not fitted",
        columns=(Column(name="layer"), *_numbers(
            ("mappings", ""), ("Spearman", ""), ("ours / measured, median", "x"),
            ("our choice / best", "x"))),
        rows=tuple((_named(s), s.rows, s.rank, float(np.median(s.ratios)), s.regret)
                   for s in sorted(shapes, key=lambda s: s.rank)),
    )  # fmt: skip


def _method(constants: Constants, fitted: set[tuple[int, ...]]) -> Text:
    return Text(title="How it was done", paragraphs=(
        "Every mapping is priced as it stands: the factors of levels 2 to 0 make a tile, which the "
        "loop-nest engine prices on the catalogue's gemmini-16 with the row's array; level 3 says "
        "how many tiles. A tile takes the longest of computing, of its ports and of a floor.",
        f"Two constants were fitted on {len(fitted)} shapes drawn with seed {SEED}: "
        f"{constants.floor_cycles:.0f} cycles per call and {constants.bytes_per_cycle:.2f} bytes "
        "per cycle from memory. No figure above is of these shapes.",
        "Four rules were found by looking at all rows, measured cycles included: the array "
        "follows the mapping, tiles of products are padded to whole arrays, a call loads its "
        "operands anew whatever the order of loops, and whole windows where a stride skips pixels.",
    ))  # fmt: skip
