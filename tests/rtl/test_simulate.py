"""Arrays through a circuit: equal to NumPy, on both engines, whatever the ports and the pauses.

One circuit with ports of many kinds serves most tests, since Verilator takes seconds to build one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.rtl import (
    Circuit,
    Cosimulation,
    EnginesDisagree,
    HandshakeError,
    Timing,
    ToolError,
    build,
    cosimulate,
    pack_words,
    simulation,
    unpack_words,
)  # fmt: skip

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++"),
    pytest.mark.rtl,
]


def _made(component: Any, name: str) -> Circuit:
    timing = Timing(latency=None, interval=None, rule="as the test says")
    return build(component, name=name, parameters={}, timing=timing, summary="A test.")


def many_ports() -> Circuit:
    """Return a circuit with a handshake of a structure, a plain input, wide and signed ports."""
    from amaranth.hdl import Module, Signal, signed, unsigned
    from amaranth.lib import data, stream, wiring
    from amaranth.lib.wiring import In, Out

    pair = data.StructLayout({"weight": signed(9), "wide": unsigned(100)})
    result = data.StructLayout({"product": signed(40), "wide": unsigned(130)})

    class ManyPorts(wiring.Component):
        """weight × gain, and the sum of everything wide so far; one register stage."""

        def __init__(self) -> None:
            super().__init__(
                {
                    "pairs": In(stream.Signature(pair)),
                    "gain": In(signed(31)),
                    "results": Out(stream.Signature(result)),
                    "busy": Out(1),
                    "full": Out(64),
                    "low": Out(signed(64)),
                }
            )

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            total = Signal(130)
            m.d.comb += [
                self.pairs.ready.eq(~self.results.valid | self.results.ready),
                self.busy.eq(self.results.valid),
                self.full.eq(total),
                self.low.eq(total[:64]),
            ]
            with m.If(self.pairs.ready):
                m.d.sync += self.results.valid.eq(self.pairs.valid)
            with m.If(self.pairs.ready & self.pairs.valid):
                m.d.sync += [
                    self.results.payload.product.eq(self.pairs.payload.weight * self.gain),
                    self.results.payload.wide.eq(total + self.pairs.payload.wide),
                    total.eq(total + self.pairs.payload.wide),
                ]
            return m

    return _made(ManyPorts(), "many_ports")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Cosimulation:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.getbasetemp() / "orrery-cache"
        patch.setenv("ORRERY_CACHE", str(folder))
        return cosimulate(many_ports())


def _pairs(number: int, seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-256, 256, number)
    return weights, [int.from_bytes(rng.bytes(13), "little") >> 4 for _ in range(number)]


@settings(max_examples=15)
@given(number=st.integers(0, 60), stalls=st.sampled_from([0.0, 0.2, 0.9]), seed=st.integers(0, 99))
def test_streams_give_what_numpy_gives(
    both: Cosimulation, number: int, stalls: float, seed: int
) -> None:
    weights, wide = _pairs(number, seed)
    items = {"pairs": {"pairs__weight": weights, "pairs__wide": pack_words(wide, 100)}}
    run = both.stream(
        items, outputs={"results": number}, stalls=stalls, seed=seed, held={"gain": -3_000_017}
    )
    sums = [sum(wide[: k + 1]) for k in range(number)]
    assert run.outputs["results"]["results__product"].tolist() == (weights * -3_000_017).tolist()
    assert unpack_words(run.outputs["results"]["results__wide"], 130) == sums
    taken, handed = run.taken["pairs"], run.given["results"]
    assert (handed > taken).all() and (np.diff(taken) > 0).all() and (np.diff(handed) > 0).all()
    if not stalls:
        assert taken.tolist() == list(range(number)) and (handed == taken + 1).all()


def test_pauses_differ_with_the_seed_and_results_do_not(both: Cosimulation) -> None:
    weights, wide = _pairs(40, 7)
    items = {"pairs": {"pairs__weight": weights, "pairs__wide": pack_words(wide, 100)}}
    runs = [
        both.stream(
            items, outputs={"results": 40}, seed=seed, stalls={"results": 0.5}, held={"gain": 5}
        )
        for seed in (1, 2)
    ]
    first, second = (run.outputs["results"]["results__product"] for run in runs)
    assert (first == second).all()
    assert (runs[0].given["results"] != runs[1].given["results"]).any()


def test_cycles_answer_row_by_row(both: Cosimulation) -> None:
    weights, wide = _pairs(50, 3)
    top = [(1 << 100) - 1] * 2  # so that the 64 lower bits wrap
    wide = [*top, *wide[2:]]
    found = both.cycles(
        {
            "pairs__weight": weights, "pairs__wide": pack_words(wide, 100),
            "pairs__valid": np.ones(50, bool), "gain": np.full(50, 77), "results__ready": [1] * 50,
        }
    )  # fmt: skip
    sums = [sum(wide[:k]) for k in range(50)]
    assert found["results__valid"].tolist() == [0] + [1] * 49
    assert found["results__product"][1:].tolist() == (weights * 77)[:-1].tolist()
    assert found["full"].tolist() == [value % 2**64 for value in sums]
    assert found["low"].tolist() == found["full"].astype(np.int64).tolist()
    assert unpack_words(found["results__wide"], 130) == sums


@pytest.mark.parametrize(
    ("port", "values", "said"),
    [
        (
            "gain",
            [1 << 30],
            r"gain: found 1073741824, wanted values of \[-1073741824, 1073741823\]",
        ),
        ("pairs__valid", [2], r"pairs__valid: found 2"),
        ("gain", [0.5], "found 'values of type float64', wanted integers"),
        ("pairs__wide", [3], r"found 'shape \(1,\)', wanted \(n, 2\)"),
        ("pairs__wide", np.full((1, 2), 2**64 - 1, np.uint64), "bits above bit 99"),
        ("pairs__weight", [1, 2], "lengths pairs__weight: 2, pairs__wide: 1"),
        ("gian", [1], "did you mean 'gain'"),
    ],
)
def test_values_that_no_port_holds_are_refused(
    both: Cosimulation, port: str, values: Any, said: str
) -> None:
    right: dict[str, Any] = {
        "pairs__weight": [1], "pairs__wide": pack_words([1], 100), "pairs__valid": [1],
        "gain": [1], "results__ready": [1],
    }  # fmt: skip
    with pytest.raises(SpecError, match=said):
        both.cycles(right | {port: values})


def test_who_starves_is_named(both: Cosimulation) -> None:
    items = {"pairs": {"pairs__weight": [1, 2], "pairs__wide": pack_words([1, 2], 100)}}
    with pytest.raises(ToolError, match=r"in 50 cycles: pairs 2 of 2 taken, results 2 of 3 given"):
        both.stream(items, outputs={"results": 3}, most_cycles=50, held={"gain": 0})


def test_engines_that_differ_are_named(both: Cosimulation) -> None:
    """The Verilog is changed, the RTLIL is not: as if a tool had translated one of them wrongly."""
    right = both.circuit
    assert " + " in right.verilog
    planted = dataclasses.replace(right, verilog=right.verilog.replace(" + ", " - ", 1))
    weights, wide = _pairs(4, 5)
    items = {"pairs": {"pairs__weight": weights, "pairs__wide": pack_words(wide, 100)}}
    wrong = cosimulate(planted)
    with pytest.raises(EnginesDisagree, match=r"results__wide, item \d: found 0x\w+ by cxxrtl"):
        wrong.stream(items, outputs={"results": 4}, held={"gain": 1})


#: The four ways to break a handshake, by the value of the input `how`.
_LEAKS = (
    "the payload changed before", "valid fell before", "valid follows ready",
    "the payload follows ready",
)  # fmt: skip


def _leaky() -> Circuit:
    from amaranth.hdl import Array, Module, Signal
    from amaranth.lib import stream, wiring
    from amaranth.lib.wiring import In, Out

    class Leaky(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"how": In(2), "out": Out(stream.Signature(8))})

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            count = Signal(8)
            m.d.sync += count.eq(count + 1)
            m.d.comb += [
                self.out.payload.eq(Array([count, 0, 0, self.out.ready])[self.how]),
                self.out.valid.eq(Array([1, count[0], self.out.ready, 1])[self.how]),
            ]
            return m

    return _made(Leaky(), "leaky")


@pytest.mark.parametrize("how", range(4))
def test_a_broken_handshake_is_caught(how: int) -> None:
    with pytest.raises(HandshakeError, match=rf"stream out, cycle \d+: found {_LEAKS[how]}"):
        simulation(_leaky(), "cxxrtl").stream(
            {}, outputs={"out": 20}, stalls=0.5, held={"how": how}
        )


def test_a_combinational_circuit_answers_vectors() -> None:
    from amaranth.hdl import Module, signed
    from amaranth.lib import wiring
    from amaranth.lib.wiring import In, Out

    class Difference(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"a": In(8), "b": In(signed(5)), "y": Out(signed(10))})

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            m.d.comb += self.y.eq(self.a - self.b)
            return m

    circuit = _made(Difference(), "difference")
    assert circuit.combinational
    a, b = (table.ravel() for table in np.meshgrid(np.arange(256), np.arange(-16, 16)))
    found = simulation(circuit).cycles({"a": a, "b": b})
    assert found["y"].tolist() == (a - b).tolist()


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from orrery.rtl import _engines

    monkeypatch.setenv("CXX", "no-such-compiler")
    _engines._compiler.cache_clear()
    with pytest.raises(ToolError, match=r"no-such-compiler.*install g\+\+"):
        simulation(_leaky())
    _engines._compiler.cache_clear()


@given(st.lists(st.integers(-(2**99), 2**100 - 1), max_size=5))
def test_words_come_back(numbers: list[int]) -> None:
    assert unpack_words(pack_words(numbers, 100), 100) == [n % 2**100 for n in numbers]
    small = [n >> 1 if n >= 0 else n for n in numbers]
    assert unpack_words(pack_words(small, 100), 100, signed=True) == small


def test_a_number_too_wide_is_refused() -> None:
    with pytest.raises(SpecError, match="number 1: found 256, wanted what 8 bits hold"):
        pack_words([255, 256], 8)
