"""Compiled circuits in the cache: a damaged one is seen before it is mapped, and made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orrery.rtl import _engines, simulation

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]


def test_a_cut_library_is_made_anew_and_not_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orrery.rtl.parts import LeadingOne, part_circuit

    monkeypatch.setenv("ORRERY_CACHE", str(tmp_path))
    circuit = part_circuit(LeadingOne(4))
    for _ in range(2):
        found = simulation(circuit, "cxxrtl").cycles({"value": [1, 4, 8]})
        assert found["position"].tolist() == [0, 2, 3]
        (kept,) = tmp_path.rglob("*.so")
        whole = kept.read_bytes()
        kept.unlink()  # mapped by this process: what is cut is another file of this name
        kept.write_bytes(whole[: len(whole) // 2])
        assert not _engines._whole(kept)
    kept.write_bytes(whole)
    assert _engines._whole(kept)
    kept.write_bytes(whole.replace(whole[4096:4100], b"flip", 1))
    assert not _engines._whole(kept)


def test_a_cut_object_of_the_run_time_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(command: list[str], **_: Any) -> str:
        Path(command[command.index("-o") + 1]).write_bytes(b"object" * 100)
        made.append(command)
        return ""

    made: list[list[str]] = []
    monkeypatch.setenv("ORRERY_CACHE", str(tmp_path))
    monkeypatch.setattr(_engines, "_compiler", lambda: ("g++", "1"))
    monkeypatch.setattr(_engines, "run_tool", compiled)
    objects = _engines._verilator_runtime(tmp_path, "1", tmp_path)
    assert _engines._verilator_runtime(tmp_path, "1", tmp_path) == objects
    assert len(made) == len(objects) == 2
    objects[0].write_bytes(objects[0].read_bytes()[:-1])
    _engines._verilator_runtime(tmp_path, "1", tmp_path)
    assert len(made) == 3
    assert all(map(_engines._whole, objects))
