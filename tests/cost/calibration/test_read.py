"""Tables as people write them, and what is said of those that cannot be read."""

from __future__ import annotations

import pytest

from orrery.cost.calibration import MeasuredRow, read_measurements
from orrery.errors import SpecError


def read(text: str) -> tuple[MeasuredRow, ...]:
    return read_measurements({"m.csv": text})


HEAD = "network,layer,latency_us\n"


def test_units_stand_in_the_header() -> None:
    text = "network,layer,latency_ms,energy_mj\nnet,a,2.5,4\nnet,b,1,\n"
    first, second = read(text)
    assert (first.latency_s, first.energy_j) == pytest.approx((2.5e-3, 4e-3))
    assert second.energy_j is None
    assert [row.where for row in (first, second)] == ["m.csv:2", "m.csv:3"]


def test_layers_measured_repeatedly_stand_once_with_the_median() -> None:
    rows = read(HEAD + "net,a,1\nnet,a,9\nnet,a,2\nnet,b,5\n")
    assert [row.layer for row in rows] == ["a", "b"]
    assert [row.latency_s for row in rows] == pytest.approx([2e-6, 5e-6])


def test_several_files_are_one_table() -> None:
    rows = read_measurements({"a.csv": HEAD + "net,a,1\n", "b.csv": HEAD + "net,a,1\nnet,b,4\n"})
    assert [(row.layer, row.where) for row in rows] == [("a", "a.csv:2"), ("b", "b.csv:3")]


def test_rows_may_tell_their_work() -> None:
    text = ("network,layer,operator,dtype,macs,other_operations,bytes,latency_s\n"
            "net,a,convolution,int8,1000,20,300,0.5\n")  # fmt: skip
    assert read(text)[0].work == ("convolution", "int8", 1000, 20, 300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns (none)"),
        ("network,layer,latency\n", "wanted one of latency_s, latency_ms"),
        ("network,layer,energy,latency_s\n", "'energy' without a unit"),
        ("network,layr,latency_s\n", "did you mean 'layer'"),
        ("network,latency_s\n", "also layer"),
        ("network,layer\n", "exactly one of latency_s"),
        ("network,layer,latency_s,latency_ms\n", "remove one"),
        ("network,layer,layer,latency_s\n", "'layer' twice"),
        ("network,layer,latency_s,macs\n", "also operator, dtype, other_operations, bytes"),
        (HEAD, "no rows"),
        (HEAD + "net,a,0\n", "m.csv:2: latency_us: found '0'"),
        (HEAD + "net,a,1\nnet,b,-3\n", "m.csv:3: latency_us: found '-3'"),
        (HEAD + "net,a,nan\n", "a finite number above zero"),
        (HEAD + "net,a,inf\n", "a finite number above zero"),
        (HEAD + "net,a,fast\n", "found 'fast'"),
        (HEAD + "net,a,\n", "found 'nothing'"),
        (HEAD + ",a,1\n", "the name of a network"),
        (HEAD + "net,a,1,2\n", "found '4 cells', wanted 3"),
        (HEAD + "net,a,1\n\nnet,b,2\nnet,a,1\n", "m.csv:5: found 'the same as line 2'"),
    ],
)
def test_bad_tables_are_refused_with_line_and_remedy(text: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        read(text)
    assert said in str(error.value)


WORK = "network,layer,operator,dtype,macs,other_operations,bytes,latency_s\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("net,a,convolutions,int8,1,1,1,1", "did you mean 'convolution'"),
        ("net,a,convolution,int7,1,1,1,1", "did you mean 'int"),
        ("net,a,convolution,int8,1.5,1,1,1", "whole number"),
        ("net,a,convolution,int8,1,-1,1,1", "whole number"),
        ("net,a,convolution,int8,1,1,1,1\nnet,a,convolution,int8,2,1,1,2", "other work"),
    ],
)
def test_bad_work_is_refused(row: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        read(WORK + row + "\n")
    assert said in str(error.value)
