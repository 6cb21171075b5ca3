"""What a circuit takes of an FPGA: look-up tables, flip-flops, multipliers, block memories.

Models: Yosys' mapping to the primitives of a family, before placement. Ignores: packing into
slices, routing, timing, what a vendor's tool would make of it. The netlist is simulated against the
RTL: with what `_primitives` says of look-up tables, carries and flip-flops, or, where there are
others, with Yosys' models and two of our own for multipliers it has none for; a primitive without
a model (block memories) is named in the notes, and only the inputs are followed.
Judge: counts known by construction (a 16x16 multiplier is one DSP), a known miscompile.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from orrery.errors import UnknownNameError
from orrery.progress import SILENT, Progress
from orrery.store import content_hash

from .._circuit import Circuit
from .._yosys import run_yosys
from ._gates import netlist_graph
from ._netlist import Reference, check_inputs, verify_graph, verify_netlist
from ._primitives import xilinx_meaning
from ._record import Resources, Verified
from ._stimulus import check_amounts, check_ports

_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How a family is synthesised and counted; a count is units of one cell of the kind."""

    synth: str
    no_dsp: str  #: appended where no multiplier blocks are wanted
    dsp: str  #: appended where they are
    models: str
    lut: Mapping[str, int]
    lut_memory: Mapping[str, int]
    flip_flop: tuple[str, ...]
    multiplier: tuple[str, ...]
    bram: Mapping[str, float]
    carry: tuple[str, ...]
    note: str = ""


#: Look-up tables of each memory primitive: UltraScale Architecture Libraries Guide, Xilinx UG974.
_XILINX_MEMORY = {
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8, "RAM32X1D": 2,
    "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
    "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
}  # fmt: skip


def _xilinx(family: str) -> _Family:
    return _Family(
        synth=f"synth_xilinx -family {family} -flatten -noiopad -noclkbuf", no_dsp=" -nodsp",
        dsp="", models="read_verilog -defer +/xilinx/cells_sim.v",
        lut={f"LUT{n}": 1 for n in range(1, 7)} | {"LUT6_2": 1, "INV": 1},
        lut_memory=_XILINX_MEMORY,
        flip_flop=("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1"),
        multiplier=("DSP48E1", "DSP48E2"),
        bram={"RAMB18E1": 0.5, "RAMB36E1": 1, "RAMB18E2": 0.5, "RAMB36E2": 1},
        carry=("CARRY4", "CARRY8"), note="block memories of 36 Kbit; one of 18 Kbit counts half",
    )  # fmt: skip


_FLOPS = tuple(
    f"SB_DFF{n}{e}{r}" for n in ("", "N") for e in ("", "E") for r in ("", "R", "S", "SR", "SS")
)

FAMILIES: Mapping[str, _Family] = {
    "xcup": _xilinx("xcup"), "xcu": _xilinx("xcu"), "xc7": _xilinx("xc7"),
    "ecp5": _Family(
        synth="synth_ecp5", no_dsp=" -nodsp", dsp="",
        models="read_verilog -defer -overwrite +/lattice/cells_sim_ecp5.v",
        lut={"LUT4": 1, "CCU2C": 2}, lut_memory={"TRELLIS_DPR16X4": 4},
        flip_flop=("TRELLIS_FF",), multiplier=("MULT18X18D",),
        bram={"DP16KD": 1, "PDPW16KD": 1}, carry=("CCU2C",),
        note="a carry cell counts as the two look-up tables it takes; block memories of 18 Kbit",
    ),
    "ice40": _Family(
        synth="synth_ice40", no_dsp="", dsp=" -dsp -device u",
        models="read_verilog -defer -D ICE40_U +/ice40/cells_sim.v",
        lut={"SB_LUT4": 1}, lut_memory={},
        flip_flop=_FLOPS, multiplier=("SB_MAC16",), bram={"SB_RAM40_4K": 1},
        carry=("SB_CARRY",), note="block memories of 4 Kbit",
    ),
}  # fmt: skip

#: What Yosys has no model of: multipliers as its mapping uses them, with no register switched on.
_MODELS = """
module DSP48E2 #(parameter ACASCREG = 0, ADREG = 0, A_INPUT = "", ALUMODEREG = 0, AREG = 0,
    BCASCREG = 0, B_INPUT = "", BREG = 0, CARRYINREG = 0, CARRYINSELREG = 0, CREG = 0, DREG = 0,
    INMODEREG = 0, MREG = 0, OPMODEREG = 0, PREG = 0, USE_MULT = "", USE_SIMD = "", AMULTSEL = "",
    BMULTSEL = "") (input signed [29:0] A, input signed [17:0] B, input [47:0] C, input [26:0] D,
    output signed [47:0] P, input [4:0] INMODE, input [3:0] ALUMODE, input [8:0] OPMODE,
    input [2:0] CARRYINSEL, input [29:0] ACIN, input [17:0] BCIN, input [47:0] PCIN, input CARRYIN);
  wire signed [26:0] low = A[26:0];
  generate if (ADREG || ALUMODEREG || AREG || BREG || CARRYINREG || CREG || DREG || INMODEREG
      || MREG || OPMODEREG || PREG) no_model_of_registers_in_DSP48E2 no_model();
  endgenerate
  wire signed [47:0] product = low * B;
  // The only mode the mapping sets: in another the netlist would differ from the circuit.
  assign P = OPMODE == 9'b000000101 ? product : 48'b0;
endmodule
"""


def _pins(name: str, width: int) -> str:
    return "{" + ", ".join(f"{name}{i}" for i in reversed(range(width))) + "}"


def _multiplier18() -> str:
    """Return a model of the ECP5's MULT18X18D with no register switched on."""
    ins = [f"{name}{i}" for name in "ABC" for i in range(18)]
    ports = [
        *(f"input {pin}" for pin in [*ins, "SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB"]),
        *(f"output P{i}" for i in range(36)),
    ]
    return f"""
module MULT18X18D({", ".join(ports)});
  wire signed [18:0] a = {{SIGNEDA & A17, {_pins("A", 18)}}};
  wire signed [18:0] b = {{SIGNEDB & B17, {_pins("B", 18)}}};
  wire signed [37:0] p = a * b;
  assign {_pins("P", 36)} = p[35:0];
endmodule
"""


def resources(
    circuit: Circuit, family: str = "xcup", *, dsp: bool | None = None,
    unused: Mapping[str, str] | None = None,
    vectors: Mapping[str, NDArray[Any]] | Sequence[Mapping[str, NDArray[Any]]] = (),
    reference: Reference | None = None, runs: int = 12, cycles: int = 200, seed: int = 0,
    progress: Progress = SILENT,
) -> Resources:  # fmt: skip
    """Map a circuit to the primitives of an FPGA family, count them and check the netlist.

    Parameters
    ----------
    circuit : what to map
    family : xcup (UltraScale+), xcu, xc7, ecp5 or ice40
    dsp : whether multipliers may use DSP blocks; by default where Yosys maps to them rightly, which
        for iCE40 it does not
    unused : input bits the circuit ignores on purpose -> reason
    vectors, reference, runs, cycles, seed : as in `verify_netlist`
    progress : told of each of the two steps

    Raises
    ------
    SpecError : a circuit without inputs or outputs
    UnknownNameError : no such family
    MiscompiledError : the netlist is not the circuit, or drops an input bit
    ToolError : Yosys failed
    """
    if family not in FAMILIES:
        raise UnknownNameError("FPGA family", family, FAMILIES)
    check_ports(circuit)
    check_amounts(runs, cycles)
    facts = FAMILIES[family]
    if dsp is None:
        dsp = family != "ice40"
    doing = f"mapping {circuit.name} to {family}"
    passes = [
        "read_rtlil design.il", f"hierarchy -check -top {circuit.name}",
        f"{facts.synth}{facts.dsp if dsp else facts.no_dsp} -top {circuit.name}",
        "setattr -mod -unset src *", "setattr -unset src *", "select *", "write_json netlist.json",
        "select -clear", "delete =A:blackbox", "write_rtlil netlist.il",
    ]  # fmt: skip
    progress.step(doing, 0, 2)
    made = run_yosys(
        passes, doing=doing, inputs={"design.il": circuit.rtlil}, timeout_s=_TIMEOUT_S,
        outputs=["netlist.json", "netlist.il"],
    )  # fmt: skip
    module = json.loads(made["netlist.json"])["modules"][circuit.name]
    check_inputs(circuit, _reaching(module), unused or {}, doing=doing)
    cells = Counter(cell["type"] for cell in module["cells"].values())
    cells.pop("$scopeinfo", None)
    notes = [facts.note] if facts.note else []
    verified: Verified | None = None
    blocks = [kind for kind in cells if kind in facts.bram]
    if blocks:
        notes.append(f"not simulated: there is no model of {', '.join(sorted(blocks))} here")
    else:
        progress.step(f"comparing {circuit.name} as mapped to {family}", 1, 2)
        checks: dict[str, Any] = {
            "unused": unused, "reference": reference, "runs": runs, "cycles": cycles, "seed": seed,
        }  # fmt: skip
        if family.startswith("xc") and _told(module):
            graph = netlist_graph(circuit, module, xilinx_meaning, of=family, doing=doing)
            verified = verify_graph(circuit, graph, vectors, doing=doing, **checks)
        else:
            netlist = dataclasses.replace(
                circuit, rtlil=made["netlist.il"], modules={circuit.name: 1}
            )
            models = _MODELS + _multiplier18() if dsp else ""
            verified = verify_netlist(
                circuit, netlist, vectors, models=models, prepare=(facts.models,), **checks
            )
    counted = {*facts.lut, *facts.lut_memory, *facts.flip_flop, *facts.multiplier, *facts.bram,
               *facts.carry}  # fmt: skip
    others = {kind: n for kind, n in cells.items() if kind not in counted}
    if others:
        notes.append("besides: " + ", ".join(f"{n} {kind}" for kind, n in sorted(others.items())))
    return Resources(
        family=family, lut=_sum(cells, facts.lut), lut_memory=_sum(cells, facts.lut_memory),
        flip_flop=sum(cells[kind] for kind in facts.flip_flop),
        dsp=sum(cells[kind] for kind in facts.multiplier),
        bram=sum(n * cells[kind] for kind, n in facts.bram.items()),
        carry=sum(cells[kind] for kind in facts.carry), cells=dict(sorted(cells.items())),
        tool=f"Yosys {importlib.metadata.version('pyosys')}",
        script=content_hash("\n".join(passes))[:12], verified=verified, notes=tuple(notes),
    )  # fmt: skip


def _told(module: Mapping[str, Any]) -> bool:
    """Whether every cell is a primitive of which we say what it computes."""
    cells = [cell for cell in module["cells"].values() if cell["type"] != "$scopeinfo"]
    return all(xilinx_meaning(cell) is not None for cell in cells)


def _sum(cells: Mapping[str, int], units: Mapping[str, int]) -> int:
    return sum(n * cells.get(kind, 0) for kind, n in units.items())


def _reaching(module: Mapping[str, Any]) -> frozenset[tuple[str, int]]:
    """Return the input bits that lead to an output, any input of a cell to any output of it."""
    feeds: dict[Any, list[Any]] = {}
    for cell in module["cells"].values():
        ways = cell["port_directions"]
        pins = cell["connections"].items()
        ins = [bit for pin, bits in pins if ways[pin] != "output" for bit in bits]
        for pin, bits in pins:
            if ways[pin] != "input":
                for bit in bits:
                    feeds.setdefault(bit, []).extend(ins)
    ports = module["ports"]
    waiting = [b for p in ports.values() if p["direction"] != "input" for b in p["bits"]]
    heard: set[Any] = set()
    while waiting:
        bit = waiting.pop()
        if bit not in heard:
            heard.add(bit)
            waiting.extend(feeds.get(bit, ()))
    return frozenset(
        (name, index)
        for name, port in ports.items() if port["direction"] == "input"
        for index, bit in enumerate(port["bits"]) if bit in heard
    )  # fmt: skip
