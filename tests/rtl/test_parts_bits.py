"""Parts on integers against Python's integers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from amaranth import Shape, signed, unsigned

from orrery.errors import SpecError
from orrery.rtl import simulation
from orrery.rtl.parts import BarrelShifter, ComparatorTree, CompressorTree, LeadingOne, Part

from .together import delayed, together

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]

ROWS = 4096

MIXED = [signed(5), unsigned(3), signed(9), signed(5), signed(1), unsigned(8), signed(2)]
TREES: dict[str, dict[str, Any]] = {
    "two": {"terms": [8, 8]},
    "signed3": {"terms": [signed(8)] * 3},
    "signed4": {"terms": [signed(8)] * 4, "compressor": "4:2"},
    "odd": {"terms": [signed(12)] * 7, "registers": 2},
    "mixed": {"terms": MIXED, "shifts": [0, 4, 2, 0, 9, 1, 3]},
    "mixed42": {"terms": MIXED, "compressor": "4:2", "registers": 1},
    "wide": {"terms": [signed(52)] * 5, "registers": 4},
    "rows": {"terms": [unsigned(6)] * 16, "final": False, "registers": 6},
    "rows42": {"terms": [signed(6)] * 11, "final": False, "compressor": "4:2"},
    "bits": {"terms": [1] * 13},
}
SHIFTERS: dict[str, dict[str, Any]] = {
    "left": {"width": 13},
    "far": {"width": 5, "most": 40, "sticky": True},
    "right": {"width": 16, "direction": "right", "sticky": True, "registers": 2},
    "sign": {"width": 11, "direction": "right", "fill": "sign", "most": 20, "registers": 5},
    "both": {"width": 12, "direction": "both", "sticky": True, "registers": 4},
    "high": {
        "width": 10, "direction": "right", "sticky": True, "most": 100, "largest_first": True,
        "registers": 3,
    },
    "low": {
        "width": 21, "direction": "right", "sticky": True, "kept": 6, "largest_first": True,
        "registers": 2,
    },
    "lowsign": {"width": 9, "direction": "right", "fill": "sign", "most": 40, "kept": 4},
    "top": {"width": 19, "kept": 7, "sticky": True, "most": 15},
    "bothsign": {"width": 9, "direction": "both", "fill": "sign", "sticky": True},
    "turn": {"width": 7, "fill": "rotate", "most": 30},
    "turnright": {"width": 8, "direction": "right", "fill": "rotate"},
    "turnboth": {"width": 6, "direction": "both", "fill": "rotate", "registers": 1},
}  # fmt: skip
COMPARERS: dict[str, dict[str, Any]] = {
    "two": {"shape": 4, "inputs": 2},
    "max": {"shape": signed(6), "inputs": 7, "registers": 1},
    "min": {"shape": signed(3), "inputs": 5, "find": "min", "registers": 3},
    "some": {"shape": 3, "inputs": 6, "masked": True, "registers": 2},
    "least": {"shape": signed(4), "inputs": 9, "masked": True, "find": "min"},
}
FINDERS: dict[str, dict[str, Any]] = {
    "two": {"width": 2},
    "eight": {"width": 8},
    "odd": {"width": 11},
    "first": {"width": 8, "lowest": True},
    "firstodd": {"width": 13, "lowest": True},
}


def parts() -> dict[str, Part]:
    """Return every part under test by name."""
    made: dict[str, Part] = {f"tree_{k}": CompressorTree(**v) for k, v in TREES.items()}
    made |= {f"shift_{k}": BarrelShifter(**v) for k, v in SHIFTERS.items()}
    made |= {f"best_{k}": ComparatorTree(**v) for k, v in COMPARERS.items()}
    return made | {f"find_{k}": LeadingOne(**v) for k, v in FINDERS.items()}


@cache
def played() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All parts in one circuit, once: inputs and outputs by ``{part}_{port}``."""
    rng = np.random.default_rng(7)
    circuit = together(parts())
    inputs: dict[str, np.ndarray] = {}
    for port in circuit.ports:
        if port.direction == "in":
            low = -(1 << (port.width - 1)) if port.signed else 0
            high = low + (1 << port.width)
            values = rng.integers(low, high, ROWS)
            values[:64] = rng.choice([low, high - 1, 0, min(1, high - 1)], 64)  # the edges
            sparse = slice(64, ROWS // 4)
            values[sparse] &= rng.integers(low, high, ROWS)[sparse]  # and few ones
            inputs[port.name] = values
    for name in inputs:
        if name.endswith("enable"):
            inputs[name] = (rng.random(ROWS) < 0.8).astype(np.int64)
    return inputs, simulation(circuit, "cxxrtl").cycles(inputs)


def check(name: str, wanted: dict[str, np.ndarray]) -> None:
    """Compare a part's outputs with what its inputs' rows should give, after its registers."""
    inputs, outputs = played()
    registers = int(parts()[name].parameters.get("registers", 0))
    enable = inputs.get(f"{name}_enable", np.ones(ROWS, dtype=np.int64))
    for port, values in wanted.items():
        rows, want = delayed(np.asarray(values), enable, registers)
        found = outputs[f"{name}_{port}"][rows]
        wrong = np.flatnonzero(found.astype(np.int64) != want)
        assert not len(wrong), (name, port, int(wrong[0]), want[wrong[0]], found[wrong[0]])


@pytest.mark.parametrize("name", TREES)
def test_a_compressor_tree_adds_exactly(name: str) -> None:
    inputs, outputs = played()
    part = parts()[f"tree_{name}"]
    assert isinstance(part, CompressorTree)
    shifts = TREES[name].get("shifts", [0] * len(part.terms))
    exact = sum(inputs[f"tree_{name}_term{k}"] << shift for k, shift in enumerate(shifts))
    if TREES[name].get("final", True):
        check(f"tree_{name}", {"total": exact})
        return
    mask = (1 << part.total_shape.width) - 1
    rows = outputs[f"tree_{name}_save"] + outputs[f"tree_{name}_carry"]
    outputs[f"tree_{name}_sum"] = rows.astype(np.int64) & mask
    check(f"tree_{name}", {"sum": exact & mask})


@pytest.mark.parametrize("terms", [[8] * 6, [signed(8)] * 5, MIXED, [signed(1), 1], [1, signed(4)]])
def test_the_total_is_as_wide_as_the_terms_can_make_it(terms: list[Any]) -> None:
    shapes = [Shape.cast(term) for term in terms]
    least = sum(-(1 << (shape.width - 1)) for shape in shapes if shape.signed)
    most = sum((1 << (shape.width - shape.signed)) - 1 for shape in shapes)
    total = CompressorTree(terms).total_shape
    fits = [
        low <= least and most <= high
        for bits in (total.width - 1, total.width)
        for low, high in [
            (-(1 << bits >> 1), (1 << bits >> 1) - 1) if total.signed else (0, (1 << bits) - 1)
        ]
    ]
    assert fits == [False, True] and total.signed == (least < 0)


def test_signs_cost_no_row() -> None:
    """The constants of signed terms stand where other rows are empty: no deeper than unsigned."""
    for count in range(3, 20):
        signed_tree = CompressorTree([signed(8)] * count)
        assert len(signed_tree._rows) == count


@pytest.mark.parametrize("name", SHIFTERS)
def test_a_barrel_shifter_shifts(name: str) -> None:
    inputs, _ = played()
    given = SHIFTERS[name]
    width, fill, direction = (
        given["width"], given.get("fill", "zero"), given.get("direction", "left"),
    )  # fmt: skip
    rightward = inputs.get(f"shift_{name}_right", np.full(ROWS, direction == "right"))
    mask = (1 << width) - 1
    results, lost = [], []
    for value, amount, right in zip(
        inputs[f"shift_{name}_value"].tolist(), inputs[f"shift_{name}_amount"].tolist(),
        rightward.tolist(),
    ):  # fmt: skip
        if fill == "rotate":
            turn = (-amount if right else amount) % width
            results.append((value << turn | value >> (width - turn)) & mask)
            continue
        top = value >> (width - 1) if fill == "sign" else 0
        number = value - (top << width) if right else value
        kept = given.get("kept", width)
        shifted = (number >> amount if right else number << amount) & mask
        results.append(shifted & ((1 << kept) - 1) if right else shifted >> (width - kept))
        lost.append(bool(value & ((1 << amount) - 1) if right else value << amount & ~mask))
    check(f"shift_{name}", {"result": results} | ({"sticky": lost} if "sticky" in given else {}))


@pytest.mark.parametrize("name", COMPARERS)
def test_a_comparator_tree_finds_the_first_best(name: str) -> None:
    inputs, _ = played()
    given = COMPARERS[name]
    count = given["inputs"]
    columns = zip(*(inputs[f"best_{name}_value{k}"].tolist() for k in range(count)))
    every = (1 << count) - 1
    present = inputs.get(f"best_{name}_present", np.full(ROWS, every)).tolist()
    best, index, none = [], [], []
    for row, mask in zip(columns, present):
        those = [k for k in range(count) if mask >> k & 1] or [0]
        sign = -1 if given.get("find") == "min" else 1
        first = max(those, key=lambda k: (sign * row[k], -k))
        best.append(row[first])
        index.append(first)
        none.append(not mask)
    wanted = {"best": best, "index": index} | ({"none": none} if given.get("masked") else {})
    check(f"best_{name}", wanted)


@pytest.mark.parametrize("name", FINDERS)
def test_the_leading_one_is_found(name: str) -> None:
    inputs, _ = played()
    values = inputs[f"find_{name}_value"].tolist()
    low = FINDERS[name].get("lowest", False)
    places = [max(((v & -v) if low else v).bit_length() - 1, 0) for v in values]
    check(f"find_{name}", {"none": [not v for v in values], "position": places})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompressorTree([8]), r"number of terms: found 1, wanted .* from 2 upwards"),
        (lambda: CompressorTree([8, 8], shifts=[1]), r"found '1 shifts', wanted none, or one"),
        (lambda: CompressorTree([8, "x"]), r"terms\[1\]: found 'x', wanted a shape"),
        (lambda: CompressorTree([8, 0]), r"terms\[1\]: found '0 bits', wanted 1 bits"),
        (lambda: CompressorTree([8, 8, 8], registers=3), r"registers: found 3, wanted .* 0 to 2"),
        (lambda: CompressorTree([8, 8], compressor="4:3"), r"found '4:3'.* did you mean '4:2'"),
        (lambda: BarrelShifter(1), r"width: found 1, wanted a whole number from 2"),
        (lambda: BarrelShifter(8, direction="rigt"), r"did you mean 'right'"),
        (lambda: BarrelShifter(8, fill="rotate", sticky=True), r"a rotation loses nothing"),
        (lambda: BarrelShifter(8, kept=9), r"kept: found 9, wanted a whole number from 1 to 8"),
        (lambda: BarrelShifter(8, kept=3, direction="both"), r"kept: .* wanted a shift one way"),
        (lambda: BarrelShifter(8, most=0), r"most: found 0"),
        (lambda: BarrelShifter(8, registers=True), r"registers: found True"),
        (lambda: ComparatorTree(8, inputs=1), r"inputs: found 1, wanted"),
        (lambda: ComparatorTree(8, inputs=4, find="first"), r"find: found 'first'"),
        (lambda: LeadingOne(1), r"width: found 1, wanted .* from 2"),
    ],
)
def test_what_makes_no_circuit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
