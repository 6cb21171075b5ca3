"""Lint finds what is planted, and nothing in what `build` writes (`test_build.py`)."""

from __future__ import annotations

import pytest

from orrery.rtl import Circuit, Timing, lint

pytestmark = [pytest.mark.needs("pyosys", "verilator"), pytest.mark.rtl]


def _circuit(verilog: str) -> Circuit:
    return Circuit(
        name="top", parameters={}, ports=(), streams=(), summary="", rtlil="", verilog=verilog,
        timing=Timing(latency=0, interval=1, rule=""), clock="", reset="",
    )  # fmt: skip


def test_a_clean_module_has_no_findings() -> None:
    assert (
        lint(_circuit("module top(input a, input b, output y);\nassign y = a & b;\nendmodule\n"))
        == ()
    )


def test_two_drivers_a_loop_and_a_cut_value_are_found_with_their_lines() -> None:
    found = lint(
        _circuit(
            "module top(input [3:0] a, output [3:0] y, output [2:0] z, output w);\n"
            "assign y = a;\nassign y = ~a;\nassign z = a;\nwire b;\nassign b = ~b;\n"
            "assign w = b;\nendmodule\n"
        )
    )
    rules = {(finding.tool, finding.rule) for finding in found}
    assert ("verilator", "MULTIDRIVEN") in rules
    assert [f.line for f in found if f.rule == "WIDTHTRUNC"] == [4]
    said = [finding.message for finding in found if finding.tool == "yosys"]
    assert any("multiple conflicting drivers" in text for text in said)
    assert any("logic loop" in text for text in said)


def test_a_text_that_cannot_be_read_is_a_finding() -> None:
    found = lint(_circuit("module top(input a 3\nendmodule\n"))
    assert found and {finding.tool for finding in found} == {"verilator"}
    assert any(finding.rule == "error" and finding.line == 1 for finding in found)
