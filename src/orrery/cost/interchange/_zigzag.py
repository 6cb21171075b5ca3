"""Loop nests as inputs of ZigZag 3.9: accelerator, workload, mapping.

Models:  levels as its memories, innermost first; axes as D1, D2, …; layers by their equations;
         our loops as its spatial mapping and temporal ordering. `levels.json` says besides which
         memory holds which loops: its stage flow finds that by itself from the order, its cost
         model takes it.
Ignores: what `Export.notes` lists.
Judge:   files written by hand for a small nest (tests); runs of the tool itself (bench).

Traps of the format: a price is per access of the full port width, not per word; ``fh, tl`` mean
*from high* and *to low*; loops of extent 1 must be there where a window names them; an array
dimension that no loop is given is filled by its own search.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil, floor
from typing import Any

from orrery.errors import SpecError
from orrery.hardware import Architecture, Level

from ..nest import Index, NestMapping, NestProblem, NestTensor
from ._export import Export, Inline, Nests, covers_exactly, grouped, in_order, left_out, text_of

TOOL = "ZigZag 3.9.1"

#: our loop -> its dimension
ZIGZAG_DIMENSIONS = {
    "N": "B", "G": "G", "Cout": "K", "Cin": "C", "D": "OZ", "H": "OY", "W": "OX",
    "Kd": "FZ", "Kh": "FY", "Kw": "FX",
}  # fmt: skip
#: loop of a window's place -> that of the positions in it, name of the axis they index
_WINDOWS = {"D": ("Kd", "IZ"), "H": ("Kh", "IY"), "W": ("Kw", "IX")}
_MEMORY = {"output": "O", "weight": "I2", "input": "I1"}
_LAYER = {"output": "O", "weight": "W", "input": "I"}
_LINKS = {"O": "O", "W": "I2", "I": "I1"}
#: run by its Python in the folder of the files; what it writes, `read_opinion` reads
_PRICE = """\
# Price the nests: run this with the Python that ZigZag is installed in (it needs `six` besides).
from pathlib import Path

from zigzag.api import get_hardware_performance_zigzag

said, beside = Path("orrery.json"), Path("results", "orrery.json")
text = said.read_text() if said.exists() else None
beside.unlink(missing_ok=True)
energy_pj, cycles, _ = get_hardware_performance_zigzag(
    "workload.yaml", "accelerator.yaml", "mapping.yaml", opt="latency", dump_folder="results",
    loma_show_progress_bar=False,
)
if text is not None:  # which nests these are results of
    beside.write_text(text)
print(f"{cycles:,.0f} cycles, {energy_pj / 1e6:,.6g} uJ")
"""
#: bits of a memory without limit; its schema knows no other way to say so
_UNLIMITED = 10**10


def export_zigzag(nests: Nests, architecture: Architecture) -> Export:
    """Return the files that price these nests in ZigZag.

    Parameters
    ----------
    nests : layers; those that are no product of two operands are left out, with a note

    Raises
    ------
    SpecError : no layer can be said in its language
    """
    notes = left_out(architecture, TOOL) + _notes(architecture)
    axes = {axis.name: f"D{n}" for n, axis in enumerate(architecture.axes, 1)}
    said: list[tuple[str, str]] = []
    layers: list[dict[str, Any]] = []
    mappings = [_mapping("default", {}, axes, (("K", 1),))]
    levels: dict[str, Any] = {}
    for name, (problem, mapping) in nests.items():
        layer = _layer(len(layers), name, problem, architecture)
        if isinstance(layer, str):
            said.append((name, f"left out, {layer}"))
            continue
        if over := covers_exactly(problem, mapping):
            said.append((name, f"factors of {', '.join(over)} do not divide the loop; the ordering "
                         "is refused there, and its own search used instead"))  # fmt: skip
        layers.append(layer)
        order = tuple((ZIGZAG_DIMENSIONS[loop], n) for _, loop, n in in_order(mapping))
        spread = {axis: [(ZIGZAG_DIMENSIONS[loop], n) for loop, n in loops if n > 1]
                  for axis, loops in mapping.spatial.items()}  # fmt: skip
        mappings.append(_mapping(name, spread, axes, order))
        levels[name] = _levels(mapping, architecture)
        if problem.times > 1:
            said.append((name, f"one of {problem.times} equal runs"))
    if not layers:
        raise SpecError(f"export to {TOOL}", found="no layer that is a product of two operands",
                        wanted="one at least", fix="choose a network with products")  # fmt: skip
    files = {
        "accelerator.yaml": text_of(_accelerator(architecture, axes)),
        "workload.yaml": text_of(layers),
        "mapping.yaml": text_of(mappings),
        "levels.json": json.dumps(levels, indent=1) + "\n",
        "price.py": _PRICE,
    }
    return Export(tool=TOOL, files=files, notes=(*notes, *grouped(said)))


def _accelerator(architecture: Architecture, axes: Mapping[str, str]) -> dict[str, Any]:
    memories = {
        level.name: _memory(level, architecture, axes) for level in reversed(architecture.levels)
        if level.holds
    }  # fmt: skip
    return {
        "name": architecture.name,
        "memories": memories,
        "operational_array": {
            "unit_energy": _pj(architecture.mac_energy_j),
            "unit_area": 0.0,
            "dimensions": Inline(axes.values()),
            "sizes": Inline(axis.size for axis in architecture.axes),
        },
    }


def _memory(level: Level, architecture: Architecture, axes: Mapping[str, str]) -> dict[str, Any]:
    least = min(*architecture.bits.values(), architecture.partial_sum_bits)
    reads = _bandwidth(level, level.read_bits_per_cycle, architecture)
    writes = (
        reads if level.one_port else _bandwidth(level, level.write_bits_per_cycle, architecture)
    )
    into, out = [], []
    for role in level.holds:
        operand = _MEMORY[role]
        into.append(f"{operand}, fh")
        out.append(f"{operand}, tl")
        if role == "output":
            into.append("O, fl")
            out.append("O, th")

    def port(name: str, kind: str, width: int, allocation: list[str]) -> dict[str, Any]:
        return {"name": name, "type": kind, "bandwidth_min": min(least, width),
                "bandwidth_max": width, "allocation": allocation}  # fmt: skip

    both = [port("rw_port_1", "read_write", reads, into + out)]
    apart = [port("r_port_1", "read", reads, out), port("w_port_1", "write", writes, into)]
    return {
        "size": level.capacity_bits or _UNLIMITED,
        "r_cost": _pj(level.read_energy_j) * reads / level.word_bits,
        "w_cost": _pj(level.write_energy_j) * writes / level.word_bits,
        "area": float(level.area_mm2 or 0),
        "latency": 1,
        "operands": Inline(_MEMORY[role] for role in level.holds),
        "ports": both if level.one_port else apart,
        "served_dimensions": Inline(d for axis, d in axes.items() if axis not in level.per),
        "force_double_buffering": set(level.holds) <= set(level.double_buffered),
    }


def _bandwidth(level: Level, bits_per_cycle: float | None, architecture: Architecture) -> int:
    """Return a port's width; without a limit, one that neither the array nor a port exceeds.

    Not more: the tool counts accesses of the full width and drops what is left of the last one.
    """
    if bits_per_cycle is not None:
        return max(1, floor(bits_per_cycle))
    fed = architecture.elements // architecture.instances(level) * architecture.macs_per_cycle
    widths = [architecture.partial_sum_bits if role == "output" else architecture.bits[role]
              for role in level.holds]  # fmt: skip
    ports = [
        ceil(bits)
        for other in architecture
        for bits in (other.read_bits_per_cycle, other.write_bits_per_cycle)
        if bits
    ]
    return -(-max(fed * sum(widths), *ports, 1) // level.word_bits) * level.word_bits


def _pj(joules: float | None) -> float:
    return float(f"{(joules or 0.0) * 1e12:.12g}")


def _layer(
    number: int, name: str, problem: NestProblem, architecture: Architecture
) -> dict[str, Any] | str:
    by_role = {tensor.role: tensor for tensor in problem.tensors}
    if not problem.macs:
        return "passes over data have no price there"
    if len(problem.tensors) != 3 or set(by_role) != set(_LAYER):
        return "not one input, one weight and one output"
    sizes = {ZIGZAG_DIMENSIONS[loop]: extent for loop, extent in problem.loops}
    relations: list[str] = []
    windows: list[tuple[str, int, list[int]]] = []
    said = {}
    for role, tensor in by_role.items():
        parts = _operand(tensor, sizes, relations, windows)
        if isinstance(parts, str):
            return parts
        said[role] = _LAYER[role] + "".join(f"[{part.lower()}]" for part in parts)
    found: dict[str, Any] = {
        "id": number, "name": name, "operator_type": "Conv" if relations else "Gemm",
        "equation": f"{said['output']}+={said['weight']}*{said['input']}",
        "dimension_relations": relations,
        "loop_dims": Inline(sizes), "loop_sizes": Inline(sizes.values()),
        "operand_precision": {
            "W": architecture.bits["weight"], "I": architecture.bits["input"],
            "O": architecture.partial_sum_bits, "O_final": architecture.bits["output"],
        },
        # Every layer on its own: both operands come from the outermost memory.
        "operand_source": {"W": number, "I": number},
    }  # fmt: skip
    if windows:
        found["pr_loop_dims"] = Inline(axis for axis, _, _ in windows)
        found["pr_loop_sizes"] = Inline(size for _, size, _ in windows)
        found["padding"] = [Inline(pads) for _, _, pads in windows]
    return found


def _operand(
    tensor: NestTensor, sizes: dict[str, int], relations: list[str],
    windows: list[tuple[str, int, list[int]]],
) -> list[str] | str:  # fmt: skip
    """Return an operand's dimensions, windows last, where the tool looks for padding."""
    plain, moving = [], []
    for axis in tensor.axes:
        if not axis.terms:
            continue  # of one pass, or touched whole: no loop of the layer
        ((loop, stride), *more) = axis.terms
        if not more and stride == 1 and not axis.offset:
            plain.append(ZIGZAG_DIMENSIONS[loop])
            continue
        found = _window(axis, sizes, relations, windows)
        if found is None:
            return f"axes of {tensor.name} that follow {', '.join(x for x, _ in axis.terms)}"
        moving.append(found)
    if not plain and not moving:
        sizes.setdefault("B", 1)
        plain.append("B")
    return plain + moving


def _window(
    axis: Index, sizes: dict[str, int], relations: list[str],
    windows: list[tuple[str, int, list[int]]],
) -> str | None:  # fmt: skip
    steps = dict(axis.terms)
    for place, (tap, name) in _WINDOWS.items():
        if set(steps) <= {place, tap}:
            dims = ZIGZAG_DIMENSIONS[place], ZIGZAG_DIMENSIONS[tap]
            for dim in dims:
                sizes.setdefault(dim, 1)
            a, b = steps.get(place, 1), steps.get(tap, 1)
            relations.append(f"{name.lower()}={a}*{dims[0].lower()}+{b}*{dims[1].lower()}")
            last = axis.offset + a * (sizes[dims[0]] - 1) + b * (sizes[dims[1]] - 1)
            windows.append((name, axis.size, [max(0, -axis.offset), max(0, last - axis.size + 1)]))
            return name
    return None


def _mapping(
    name: str, spread: Mapping[str, list[tuple[str, int]]], axes: Mapping[str, str],
    order: tuple[tuple[str, int], ...],
) -> dict[str, Any]:  # fmt: skip
    any_loop = order[0][0] if order else "K"
    found: dict[str, Any] = {
        "name": name,
        "spatial_mapping": {
            d: [f"{dim}, {n}" for dim, n in spread.get(axis) or [(any_loop, 1)]]
            for axis, d in axes.items()
        },
    }
    if name != "default":
        found["temporal_ordering"] = [Inline(pair) for pair in order]
    return found | {"memory_operand_links": dict(_LINKS)}


def _levels(mapping: NestMapping, architecture: Architecture) -> dict[str, Any]:
    """Return per operand the loops that each of its memories holds, both innermost first."""
    found = {}
    for role, operand in _LAYER.items():
        chain = architecture.chain(role)
        loops: dict[int, list[tuple[str, int]]] = {place: [] for place in chain}
        for place, loop, factor in in_order(mapping):
            holder = max(at for at in chain if at <= place)
            loops[holder].append((ZIGZAG_DIMENSIONS[loop], factor))
        found[operand] = [loops[place] for place in reversed(chain)]
    return found


def _notes(architecture: Architecture) -> list[str]:
    """Return what of the architecture it has no words for."""
    notes = []
    if architecture.static_power_w or any(level.static_power_w for level in architecture.levels):
        notes.append(f"static power: {TOOL} counts energy per access and operation only")
    if architecture.macs_per_cycle > 1:
        notes.append(f"{architecture.macs_per_cycle} multiply-accumulates per element and cycle: "
                     "one there")  # fmt: skip
    missing = [what for what, price in _prices(architecture) if price is None]
    if missing:
        notes.append(f"no price is known for {', '.join(missing)}: 0 pJ there, so its energy says "
                     "nothing")  # fmt: skip
    if architecture.wavefront_cycles:
        notes.append(f"a wavefront's {architecture.wavefront_cycles} cycles are unknown there")
    for level in architecture.levels:
        served = [axis.name for axis in architecture.axes if axis.name not in level.per]
        for role in level.holds:
            joins = level.reduces if role == "output" else level.multicast
            alone = [axis for axis in served if axis not in joins]
            if alone and level is architecture.levels[_feeder(architecture, role)]:
                does = "added up" if role == "output" else "sent once"
                notes.append(f"{level.name}: {role} along {', '.join(alone)} is {does} there, "
                             "position by position here")  # fmt: skip
        if level.streams:
            notes.append(f"{level.name}: {', '.join(level.streams)} comes while it is used here; "
                         "there a tile that takes more than half is waited for")  # fmt: skip
        if level.network_bits_per_cycle:
            notes.append(f"{level.name}: networks of single operands are unknown there")
        doubled = set(level.holds) & set(level.double_buffered)
        if doubled and doubled != set(level.holds):
            notes.append(f"{level.name}: a second buffer for {', '.join(sorted(doubled))} alone; "
                         "there any tile that takes at most half has one")  # fmt: skip
        for bits in (level.read_bits_per_cycle, level.write_bits_per_cycle):
            if bits is not None and bits != floor(bits):
                notes.append(f"{level.name}: {bits:g} bit a cycle, said as {floor(bits)}")
    return notes


def _feeder(architecture: Architecture, role: str) -> int:
    """Return the innermost level of a role outside of the array."""
    chain = architecture.chain(role)
    return next((p for p in reversed(chain) if len(architecture.levels[p].per)
                 < len(architecture.axes)), chain[0])  # fmt: skip


def _prices(architecture: Architecture) -> list[tuple[str, float | None]]:
    found = [("a multiply-accumulate", architecture.mac_energy_j)]
    for level in architecture.levels:
        found += [(f"{level.name}: read", level.read_energy_j),
                  (f"{level.name}: write", level.write_energy_j)]  # fmt: skip
    return found
