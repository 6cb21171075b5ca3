"""How good is a bench? Designs with one operator changed, and how many of them it catches.

All mutants stand in one design, which a plus-argument of the simulator chooses from, so that the
shipped bench is compiled once and runs, as it is, on every mutant.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import SpecError

from .._circuit import Circuit
from .._yosys import ToolError, run_yosys
from ._changes import changed_cell, changes_of, either, fresh_bits, output_of, said_of, selected
from ._cones import MARK, cone_unchanged, is_operator
from ._run import BenchTool, compile_bench
from ._testbench import bench_files, bench_name
from ._vectors import Vectors

#: Name and bits of the input that chooses a mutant; 0 is the circuit itself.
_CHOICE, _CHOICE_BITS = "orrery_mutant", 16
#: Cycles that a proof that nothing changed may look back.
_INDUCTION = 4
#: Multiplexers before a register that are named after it.
_ARMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A design with one change.

    Attributes
    ----------
    number : from 1
    module, cell : where
    kind : of change, e.g. ``add to sub``
    choice : which change of this kind at this cell, e.g. the bit that is flipped
    said : the change in a sentence
    """

    number: int
    module: str
    cell: str
    kind: str
    choice: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationReport:
    """Which mutants a bench caught.

    Attributes
    ----------
    circuit : its name
    caught : the bench ended otherwise than with PASS
    equivalent : passed, and proved to be the same circuit: they count on neither side
    survivors : passed, and not proved to be the same circuit
    tool : simulator that ran the bench
    """

    circuit: str
    caught: tuple[Mutant, ...]
    equivalent: tuple[Mutant, ...]
    survivors: tuple[Mutant, ...]
    tool: str

    @property
    def score(self) -> float:
        """The mutation score: caught / (all - equivalents); 1 where there is none.

        What is not proved equal counts as wrong, though it may change nothing that can be seen.
        """
        wrong = len(self.caught) + len(self.survivors)
        return len(self.caught) / wrong if wrong else 1.0

    @property
    def share(self) -> float:
        """Share of all mutants, equivalents among them, that was caught; 1 where there is none."""
        every = len(self.caught) + len(self.survivors) + len(self.equivalent)
        return len(self.caught) / every if every else 1.0

    @property
    def sentence(self) -> str:
        """The result in a sentence, for the README."""
        wrong = len(self.caught) + len(self.survivors)
        every = wrong + len(self.equivalent)
        same = ""
        if self.equivalent:
            same = (
                f", {len(self.equivalent)} more are proved to change nothing "
                f"({100 * self.share:.1f} % of all {every})"
            )
        return (
            f"Of {wrong} designs with one operator changed the bench catches {len(self.caught)} "
            f"({100 * self.score:.1f} %){same}; run by {self.tool}."
        )


def mutants(circuit: Circuit, count: int = 60, seed: int = 0) -> tuple[Mutant, ...]:
    """Return designs with a single change, spread over kinds of change and modules.

    Parameters
    ----------
    count : how many; fewer where the circuit has not so many places
    seed : which of them

    Raises
    ------
    SpecError : no count, or more than the choice has numbers for
    """
    if not 1 <= count < 1 << _CHOICE_BITS:
        most = (1 << _CHOICE_BITS) - 1
        raise SpecError(f"mutants of {circuit.name}", found=count, wanted=f"1 to {most}",
                        fix="ask for another number")  # fmt: skip
    by_kind: dict[str, dict[str, list[tuple[str, int, str]]]] = {}
    for module, parts in _netlist(circuit)["modules"].items():
        reset = next(iter(parts["ports"].get(circuit.reset, {"bits": [None]})["bits"]))
        cells = parts["cells"]
        registers = {
            tuple(cell["connections"]["Q"]) for cell in cells.values() if "Q" in cell["connections"]
        }
        names = _names(parts)
        for name, cell in cells.items():
            if not cell["type"].startswith("$"):
                continue
            for change in changes_of(cell, reset=reset, registers=registers):
                place = name, change[1], said_of(cell, change, names)
                by_kind.setdefault(change[0], {}).setdefault(module, []).append(place)
    chooser = random.Random(seed)
    turns = []
    for kind in sorted(by_kind):
        modules = list(by_kind[kind].items())
        chooser.shuffle(modules)
        for _, places in modules:
            chooser.shuffle(places)
        rounds = itertools.zip_longest(*([(m, p) for p in places] for m, places in modules))
        turns.append([(kind, *place) for row in rounds for place in row if place is not None])
    chooser.shuffle(turns)
    spread = (one for row in itertools.zip_longest(*turns) for one in row if one is not None)
    return tuple(
        Mutant(number=number, module=module, cell=cell, kind=kind, choice=choice,
               said=f"{module}: {said}")
        for number, (kind, module, (cell, choice, said)) in enumerate(
            itertools.islice(spread, count), start=1
        )
    )  # fmt: skip


def mutant_circuit(circuit: Circuit, mutant: Mutant) -> Circuit:
    """Return one mutant as a circuit of its own, with the same ports and names."""
    design = _netlist(circuit)
    parts = design["modules"][mutant.module]
    made = changed_cell(
        parts["cells"][mutant.cell], (mutant.kind, mutant.choice), fresh_bits(parts)
    )
    parts["cells"][mutant.cell] = made.pop("")
    for name, cell in made.items():
        parts["cells"][f"$mutant_{name}"] = cell
    text = _texts(circuit, design, f"mutant {mutant.number}")
    return dataclasses.replace(
        circuit, verilog=text["design.v"], rtlil=text["design.il"],
        summary=f"{circuit.summary} Changed: {mutant.said}.",
    )  # fmt: skip


def mutation_score(
    circuit: Circuit, vectors: Vectors | Sequence[Vectors], among: Sequence[Mutant], *,
    tool: BenchTool = "icarus", proof_s: float = 20.0,
) -> MutationReport:  # fmt: skip
    """Run the shipped bench on every mutant.

    A mutant that passes is compared with the circuit by induction over all states (Yosys'
    ``equiv_induct``); one that is not proved equal in the time given counts as survivor.

    Parameters
    ----------
    vectors : those of the bench
    among : from `mutants`, of this circuit
    tool : simulator
    proof_s : time for one proof

    Raises
    ------
    ToolError : the bench does not pass on the circuit itself, or a tool failed
    """
    files = {"design.v": _all_in_one(circuit, among), **bench_files(circuit, vectors)}
    with tempfile.TemporaryDirectory(prefix="orrery-mutants-") as name:
        made = compile_bench(files, top=bench_name(circuit), folder=Path(name), tool=tool)
        first = made.run("mutant=0")
        if not first.passed:
            why, log = "the circuit itself does not pass", "\n".join(first.said)
            raise ToolError(tool, doing=f"running the bench of {circuit.name}", why=why, log=log)
        with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
            passed = list(
                pool.map(lambda m: made.run(f"mutant={m.number}", "most=1").passed, among)
            )
    alive = [mutant for mutant, good in zip(among, passed) if good]
    same = {mutant.number for mutant in alive if _proved_equal(circuit, mutant, proof_s)}
    return MutationReport(
        circuit=circuit.name,
        caught=tuple(m for m, good in zip(among, passed) if not good),
        equivalent=tuple(m for m in alive if m.number in same),
        survivors=tuple(m for m in alive if m.number not in same), tool=tool,
    )  # fmt: skip


def _netlist(circuit: Circuit) -> Any:
    """Return the design as cells, its processes turned into multiplexers and flip-flops."""
    passes = [
        "read_rtlil design.il", f"hierarchy -check -top {circuit.name}", "proc -norom",
        "memory_collect", "opt_clean", "write_json design.json",
    ]  # fmt: skip
    done = run_yosys(
        passes, doing=f"listing the operators of {circuit.name}",
        inputs={"design.il": circuit.rtlil}, outputs=["design.json"],
    )  # fmt: skip
    design = json.loads(done["design.json"])
    # Trap: Yosys writes an unsigned operator on a wire declared signed as a signed one.
    for parts in design["modules"].values():
        for named in (*parts["ports"].values(), *parts["netnames"].values()):
            named.pop("signed", None)
    return design


def _names(parts: Any) -> dict[object, str]:
    """Return bit -> name of a signal that a reader of the text knows.

    What goes into a register, through its enable and its reset, has the register's name.
    """
    names: dict[object, str] = {}
    for name, net in parts["netnames"].items():
        if not net["hide_name"] and not name.startswith("$"):
            for bit in net["bits"]:
                names.setdefault(bit, name)
    cells = [cell for cell in parts["cells"].values() if cell["type"] in ("$dff", "$mux")]
    for _ in range(_ARMS):
        for cell in cells:
            wires = cell["connections"]
            ports = (("Q", "D"),) if cell["type"] == "$dff" else (("Y", "A"), ("Y", "B"))
            for known, other in ports:
                for bit, before in zip(wires[known], wires[other]):
                    if bit in names and not isinstance(before, str):
                        names.setdefault(before, names[bit])
    return names


def _texts(circuit: Circuit, design: Any, what: str) -> Any:
    passes = [
        "read_json design.json", f"hierarchy -check -top {circuit.name}", "check",
        "write_rtlil design.il", "write_verilog -noattr design.v",
    ]  # fmt: skip
    return run_yosys(
        passes, doing=f"writing {what} of {circuit.name}", cached=False,
        inputs={"design.json": json.dumps(design)}, outputs=["design.il", "design.v"],
    )  # fmt: skip


def _all_in_one(circuit: Circuit, among: Sequence[Mutant]) -> str:
    """Return the Verilog of all mutants in one, chosen by the plus-argument ``mutant``."""
    design = _netlist(circuit)
    modules = design["modules"]
    numbers = {name: fresh_bits(parts) for name, parts in modules.items()}
    choice: dict[str, list[int]] = {}

    def choice_of(module: str) -> list[int]:
        if module not in choice:
            bits = [next(numbers[module]) for _ in range(_CHOICE_BITS)]
            choice[module] = bits
            parts = modules[module]
            parts["ports"][_CHOICE] = {"direction": "input", "bits": bits}
            parts["netnames"][_CHOICE] = {"hide_name": 0, "bits": bits, "attributes": {}}
        return choice[module]

    places: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in among:
        places.setdefault((mutant.module, mutant.cell), []).append(mutant)
    for (module, name), here in places.items():
        cells, fresh = modules[module]["cells"], numbers[module]
        cell = cells[name]
        port = output_of(cell)
        wanted = cell["connections"][port]
        now: list[Any] = [next(fresh) for _ in wanted]
        original = json.loads(json.dumps(cell))
        cell["connections"][port] = now
        for place, mutant in enumerate(here):
            made = changed_cell(original, (mutant.kind, mutant.choice), fresh)
            changed = [next(fresh) for _ in wanted]
            made[""]["connections"][port] = changed
            if "MEMID" in made[""]["parameters"]:
                made[""]["parameters"]["MEMID"] += f"_mutant_{mutant.number}"
            for part, new in made.items():
                cells[f"$mutant_{mutant.number}_{part}"] = new
            chosen = next(fresh)
            bits = choice_of(module)
            cells[f"$mutant_{mutant.number}_chosen"] = selected(bits, mutant.number, chosen)
            after = wanted if place == len(here) - 1 else [next(fresh) for _ in wanted]
            cells[f"$mutant_{mutant.number}_pick"] = either(now, changed, chosen, after)
            now = after
    for module in circuit.modules:  # inner ones first
        for cell in modules[module]["cells"].values():
            if cell["type"] in choice:
                cell["connections"][_CHOICE] = choice_of(module)
                cell["port_directions"][_CHOICE] = "input"
    choice_of(circuit.name)
    inner = f"{circuit.name}_mutants"
    modules[inner] = modules.pop(circuit.name)
    text = _texts(dataclasses.replace(circuit, name=inner), design, "the mutants")
    return str(text["design.v"]) + _chooser(circuit, inner)


def _chooser(circuit: Circuit, inner: str) -> str:
    """Return a module with the circuit's name and ports that asks for the mutant's number."""
    clocks = [name for name in (circuit.clock, circuit.reset) if name]
    ports = [f"  input wire {name}" for name in clocks]
    ports += [
        f"  {'input' if p.direction == 'in' else 'output'} wire [{p.width - 1}:0] {p.name}"
        for p in circuit.ports
    ]
    links = [f"    .{name}({name})" for name in (*clocks, *(p.name for p in circuit.ports))]
    return "\n".join([
        f"module {circuit.name} (", ",\n".join(ports), ");", "  integer number = 0;",
        '  initial if (!$value$plusargs("mutant=%d", number)) number = 0;',
        f"  {inner} all_of_them (",
        ",\n".join([*links, f"    .{_CHOICE}(number[{_CHOICE_BITS - 1}:0])"]), "  );",
        "endmodule", "",
    ])  # fmt: skip


def _proved_equal(circuit: Circuit, mutant: Mutant, timeout_s: float) -> bool:
    """Return whether the mutant is proved to do the same from equal states, in every one.

    First what the changed operator feeds up to the registers, in its module and in the whole
    design; then the changed module alone, whatever the modules in it do, cut at all its named
    signals; then at registers only (a signal within may differ where nobody sees it); then the
    whole design.
    """
    if any(_unseen(circuit, mutant, whole, timeout_s) for whole in (False, True)):
        return True
    changed = mutant_circuit(circuit, mutant)
    alone = ["select c:*", "expose -evert", "select -clear", "opt_clean"]
    inner = "select w:* t:$dff %co1:+[Q] w:* %i %d"
    hidden = [*alone, inner, "rename -hide", "select -clear"]
    tries = [(mutant.module, alone), (mutant.module, hidden), (circuit.name, ["flatten"])]
    return any(_equal(circuit, changed, top, cut, timeout_s) for top, cut in tries)


def _unseen(circuit: Circuit, mutant: Mutant, whole: bool, timeout_s: float) -> bool:
    """Return whether no register, in the module or the whole design, is proved to see the change.

    In the whole design what nobody reads is left out first, registers too, and a memory is its
    rows.
    """
    design = _netlist(circuit)
    parts = design["modules"][mutant.module]
    original = parts["cells"][mutant.cell]
    original["attributes"][MARK] = "1"
    if not is_operator(original):
        return False
    change, doing = (mutant.kind, mutant.choice), f"comparing {circuit.name} with a mutant"
    if whole:
        passes = [
            "read_json design.json", f"hierarchy -check -top {circuit.name}", "flatten",
            "memory_map", "opt_clean", "write_json flat.json",
        ]  # fmt: skip
        inputs = {"design.json": json.dumps(design)}
        try:
            done = run_yosys(
                passes, doing=doing, inputs=inputs, outputs=["flat.json"], timeout_s=timeout_s
            )
        except ToolError:
            return False
        parts = json.loads(done["flat.json"])["modules"][circuit.name]
    return cone_unchanged(parts, change, original, doing=doing, timeout_s=timeout_s)


def _equal(
    circuit: Circuit, changed: Circuit, top: str, cut: Sequence[str], timeout_s: float
) -> bool:  # fmt: skip
    """Return whether one module of two designs is proved to be the same."""
    load = []
    for file, name in (("circuit.il", "gold"), ("mutant.il", "gate")):
        load += [
            f"read_rtlil {file}", f"hierarchy -check -top {top}", "proc -norom", "memory_map",
            "opt_clean", *cut, f"rename {top} {name}", f"design -stash {name}",
        ]  # fmt: skip
    passes = [
        *load, "design -copy-from gold -as gold gold", "design -copy-from gate -as gate gate",
        "equiv_make gold gate equiv", "hierarchy -top equiv", "opt_clean",
        "equiv_simple", f"equiv_induct -seq {_INDUCTION}", "equiv_status -assert",
    ]  # fmt: skip
    inputs = {"circuit.il": circuit.rtlil, "mutant.il": changed.rtlil}
    doing = f"comparing {top} of {circuit.name} with a mutant"
    try:
        run_yosys(passes, doing=doing, inputs=inputs, outputs=[], timeout_s=timeout_s)
    except ToolError:
        return False
    return True
