"""How good is the bench that ships with the processing element: designs with one operator changed.

The element is a small one; `scripts/mutation.py` tries others and records them.
"""

from __future__ import annotations

import numpy as np
import pytest

from orrery.accel.bitlet._engine import PACKED_BITS
from orrery.accel.bitlet._format import FixedFormat, FloatFormat, number_format
from orrery.accel.bitlet._pipeline import Pipeline, shipped
from orrery.rtl.bench import StreamVectors, mutants, mutation_score

SIZES = {"group": 8, "window": 2, "beat": 4, "align": 2}


def stages(precision: str) -> Pipeline:
    form = number_format(precision)
    return Pipeline(format=form, lanes=form.lanes, **SIZES)


@pytest.mark.parametrize("quant", [0, 2])
def test_the_bench_plays_sums_on_both_sides_of_both_ends_of_the_result(quant: int) -> None:
    """Found in what is played, not in how it was made."""
    sets = list(shipped(stages("fixed12"), "correct"))
    chosen = next(one for one in sets if one["held"]["quant"] == quant)
    sums = set(np.asarray(chosen["expected"]["o"]["o__accumulator"]).tolist())
    end = 1 << (PACKED_BITS + quant)
    assert {end - 1, end, -end, -end - 1, 0} <= sums


def test_last_is_noise_in_every_beat_but_a_groups_last() -> None:
    pipeline = stages("fixed5")
    assert isinstance(pipeline.format, FixedFormat)
    for one in shipped(pipeline, "correct"):
        beats = np.asarray(one["items"]["i"]["i__last"]).reshape(-1, pipeline.beats)
        assert (beats[:, 0] != beats[:, -1]).all()


def test_the_bench_plays_numbers_of_every_class() -> None:
    form = number_format("fp16")
    assert isinstance(form, FloatFormat)
    for one in list(shipped(stages("fp16"), "correct"))[:2]:
        found = np.asarray(one["expected"]["o"]["o__result"]).astype(np.uint16).view(np.float16)
        assert {0x7E00} == set(found[np.isnan(found)].view(np.uint16).tolist())
        assert {np.inf, -np.inf} <= set(found[np.isinf(found)].tolist())
        small = np.abs(found[np.isfinite(found) & (found != 0)])
        assert (small < np.finfo(np.float16).smallest_normal).any()
        assert (found == 0).any()


def test_the_bench_plays_sums_with_every_highest_bit() -> None:
    one = list(shipped(stages("fp16"), "correct"))[2]
    sums = [abs(int(n)) for n in np.asarray(one["expected"]["o"]["o__accumulator"])]
    most = (SIZES["group"] - 3) * 2047**2
    tops = range(1, most.bit_length() - 1)
    found = {(n.bit_length() - 1, n >> (n.bit_length() - 2) & 1) for n in sums if n > 1}
    assert {(top, second) for top in tops for second in (0, 1)} <= found


@pytest.mark.parametrize("precision", ["fp16", "fixed8"])
def test_the_next_groups_end_comes_while_a_long_group_runs(precision: str) -> None:
    """And would cut it short: ones stand beyond it, and it has them yet to pop."""
    pipeline = stages(precision)
    for one in shipped(pipeline, "correct"):
        given = np.asarray(one["given"]["o"])
        taken = np.asarray(one["taken"]["i"]).reshape(-1, pipeline.beats)[:, -1]
        last = np.asarray(one["items"]["i"]["i__last"]).reshape(-1, pipeline.beats)[:, -1]
        ends = given - pipeline.drain
        cut = (taken[1:] + 1 + pipeline.search < ends[:-1]) & (last[1:] + 2 < last[:-1])
        assert cut.sum() >= 2


@pytest.mark.rtl
@pytest.mark.needs("amaranth", "pyosys", "verilator", "g++", "iverilog")
def test_the_shipped_bench_catches_mutants() -> None:
    from orrery.accel.bitlet.circuit import circuit

    made = circuit(precision="fixed12", mode="correct", **SIZES)  # type: ignore[arg-type]
    sets = [StreamVectors(**one) for one in shipped(stages("fixed12"), "correct")]
    some = mutants(made, 50, seed=1)
    assert len(some) >= 50
    report = mutation_score(made, sets, some, proof_s=3.0)
    assert report.score >= 0.95, [m.said for m in report.survivors]


@pytest.mark.parametrize("group", [4, 8])
def test_groups_no_longer_than_a_window_have_vectors(group: int) -> None:
    form = number_format("fixed4")
    pipeline = Pipeline(
        format=form, lanes=form.lanes, group=group, window=group, beat=group, align=group
    )
    for one in shipped(pipeline, "correct"):
        assert set(one["items"]["i"]["i__last"]) <= set(range(group))
