"""Timeloop's files: both spellings say the same machine; what is not held is named, not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import SpecError
from orrery.hardware import Architecture, load_architecture, read_timeloop
from orrery.provenance import Basis

from .timeloop_files import ERT, MAPPING, NEW, OLD, PROBLEM, PROBLEM_NEW, written


def bare(array: Architecture) -> list[object]:
    """Return what counts of an array: no names of axes, no sources, no notes."""
    axes = {axis.name: f"{axis.size} {axis.loops}" for axis in array.axes}
    levels = [
        (level.name, level.holds, level.capacity_bits, level.word_bits, level.read_bits_per_cycle,
         level.read_energy_j, level.write_energy_j, level.static_power_w,
         [axes[name] for name in level.per], [axes[name] for name in level.multicast])
        for level in array.levels
    ]  # fmt: skip
    return [sorted(axes.values()), levels, array.bits, array.partial_sum_bits, array.clock_hz,
            array.process_nm, array.mac_energy_j]  # fmt: skip


def test_both_spellings_are_the_same_machine(tmp_path: Path) -> None:
    (new,) = written(tmp_path, new=NEW)
    (old,) = written(tmp_path, old=OLD)
    one, other = load_architecture(new), load_architecture(old)
    assert bare(one) == bare(other)
    assert [axis.size for axis in one.axes] == [4, 3] == [axis.size for axis in other.axes]
    glb, pixels, filters, sums = one.levels[1:]
    assert (glb.capacity_bits, glb.word_bits, glb.read_bits_per_cycle) == (128 * 64, 64, 8 * 8)
    assert glb.holds == ("input", "output") and pixels.holds == ("input",)
    assert (filters.capacity_bits, sums.capacity_bits) == (256, 64)
    assert (one.bits["input"], one.partial_sum_bits, one.clock_hz) == (8, 16, 5e8)
    assert set(one.axes[0].loops or ()) == {"Cout", "H"}
    assert one.axes[1].loops is None


def test_what_is_not_taken_over_is_named(tmp_path: Path) -> None:
    (path,) = written(tmp_path, old=OLD)
    notes = "\n".join(load_architecture(path).notes)
    for said in ("n_banks of glb", "spare holds nothing", "pixels: temporal constraint",
                 "no energy reference table"):  # fmt: skip
        assert said in notes
    free = OLD.replace("keep: [Inputs], bypass: [Weights, Outputs]", "keep: [Inputs]")
    (path,) = written(tmp_path, free=free)
    assert "pixels: weight, output may pass by" in "\n".join(load_architecture(path).notes)


def test_energies_come_from_the_reference_table_alone(tmp_path: Path) -> None:
    (alone,) = written(tmp_path, new=NEW)
    assert load_architecture(alone).levels[0].read_energy_j is None
    array = read_timeloop(*written(tmp_path, new=NEW, ert=ERT)).architecture
    dram, glb, pixels, *_ = array.levels
    assert (dram.read_energy_j, dram.write_energy_j) == pytest.approx((512e-12, 500e-12))
    assert pixels.write_energy_j == pytest.approx(0.1e-12)
    assert glb.static_power_w == pytest.approx(0.5e-12 / 2e-9)
    assert array.mac_energy_j == pytest.approx(0.21e-12)  # the dearest of two cases
    assert array.static_power_w == pytest.approx(12 * 0.01e-12 / 2e-9)
    short = ERT.replace("whole.glb[1..1]", "whole.other")
    array = read_timeloop(*written(tmp_path, new=NEW, ert=short)).architecture
    assert array.levels[1].read_energy_j is None
    assert "glb is not in the ERT" in "\n".join(array.notes)


def test_prices_that_the_table_does_not_have_are_assumed_none(tmp_path: Path) -> None:
    silent = ERT.replace(", {name: leak, energy: 0.5}", "")
    array = read_timeloop(*written(tmp_path, new=NEW, ert=silent)).architecture
    glb = array.levels[1]
    assert glb.static_power_w == array.hop_energy_j_per_bit == 0
    assert glb.sources["static_power_w"].basis is Basis.ASSUMED
    assert array.sources["hop_energy_j_per_bit"].basis is Basis.ASSUMED
    assert array.sources["mac_energy_j"].basis is Basis.ESTIMATED
    assert "the ERT prices no leakage: none is counted" in array.notes


FLAT = """\
dumped_by_timeloop_front_end: true
architecture:
  version: '0.4'
  subtree:
  - name: whole
    attributes: {technology: "SET ME", global_cycle_seconds: 2e-9, datawidth: 16}
    local:
    - {name: "dram[1..1]", class: DRAM, attributes: {width: 64, datawidth: 8, cluster_size: 1}}
    - {name: "glb[1..1]", class: smartbuffer_SRAM,
       attributes: {depth: 128, width: 64, datawidth: 8, n_banks: 4, read_bandwidth: 8}}
    - {name: "inter_column_spatial[1..1]", class: dummy_storage, attributes: {meshX: 1}}
    - {name: "inter_cell_spatial[1..4]", class: dummy_storage, attributes: {meshX: 4}}
    - {name: "pixels[1..12]", class: smartbuffer_RF,
       attributes: {depth: 8, width: 8, word-bits: 8, meshX: 4, technology: "45nm"}}
    - {name: "filters[1..12]", class: smartbuffer_RF,
       attributes: {depth: 16, width: 16, datawidth: 8, meshX: 4}}
    - {name: "sums[1..12]", class: smartbuffer_RF, attributes: {depth: 4, width: 16, meshX: 4}}
    - {name: "mac[1..12]", class: intmac, attributes: {meshX: 4}}
architecture_constraints:
  targets:
  - {target: glb, type: dataspace, keep: [Inputs, Outputs], bypass: [Weights]}
  - {target: pixels, type: dataspace, keep: [Inputs], bypass: [Weights, Outputs]}
  - {target: filters, type: dataspace, keep: [Weights], bypass: [Inputs, Outputs]}
  - {target: sums, type: dataspace, keep: [Outputs], bypass: [Inputs, Weights]}
  - {target: inter_column_spatial, type: spatial, factors: "N=1,C=1,P=1,R=1,S=1",
     permutation: NCPRSQM, split: 7}
mapspace: {template: uber}
sparse_optimizations: {version: 0.4, targets: []}
"""


def test_what_the_front_end_keeps_is_the_same_machine(tmp_path: Path) -> None:
    (flat,) = written(tmp_path, flat=FLAT)
    (new,) = written(tmp_path, new=NEW)
    assert bare(load_architecture(flat)) == bare(load_architecture(new))
    said = read_timeloop(*written(tmp_path, flat=FLAT, layer=PROBLEM, nest=MAPPING.replace(
        "target: c", "target: inter_c").replace("cell,", "cell_spatial,").replace(
        "column,", "column_spatial,")))  # fmt: skip
    assert set(said.axes_of) == {"inter_column_spatial", "inter_cell_spatial"}
    assert not any("sparse" in note for note in said.architecture.notes)


@pytest.mark.parametrize(
    ("factors", "loops", "fixed"),
    [
        ("factors_only: [Q=4]", {"H"}, {"H": 4}),
        ("factors_only: [Q=2, M=2]", {"H", "Cout"}, {"H": 2, "Cout": 2}),
        ("factors: [N=1, C=1, P=1, R=1, S=1, M=1, Q=4]", {"H"}, {"H": 4}),
        ("factors: [N=1, C=1, P=1, R=1, S=1, Q=2]", {"H", "Cout"}, None),
        ('factors_only: [Q=2, "M<=2"]', {"H", "Cout"}, None),
        ("permutation: [N, C, P, R, S, M, Q]", None, None),
    ],
)
def test_factors_along_the_array_are_fixed_where_they_leave_no_choice(
    tmp_path: Path, factors: str, loops: set[str] | None, fixed: dict[str, int] | None
) -> None:
    (path,) = written(tmp_path, new=NEW.replace("factors: [N=1, C=1, P=1, R=1, S=1]", factors))
    array = load_architecture(path)
    assert array.axes[0].fixed == fixed
    assert array.axes[0].loops == loops or set(array.axes[0].loops or ()) == loops
    kept_out = [note for note in array.notes if note.startswith("column: ")]
    assert bool(kept_out) == (fixed is None and "2" in factors)


def test_a_split_says_what_runs_in_x_and_what_in_y(tmp_path: Path) -> None:
    both = NEW.replace("spatial: {meshX: 4}", "spatial: {meshX: 4, meshY: 3}").replace(
        "  - !Container {name: cell, spatial: {meshY: 3}}\n", "")  # fmt: skip
    text = both.replace("factors: [N=1, C=1, P=1, R=1, S=1]",
                        "factors_only: [Q=4, S=3], permutation: [Q, S], split: 1")  # fmt: skip
    x, y = load_architecture(*written(tmp_path, new=text)).axes
    assert (x.size, x.fixed, y.size, y.fixed) == (4, {"H": 4}, 3, {"Kh": 3})
    text = text.replace(", permutation: [Q, S], split: 1", "")
    x, y = load_architecture(*written(tmp_path, new=text)).axes
    assert x.fixed is y.fixed is None
    assert set(x.loops or ()) == set(y.loops or ()) == {"H", "Kh"}


@pytest.mark.parametrize(
    "line", ["x: {{cwd}}", "  <<: *base", "x: {a: 1, <<: *base}", "{% if a %}"]
)
def test_templates_are_refused_with_where_the_result_lies(tmp_path: Path, line: str) -> None:
    (path,) = written(tmp_path, made=f"{NEW}{line}\n")
    with pytest.raises(SpecError, match=r"made.yaml:\d+.*parsed-processed-input.yaml"):
        load_architecture(path)


def test_a_folder_is_read_by_top_level_keys(tmp_path: Path) -> None:
    written(tmp_path, new=NEW, ert=ERT, layer=PROBLEM, other="unrelated: {a: b}\n",
            search="mapper: {timeout: 100}\n")  # fmt: skip
    said = read_timeloop(tmp_path)
    assert said.problem is not None and said.directives is None
    assert load_architecture(tmp_path).mac_energy_j is not None
    written(tmp_path, again=OLD)
    with pytest.raises(SpecError, match="a second `architecture:`"):
        read_timeloop(tmp_path)


@pytest.mark.parametrize("problem", [PROBLEM, PROBLEM_NEW])
def test_dimensions_become_loops_by_the_tensors_they_index(tmp_path: Path, problem: str) -> None:
    said = read_timeloop(*written(tmp_path, new=NEW, layer=problem, nest=MAPPING))
    assert said.problem is not None and said.directives is not None
    assert said.problem.loops == {"P": "W", "R": "Kw", "Q": "H", "S": "Kh", "C": "Cin",
                                  "M": "Cout", "N": "N"}  # fmt: skip
    pixels = next(t for t in said.problem.tensors if t.name == "Inputs")
    assert pixels.axes[2:] == ((("Kw", 1), ("W", 2)), (("Kh", 1), ("H", 1)))
    outermost = said.directives[-1]
    assert [f for f in outermost.factors if f[1] > 1] == [("Cin", 3), ("W", 2), ("Cout", 2)]


def test_a_product_of_matrices_by_other_names(tmp_path: Path) -> None:
    product = """\
problem:
  shape:
    name: product
    dimensions: [A, B, D]
    data_spaces:
    - {name: Left, projection: [[[A]], [[D]]]}
    - {name: Right, projection: [[[D]], [[B]]]}
    - {name: Out, projection: [[[A]], [[B]]], read_write: true}
  instance: {A: 5, B: 6, D: 7}
"""
    plain = NEW.replace("      spatial: {factors: [N=1, C=1, P=1, R=1, S=1]}\n", "").replace(
        "    constraints:\n  - !Container {name: cell", "  - !Container {name: cell").replace(
        ", temporal: {permutation: [R, S]}", "")  # fmt: skip
    plain = plain.replace("Inputs", "Left").replace("Weights", "Right").replace("Outputs", "Out")
    said = read_timeloop(*written(tmp_path, array=plain, layer=product))
    assert said.problem is not None
    assert said.problem.loops == {"A": "N", "B": "Cout", "D": "Cin"}
    assert "Left is taken as input, Right is taken as weight" in "\n".join(said.architecture.notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("depth: 128", "depth: rows // 2", "parsed-processed-input.yaml"),
        ("meshX: 4", "meshX: 0", "a whole number, 1 to"),
        ("!Parallel", "!Paralel", "tag '!Paralel'"),
        ("C=1, P=1", "C=1, Z=1", "dimensions N, G, C"),
        ("keep: [Weights]", "keep: [Wheat]", "Inputs, Weights or Outputs"),
        ("keep: [Inputs, Outputs], bypass: [Weights]", "keep: [Inputs], bypass: [Inputs]",
         "input is to be kept and to pass glb by"),
        ("version: 0.4", "version: 0.9", "version 0.9', wanted one of 0.2, 0.3, 0.4"),
        ("class: intmac", "class: adder", "1 of each|at least one of each"),
        ("global_cycle_seconds: 2e-9", "global_cycle_seconds: none", "a number above 0"),
        ("name: cell", 'name: "cell[0..3]"', "a name without a range"),
        ("name: filters", "name: pixels", "a second memory of the name 'pixels'"),
        ("name: cell", "name: column", "two fan-outs of the name 'column'"),
        ("meshX: 4", "meshX: 70000", r"translated.*a whole number, 1 to 65536"),
        ("architecture:\n", "architecture: !Problem\n", "the tag !Problem"),
        ("  nodes:\n", "  nodes: &all\n  - *all\n", "an alias within its own anchor"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in NEW
    (path,) = written(tmp_path, bad=NEW.replace(old, new, 1))
    with pytest.raises(SpecError, match=said):
        load_architecture(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("word-bits: 8, meshX: 4}", "word-bits: 8, meshX: 5}", "a divisor of 12"),
        ("target: glb, type: bypass", "target: gbl, type: bypass", "did you mean 'glb'"),
        ("spare[0..3]", "spare[3..0]", "a range that rises"),
        ("PE[0..11]", "PE[0..-1]", r"'PE\[0..-1\]', wanted a name, or one with a range that rises"),
        ("PE[0..11]", "PE[0..99999999999]", "a range that rises"),
        ("PE[0..11]", "PE[0..999999999]", "a range that rises, of at most 16,777,216"),
        ("PE[0..11]", "PE[0..11", "a range that rises"),
        ("name: glb\n", "name: dram\n", r"a second memory of the name 'dram'.*rename one"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_old_spelling(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OLD
    (path,) = written(tmp_path, bad=OLD.replace(old, new, 1))
    with pytest.raises(SpecError, match=said):
        load_architecture(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("P: 8, Q: 8", "P: 8", "no extent of Q"),
        ("[P, Wstride]", "[P, Wstrid]", "did you mean 'Wstride'"),
        ("read-write: True", "read-write: False", "one that is written"),
        ("[[N]], [[C]]", "[[N]], [[X]]", "one of C, M, R"),
        ("Wstride: 2", "Wstride: 2x", r"layer.yaml:\d+.*2x.*a whole number, 1 to"),
        ("Wstride: 2", "Wstride: two", r"layer.yaml:\d+.*found 'two'"),
        ("Wstride: 2", "Wstride: -2", r"layer.yaml:\d+.*found '-2'"),
        ("Wstride: 2", "Wstride: [2]", r"layer.yaml:\d+.*a list of 1"),
        ("Hstride, default: 1", "Hstride, default: 0", "a whole number, 1 to"),
        ("[P, Wstride]", "[P, 0]", "a number above 0"),
        ("problem:\n", "problem:\n  version: '7'\n", "version 7', wanted one of 0.2, 0.3, 0.4"),
    ],
)
def test_what_is_wrong_in_a_problem(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_timeloop(*written(tmp_path, new=NEW, layer=PROBLEM.replace(old, new, 1)))


def test_values_that_name_nothing_in_the_shape_are_told(tmp_path: Path) -> None:
    layer = PROBLEM.replace("Wstride: 2", "Wstrid: 2, Wpad: 1")
    said = read_timeloop(*written(tmp_path, new=NEW, layer=layer))
    assert any(note.startswith("Wstrid, Wpad of the problem") for note in said.architecture.notes)


def test_tags_of_whole_parts_and_aliases_are_read(tmp_path: Path) -> None:
    plain = load_architecture(*written(tmp_path, new=NEW))
    pads = "attributes: {depth: 8, width: 8, datawidth: 8}"
    sums = "attributes: {depth: 4, width: 16, datawidth: 16}"
    assert pads in NEW and sums in NEW
    said = NEW.replace("architecture:", "architecture: !Architecture", 1).replace(
        pads, pads.replace("{", "&pads {")).replace(sums, "attributes: *pads")  # fmt: skip
    (path,) = written(tmp_path, new=said)
    array = load_architecture(path)
    assert array.levels[-1].capacity_bits == array.levels[2].capacity_bits == 64
    assert [one.name for one in array.levels] == [one.name for one in plain.levels]


def test_aliases_that_grow_are_stopped(tmp_path: Path) -> None:
    lines = ["variables:", "  a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for one, other in zip("abcde", "bcdef", strict=True):
        lines.append(f"  {other}: &{other} [{', '.join([f'*{one}'] * 10)}]")
    path, bomb = written(tmp_path, new=NEW, bomb="\n".join(lines))
    with pytest.raises(SpecError, match="too many entries, aliases written out"):
        read_timeloop(path, bomb)
