"""Calls that mean nothing end in a sentence that says so, before any tool runs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.rtl import resources, synthesise, verify_netlist
from orrery.rtl._yosys import write_scratch
from orrery.rtl.bench import PlainVectors, bench_files

pytestmark = [pytest.mark.needs("amaranth"), pytest.mark.rtl]


@pytest.mark.parametrize(
    "wrong", [{"runs": 0}, {"runs": -1}, {"cycles": 0}, {"runs": 1.5}], ids=str
)
def test_a_netlist_is_compared_at_least_once(wrong: dict[str, Any]) -> None:
    from orrery.rtl.parts import Fifo, part_circuit

    circuit = part_circuit(Fifo(4, depth=4))
    for call in (synthesise, resources, lambda c, **more: verify_netlist(c, c, **more)):
        with pytest.raises(SpecError, match="a whole number from 1"):
            call(circuit, **wrong)


def test_numbers_alone_are_no_vectors() -> None:
    from orrery.rtl.parts import LeadingOne, part_circuit

    circuit = part_circuit(LeadingOne(4))
    with pytest.raises(SpecError, match="one number alone"):
        bench_files(circuit, PlainVectors(inputs={"value": 1}, expected={"position": 0}))
    with pytest.raises(SpecError, match="one number alone"):
        bench_files(circuit, PlainVectors(inputs={"value": 1}, expected={"position": [0]}))


def test_a_file_for_a_tool_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"File too large.*design\.v"):
        write_scratch(tmp_path / "design.v", "module design; endmodule\n")
