"""Judges: an array made up with known constants; cycles measured on RTL (Gemmini)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.cost.calibration import ArraySample, CalibratedArray, calibrate_array
from orrery.cost.calibration._array import _design, _slower
from orrery.cost.calibration._fit import Design, fit
from orrery.cost.calibration._validate import cross_validate, overall
from orrery.cost.nest import (
    Index,
    NestMapping,
    NestProblem,
    NestTensor,
    nest_bounds,
    nest_cost,
)
from orrery.errors import SpecError
from orrery.hardware import (
    Architecture,
    architecture_text,
    load_architecture,
    measured_text,
)
from orrery.hardware.spatial import read_architecture_text

_CHIP = load_architecture("gemmini-16")
ARRAY = replace(_CHIP, levels=(replace(_CHIP.levels[0], read_bits_per_cycle=128.0),
                               *_CHIP.levels[1:]))  # fmt: skip
SLOWER, OVERHEAD_S = 2.5, 4e-6


def product(rows: int, inner: int, cols: int, times: int = 1) -> tuple[NestProblem, NestMapping]:
    """A product of matrices, 16 x 16 at a time on the array, tiles of 64 rows from memory."""
    loops = (("N", rows), ("Cin", inner), ("Cout", cols))

    def axes(*names: str) -> tuple[Index, ...]:
        return tuple(Index(size=dict(loops)[n], terms=((n, 1),)) for n in names)

    problem = NestProblem(loops=loops, times=times, tensors=(
        NestTensor(name="x", role="input", axes=axes("N", "Cin")),
        NestTensor(name="w", role="weight", axes=axes("Cin", "Cout")),
        NestTensor(name="y", role="output", axes=axes("N", "Cout")),
    ))  # fmt: skip
    tile = min(64, rows)
    mapping = NestMapping(
        temporal=((("N", -(-rows // tile)), ("Cin", -(-inner // 16)), ("Cout", -(-cols // 16))),
                  (), (("N", tile),), ()),
        spatial={"rows": (("Cin", 16),), "cols": (("Cout", 16),)},
    )  # fmt: skip
    return problem, mapping


def samples(networks: int = 5, rows: int = 14, noise: float = 0.08) -> list[ArraySample]:
    """Layers as an array with a slower memory and an overhead per run would take them."""
    random, true = np.random.default_rng(0), _slower(ARRAY, SLOWER)
    found = []
    for network in range(networks):
        for number in range(rows):
            size = [int(16 * 2 ** random.integers(0, 6)) for _ in range(3)]
            times = int(random.choice([1, 1, 4]))
            nest = product(size[0], size[1], size[2], times)
            seconds = nest_cost(*nest, true).latency_s + OVERHEAD_S * times
            found.append(ArraySample(
                network=f"net{network}", layer=str(number), nests=(nest,),
                latency_s=float(seconds * np.exp(noise * random.standard_normal())),
            ))  # fmt: skip
    return found


@pytest.fixture(scope="module")
def found() -> CalibratedArray:
    return calibrate_array(ARRAY, lambda _: samples(), where="calibrated.csv")


def test_constants_come_back(found: CalibratedArray) -> None:
    bits = ARRAY.levels[0].read_bits_per_cycle
    assert bits is not None
    made = found.architecture
    assert made.levels[0].read_bits_per_cycle == pytest.approx(bits / SLOWER, rel=0.1)
    assert made.overhead_s == pytest.approx(OVERHEAD_S, rel=0.1)
    assert made.sources["overhead_s"].basis.value == "measured"
    assert 0.7 <= found.latency.coverage <= 0.9
    assert overall(found.latency)["median error after"] < 0.1


def test_the_file_gives_back_the_array(found: CalibratedArray) -> None:
    text = measured_text(architecture_text("gemmini-16"), found.architecture)
    assert read_architecture_text(text) == found.architecture
    again = measured_text(text, found.architecture)
    assert read_architecture_text(again) == found.architecture


def test_prices_are_dearer_and_no_bound_is_broken(found: CalibratedArray) -> None:
    for size in ((64, 64, 64), (512, 64, 256), (16, 512, 512)):
        problem, mapping = product(*size)
        before = nest_cost(problem, mapping, ARRAY)
        after = nest_cost(problem, mapping, found.architecture)
        assert after.latency_s > before.latency_s
        bounds = nest_bounds(problem, found.architecture, after)
        seconds = problem.operations / bounds[-1].operations_per_cycle / ARRAY.clock_hz
        assert after.latency_s == pytest.approx(seconds + (found.architecture.overhead_s or 0))


def two_nests(problem: NestProblem) -> list[NestMapping]:
    """One that computes faster, and one that moves less."""
    size = dict(problem.loops)
    cin, cout = size["Cin"], size["Cout"] // 16
    return [
        NestMapping(temporal=((("N", size["N"] // tile), ("Cout", cout), ("Cin", cin // wide)),
                              (), (("N", tile),), ()),
                    spatial={"rows": (("Cin", wide),), "cols": (("Cout", 16),)})
        for tile, wide in ((32, 16), (64, 8))
    ]  # fmt: skip


PROBLEMS = [product(64, cin, cout)[0] for cin in (16, 32, 64, 256) for cout in (16, 64, 256)]


def searching(array: Architecture, times: list[float], networks: int = 4) -> list[ArraySample]:
    """Layers of these times, each with the faster of its two nests on an array."""
    best = [
        min(two_nests(p), key=lambda m, p=p: nest_cost(p, m, array).latency_s) for p in PROBLEMS
    ]
    return [
        ArraySample(network=f"net{row % networks}", layer=str(row), nests=((problem, mapping),),
                    latency_s=seconds)
        for row, (problem, mapping, seconds) in enumerate(zip(PROBLEMS, best, times, strict=True))
    ]  # fmt: skip


def as_slow(factor: float) -> tuple[Architecture, list[float]]:
    """Return the array with a memory so much slower, and what its layers take there."""
    true = _slower(ARRAY, factor)
    some = searching(true, [1.0] * len(PROBLEMS))
    return true, [nest_cost(*one.nests[0], true).latency_s + OVERHEAD_S for one in some]


def test_nests_are_searched_again_at_the_bandwidth_that_is_written() -> None:
    """Of two nests a slow memory takes the one that computes slower and moves less."""
    true, times = as_slow(8.0)
    chosen = [[one.nests for one in searching(array, times)] for array in (ARRAY, true)]
    assert chosen[0] != chosen[1]
    made = calibrate_array(ARRAY, lambda array: searching(array, times), where="m.csv")
    bits = made.architecture.levels[0].read_bits_per_cycle
    assert bits == pytest.approx(true.levels[0].read_bits_per_cycle, rel=0.03)
    assert made.architecture.overhead_s == pytest.approx(OVERHEAD_S, rel=0.03)
    assert made.warnings == ()
    again = searching(made.architecture, times)
    assert [one.nests for one in again] == [one.nests for one in made.samples]


def test_what_is_left_out_has_no_part_in_choosing_nests() -> None:
    """A network whose layers all took longer, so that all together ask for other nests, is priced
    as it was while it is left out."""
    _, times = as_slow(8.0)
    later = [4 * s if row % 3 == 0 else s for row, s in enumerate(times)]
    mine = np.array([row % 3 == 0 for row in range(len(times))])
    first, second = (
        calibrate_array(ARRAY, lambda array, t=some: searching(array, t, 3), where="m.csv")
        for some in (times, later)
    )
    assert [one.nests for one in first.samples] != [one.nests for one in second.samples]
    assert second.latency.priced[mine] == pytest.approx(first.latency.priced[mine], rel=1e-9)
    assert second.latency.priced[~mine] != pytest.approx(first.latency.priced[~mine], rel=1e-3)


def test_lines_between_samples_are_never_below_the_cycles() -> None:
    some = samples(networks=1, rows=6, noise=0.0)
    design = _design(ARRAY, some)
    for factor in (0.3, 1.0, 1.7, 5.0, 11.0):
        priced = design.price(np.array([1.0, factor, 0.0]))
        exact = [sum(nest_cost(*nest, _slower(ARRAY, factor)).latency_s for nest in one.nests)
                 for one in some]  # fmt: skip
        assert (priced >= np.array(exact) * (1 - 2e-3)).all()  # the engine rounds to cycles
        assert priced == pytest.approx(exact, rel=0.06)


def test_an_array_without_a_bandwidth_is_fitted_in_its_overhead_alone() -> None:
    memory = replace(ARRAY.levels[0], read_bits_per_cycle=None, write_bits_per_cycle=None)
    free: Architecture = replace(ARRAY, levels=(memory, *ARRAY.levels[1:]))
    made = calibrate_array(free, lambda _: samples(), where="m.csv")
    assert made.architecture.levels[0].read_bits_per_cycle is None
    assert "add read_bandwidth" in made.constants[0].note
    assert made.warnings == ()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(SpecError, match=r"9 usable rows', wanted 10 or more for 2 constants"):
        calibrate_array(ARRAY, lambda _: samples(networks=3, rows=3), where="m.csv")


@pytest.mark.shared_data
def test_intervals_hold_on_mappings_measured_on_rtl() -> None:
    """Gemmini: floor of a call and bytes a cycle; a shape is a network; every sixth row."""
    from orrery.studies.gemmini._price import tile_time
    from orrery.studies.gemmini._rows import data_file, read_rows

    path = data_file()
    assert path is not None
    rows = read_rows(path)[::6]
    tiles = [tile_time(row) for row in rows]
    lines, added = np.zeros((len(rows), 3, 3)), np.zeros((len(rows), 3))
    for line, more, tile in zip(lines, added, tiles, strict=True):
        line[0, 0] = tile.tiles * max(tile.compute, tile.ports)
        line[1, 1] = tile.tiles  # cycles of a call at least
        line[2, 2] = tile.tiles * tile.bytes  # cycles a byte
        more[2] = tile.ramp_bytes
    design = Design(
        names=("cycles", "floor", "cycles a byte"), added=added, lines=lines,
        start=np.array([1.0, 0.0, 1 / 8]), guess=np.array([1.0, 100.0, 1 / 8]),
        free=np.array([False, True, True]),
    )  # fmt: skip
    measured = np.array([row.cycles for row in rows])
    constants = fit(design, measured)
    assert constants.status == ("kept", "fitted", "fitted")
    validation = cross_validate(design, measured, [str(row.key) for row in rows])
    errors = overall(validation)
    assert errors["median error after"] < 0.3 < errors["median error before"]
    assert constants.x[1] == pytest.approx(288, rel=0.2)  # what the study fits by a grid
    assert 1 / constants.x[2] == pytest.approx(5.68, rel=0.2)
    assert 0.7 <= validation.coverage <= 0.9
