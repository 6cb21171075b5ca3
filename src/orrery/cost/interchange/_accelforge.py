"""Loop nests as inputs of AccelForge 1.0: architecture, and per layer a workload and a mapping.

Models:  levels as its memories, outermost first; an array axis as a container that fans out where
         our axis does; a layer as one Einsum; our loops with the tile that is left inside each.
Ignores: what `Export.notes` lists.
Judge:   files written by hand for a small nest (tests); runs of the tool itself (bench).

Traps of the format: units are joules, seconds, watts; a loop names the tile inside it, not how
often it runs; a rank is named by the variable in upper case, so that variables must not meet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import yaml

from orrery.errors import SpecError
from orrery.hardware import Architecture, ArrayAxis, Level

from ..nest import NestMapping, NestProblem, NestTensor, count_nest
from ._export import (
    Dumper,
    Export,
    Inline,
    InlineMap,
    Nests,
    covers_exactly,
    grouped,
    left_out,
    text_of,
)

TOOL = "AccelForge 1.0.467"

#: our loop -> its rank variable
_VARIABLES = {
    "N": "b", "G": "g", "Cout": "m", "Cin": "c", "D": "o", "H": "p", "W": "q",
    "Kd": "t", "Kh": "r", "Kw": "s",
}  # fmt: skip
_RANKS = {"input": "I", "weight": "W", "output": "T"}

#: run by its Python in the folder of the files; what it writes, `read_opinion` reads
_PRICE = """\
# Price the nests: run this with the Python that AccelForge is installed in.
import json
import os

import accelforge
from accelforge.model.main import evaluate_mapping

said = json.load(open("orrery.json")) if os.path.exists("orrery.json") else None
found = []
for place, name in json.load(open("layers.json")).items():
    spec = accelforge.Spec.from_yaml(
        "architecture.yaml", f"{place}.workload.yaml", f"{place}.mapping.yaml"
    )
    price = evaluate_mapping(spec)
    found.append({
        "layer": name, "energy_J": float(price.energy()), "latency_s": float(price.latency()),
        "energy_by_component_J": {
            str(k): float(v) for k, v in price.energy(per_component=True).items()
        },
    })
    print(name, found[-1]["energy_J"], found[-1]["latency_s"], flush=True)
with open("results.json", "w") as file:
    json.dump({"orrery": said, "layers": found}, file, indent=1)
"""


class _Node(dict[str, Any]):
    """A mapping with a tag of the tool's."""

    def __init__(self, tag: str, **fields: Any) -> None:
        super().__init__(**fields)
        self.tag = tag


def _node(dumper: yaml.SafeDumper, node: _Node) -> yaml.Node:
    return dumper.represent_mapping(f"!{node.tag}", node, flow_style=False)


Dumper.add_representer(_Node, _node)


def export_accelforge(nests: Nests, architecture: Architecture) -> Export:
    """Return the files that price these nests in AccelForge.

    Parameters
    ----------
    nests : layers; those that are no product of two operands are left out, with a note

    Raises
    ------
    SpecError : no layer can be said in its language
    """
    notes = left_out(architecture, TOOL) + _notes(architecture)
    said: list[tuple[str, str]] = []
    files: dict[str, str] = {}
    names: dict[str, str] = {}
    wide: set[int] = set()
    for name, (problem, mapping) in nests.items():
        roles = {tensor.role: tensor for tensor in problem.tensors}
        if not problem.macs or len(problem.tensors) != 3 or set(roles) != set(_RANKS):
            said.append((name, "left out, not one input, one weight and one output"))
            continue
        if over := covers_exactly(problem, mapping):
            said.append((name, f"left out, factors of {', '.join(over)} do not divide the loop"))
            continue
        axes = [axis for tensor in problem.tensors for axis in tensor.axes]
        if any(axis.offset for axis in axes):
            said.append((name, "padding is fetched like any element there"))
        if any(min((n for _, n in axis.terms), default=1) > 1 for axis in axes):
            said.append((name, "elements between those it reads are fetched too there"))
        wide |= {n for n, sums in enumerate(count_nest(problem, mapping, architecture).partial)
                 if sums}  # fmt: skip
        uneven = [loop for loop, extent in problem.loops if _covered(mapping, loop) != extent]
        if uneven:
            said.append((name, f"{', '.join(uneven)} fills the array unevenly; counted as full "
                         "there"))  # fmt: skip
        if problem.times > 1:
            said.append((name, f"one of {problem.times} equal runs"))
        place = f"layer-{len(names):03}"
        names[place] = name
        files[f"{place}.workload.yaml"] = text_of(_workload(problem, roles, architecture))
        files[f"{place}.mapping.yaml"] = text_of(_mapping(problem, mapping, architecture))
    if not names:
        raise SpecError(f"export to {TOOL}", found="no layer that is a product of two operands",
                        wanted="one at least", fix="choose a network with products")  # fmt: skip
    narrow = {level.name for n, level in enumerate(architecture.levels)
              if n not in wide and "output" in level.holds
              and architecture.bits["output"] != architecture.partial_sum_bits}  # fmt: skip
    if architecture.bits["output"] != architecture.partial_sum_bits and wide:
        held = [architecture.levels[n].name for n in sorted(wide)]
        notes.append(f"results are {architecture.partial_sum_bits} bit in {', '.join(held)} there, "
                     "final ones too")  # fmt: skip
    files["architecture.yaml"] = text_of(_architecture(architecture, narrow))
    files |= {"layers.json": json.dumps(names, indent=1) + "\n", "price.py": _PRICE}
    return Export(tool=TOOL, files=files, notes=(*notes, *grouped(said)))


def _covered(mapping: NestMapping, loop: str) -> int:
    parts = (*mapping.temporal, *mapping.spatial.values())
    return prod(f for loops in parts for name, f in loops if name == loop)


def _architecture(architecture: Architecture, narrow: Iterable[str]) -> dict[str, Any]:
    """Return the machine; `narrow` names the memories that hold final results alone."""
    below = architecture.fans_out_below()
    nodes: list[_Node] = []
    for place, level in enumerate(architecture.levels):
        if level.holds:
            nodes.append(_memory(level, architecture, level.name in narrow))
        for axis in architecture.axes:
            if below[axis.name] == place:
                nodes.append(_fan_out(axis, _shared(axis.name, place, architecture)))
    rate = architecture.clock_hz * architecture.macs_per_cycle
    nodes.append(_Node(
        "Compute", name="MAC", area=0,
        leak_power=(architecture.static_power_w or 0) / architecture.elements,  # of one of them
        actions=[InlineMap(name="compute", energy=architecture.mac_energy_j or 0,
                            throughput=rate)],
    ))  # fmt: skip
    return {"arch": {"nodes": nodes}}


def _memory(level: Level, architecture: Architecture, narrow: bool) -> _Node:
    def action(name: str, energy_j: float | None, bits_per_cycle: float | None) -> dict[str, Any]:
        rate = "inf" if bits_per_cycle is None else (
            bits_per_cycle * architecture.clock_hz / level.word_bits
        )  # fmt: skip
        return InlineMap(name=name, energy=energy_j or 0, bits_per_action=level.word_bits,
                          throughput=rate)  # fmt: skip

    writes = level.read_bits_per_cycle if level.one_port else level.write_bits_per_cycle
    ports = "sum" if level.one_port else "max"
    return _Node(
        "Memory", name=level.name, size=level.capacity_bits or "inf", area=0,
        leak_power=level.static_power_w or 0,
        tensors={"keep": " | ".join(level.holds), "may_keep": "Nothing"},
        **({"bits_per_value": InlineMap(T0=architecture.bits["output"])} if narrow else {}),
        total_latency=f"{ports}(a.n_calls / a.throughput for a in actions)",
        actions=[action("read", level.read_energy_j, level.read_bits_per_cycle),
                 action("write", level.write_energy_j, writes)],
    )  # fmt: skip


def _fan_out(axis: ArrayAxis, shared: Iterable[str]) -> _Node:
    return _Node(
        "Container", name=f"array_{axis.name}",
        spatial=[InlineMap(name=axis.name, fanout=axis.size,
                            may_reuse=" | ".join(shared) or "Nothing")],
    )  # fmt: skip


def _shared(axis: str, place: int, architecture: Architecture) -> list[str]:
    """Return the roles that one access serves, or collects from, all along an axis."""
    found = []
    for role in _RANKS:
        feeder = architecture.levels[max(p for p in architecture.chain(role) if p <= place)]
        if axis in (feeder.reduces if role == "output" else feeder.multicast):
            found.append(role)
    return found


def _workload(
    problem: NestProblem, roles: Mapping[str, NestTensor], architecture: Architecture
) -> dict[str, Any]:
    said = {role: f"{_RANKS[role]}0[{_projection(tensor)}]" for role, tensor in roles.items()}
    bits = {f"{_RANKS[role]}0": architecture.bits[role] for role in ("input", "weight")}
    # It knows one width a tensor and memory; the narrow one is said at the memories.
    bits["T0"] = architecture.partial_sum_bits
    return {
        "workload": {
            "bits_per_value": bits,
            "einsums": [{
                "einsum": f"{said['output']} = {said['input']} * {said['weight']}",
                "iteration_space_shape": [f"0 <= {_VARIABLES[loop]} < {extent}"
                                          for loop, extent in problem.loops],
                "renames": {role: f"{_RANKS[role]}0" for role in roles},
            }],
        },
    }  # fmt: skip


def _projection(tensor: NestTensor) -> str:
    """Return an operand's axes; a padded or strided one by its rank's name and formula."""
    parts = []
    for number, axis in enumerate(tensor.axes):
        if not axis.terms:
            continue
        terms = [f"{_VARIABLES[loop]} * {stride}" if stride > 1 else _VARIABLES[loop]
                 for loop, stride in axis.terms]  # fmt: skip
        plain = len(terms) == 1 and axis.terms[0][1] == 1
        parts.append(terms[0] if plain else f"X{number}: {' + '.join(terms)}")
    return ", ".join(parts)


def _mapping(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> dict[str, Any]:
    left = dict(problem.loops)
    nodes: list[_Node] = []
    for step in _steps(problem, mapping, architecture):
        if step.role:
            tensors = Inline([f"{_RANKS[step.role]}0"])
            nodes.append(_Node("Storage", component=step.where, tensors=tensors))
            continue
        left[step.loop] = -(-left[step.loop] // step.factor)
        inside = {"rank_variable": _VARIABLES[step.loop], "tile_shape": left[step.loop]}
        if step.where:
            nodes.append(_Node("Spatial", **inside, name=step.where,
                               component=f"array_{step.where}"))  # fmt: skip
        else:
            nodes.append(_Node("Temporal", **inside))
    nodes.append(_Node("Compute", component="MAC", einsum="T0"))
    return {"mapping": {"nodes": nodes}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A line of a nest: a tile of a role (`where`: its memory), or a loop (`where`: its axis)."""

    role: str = ""
    where: str = ""
    loop: str = ""
    factor: int = 1

    @property
    def is_part(self) -> bool:
        """Whether it is a loop along the array."""
        return bool(self.loop and self.where)


def _steps(problem: NestProblem, mapping: NestMapping, architecture: Architecture) -> list[_Step]:
    """Return the nest line by line, every tile above the loops that it does not follow.

    There a tile is fetched anew whenever a loop above it advances. Where such loops stand above the
    fan-out, the array's parts move up above them: each position then has a run of indices where it
    had every so-manieth.
    """
    below = architecture.fans_out_below()
    follows = {tensor.role: tensor.loops for tensor in problem.tensors}
    steps: list[_Step] = []
    for place, level in enumerate(architecture.levels):
        for role in level.holds:
            at = _top(steps, role, follows[role])
            side = [step for step in steps[at:] if step.is_part]
            rest = [step for step in steps[at:] if not step.is_part]
            steps[at:] = [*side, _Step(role=role, where=level.name), *rest]
        steps += [_Step(loop=loop, factor=n) for loop, n in mapping.temporal[place] if n > 1]
        for axis in architecture.axes:
            if below[axis.name] == place:
                steps += [_Step(where=axis.name, loop=loop, factor=n)
                          for loop, n in mapping.spatial.get(axis.name, ()) if n > 1]  # fmt: skip
    return steps


def _top(steps: list[_Step], role: str, follows: frozenset[str]) -> int:
    """Return the place of the outermost loop directly above that a role does not follow."""
    at, parts = len(steps), False
    for place in reversed(range(len(steps))):
        step = steps[place]
        if step.is_part:
            parts = True
        elif step.role:
            if step.role == role or parts:
                break  # its own tile further out, or a memory outside of the array
        elif step.loop in follows:
            break
        else:
            at = place
    return at


def _notes(architecture: Architecture) -> list[str]:
    notes = []
    for level in architecture.levels:
        if level.double_buffered:
            notes.append(f"{level.name}: no second buffer for {', '.join(level.double_buffered)} "
                         "there; transfers never wait for room")  # fmt: skip
        if level.network_bits_per_cycle:
            notes.append(f"{level.name}: networks of single operands are unknown there")
    if architecture.wavefront_cycles:
        notes.append(f"a wavefront's {architecture.wavefront_cycles} cycles are unknown there")
    notes.append("latency there is that of the busiest memory or of the array; the first tiles' "
                 "way in and the last results' way out take no time")  # fmt: skip
    missing = [level.name for level in architecture.levels
               if level.read_energy_j is None or level.write_energy_j is None]  # fmt: skip
    if architecture.mac_energy_j is None:
        missing.append("a multiply-accumulate")
    if missing:
        notes.append(f"no price is known for {', '.join(missing)}: 0 J there")
    return notes
