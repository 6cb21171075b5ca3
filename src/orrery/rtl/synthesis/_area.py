"""From a circuit to cells of a library: area by module, longest path, a netlist that was checked.

Models: cell area as the library states it, mapped by Yosys and ABC for area. Ignores: wires, clock
tree, placement, drive strength and buffers (see `_timing`), a clock constraint; memories become
flip-flops unless declared `Macro`. Judge: areas by hand of small circuits, every netlist simulated
against its RTL.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean
from orrery.progress import SILENT, Progress
from orrery.store import content_hash

from .._circuit import Circuit
from .._yosys import ToolError, run_yosys
from ._gates import gate_graph
from ._liberty import read_library
from ._library import Library
from ._models import cell_models
from ._netlist import MiscompiledError, Reference, verify_graph
from ._record import Macro, MemoryUse, ModuleArea, Synthesis, Verified
from ._stimulus import check_amounts, check_ports
from ._timing import longest_paths

_TIMEOUT_S = 3600.0
#: ABC's own script but for its first step: `&fraig -x` takes minutes on multipliers and `ifraig`
#: seconds, at the same area (fp32 multiplier: 4788 for 4797 NAND2, 2.5 s for 22 s and more).
_ABC = "+strash;ifraig;scorr;dc2;dretime;strash;&get,-n;&dch,-f;&nf;&put"


def synthesise(
    circuit: Circuit, *, liberty: Path | None = None, flatten: bool = True, booth: bool = True,
    by_module: bool = True, macros: Mapping[str, Macro] | None = None,
    unused: Mapping[str, str] | None = None,
    vectors: Mapping[str, NDArray[Any]] | Sequence[Mapping[str, NDArray[Any]]] = (),
    reference: Reference | None = None, runs: int = 12, cycles: int = 200, seed: int = 0,
    progress: Progress = SILENT,
) -> Synthesis:  # fmt: skip
    """Map a circuit to the cells of a library and check the netlist against the circuit.

    Parameters
    ----------
    circuit : what to synthesise
    liberty : a Liberty file, plain or gzip; by default this package's own, in NAND2 equivalents
    flatten : dissolve the modules before optimising; area and paths are of that netlist
    booth : Booth-encode the multipliers; Yosys' default ones are a third larger
    by_module : with `flatten`, also synthesise with the modules kept, for the area of each
    macros : module -> its declared area, e.g. of an SRAM; kept whole, its cells not counted
    unused : input bits the circuit ignores on purpose, e.g. ``{"a[7:4]": "reserved"}``
    vectors, reference, runs, cycles, seed : as in `verify_netlist`; always compared
    progress : told of each of the steps, of which a large circuit takes minutes

    Raises
    ------
    MiscompiledError : the netlist is not the circuit, or drops an input bit
    SpecError : the Liberty file, a macro, vectors or `unused` are not understood; a circuit without
        inputs or outputs
    ToolError : Yosys failed, or mapped to something that is no cell of the library
    """
    check_ports(circuit)
    check_amounts(runs, cycles)
    library = read_library(liberty)
    declared = dict(macros or {})
    _check_macros(circuit, declared)
    checks = {
        "vectors": vectors, "unused": unused, "reference": reference, "runs": runs,
        "cycles": cycles, "seed": seed,
    }  # fmt: skip
    apart = flatten and by_module and len(circuit.modules) > 1
    ways = [flatten, False] if apart else [flatten]
    found = []
    for done, flat in enumerate(ways):
        said = f"{circuit.name}, {'dissolved' if flat else 'by module'}"
        progress.step(f"gates of {said}", 2 * done, 2 * len(ways))
        made = _Mapped(circuit, library, declared, flatten=flat, booth=booth)
        progress.step(f"comparing the gates of {said}", 2 * done + 1, 2 * len(ways))
        found.append((made, made.verified(circuit, library, checks)))
    (main, verified), (parts, _) = found[0], found[-1]
    nand2 = library.nand2
    area = main.modules[0].total
    return Synthesis(
        circuit=circuit.name, area=area, area_unit=library.area_unit,
        nand2_equivalents=area / nand2.area if nand2 and nand2.area else float("nan"),
        sequential=sum(m.sequential * m.instances for m in main.modules), cells=main.cells,
        modules=parts.modules, paths=main.paths, memories=main.memories, flattened=flatten,
        booth=booth, tool=f"Yosys {importlib.metadata.version('pyosys')}", script=main.script,
        library=f"{library.name} {library.content[:12]}", netlist=main.netlist,
        verified=verified, notes=_notes(library, main, declared, verified),
    )  # fmt: skip


def _check_macros(circuit: Circuit, macros: Mapping[str, Macro]) -> None:
    for name, macro in macros.items():
        if name not in circuit.modules or name == circuit.name:
            raise SpecError(
                "macros", found=f"module {name!r}",
                wanted=f"a module below {circuit.name}: {', '.join(list(circuit.modules)[:20])}",
                fix=f"name a module of the design{did_you_mean(name, circuit.modules)}",
            )  # fmt: skip
        if not macro.area > 0 or not macro.source.strip():
            raise SpecError(
                f"macros: {name}", found=f"area {macro.area}, source {macro.source!r}",
                wanted="an area above 0 and where it comes from", fix="give both",
            )  # fmt: skip


def _notes(
    library: Library, mapped: _Mapped, macros: Mapping[str, Macro], verified: Verified
) -> tuple[str, ...]:
    notes = [
        "cells only: no wires, no clock tree, no placement; mapped for area, no clock constraint"
    ]
    if mapped.booth:
        notes.append("where it multiplies, multipliers are Booth-encoded by Yosys")
    else:
        notes.append(
            "multipliers, if any, are not Booth-encoded, which makes them about a third larger"
        )
    for memory in mapped.memories:
        became = "flip-flops" if memory.written else "logic: nothing writes it"
        notes.append(f"memory {memory.name}, {memory.words} x {memory.width} bit, became {became}")
        if memory.written and memory.first_values:
            notes.append(f"memory {memory.name} has first values, which flip-flops do not keep")
    notes += [f"{name}: area {m.area:g} as declared, {m.source}" for name, m in macros.items()]
    if verified.unreset:
        notes.append(
            f"outputs {', '.join(verified.unreset)} depend on what flip-flops hold before the "
            "reset, which in a chip is anything"
        )
    if not mapped.paths and mapped.cells:
        notes.append(f"no longest path: library {library.name} has no delays for these cells")
    trees = sum(path.buffered for path in mapped.paths[:1])
    if trees:
        notes.append(
            f"{trees} nets of the longest path are taken to have trees of buffers, not in the area"
        )
    return tuple(notes)


class _Mapped:
    """One run of Yosys: netlist, areas, paths."""

    def __init__(
        self, circuit: Circuit, library: Library, macros: Mapping[str, Macro], *, flatten: bool,
        booth: bool,
    ) -> None:  # fmt: skip
        self.booth = booth
        passes = _passes(circuit, macros, flatten=flatten, booth=booth)
        doing = f"synthesis of {circuit.name}"
        usable = [c.name for c in library.cells.values() if not c.other_state and not c.dont_use]
        models = cell_models(library, _with_functions(library, usable))
        made = run_yosys(
            passes, doing=doing, timeout_s=_TIMEOUT_S,
            inputs={"design.il": circuit.rtlil, "cells.lib": library.text, "cells.v": models},
            outputs=["parts.json", "flat.json", "memories.json", "netlist.il", "netlist.v"],
        )  # fmt: skip
        self.script = content_hash("\n".join(passes))[:12]
        parts, flat = json.loads(made["parts.json"]), json.loads(made["flat.json"])
        self.modules = _areas(circuit, library, macros, parts["modules"], doing)
        cells: Counter[str] = Counter()
        for module in self.modules:
            for cell, count in module.cells.items():
                cells[cell] += count * module.instances
        self.cells = dict(sorted(cells.items()))
        self.memories = _memories(json.loads(made["memories.json"]))
        self.netlist = dataclasses.replace(
            circuit, verilog=made["netlist.v"], rtlil=made["netlist.il"],
            summary=f"Netlist of {circuit.name} in cells of {library.name}. {circuit.summary}",
            modules={circuit.name: 1, **self.cells},
        )  # fmt: skip
        self.gates = flat["modules"][circuit.name]
        self.paths = longest_paths(circuit, self.gates, library)

    def verified(self, circuit: Circuit, library: Library, checks: Mapping[str, Any]) -> Verified:
        """Compare the netlist with the circuit."""
        doing = f"verifying the netlist of {circuit.name}"
        graph = gate_graph(circuit, self.gates, library, doing=doing)
        return verify_graph(circuit, graph, doing=doing, **checks)


def _with_functions(library: Library, names: Sequence[str]) -> list[str]:
    """Return the cells that can stand in a netlist: a gate or flip-flop that drives something."""
    return [
        name for name in names
        if library.cells[name].outputs
        and not any(pin.three_state for pin in library.cells[name].pins.values())
    ]  # fmt: skip


def _passes(
    circuit: Circuit, macros: Mapping[str, Macro], *, flatten: bool, booth: bool
) -> list[str]:
    top = circuit.name
    synth = (
        f"synth -noabc -top {top}{' -flatten' if flatten else ''}{' -booth' if booth else ''} -run"
    )
    return [
        "read_rtlil design.il", f"hierarchy -check -top {top}",
        *(f"setattr -mod -set keep_hierarchy 1 {name}" for name in macros),
        f"{synth} begin:fine",
        "select t:$mem*", "write_json -selected memories.json", "select -clear",
        f"{synth} fine:check", "read_verilog -lib cells.v", "dfflibmap -liberty cells.lib",
        f"abc -liberty cells.lib -script {_ABC}", "setundef -zero", "opt_clean -purge",
        "setattr -mod -unset src *", "setattr -unset src *",
        "write_json parts.json", "setattr -mod -unset keep_hierarchy *", "flatten",
        "opt_clean -purge", "check -assert",
        "read_verilog -overwrite cells.v", f"hierarchy -check -top {top}", "proc",
        "setattr -mod -unset src *", "setattr -unset src *",
        "write_json flat.json", "write_rtlil netlist.il", "write_verilog netlist.v",
    ]  # fmt: skip


def _areas(
    circuit: Circuit, library: Library, macros: Mapping[str, Macro],
    modules: Mapping[str, Any], doing: str,
) -> tuple[ModuleArea, ...]:  # fmt: skip
    """Count cells by module, the top first, then as they are met."""
    counted: dict[str, ModuleArea] = {}
    times: Counter[str] = Counter()

    def visit(name: str) -> ModuleArea:
        if name in counted:
            return counted[name]
        cells = Counter(cell["type"] for cell in modules[name]["cells"].values())
        below = {kind: n for kind, n in cells.items() if kind not in library.cells}
        strange = [kind for kind in below if kind not in modules or kind.startswith("$")]
        if strange:
            raise MiscompiledError(
                "yosys", doing=doing,
                why=f"{below[strange[0]]} cells {strange[0]!r} of {name} are no cells of "
                f"{library.name}; the library lacks what they need",
            )  # fmt: skip
        own = {kind: n for kind, n in sorted(cells.items()) if kind in library.cells}
        inner = sum(visit(kind).total * n for kind, n in below.items())
        area = sum(library.cells[kind].area * n for kind, n in own.items())
        flops = sum(library.cells[k].area * n for k, n in own.items() if library.cells[k].flip_flop)
        macro = macros.get(name)
        if macro is not None:
            own, area, inner, flops = {}, macro.area, 0.0, 0.0
        counted[name] = ModuleArea(
            name=name, instances=0, area=area, total=area + inner, sequential=flops, cells=own,
            macro=macro is not None,
        )  # fmt: skip
        return counted[name]

    def count(name: str, n: int) -> None:
        times[name] += n
        if name not in macros:
            kinds = Counter(cell["type"] for cell in modules[name]["cells"].values())
            for kind, each in kinds.items():
                if kind not in library.cells:
                    count(kind, n * each)

    if circuit.name not in modules:
        raise ToolError("yosys", doing=doing, why=f"no module {circuit.name} in its netlist")
    visit(circuit.name)
    count(circuit.name, 1)
    ordered = [circuit.name, *(name for name in times if name != circuit.name)]
    return tuple(dataclasses.replace(counted[name], instances=times[name]) for name in ordered)


def _memories(design: Mapping[str, Any]) -> tuple[MemoryUse, ...]:
    found = []
    for module in design["modules"].values():
        for cell in module.get("cells", {}).values():
            if not cell["type"].startswith("$mem"):
                continue
            facts = cell["parameters"]
            initial = str(facts.get("INIT", ""))
            found.append(
                MemoryUse(
                    name=str(facts.get("MEMID", "?")).strip().lstrip("\\"),
                    words=_integer(facts["SIZE"]), width=_integer(facts["WIDTH"]),
                    written=_integer(facts["WR_PORTS"]) > 0,
                    first_values="1" in initial,
                )
            )  # fmt: skip
    return tuple(found)


def _integer(text: str | int) -> int:
    return text if isinstance(text, int) else int(text, 2)
