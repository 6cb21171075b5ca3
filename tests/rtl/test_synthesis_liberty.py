"""Liberty files: our own library by its stated rules, small ones by hand, bad ones refused."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.rtl.synthesis import OWN_LIBRARY, read_library
from orrery.rtl.synthesis._boolean import evaluate, names_in, parse, truth_table, verilog
from orrery.rtl.synthesis._liberty import parse_library
from orrery.rtl.synthesis._library import Table

#: Columns of gates of each schematic: an inverter is one, n inputs in one stage are n.
COLUMNS = {
    "INV": 1, "BUF": 1 + 1, "NAND2": 2, "NAND3": 3, "NAND4": 4, "NOR2": 2, "NOR3": 3,
    "AND2": 2 + 1, "OR2": 2 + 1, "AOI21": 3, "OAI21": 3, "AOI22": 4, "OAI22": 4,
    "XOR2": 3 + 2, "XNOR2": 3 + 2, "MUX2": 4 + 1 + 1, "DFF": 4 * 2 + 6 + 2,
    "DFFE": 16 + 6, "DFFR": 16 + 3, "DFFS": 16 + 3,
}  # fmt: skip

#: Truth tables by Python, over the input pins in order.
GATES = {
    "INV": lambda a: not a, "BUF": lambda a: a,
    "NAND2": lambda a, b: not (a and b), "NAND3": lambda a, b, c: not (a and b and c),
    "NAND4": lambda a, b, c, d: not (a and b and c and d),
    "NOR2": lambda a, b: not (a or b), "NOR3": lambda a, b, c: not (a or b or c),
    "AND2": lambda a, b: a and b, "OR2": lambda a, b: a or b,
    "AOI21": lambda a, b, c: not ((a and b) or c), "OAI21": lambda a, b, c: not ((a or b) and c),
    "AOI22": lambda a, b, c, d: not ((a and b) or (c and d)),
    "OAI22": lambda a, b, c, d: not ((a or b) and (c or d)),
    "XOR2": lambda a, b: a != b, "XNOR2": lambda a, b: a == b,
    "MUX2": lambda a, b, s: b if s else a,
}  # fmt: skip

SMALL = """
library (small) {
  /* a comment with { braces } */
  time_unit : "1ns"; capacitive_load_unit (0.5, pf);
  lu_table_template (t) {
    variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 3"); index_2 ("0, 10, 20");
  }
  cell ("N2") { area : 2.5
    pin (A, B) { direction : input; capacitance : 0.01; }
    pin (Y) { direction : output; function : "(A B)'";
      internal_power () { rise_power (x) { values ("1, 2"); } }
      timing () { related_pin : "A B"; timing_sense : negative_unate;
        cell_rise (t) { values ("1, 2, 3", \\
                                "5, 6, 7"); }
        cell_fall (scalar) { values ("0.25"); } } } }
  cell (I1) { area : 1; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A'"; } }
  cell (B1) { area : 1; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A"; } }
  cell (D1) { area : 10; ff (Q1, Q1N) { clocked_on : "C"; next_state : "D"; }
    pin (C) { direction : input; clock : true; } pin (D) { direction : input; }
    pin (Q) { direction : output; function : "Q1"; } }
}
"""


def test_areas_of_the_own_library_follow_its_rule() -> None:
    library = read_library()
    assert set(library.cells) == set(COLUMNS)
    for name, columns in COLUMNS.items():
        assert library.cells[name].area == pytest.approx((columns + 1) / 3, abs=1e-6), name
    assert library.nand2 is not None and library.nand2.area == 1.0
    assert library.area_unit == "NAND2" and library.buffer is not None


@pytest.mark.parametrize("name", GATES)
def test_functions_of_the_own_library(name: str) -> None:
    cell = read_library().cells[name]
    function = cell.pins["Y"].function
    assert function is not None
    wanted = tuple(
        int(bool(GATES[name](*bits))) for bits in itertools.product((0, 1), repeat=len(cell.inputs))
    )
    assert truth_table(function, cell.inputs) == wanted


def test_delays_of_the_own_library_are_logical_effort() -> None:
    """tau = 4 ps; the inverter that drives four of itself takes 5 tau, NAND2 has g = 4/3, p = 2."""
    library = read_library()
    inverter, nand = library.cells["INV"], library.cells["NAND2"]
    load = 4 * inverter.pins["A"].capacitance
    assert inverter.pins["Y"].arcs[0].rise.at(0, load) * library.time_unit_s == pytest.approx(
        20e-12
    )
    assert nand.pins["A"].capacitance == pytest.approx(4 / 3, abs=1e-5)
    assert nand.pins["Y"].arcs[1].fall.at(500, 2) == pytest.approx(4 * (2 + 2))


def test_a_small_file_is_read() -> None:
    library = parse_library(SMALL, where="small.lib")
    cell = library.cells["N2"]
    assert (cell.area, cell.inputs, cell.outputs) == (2.5, ("A", "B"), ("Y",))
    assert library.time_unit_s == pytest.approx(1e-9)
    assert library.capacitance_unit_f == pytest.approx(0.5e-12)
    assert [arc.related for arc in cell.pins["Y"].arcs] == ["A", "B"]
    rise = cell.pins["Y"].arcs[0].rise
    assert rise is not None and rise.slews == (0, 10, 20) and rise.loads == (1, 3)
    assert rise.at(10, 3) == 6 and rise.at(5, 2) == pytest.approx((1 + 2 + 5 + 6) / 4)
    assert cell.pins["Y"].arcs[0].fall.at(99, 99) == 0.25
    assert library.nand2 is cell and library.cells["D1"].flip_flop.next_state == ("name", "D")


def test_ways_of_writing_that_real_files_have() -> None:
    """A name continued on the next line, numbers in quotes, groups of power, swapped axes."""
    text = SMALL.replace("capacitive_load_unit (0.5, pf);", 'capacitive_load_unit\\\n  ("1","fF");')
    text = text.replace(
        "/* a comment",
        """comment : "";
      normalized_driver_waveform (w) { index_1 ("1, 2"); values ( \\
        "0, 1", \\
        "2, 3" \\
      ); }
      lu_table_template (c) { variable_1 : constrained_pin_transition;
        variable_2 : related_pin_transition; index_1 ("5, 10"); index_2 ("1, 2"); }
      voltage_map (VDD, -0.77); default_operating_conditions : typical;
      /* a comment""",
    )
    text = text.replace(
        "pin (D) { direction : input; }",
        """pg_pin (VDD) { pg_type : power; }
      leakage_power () { value : 3; when : "(C * !D)"; }
      pin (D) { direction : "input"; capacitance : "0.5";
        timing () { related_pin : "C"; timing_type : setup_rising;
          rise_constraint (c) { values ("1, 2", "3, 4"); } } }""",
    )
    library = parse_library(text, where="real.lib")
    assert library.capacitance_unit_f == pytest.approx(1e-15)
    pin = library.cells["D1"].pins["D"]
    setup = pin.setups[0].rise
    # The clock's slope 2 and the data's slope 10: the last value of the second row.
    assert pin.capacitance == 0.5 and setup is not None and setup.at(2, 10) == 4
    assert setup.at(2, 5) == 2


def test_a_compressed_file_and_the_linear_model_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.lib.gz"
    text = SMALL.replace(
        'cell_fall (scalar) { values ("0.25"); }', "intrinsic_fall : 2; fall_resistance : 0.5;"
    )
    path.write_bytes(gzip.compress(text.encode()))
    arc = read_library(path).cells["N2"].pins["Y"].arcs[0]
    assert arc.fall.at(7, 4) == 2 + 0.5 * 4


def test_tables_go_on_beyond_their_ends() -> None:
    table = Table(slews=(0.0, 2.0), loads=(1.0, 2.0), values=((1.0, 2.0), (3.0, 4.0)))
    assert table.at(0, 4) == 4 and table.at(4, 1) == 5 and table.at(-2, 0) == -2


BAD = {
    "module m(); endmodule": "wanted a Liberty library",
    "": "found 'the end of the file'",
    "library (x) { cell (A) { area : 1; }": r"line 1: found 'library \(x\)",
    "library (x) {}\n}": "line 2",
    "cell (x) { }": "a group .cell",
    "library (x) { }": "0 cells, none with an ff group",
    SMALL.replace("(A B)'", "A ^ B"): "none of them a two-input NAND",
    SMALL.replace('"A\'"', '"A"'): "none of them an inverter",
    SMALL.replace('"A"', '"A\'"'): "none of them a buffer",
    SMALL.replace("(A B)'", "(A @ B)'"): "small.lib: N2.Y: found",
    SMALL.replace("(A B)'", "(A B"): "wanted a Boolean expression",
    SMALL.replace("5, 6, 7", "5, 6"): "one value for each pair of indices",
    SMALL.replace("5, 6, 7", "5, 6, x"): "wanted numbers",
    SMALL.replace('"1ns"', '"1 parsec"'): "time_unit: found '1 parsec'",
    SMALL.replace("area : 2.5", "area : -1"): "N2: area: found '-1'",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_library_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=BAD[text]):
        parse_library(text, where="small.lib")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.lib: found 'no such file'"):
        read_library(tmp_path / "none.lib")
    with pytest.raises(SpecError, match="a folder"):
        read_library(tmp_path)
    (tmp_path / "x.lib").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="wanted a Liberty file"):
        read_library(tmp_path / "x.lib")
    assert OWN_LIBRARY.is_file()


#: (Liberty text, the same in Python), every operand in brackets.
PAIRS = st.recursive(
    st.sampled_from([(name, name) for name in ("A", "B", "C", "0", "1")]),
    lambda inner: st.one_of(
        inner.map(lambda a: (f"!({a[0]})", f"~({a[1]})")),
        inner.map(lambda a: (f"({a[0]})'", f"~({a[1]})")),
        st.tuples(inner, st.sampled_from(["&&", "*&", " &", "||", "+|", "^^"]), inner).map(
            lambda a: (f"({a[0][0]}) {a[1][0]} ({a[2][0]})", f"({a[0][1]}) {a[1][1]} ({a[2][1]})")
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(PAIRS)
def test_expressions_mean_what_python_makes_of_them(pair: tuple[str, str]) -> None:
    expression = parse(pair[0], where="test")
    written = verilog(expression).replace("1'b", "")
    for bits in itertools.product((0, 1), repeat=3):
        values = dict(zip(("A", "B", "C"), bits, strict=True))
        wanted = eval(pair[1], {}, values) & 1  # ~a is odd where a is even
        assert evaluate(expression, values) == wanted
        assert eval(written, {}, values) & 1 == wanted
    assert set(names_in(expression)) <= {"A", "B", "C"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A + B * C", "A | (B & C)"), ("A B' + C", "(A & !B) | C"), ("!A ^ B", "(!A) ^ B"),
        ("A & B ^ C", "A & (B ^ C)"), ("(A + B)'", "!(A | B)"), ("A''", "A"), ("A !B", "A & !B"),
        ("A ^ B ^ C", "(A ^ B) ^ C"),
    ],
)  # fmt: skip
def test_binding_of_the_operators(text: str, same: str) -> None:
    names = ("A", "B", "C")
    one, other = parse(text, where="t"), parse(same, where="t")
    assert truth_table(one, names) == truth_table(other, names)
