"""Beyond the papers: signed digits and bit columns, each beside the plain version.

Ours is counted from weights; its judges are the bound that no recoding passes, the closed form,
and the entropy of the weights. Nothing here is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orrery.accel import resolve
from orrery.accel.bitlet import (
    DIGITS,
    BitletArray,
    BitletCost,
    Engine,
    FixedFormat,
    NetworkCycles,
    expected_cycles,
    floor_cycles,
    number_format,
    run_network,
    stored_weights,
    weight_cycles,
)
from orrery.accel.bitlet.columns import decode, entropy_bytes, weight_words, word_columns
from orrery.graph import Graph, Region, build_model
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Cell, Column, Section, Table

from .._frame import Record, compared
from ._runs import Trained

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_WHOLE = (4, 8, 16)
_STORED = ("fixed4", "fixed8", "fixed16", "fp16", "bf16", "fp32")
_OURS = "our extension; no figure is published"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """Filters of one layer and how often they are used."""

    weights: np.ndarray
    positions: float
    region: Region | None = None


def beyond_part(
    files: Trained | None, scale: float, progress: Progress
) -> tuple[list[Record], list[Section]]:
    """Return records and tables of both extensions.

    Parameters
    ----------
    files : of a trained network; None: drawn weights
    scale : below 1, one format of digits and two of columns; from 1 on all, floating formats too,
        whose cycles need a network's activations
    """
    graph = build_model("resnet20") if files is None else files.graph()
    whose = "ResNet-20, drawn weights" if files is None else "ResNet-20, trained weights"
    whole, stored = (_WHOLE, _STORED) if scale >= 1 else (_WHOLE[1:2], _STORED[1:5:3])
    digit_records, digits = _digits(graph, whose, whole, progress)
    if scale >= 1 and files is not None and files.data is not None:
        images = np.load(files.data)["images"][:1].astype(np.float32) / 255
        mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        image = np.ascontiguousarray(((images - mean) / spread).transpose(0, 3, 1, 2))
        digits += _floating(graph, image.astype(np.float32), whose, progress)
    column_records, columns = _columns(graph, whose, stored, progress)
    sections: list[Section] = [_digit_table(digits), columns]
    return [*digit_records, *column_records], sections


def _layers(graph: Graph) -> list[_Layer]:
    found = []
    for region in graph.regions():
        node = region.members[0]
        if node.operator not in _PRODUCTS:
            continue
        held = graph.constants[node.inputs[1]].array().astype(np.float32)
        if node.operator != "Conv" and not node.attributes.get("transB", 0):
            held = held.T
        rows = held.reshape(held.shape[0], -1)
        found.append(_Layer(weights=rows, positions=region.operations.macs / rows.size,
                            region=region))  # fmt: skip
    return found


def _grid(rows: np.ndarray, bits: int) -> np.ndarray:
    """Return filters on their own symmetric grids."""
    limit = (1 << (bits - 1)) - 1
    step = np.abs(rows).max(1, keepdims=True).astype(np.float64) / limit
    whole: np.ndarray = np.rint(rows / np.where(step > 0, step, 1)).astype(np.int64)
    return whole


def _digits(
    graph: Graph, whose: str, whole: tuple[int, ...], progress: Progress
) -> tuple[list[Record], list[tuple[Cell, ...]]]:
    """Count fixed point from the weights alone."""
    records: list[Record] = []
    rows: list[tuple[Cell, ...]] = []
    draw = np.random.default_rng(0)
    for done, bits in enumerate(whole):
        progress.step("signed digits", done, len(whole))
        top = 1 << bits
        random = [_Layer(weights=draw.integers(0, top, (64, 576)).astype(np.int64), positions=1)]
        for name, layers in ((whose, _layers(graph)), ("random bits", random)):
            drawn = layers is random
            held = [one.weights if drawn else np.abs(_grid(one.weights, bits)) for one in layers]
            total = _cycles(held, [one.positions for one in layers], bits)
            rows.append((name, f"fixed{bits}", *(total[k] for k in (*DIGITS, "choice", "floor"))))
            if drawn:
                continue
            records += [
                compared(
                    f"signed digits, {bits} bits, {name}: cycles a group of 64", "",
                    ours=total["signed"], basis=Basis.SIMULATED, source=_OURS,
                    judge="no recoding with digits -1, 0, 1 takes fewer",
                    judge_value=total["floor"], tolerance=0.05,
                    note=f"plain bits: {total['plain']:.4g}",
                ),
                compared(
                    f"split digits, {bits} bits, {name}: cycles a group of 64", "",
                    ours=total["split"], basis=Basis.SIMULATED, source=_OURS,
                    judge="closed form on independent digits", tolerance=0.08,
                    judge_value=_closed(held, [one.positions for one in layers], bits),
                    note=f"two lanes for the lowest place; plain bits: {total['plain']:.4g}",
                ),
            ]  # fmt: skip
    return records, rows


def _cycles(held: list[np.ndarray], positions: list[float], bits: int) -> Mapping[str, float]:
    """Return mean cycles of 64 MACs: by digits, by the better of two a group, and the bound."""
    form = FixedFormat(bits=bits)
    total = dict.fromkeys((*DIGITS, "choice", "floor"), 0.0)
    macs = sum(x.size * p for x, p in zip(held, positions))
    for x, times in zip(held, positions):
        found = {
            name: weight_cycles(x, BitletArray(engine=Engine(format=form, digits=name)))
            for name in DIGITS
        }
        for name, cycles in found.items():
            total[name] += float(cycles.sum()) * times
        total["choice"] += float(np.minimum(found["plain"], found["signed"]).sum()) * times
        total["floor"] += float(floor_cycles(x, bits + 1, 64, 8).sum()) * times
    return {name: 64 * cycles / macs for name, cycles in total.items()}


def _closed(held: list[np.ndarray], positions: list[float], bits: int) -> float:
    """Return the closed form of ``split``, layer by layer, from counted digits."""
    total = macs = 0.0
    for x, times in zip(held, positions):
        half = x >> 1
        used = (x + half) ^ half
        zeros = [1 - float(np.mean(used >> place & 1)) for place in range(bits + 1)]
        for size in {64: x.shape[1] // 64, x.shape[1] % 64: 1}.items():
            width, count = size
            if width and count:
                each = expected_cycles(zeros[1:], width, 8, halved=zeros[:1])
                total += each * count * len(x) * times
        macs += x.size * times
    return 64 * total / macs


def _floating(
    graph: Graph, image: np.ndarray, whose: str, progress: Progress
) -> list[tuple[Cell, ...]]:
    """Count floating formats on one image."""
    rows: list[tuple[Cell, ...]] = []
    names = ("fp16", "bf16", "fp32")
    for done, precision in enumerate(names):
        cells: list[Cell] = []
        for name in DIGITS:
            progress.step(f"{precision}, {name} digits", done, len(names))
            engine = Engine(format=number_format(precision), digits=name)
            found: NetworkCycles = run_network(
                graph, {graph.inputs[0]: image}, BitletArray(engine=engine), bits=False,
                exact_macs=1 << 20, error=0.01, progress=progress,
            )  # fmt: skip
            cells.append(found.cycles_per_64_macs)
        rows.append((f"{whose}, one image", precision, *cells, None, None))
    return rows


def _digit_table(rows: list[tuple[Cell, ...]]) -> Table:
    return Table(
        title="Signed digits: cycles of 64 MACs", rows=tuple(rows),
        columns=(Column(name="weights"), Column(name="format"),
                 *(Column.number(name) for name in DIGITS),
                 Column.number("plain or signed by group"), Column.number("no recoding below")),
        caption="All give the same values bit for bit. An odd weight has a digit at the lowest "
        "place in every form with digits -1, 0 and 1, so signed digits stop at about half the "
        "weights, as plain bits do; `split` gives that place a second lane.",
    )  # fmt: skip


def _columns(
    graph: Graph, whose: str, stored: tuple[str, ...], progress: Progress
) -> tuple[list[Record], Table]:
    """Hold coded weights beside plain ones, and what that does to a network."""
    records: list[Record] = []
    rows: list[tuple[Cell, ...]] = []
    layers = _layers(graph)
    for done, precision in enumerate(stored):
        progress.step("bit columns", done, len(stored))
        form = number_format(precision)
        array = BitletArray(engine=Engine(format=form), storage="columns")
        plain = coded = bound = 0.0
        smaller = 0
        for one in layers:
            held = _grid(one.weights, form.bits) if isinstance(form, FixedFormat) else one.weights
            words, columns = weight_words(held, form), word_columns(form)
            exponent = (
                (0, 0) if isinstance(form, FixedFormat)
                else (form.fraction_bits, form.exponent_bits)
            )  # fmt: skip
            found = None if one.region is None else stored_weights(one.region, None, array)
            if found is None:
                raise TypeError("a product without constant weights")
            if not np.array_equal(decode(found.data), words):
                raise ArithmeticError(f"{precision}: weights did not come back")
            size = words.size * form.storage_bits / 8
            plain, coded = plain + size, coded + found.size_bytes
            bound += entropy_bytes(words, columns, exponent=exponent)
            smaller += found.size_bytes < size
        both = [_network(graph, precision, storage) for storage in ("plain", "columns")]
        rows.append((precision, plain, coded, coded / plain, bound / plain,
                     f"{smaller} of {len(layers)}",
                     both[1][0] / both[0][0], both[1][1] / both[0][1],
                     both[0][2] - both[1][2]))  # fmt: skip
        records.append(compared(
            f"bit columns, {precision}, {whose}: bytes over plain", "", ours=coded / plain,
            basis=Basis.MEASURED, source=_OURS, judge="entropy of independent weights",
            judge_value=bound / plain, tolerance=0.12,
        ))  # fmt: skip
    table = Table(
        title=f"Weights as bit columns: {whose}", rows=tuple(rows),
        columns=(Column(name="format"), Column.number("plain", "B"), Column.number("columns", "B"),
                 Column.number("of plain"), Column.number("entropy"),
                 Column(name="layers that gain"), Column.number("all traffic"),
                 Column.number("latency"), Column.number("DRAM energy saved", "J")),
        caption="The accelerator's own files, the filters of a tile in four blocks, read back "
        "and compared. The last three are the whole network's, batch 1, activations included, "
        "traffic and latency over the plain version's; DRAM at the pJ/bit of the device, decoders' "
        "energy left out. Small layers pay their header; fraction bits are noise and stay raw.",
    )  # fmt: skip
    return records, table


def _network(graph: Graph, precision: str, storage: str) -> tuple[float, float, float]:
    """Return bytes, seconds and joules of DRAM of all products."""
    made = resolve(f"bitlet(precision={precision!r}, storage={storage!r})")
    if not isinstance(made.cost, BitletCost):
        raise TypeError("bitlet without its cost model")
    moved, seconds = 0, 0.0
    for region in graph.regions():
        if region.members[0].operator not in _PRODUCTS:
            continue
        cost = made.cost.cost(region, made.device)
        moved += cost.offchip_bytes or 0
        seconds += cost.latency_s
    each = made.device.offchip.energy_j_per_byte
    if each is None:
        raise TypeError("a memory without its energy")
    return moved, seconds, moved * each
