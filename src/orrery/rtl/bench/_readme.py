"""The folder that a circuit is handed over in: Verilog, bench, vectors, README, record."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orrery.errors import SpecError
from orrery.store import content_hash, read_record, whole_folder, write_record, write_text

from .._circuit import Circuit, Finding, Port, Stream, Timing
from .._engines import run_tool
from .._lint import lint
from .._yosys import ToolError
from ..synthesis import Resources, Synthesis
from ._mutants import MutationReport
from ._run import ICARUS_OPTIONS, VERILATOR_OPTIONS, BenchTool, compile_bench
from ._testbench import bench_files, bench_name, vector_stamps
from ._vectors import PlainVectors, Vectors, as_vectors, count_of

_KIND, _SCHEMA = "circuit", 1
_RECORD = "circuit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One module of the design.

    Attributes
    ----------
    instances : in the whole design
    inside : module -> how often it stands in one of these
    area : of one instance's own cells, in the record's unit; None: not synthesised
    """

    name: str
    instances: int
    inside: Mapping[str, int]
    area: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaRecord:
    """What synthesis found, as in `Synthesis`; of the flattened design where it was flattened."""

    area: float
    unit: str
    nand2_equivalents: float | None
    sequential_share: float
    longest_path_s: float | None
    tool: str
    script: str
    library: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FpgaRecord:
    """What it takes of an FPGA, as in `Resources`."""

    family: str
    lut: int
    lut_memory: int
    flip_flop: int
    dsp: int
    bram: float
    tool: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationRecord:
    """How many designs with one operator changed the bench catches, as in `MutationReport`.

    Attributes
    ----------
    caught, equivalent : how many were caught, and how many are proved to change nothing
    survivors : the others, each in a sentence
    score : caught / (all - equivalent)
    share : caught / all
    """

    caught: int
    equivalent: int
    survivors: tuple[str, ...]
    score: float
    share: float
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRecord:
    """The body of circuit.json.

    Attributes
    ----------
    ports : without clock and reset
    blocks : inner modules first, the top last
    vectors : of the bench: what each set is, and how many are compared
    checked : what was checked when the files were made, one sentence each
    findings : of lint
    files : file -> hash of its content (BLAKE2b-160)
    tools : package or program -> version
    """

    name: str
    summary: str
    parameters: Mapping[str, int | str | bool]
    ports: tuple[Port, ...]
    streams: tuple[Stream, ...]
    timing: Timing
    clock: str
    reset: str
    blocks: tuple[Block, ...]
    vectors: tuple[tuple[str, int], ...]
    checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    area: AreaRecord | None = None
    fpga: FpgaRecord | None = None
    mutation: MutationRecord | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


def circuit_files(
    circuit: Circuit, vectors: Vectors | Sequence[Vectors], *, synthesis: Synthesis | None = None,
    resources: Resources | None = None, mutation: MutationReport | None = None,
    checked: Sequence[str] = (),
) -> dict[str, str]:  # fmt: skip
    """Return everything that is handed over: file name -> text.

    ``NAME.v`` the circuit, ``NAME_bench.v`` and ``*.hex`` the bench, ``README.md``,
    ``circuit.json``. The Verilog is linted and, where Icarus is installed, the bench is run.

    Parameters
    ----------
    vectors : what the bench plays and compares, as in `bench_files`
    synthesis, resources, mutation : what was found before; written down
    checked : further sentences about what the caller has checked

    Raises
    ------
    ToolError : lint could not run, or the bench says that the circuit does something else
    SpecError : as `bench_files`
    """
    sets = as_vectors(circuit, vectors)
    files = {f"{circuit.name}.v": circuit.verilog, **bench_files(circuit, sets)}
    findings = lint(circuit)
    done = [_lint_sentence(findings), *_bench_sentence(circuit, files, sets)]
    if synthesis is not None:
        done.append(
            f"The netlist of {synthesis.tool} was simulated against the circuit; "
            "it uses every input bit."
        )
    if mutation is not None:
        done.append(mutation.sentence)
    done += checked
    record = CircuitRecord(
        name=circuit.name, summary=circuit.summary, parameters=dict(circuit.parameters),
        ports=circuit.ports, streams=circuit.streams, timing=circuit.timing, clock=circuit.clock,
        reset=circuit.reset, blocks=_blocks(circuit, synthesis),
        vectors=tuple((one.about or _kind(one), count_of(one)) for one in sets),
        checked=tuple(done), findings=findings, area=_area(synthesis), fpga=_fpga(resources),
        mutation=_mutation(mutation), files={}, tools=_tools(),
    )  # fmt: skip
    files["README.md"] = _readme(circuit, record, sets)
    hashes = {name: content_hash(text) for name, text in files.items()}
    return {**files, _RECORD: _record_text(record, hashes)}


def write_circuit(
    circuit: Circuit, folder: Path, *, vectors: Vectors | Sequence[Vectors],
    synthesis: Synthesis | None = None, resources: Resources | None = None,
    mutation: MutationReport | None = None, checked: Sequence[str] = (),
) -> dict[str, Path]:  # fmt: skip
    """Write `circuit_files` into a folder, all or none; return file name -> path.

    Raises
    ------
    ToolError, SpecError : as `circuit_files`
    SpecError : the folder holds another circuit, or a file of these names that is not as it was
        written here
    """
    files = circuit_files(
        circuit, vectors, synthesis=synthesis, resources=resources, mutation=mutation,
        checked=checked,
    )  # fmt: skip
    refuse_others(folder, files)
    with whole_folder(folder) as fresh:
        for name, text in files.items():
            write_text(fresh / name, text)
    return {name: folder / name for name in files}


def refuse_others(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse a folder in which a circuit's files would replace what is not of that circuit.

    Raises
    ------
    SpecError : a record of another circuit or none of ours; a file that is of nobody's record, or
        that was changed since
    """
    there = {name for name in files if (folder / name).is_file()}
    known: Mapping[str, str] = {}
    elsewhere = "remove it, or give another folder (--out)"
    if _RECORD in there:
        old, new = read_circuit_record(folder / _RECORD), circuit_record(files)
        if new is None or old.name != new.name:
            raise SpecError(
                str(folder), found=f"the circuit {old.name}",
                wanted="no circuit, or the one to be written" + (f", {new.name}" if new else ""),
                fix="give another folder (--out)",
            )  # fmt: skip
        known = old.files
    for name in sorted(there - {_RECORD}):
        content = (folder / name).read_bytes()
        if content == files[name].encode():
            continue
        if name not in known:
            raise SpecError(
                str(folder / name), found="a file that no circuit.json beside it lists",
                wanted="no such file, or one that was written here", fix=elsewhere,
            )  # fmt: skip
        if known[name] != content_hash(content):
            raise SpecError(
                str(folder / name), found="a file that was changed since it was written",
                wanted="the file as it was written", fix=elsewhere,
            )  # fmt: skip


def read_circuit_record(path: Path) -> CircuitRecord:
    """Read a circuit.json.

    Raises
    ------
    SpecError : not one, a newer schema, unknown or missing keys
    """
    return read_record(path, _KIND, CircuitRecord, _SCHEMA)


def circuit_record(files: Mapping[str, str]) -> CircuitRecord | None:
    """Return the record among the files of a circuit, as text; None where there is none.

    Raises
    ------
    SpecError : as `read_circuit_record`
    """
    if _RECORD not in files:
        return None
    with tempfile.TemporaryDirectory(prefix="orrery-circuit-") as name:
        path = Path(name) / _RECORD
        write_text(path, files[_RECORD])
        return read_circuit_record(path)


def _record_text(record: CircuitRecord, hashes: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="orrery-circuit-") as name:
        path = Path(name) / _RECORD
        write_record(path, _KIND, _SCHEMA, dataclasses.replace(record, files=dict(hashes)))
        return path.read_text()


def _lint_sentence(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Lint by Verilator and Yosys: nothing found."
    return f"Lint by Verilator and Yosys: {len(findings)} found, listed in {_RECORD}."


def _bench_sentence(
    circuit: Circuit, files: Mapping[str, str], sets: Sequence[Vectors]
) -> list[str]:  # fmt: skip
    """Run the bench where Icarus is; return what can be said of it."""
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        return ["The bench was not run when these files were made: Icarus was not installed."]
    tool: BenchTool = "icarus"
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        made = compile_bench(files, top=bench_name(circuit), folder=Path(name), tool=tool)
        run = made.run()
    if not run.passed:
        raise ToolError("vvp", doing=f"running the bench of {circuit.name}",
                        why="the circuit does not do what the vectors say",
                        log="\n".join(run.said))  # fmt: skip
    return [f"The bench was run by Icarus Verilog: PASS {sum(map(count_of, sets))} vectors."]


def _blocks(circuit: Circuit, synthesis: Synthesis | None) -> tuple[Block, ...]:
    areas = {m.name: m.area for m in synthesis.modules} if synthesis is not None else {}
    inside: dict[str, dict[str, int]] = {}
    for text in re.split(r"^end$", circuit.rtlil, flags=re.MULTILINE):
        found = re.search(r"^module \\(\S+)$", text, re.MULTILINE)
        if found:
            cells = re.findall(r"^  cell \\(\S+) ", text, re.MULTILINE)
            inside[found[1]] = {cell: cells.count(cell) for cell in cells}
    return tuple(
        Block(name=name, instances=count, inside=inside.get(name, {}), area=areas.get(name))
        for name, count in circuit.modules.items()
    )


def _area(synthesis: Synthesis | None) -> AreaRecord | None:
    if synthesis is None:
        return None
    longest, gates = synthesis.longest, synthesis.nand2_equivalents
    return AreaRecord(
        area=synthesis.area, unit=synthesis.area_unit,
        nand2_equivalents=gates if math.isfinite(gates) else None,
        sequential_share=synthesis.sequential_share,
        longest_path_s=longest.delay_s if longest is not None else None, tool=synthesis.tool,
        script=synthesis.script, library=synthesis.library, notes=tuple(synthesis.notes),
    )  # fmt: skip


def _fpga(found: Resources | None) -> FpgaRecord | None:
    if found is None:
        return None
    return FpgaRecord(
        family=found.family, lut=found.lut, lut_memory=found.lut_memory, flip_flop=found.flip_flop,
        dsp=found.dsp, bram=found.bram, tool=found.tool, notes=tuple(found.notes),
    )  # fmt: skip


def _mutation(found: MutationReport | None) -> MutationRecord | None:
    if found is None:
        return None
    return MutationRecord(
        caught=len(found.caught), equivalent=len(found.equivalent),
        survivors=tuple(mutant.said for mutant in found.survivors), score=found.score,
        share=found.share, tool=found.tool,
    )  # fmt: skip


def _tools() -> dict[str, str]:
    found = {}
    for package in ("amaranth", "pyosys", "verilator"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | ({"icarus": version} if (version := _icarus_version()) else {})


def _icarus_version() -> str:
    """Return the version of the Icarus that runs the bench; empty where there is none."""
    program = shutil.which("vvp")
    if program is None or shutil.which("iverilog") is None:
        return ""
    said = run_tool([program, "-V"], doing="asking for its version", folder=Path.cwd())
    found = re.search(r"version (\S+)", said)
    return found[1] if found else "unknown"


def _kind(vectors: Vectors) -> str:
    return "values cycle by cycle" if isinstance(vectors, PlainVectors) else "items of streams"


def _readme(circuit: Circuit, record: CircuitRecord, sets: Sequence[Vectors]) -> str:
    name, bench = circuit.name, bench_name(circuit)
    clock = (
        f"Clock `{circuit.clock}`, rising edge; reset `{circuit.reset}`, synchronous, high."
        if circuit.clock
        else "Combinational: no clock, no reset."
    )
    lines = [
        f"# {name}", "", circuit.summary, "", "## Parameters", "",
        *([f"- `{key}` = {value}" for key, value in circuit.parameters.items()] or ["None."]),
        "", "## Ports", "", clock, "",
        "| port | direction | bits | meaning |", "| --- | --- | --- | --- |",
        *(
            f"| `{p.name}` | {p.direction} | {p.width}{' signed' if p.signed else ''} "
            f"| {p.meaning.replace('|', '/')} |"
            for p in circuit.ports
        ),
    ]  # fmt: skip
    if circuit.streams:
        lines += [
            "", "Streams: " + ", ".join(f"`{s.name}` ({s.direction})" for s in circuit.streams)
            + ". An item moves in each cycle in which valid and ready are both 1; valid does not "
            "wait for ready, and an item that is offered stays until it is taken.",
        ]  # fmt: skip
    timing = circuit.timing
    known = [
        f"{what} {number} cycle{'' if number == 1 else 's'}"
        for what, number in (("Latency", timing.latency), ("interval", timing.interval))
        if number is not None
    ]
    lines += ["", "## Timing", ""]
    lines += [f"{', '.join(known)}: {timing.rule}." if known else f"{timing.rule}."]
    lines += ["", "## Bench", "", *_vector_lines(circuit, sets), "", "With Icarus Verilog:", ""]
    lines += ["```", f"iverilog {' '.join(ICARUS_OPTIONS)} -o bench.vvp {name}.v {bench}.v",
              "vvp -n bench.vvp", "```", "",
              "With Verilator 5 (`verilator-cli` where it came from the Python package):", "",
              "```",
              f"verilator {' '.join(VERILATOR_OPTIONS)} --top-module {bench} {name}.v {bench}.v",
              f"./obj_dir/V{bench}", "```", ""]  # fmt: skip
    total = sum(count_of(one) for one in sets)
    lines += [
        f"Run them in this folder. A line `PASS {total} vectors` is printed and the exit status is "
        "0 (Verilator adds a line of its own); else the first mismatches are printed (`+most=N`: "
        "how many) and the status is not 0.",
        "", "## What was checked", "", *(f"- {sentence}" for sentence in record.checked),
    ]  # fmt: skip
    if record.mutation is not None and record.mutation.survivors:
        lines += ["", "Not caught, and not proved to change nothing:", ""]
        lines += [f"- {said}" for said in record.mutation.survivors]
    lines += _area_lines(record)
    return "\n".join([*lines, ""])


def _vector_lines(circuit: Circuit, sets: Sequence[Vectors]) -> list[str]:
    lines = []
    for number, one in enumerate(sets):
        if isinstance(one, PlainVectors):
            how = "after short runs that a reset cuts off" if circuit.clock else "one by one"
        else:
            timed = any(vector_stamps(circuit, one))
            how = ("without pauses" + (", with the cycle of each item" if timed else "")
                   + ", and with pauses, after short runs that a reset cuts off")  # fmt: skip
        lines.append(f"- set {number}: {one.about or _kind(one)}; {count_of(one)} vectors, {how}")
    return lines


def _area_lines(record: CircuitRecord) -> list[str]:
    lines: list[str] = []
    if record.area is not None:
        area = record.area
        path = (
            "" if area.longest_path_s is None
            else f"; longest path {area.longest_path_s * 1e9:.2f} ns"
        )  # fmt: skip
        lines += ["", "## Area", "",
                  f"{area.area:.6g} {area.unit}, {100 * area.sequential_share:.1f} % of it "
                  f"flip-flops{path} ({area.tool}, library {area.library}).", ""]  # fmt: skip
        lines += ["| module | instances | area of one | of all |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{b.name}` | {b.instances} | {b.area:.6g} | {b.area * b.instances:.6g} |"
            for b in record.blocks if b.area is not None
        ] + ["", *(f"- {note}" for note in area.notes)]  # fmt: skip
    if record.fpga is not None:
        fpga = record.fpga
        lines += ["", f"## FPGA ({fpga.family})", "",
                  f"{fpga.lut} LUT, {fpga.lut_memory} LUT as memory, {fpga.flip_flop} flip-flops, "
                  f"{fpga.dsp} DSP, {fpga.bram:g} block RAM ({fpga.tool}).", "",
                  *(f"- {note}" for note in fpga.notes)]  # fmt: skip
    return lines
