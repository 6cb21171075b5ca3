"""A toy accelerator: a perfect convolution engine that exists only to exercise the kit."""

from __future__ import annotations

from typing import Any

from orrery.accel import Accelerator, Tensors, Tolerance
from orrery.cost import Charge, Cost, Refusal
from orrery.graph import Region, find_operator
from orrery.hardware import Compute, Device, Memory
from orrery.provenance import Basis, Source
from orrery.timeline import PS_PER_S, Span, Timeline

TOY = Source(basis=Basis.ASSUMED, where="the kit's toy", note="round numbers; it does not exist")
PEAK, BANDWIDTH = 1e12, 1e11

DEVICE = Device(
    name="toy", kind="asic",
    compute=Compute(macs_per_s={"float32": PEAK}, clock_hz=1e9,
                    sources={"macs_per_s": TOY, "clock_hz": TOY}),
    memories=(Memory(name="dram", size_bytes=2**30, bandwidth_bytes_per_s=BANDWIDTH, offchip=True,
                     sources={"size_bytes": TOY, "bandwidth_bytes_per_s": TOY}),),
)  # fmt: skip

VERILOG = """module toy(input wire clk, input wire [7:0] a, b, output reg [15:0] y);
  always @(posedge clk) y <= a * b;
endmodule
"""


class ToyCost:
    """One MAC at a time at the peak, then all tensors once; a joule for each is known."""

    name = "toy"

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        types = region.graph.types
        names = [t for n in region.members for t in (*n.inputs, *n.outputs) if t]
        if len(region.nodes) != 1 or region.members[0].op != "Conv":
            return Refusal(reason="the toy runs one convolution")
        if any(n not in types or not types[n].is_bound for n in names):
            return Refusal(reason="the toy wants bound shapes")
        if any(types[n].dtype != "float32" for n in names):
            return Refusal(reason="the toy wants float32")
        if len(region.inputs) != 1:
            return Refusal(reason="the toy wants constant weights")
        return None

    def cost(
        self, region: Region, device: Device, schedule: Any = None, statistics: Any = None
    ) -> Cost:
        macs = region.operations.macs
        traffic = region.size_bytes((*region.inputs, *region.weights, *region.outputs))
        charges = (
            Charge(resource="toy", action="MAC", count=macs, energy_j_each=1e-12, source=TOY),
            Charge(resource="dram", action="byte", count=traffic, energy_j_each=1e-10, source=TOY),
        )  # fmt: skip
        return Cost(
            latency_s=macs / PEAK + traffic / BANDWIDTH, offchip_bytes=traffic, charges=charges,
            energy_j=sum(c.energy_j for c in charges), macs_nominal=macs, macs_performed=macs,
        )  # fmt: skip


def evaluate(region: Region, inputs: Tensors) -> Tensors:
    node = region.members[0]
    operator = find_operator(node)
    constants = region.graph.constants
    values = [inputs[n] if n in inputs else constants[n].array() for n in node.inputs]
    return {"y": operator.run(node, values)[0]} if operator else {}


def simulate(region: Region, inputs: Tensors) -> Timeline:
    end = round(ToyCost().cost(region, DEVICE).latency_s * 1.05 * PS_PER_S)
    span = Span(resource="toy", name=region.name, kind="compute", start_ps=0, end_ps=end)
    return Timeline(name="toy", spans=(span,))


def generate() -> dict[str, str]:
    return {"toy.v": VERILOG}


def toy() -> Accelerator:
    """Return the toy with every capability."""
    return Accelerator(
        name="toy()", paper=Source(basis=Basis.PUBLISHED, where="this file"), device=DEVICE,
        cost=ToyCost(), evaluate=evaluate, simulate=simulate, generate=generate,
        tolerance=Tolerance(reason="it runs the reference itself"),
    )  # fmt: skip
