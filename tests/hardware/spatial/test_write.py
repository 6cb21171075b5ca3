"""What is written is read back as the same machine, every number with its source."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from orrery.hardware import Architecture, architecture_names, load_architecture, read_timeloop
from orrery.hardware.spatial import read_architecture_text, write_architecture
from orrery.provenance import Basis, Source

from .timeloop_files import ERT, NEW, written

SAID = Source(basis=Basis.PUBLISHED, where="test")


def bare(a: Architecture) -> Architecture:
    """Return a machine with one source for everything, and without notes."""
    return replace(
        a, notes=(), sources={f.name: SAID for f in fields(a)},
        axes=tuple(replace(x, sources={f.name: SAID for f in fields(x)}) for x in a.axes),
        levels=tuple(replace(x, sources={f.name: SAID for f in fields(x)}) for x in a.levels),
    )  # fmt: skip


def same(one: Architecture, other: Architecture) -> None:
    assert bare(one) == bare(other)
    for a, b in zip((one, *one.levels), (other, *other.levels), strict=True):
        for field in fields(a):
            value = getattr(a, field.name)
            if isinstance(value, float) or field.name in ("word_bits", "capacity_bits"):
                assert a.sources.get(field.name) == b.sources.get(field.name) or value is None


@pytest.mark.parametrize("name", architecture_names())
def test_the_catalogue_comes_back(name: str) -> None:
    array = load_architecture(name)
    text = write_architecture(array)
    same(array, read_architecture_text(text))
    assert write_architecture(read_architecture_text(text)) == text


def test_streams_networks_and_systolic_axes_come_back() -> None:
    array = load_architecture("gemmini-16")
    levels = (*array.levels[:2], replace(
        array.levels[2], double_buffered=(), streams=("output",),
        network_bits_per_cycle={"output": 12.5}, loops=("Cout", "N"),
        sources={**array.levels[2].sources, "network_bits_per_cycle": SAID},
    ), *array.levels[3:])  # fmt: skip
    axes = tuple(replace(axis, systolic=True) for axis in array.axes)
    changed = replace(array, axes=axes, levels=levels)
    again = read_architecture_text(write_architecture(changed))
    same(changed, again)
    assert again.wavefront_cycles == 30
    assert again.levels[2].sources["network_bits_per_cycle"] == SAID


def test_a_translation_comes_back_with_its_notes_as_comments(tmp_path: Path) -> None:
    array = read_timeloop(*written(tmp_path, array=NEW, ert=ERT)).architecture
    text = write_architecture(array)
    same(array, read_architecture_text(text))
    assert all(f"# {note}\n" in text for note in array.notes)
