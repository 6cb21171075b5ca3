"""The area of our element beside the published one, block by block.

Ours: every block of `_blocks` synthesised by itself to this package's cells, in NAND2 equivalents,
and the element dissolved into one for its longest path; both netlists are compared with the RTL.
Ignores: wires, clock tree, drive strengths; buffers are flip-flops. Judge: the published shares,
which are of another circuit, library and tool, so that agreement is not to be expected in detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orrery.errors import MissingExtraError
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Cell, Column, Section, Table, Text
from orrery.rtl import Circuit, Resources, Synthesis, resources, synthesise

from .._frame import Record, compared
from ._blocks import BLOCKS, SHARED, BlockArea, block_areas
from ._published import PAPER

#: process in nm -> area of 32 elements by block, mm2, and the total printed below them.
AREAS: Mapping[int, tuple[Mapping[str, float], float]] = {
    28: ({"preprocessing": 0.553, "wire orchestrator and decoder": 0.570,
          "RR-reg and window": 0.131, "adder tree": 0.244, "postprocessing": 0.044}, 1.542),
    65: ({"preprocessing": 1.916, "wire orchestrator and decoder": 2.327,
          "RR-reg and window": 0.7, "adder tree": 0.7, "postprocessing": 0.2}, 5.80),
}  # fmt: skip
_TABLE = f"{PAPER}, table 9"
PUBLISHED_CLOCK_HZ = 1e9

_WHY = {
    "preprocessing": "ours holds a group's operands once more while the lanes work on the one "
    "before, all in flip-flops; the released engine's registers here are not published",
    "wire orchestrator and decoder": "a selection of one of the group's activations in each lane, "
    "mapped for area to NANDs and two-way multiplexers of our library, and the copy of the "
    "activations it selects from",
    "RR-reg and window": "each lane keeps its column of bits in flip-flops with enables",
    "adder tree": "rows of compressors with registers between them, and the accumulator",
    "postprocessing": "with the exponent and the accumulator that travel beside the packer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementArea:
    """What synthesis says of one element.

    Attributes
    ----------
    circuit : the element
    blocks : area by published block
    apart : synthesised block by block; `whole` dissolved into one
    fpga : what it takes of an UltraScale+ FPGA; None where that was not asked
    """

    circuit: Circuit
    blocks: Mapping[str, BlockArea]
    apart: Synthesis
    whole: Synthesis
    fpga: Resources | None

    def share(self, block: str) -> float:
        """Return a block's share of the area in %."""
        return 100 * self.blocks[block].area / self.apart.area


def area_of_element(
    progress: Progress, precision: str = "fp32", *, fpga: bool = True, **sizes: Any
) -> ElementArea:
    """Synthesise one element; by default the published one, which takes minutes the first time."""
    from orrery.accel.bitlet.circuit import circuit

    made = circuit(precision=precision, **sizes)
    progress.step("gates of the element, block by block", 0, 3)
    apart, blocks = block_areas(made)
    progress.step("gates of the element, dissolved", 1, 3)
    whole = synthesise(made, by_module=False)
    progress.step("the element on an FPGA", 2, 3)
    mapped = resources(made) if fpga else None
    return ElementArea(circuit=made, blocks=blocks, apart=apart, whole=whole, fpga=mapped)


def area_parts(scale: float, progress: Progress) -> tuple[list[Record], list[Section]]:
    """Return records and sections of the area: below scale 1 without a synthesis of ours."""
    records, sections = sum_records(), list[Section]()
    if scale < 1:
        said = "The element is synthesised from scale 1 on: it takes minutes the first time."
        return records, [Text(title="Area by block", tone="note", paragraphs=(said,))]
    try:
        found = area_of_element(progress)
    except (MissingExtraError, ModuleNotFoundError) as error:
        said = f"Not synthesised: {error}."
        return records, [Text(title="Area by block", tone="note", paragraphs=(said,))]
    records += share_records(found)
    sections += area_sections(found)
    return records, sections


def sum_records() -> list[Record]:
    """Return the sums of the published blocks beside the printed totals."""
    return [
        compared(
            f"area of 32 elements at {process} nm: sum of the published blocks", "mm2",
            published=total, ours=sum(blocks.values()), basis=Basis.ESTIMATED, source=_TABLE,
            tolerance=0.001, note="printed blocks added up, beside the printed total",
        )
        for process, (blocks, total) in AREAS.items()
    ]  # fmt: skip


def share_records(found: ElementArea) -> list[Record]:
    """Return our shares beside the published ones, and the clock."""
    records = [
        compared(
            f"share of the area at {process} nm: {block}", "%",
            published=100 * blocks[block] / sum(blocks.values()), ours=found.share(block),
            basis=Basis.ESTIMATED, source=_TABLE, tolerance=0.15,
            note=f"{found.circuit.name} in cells of {found.apart.library}, no wires, no SRAM; "
            f"{_WHY[block]}",
        )
        for process, (blocks, _) in AREAS.items() for block in BLOCKS
    ]  # fmt: skip
    longest = found.whole.clock_hz
    if longest is not None:
        records.append(compared(
            "clock of the element", "Hz", published=PUBLISHED_CLOCK_HZ, ours=longest,
            basis=Basis.ESTIMATED, source=f"{PAPER}, table 3, 28 nm", tolerance=0.15,
            note=f"path from flip-flop to flip-flop, mapped for area with no clock constraint, "
            f"cells of {found.whole.library} with an inverter of 4 ps (assumed, near 45 nm), "
            "nets of many pins through ideal trees of buffers, no wires",
        ))  # fmt: skip
    return records


def area_sections(found: ElementArea) -> list[Section]:
    """Return the tables: blocks, what they are, the FPGA."""
    sections: list[Section] = [_shares(found), _blocks(), _notes(found)]
    return sections if found.fpga is None else [*sections, _fpga(found.fpga)]


def _shares(found: ElementArea) -> Table:
    logic = found.apart.area - found.apart.sequential
    rows: list[tuple[Cell, ...]] = []
    for name in (*BLOCKS, SHARED):
        block = found.blocks[name]
        printed = [
            None if name == SHARED else 100 * blocks[name] / sum(blocks.values())
            for blocks, _ in AREAS.values()
        ]
        rows.append((
            name, block.area, found.share(name), *printed,
            100 * (block.area - block.sequential) / logic,
            100 * block.sequential / block.area if block.area else None,
        ))  # fmt: skip
    unit = found.apart.area_unit
    return Table(
        title="Area by block beside the published", rows=tuple(rows),
        columns=(
            Column(name="block"), Column.number(f"ours, {unit}"),
            Column.number("ours in %", bar=True),
            *(Column.number(f"published at {process} nm in %", bar=True)
              for process in AREAS),
            Column.number("ours without flip-flops in %", help="shares of the gates alone"),
            Column.number("of it flip-flops in %"),
        ),
        caption=f"{found.circuit.name}, one element of {found.apart.area:.6g} {unit}, "
        f"{100 * found.apart.sequential_share:.3g} % flip-flops; published: 32 elements, shares of "
        "the sum of the blocks. Absolute areas cannot be compared: other library, other process.",
    )  # fmt: skip


def _blocks() -> Table:
    rows = tuple((name, block.reason, ", ".join(block.patterns)) for name, block in BLOCKS.items())
    return Table(
        title="What of ours each published block is", rows=rows,
        columns=(Column(name="block"), Column(name="ours"),
                 Column(name="modules and registers of the top")),
        caption="The paper names the blocks and does not list what is in them; this is our "
        f"reading. Gates of the top go to the block that alone uses them, else to {SHARED!r}.",
    )  # fmt: skip


def _notes(found: ElementArea) -> Text:
    (small, _), (large, total) = AREAS.values()
    more = 100 * (found.apart.area / found.whole.area - 1)
    said = [
        f"Dissolved into one, the element takes {found.whole.area:.6g} {found.whole.area_unit}; "
        f"with the blocks and modules kept {more:.2g} % more.",
        "Why ours differs: buffers are flip-flops, for want of a published memory; the element "
        "keeps one group in the lanes and the next one before them; the library is our own, with "
        "one drive strength; Yosys and ABC map for area, the paper's tool for 1 GHz.",
        f"The published shares differ between the processes themselves: {_ranges(small, large)}. "
        f"At 65 nm the blocks add up to {sum(large.values()):.4g} mm2, the printed total is "
        f"{total:g}.",
        f"Netlists compared with the RTL: {found.apart.verified.compared} and "
        f"{found.whole.verified.compared} cycles, every input bit reaches an output.",
    ]
    path = found.whole.longest
    if path is not None:
        said.append(
            f"Longest path: {path.kind}, {path.start} to {path.end}, {1e9 * path.delay_s:.3g} ns "
            f"through {len(path.steps)} cells ({found.whole.library}, assumed 4 ps an inverter)."
        )
    return Text(title="Reading the areas", tone="note", paragraphs=tuple(said))


def _ranges(small: Mapping[str, float], large: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {100 * small[name] / sum(small.values()):.3g} % and "
        f"{100 * large[name] / sum(large.values()):.3g} %"
        for name in small
    )


def _fpga(fpga: Resources) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = (
        ("look-up tables", fpga.lut), ("look-up tables as memory", fpga.lut_memory),
        ("flip-flops", fpga.flip_flop), ("carry cells", fpga.carry), ("DSP", fpga.dsp),
        ("block RAM", fpga.bram),
    )  # fmt: skip
    checked = "not simulated" if fpga.verified is None else f"{fpga.verified.compared} cycles"
    return Table(
        title=f"One element on an FPGA ({fpga.family})", rows=rows,
        columns=(Column(name="resource"), Column.number("count")),
        caption=f"{fpga.tool}, before placement; netlist compared with the RTL: {checked}. "
        "The authors' IP for a ZU15EG takes 27 K look-up tables and 7 K flip-flops at 200 MHz; "
        "it is another build, so the figures are not compared.",
    )  # fmt: skip
