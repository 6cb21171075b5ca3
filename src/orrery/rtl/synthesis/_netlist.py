"""Whether a netlist is the circuit: simulated against the RTL, every input bit used.

Synthesis tools miscompile without a word, so nothing here trusts their exit status. The netlist is
flattened to an and-inverter graph and simulated here; the RTL runs in an engine of its own that
shares no synthesis pass with it. Ignores: delays, x, what no reset and no first value defines.
Judge: planted miscompiles and dropped bits in the tests, a known miscompile of a tool.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError

from .._circuit import Circuit
from .._yosys import ToolError, run_yosys
from ._aiger import AndGraph, Bits, from_bits, read_aiger
from ._record import Verified
from ._stimulus import MOST_BITS, Stimulus, check_amounts, check_ports, given, own

#: Inputs of one run, one row a cycle from a reset on -> outputs, as an engine's ``cycles``.
Reference = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


class MiscompiledError(ToolError):
    """A netlist that is not the circuit it was made from."""


def verify_netlist(
    circuit: Circuit, netlist: Circuit,
    vectors: Mapping[str, NDArray[Any]] | Sequence[Mapping[str, NDArray[Any]]] = (), *,
    unused: Mapping[str, str] | None = None, reference: Reference | None = None, runs: int = 12,
    cycles: int = 200, seed: int = 0, models: str = "", prepare: Sequence[str] = (),
) -> Verified:  # fmt: skip
    """Simulate a netlist against its circuit and see that every input bit reaches an output.

    Compared are the given vectors, and ours: for a combinational circuit of at most 16 input bits
    every input, else random bits, all zeros, all ones, each bit alone.

    Parameters
    ----------
    circuit : what was asked for
    netlist : what a tool made of it, with models of its cells
    vectors : input port -> array, one row a cycle from reset on; or several such runs
    unused : input bits that the circuit ignores, ``port`` or ``port[3]`` or ``port[7:4]`` -> reason
    reference : runs the circuit; by default compiled by CXXRTL
    runs, cycles : of random inputs after a reset
    seed : of them
    models, prepare : Verilog of cells the netlist does not bring along, and passes that read more

    Raises
    ------
    MiscompiledError : an output that differs (port, run, cycle, both values), an input bit that
        reaches nothing and was not declared, a clock that is not the circuit's
    SpecError : vectors or `unused` that do not fit the circuit, a circuit without inputs, no runs
        or cycles
    """
    doing = f"verifying the netlist of {circuit.name}"
    check_ports(circuit)
    check_amounts(runs, cycles)
    graph = and_graph(netlist, doing=doing, models=models, prepare=prepare)
    return verify_graph(
        circuit, graph, vectors, doing=doing, unused=unused, reference=reference, runs=runs,
        cycles=cycles, seed=seed,
    )  # fmt: skip


def verify_graph(
    circuit: Circuit, graph: AndGraph,
    vectors: Mapping[str, NDArray[Any]] | Sequence[Mapping[str, NDArray[Any]]] = (), *,
    doing: str, unused: Mapping[str, str] | None = None, reference: Reference | None = None,
    runs: int = 12, cycles: int = 200, seed: int = 0,
) -> Verified:  # fmt: skip
    """Compare a netlist that is a graph already, as `verify_netlist` does."""
    check_inputs(circuit, graph.reaching(), unused or {}, doing=doing)
    stimuli = own(circuit, runs=runs, cycles=cycles, seed=seed)
    listed = [vectors] if isinstance(vectors, Mapping) else list(vectors)
    stimuli = [*(given(circuit, one) for one in listed), *stimuli]
    reference = reference or _engine(circuit)
    compared, unreset = 0, dict[str, None]()
    for stimulus in stimuli:
        found, loose = _simulated(circuit, graph, stimulus, seed)
        _compare(circuit, found, stimulus, reference, doing)
        compared += math.prod(next(iter(stimulus.bits.values())).shape[:2])
        unreset |= dict.fromkeys(loose)
    return Verified(
        stimuli=tuple(stimulus.name for stimulus in stimuli), compared=compared,
        exhaustive=any(stimulus.exhaustive for stimulus in stimuli),
        unreset=tuple(p.name for p in circuit.ports if p.name in unreset),
    )  # fmt: skip


def _engine(circuit: Circuit) -> Reference:
    from .._simulate import simulation

    return simulation(circuit, "cxxrtl").cycles


def _simulated(
    circuit: Circuit, graph: AndGraph, stimulus: Stimulus, seed: int
) -> tuple[dict[str, Bits], list[str]]:
    """Return the netlist's outputs, and those that differ when the flip-flops start otherwise."""
    shape = next(iter(stimulus.bits.values())).shape
    if circuit.combinational:
        flat = graph.simulate({k: v.reshape(-1, 1, v.shape[2]) for k, v in stimulus.bits.items()})
        return {k: v.reshape(*shape[:2], -1) for k, v in flat.items()}, []
    count = len(graph.latches)
    random = np.random.default_rng(seed)
    starts = [graph.latches[:, 2], np.zeros(count, np.int64), np.ones(count, np.int64)]
    starts += [random.integers(0, 2, count) for _ in range(2)]
    # Runs stand side by side in a word, so that other starts cost nothing while there is room.
    size = sum(bits.size for bits in stimulus.bits.values())
    together = max(1, min(len(starts), MOST_BITS // max(1, size)))
    outcomes: list[dict[str, Bits]] = []
    for at in range(0, len(starts), together):
        some = starts[at : at + together]
        every = {k: np.tile(v, (len(some), 1, 1)) for k, v in stimulus.bits.items()}
        found = _clocked(circuit, graph, every, np.repeat(some, shape[0], axis=0))
        outcomes += [
            {k: v[i * shape[0] : (i + 1) * shape[0]] for k, v in found.items()}
            for i in range(len(some))
        ]
    return outcomes[0], _unreset(circuit, outcomes[1:])


def _compare(
    circuit: Circuit, netlist: Mapping[str, Bits], stimulus: Stimulus, reference: Reference,
    doing: str,
) -> None:  # fmt: skip
    """Compare every run with the circuit."""
    ports = {port.name: port for port in circuit.ports}
    for run in range(len(next(iter(stimulus.bits.values())))):
        inputs = {
            name: from_bits(bits[run], signed=ports[name].signed)
            for name, bits in stimulus.bits.items()
        }
        wanted = reference(inputs)
        for port in circuit.ports:
            if port.direction == "out":
                found = from_bits(netlist[port.name][run], signed=port.signed)
                _same(circuit, port.name, wanted[port.name], found, inputs, stimulus, run, doing)


def _clocked(
    circuit: Circuit, graph: AndGraph, bits: Mapping[str, Bits], first: NDArray[np.int64]
) -> dict[str, Bits]:
    """Simulate as the engines do: one cycle of reset in which every input is 0, then the rows."""
    started = {k: np.concatenate([np.zeros_like(v[:, :1]), v], axis=1) for k, v in bits.items()}
    rows = next(iter(started.values())).shape[1]
    held = {circuit.reset: [1] + [0] * (rows - 1)}
    return {k: v[:, 1:] for k, v in graph.simulate(started, held=held, first=first).items()}


def _unreset(circuit: Circuit, runs: Sequence[Mapping[str, Bits]]) -> list[str]:
    """Return the outputs that differ between runs; payloads count where their stream offers."""
    guards = {p: s.valid for s in circuit.streams if s.direction == "out" for p in s.payload}
    found: list[str] = []
    for port in circuit.ports:
        if port.direction == "out":
            same = [(run[port.name] == runs[0][port.name]).all(axis=2) for run in runs[1:]]
            if port.name in guards:
                offered = [run[guards[port.name]][:, :, 0] == 1 for run in runs]
                same = [s | ~(o & offered[0]) for s, o in zip(same, offered[1:], strict=True)]
            if not all(each.all() for each in same):
                found.append(port.name)
    return found


def _same(
    circuit: Circuit, port: str, wanted: NDArray[Any], found: NDArray[Any],
    inputs: Mapping[str, NDArray[Any]], stimulus: Stimulus, run: int, doing: str,
) -> None:  # fmt: skip
    wanted = np.asarray(wanted)
    differs = (wanted.reshape(len(wanted), -1) != found.reshape(len(found), -1)).any(axis=1)
    rows = np.flatnonzero(differs)
    if not len(rows):
        return
    row = int(rows[0])
    shown = ", ".join(f"{name} = {_hex(values[row])}" for name, values in inputs.items())
    raise MiscompiledError(
        "yosys", doing=doing,
        why=f"output {port} differs in {len(rows)} of {len(found)} rows of {stimulus.name}, first "
        f"in run {run}, row {row}: the circuit gives {_hex(wanted[row])}, the netlist "
        f"{_hex(found[row])}, with {shown}; no number of this netlist counts",
    )  # fmt: skip


def _hex(value: Any) -> str:
    words = np.atleast_1d(np.asarray(value))
    number = sum((int(word) & (2**64 - 1)) << (64 * i) for i, word in enumerate(words))
    return f"{number:#x}"


def and_graph(
    netlist: Circuit, *, doing: str, models: str = "", prepare: Sequence[str] = ()
) -> AndGraph:
    """Return a netlist, with its cells' models, as an and-inverter graph.

    Raises
    ------
    MiscompiledError : a flip-flop that is not clocked by the rising edge of the circuit's clock, a
        bit with no driver, a cell with no model
    """
    passes = [
        *prepare, "read_verilog -overwrite models.v", "read_rtlil netlist.il",
        f"hierarchy -check -top {netlist.name}", "proc", "flatten", "opt_clean",
        "memory_collect", "memory_map", "opt_dff -nodffe -nosdff", "check -assert", "techmap",
        "setundef -zero", "dfflegalize -cell $_DFF_P_ 01", "aigmap",
        "select t:$_DFF_* x:*", "write_json -selected flops.json", "select -clear",
        "write_aiger -ascii -map names.txt graph.aag",
    ]  # fmt: skip
    try:
        made = run_yosys(
            passes, doing=doing,
            inputs={"netlist.il": netlist.rtlil, "models.v": models},
            outputs=["graph.aag", "names.txt", "flops.json"],
        )  # fmt: skip
    except ToolError as error:
        if "ERROR" not in error.log:
            raise
        raise MiscompiledError("yosys", doing=doing, why=error.why, log=error.log) from None
    module = json.loads(made["flops.json"])["modules"].get(netlist.name, {"cells": {}, "ports": {}})
    _check_clock(netlist, module, doing)
    constants = {
        (name, index): int(bit)
        for name, port in module["ports"].items() if port["direction"] == "output"
        for index, bit in enumerate(port["bits"]) if bit in {"0", "1"}
    }  # fmt: skip
    graph = read_aiger(made["graph.aag"], made["names.txt"], constants=constants, doing=doing)
    wanted = {(p.name, k) for p in netlist.ports if p.direction == "out" for k in range(p.width)}
    absent = sorted(wanted - set(graph.outputs))
    if absent:
        raise MiscompiledError(
            "yosys", doing=doing, why=f"no driver of output {absent[0][0]}[{absent[0][1]}]"
        )
    return graph


def _check_clock(netlist: Circuit, module: Mapping[str, Any], doing: str) -> None:
    clock = module["ports"].get(netlist.clock, {"bits": [None]})["bits"][0]
    for name, cell in module["cells"].items():
        if cell["type"] != "$_DFF_P_" or cell["connections"]["C"] != [clock]:
            raise MiscompiledError(
                "yosys", doing=doing,
                why=f"flip-flop {name} ({cell['type']}) is not clocked by the rising edge of "
                f"{netlist.clock or 'anything: the circuit is combinational'}; write the circuit "
                "with one clock and no gate in it",
            )  # fmt: skip


def check_inputs(
    circuit: Circuit, reaching: frozenset[tuple[str, int]], unused: Mapping[str, str], *,
    doing: str,
) -> None:  # fmt: skip
    """Raise where an input bit reaches no output, or one declared unused reaches one.

    Raises
    ------
    MiscompiledError : bits that reach nothing and were not declared
    SpecError : declared bits that are no input's, have no reason, or are used after all
    """
    declared: set[tuple[str, int]] = set()
    for text, reason in unused.items():
        bits = _bits_of(circuit, text, reason)
        used = sorted(bits & reaching)
        if used:
            raise SpecError(
                f"unused: {text}", found=f"{used[0][0]}[{used[0][1]}], which reaches an output",
                wanted="only bits that the circuit ignores", fix="declare fewer bits",
            )  # fmt: skip
        declared |= bits
    lost = []
    for port in circuit.ports:
        if port.direction == "in":
            idle = [bit for bit in range(port.width) if (port.name, bit) not in reaching | declared]
            if idle:
                lost.append(f"{port.name}[{_ranges(idle)}] ({len(idle)} of {port.width} bits)")
    if lost:
        raise MiscompiledError(
            "yosys", doing=doing,
            why=f"input bits that reach no output: {', '.join(lost)}; where the circuit ignores "
            "them on purpose, declare them in `unused` with the reason",
        )  # fmt: skip


_BITS = re.compile(r"(\w+)(?:\[(\d+)(?::(\d+))?\])?")


def _bits_of(circuit: Circuit, text: str, reason: str) -> set[tuple[str, int]]:
    match = _BITS.fullmatch(text)
    port = circuit.port(match[1]) if match else None
    if match is None or port is None or port.direction != "in" or not reason.strip():
        raise SpecError(
            f"unused: {text}", found=f"{text!r}: {reason!r}",
            wanted="an input, port or port[3] or port[7:4], and the reason",
            fix="name the bits and say why the circuit ignores them",
        )  # fmt: skip
    high = int(match[2]) if match[2] else port.width - 1
    low = int(match[3]) if match[3] else (int(match[2]) if match[2] else 0)
    if not low <= high < port.width:
        raise SpecError(
            f"unused: {text}", found=f"bits {high}:{low}", wanted=f"within {port.width - 1}:0",
            fix="write the higher bit first",
        )  # fmt: skip
    return {(port.name, bit) for bit in range(low, high + 1)}


def _ranges(bits: Sequence[int]) -> str:
    """Return ``7:4, 1`` for 1, 4, 5, 6, 7."""
    found: list[list[int]] = []
    for bit in bits:
        if found and bit == found[-1][1] + 1:
            found[-1][1] = bit
        else:
            found.append([bit, bit])
    return ", ".join(f"{b}:{a}" if a != b else f"{a}" for a, b in reversed(found))
