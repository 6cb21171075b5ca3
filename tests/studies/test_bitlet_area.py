"""The element's area by published block: nothing lost, nothing moved, sums as printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.progress import SILENT
from orrery.report import Table, Text
from orrery.rtl import Resources
from orrery.studies.bitlet._area import (
    AREAS,
    ElementArea,
    area_of_element,
    area_parts,
    area_sections,
    share_records,
    sum_records,
)
from orrery.studies.bitlet._blocks import BLOCKS, SHARED, _block_of

pytestmark = [pytest.mark.rtl, pytest.mark.needs("amaranth", "pyosys", "g++")]


@pytest.fixture(scope="module")
def found() -> ElementArea:
    return area_of_element(SILENT, "fp16", fpga=False, group=4, beat=4, align=4, window=2)


def test_the_printed_total_is_the_sum_of_its_blocks_at_28_nm_only() -> None:
    small, large = sum_records()
    assert small.ours == pytest.approx(1.542) and small.status == "match"
    assert large.ours == pytest.approx(5.843) and large.status == "differs"
    assert all(list(blocks) == list(BLOCKS) for blocks, _ in AREAS.values())


def test_blocks_are_the_whole_element(found: ElementArea) -> None:
    assert set(found.blocks) == {*BLOCKS, SHARED}
    assert sum(b.area for b in found.blocks.values()) == pytest.approx(found.apart.area)
    flops = sum(b.sequential for b in found.blocks.values())
    assert flops == pytest.approx(found.apart.sequential)
    assert found.blocks[SHARED].area < 0.01 * found.apart.area
    assert found.blocks[SHARED].sequential == 0
    assert found.whole.area < found.apart.area < 1.1 * found.whole.area


def test_blocks_hold_what_they_are_named_for(found: ElementArea) -> None:
    """Modules by instances: 4 pairs and aligners, 11 lanes, one tree, one packer."""
    whole = {module.name: module for module in found.whole.modules}
    assert list(whole) == [found.circuit.name]
    apart = {module.name: module for module in found.apart.modules}
    lane = next(m for name, m in apart.items() if name.startswith("lane_"))
    lanes = apart[f"{found.circuit.name}_lanes"]
    assert lane.instances == 11 and lanes.instances == 1
    assert 11 * lane.total <= lanes.total < 12 * lane.total
    assert _block_of("largest") == "preprocessing"
    assert _block_of("largest_3") == _block_of("o__valid") == "postprocessing"
    assert _block_of("popped_largest") == "orchestrator_decoder"


def test_the_netlists_were_compared(found: ElementArea) -> None:
    for one in (found.apart.verified, found.whole.verified):
        assert one.compared > 1000 and one.unreset == ()


def test_records_and_tables_show_ours_beside_the_published(found: ElementArea) -> None:
    records = share_records(found)
    assert len(records) == 2 * len(BLOCKS) + 1
    shares = [r.ours or 0 for r in records if "28 nm" in r.name]
    assert 99 < sum(shares) <= 100
    assert sum(r.published or 0 for r in records if "28 nm" in r.name) == pytest.approx(100)
    assert all(r.note for r in records)
    mapped = Resources(
        family="xcup", lut=7, lut_memory=4, flip_flop=9, dsp=0, bram=0.5, carry=2, cells={},
        tool="a tool", script="", verified=None, notes=(),
    )  # fmt: skip
    assert len(area_sections(found)) == 3
    table, blocks, notes, fpga = area_sections(replace(found, fpga=mapped))
    assert isinstance(table, Table) and isinstance(blocks, Table) and isinstance(fpga, Table)
    assert [row[0] for row in table.rows] == [*BLOCKS, SHARED]
    assert sum(row[2] for row in table.rows) == pytest.approx(100)  # type: ignore[misc]
    assert sum(row[5] for row in table.rows) == pytest.approx(100)  # type: ignore[misc]
    assert isinstance(notes, Text) and any("5.843 mm2" in p for p in notes.paragraphs)
    assert [row[1] for row in fpga.rows] == [7, 4, 9, 2, 0, 0.5]
    assert "not simulated" in fpga.caption


def test_a_small_study_says_why_nothing_is_synthesised() -> None:
    records, sections = area_parts(0.1, SILENT)
    assert [r.published for r in records] == [1.542, 5.80]
    assert isinstance(sections[0], Text) and "scale 1" in sections[0].paragraphs[0]
