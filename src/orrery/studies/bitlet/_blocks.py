"""The blocks of the published area table, as modules of our element.

What stands in modules of its own goes where the module belongs; registers of the top go by name,
and gates of the top to the block that alone uses what they compute. What several blocks use is
shown by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from orrery.rtl import Circuit, Synthesis, run_yosys, simulation, synthesise

SHARED = "used by several"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """One published block: patterns of its instances and registers, and why they are its."""

    module: str
    patterns: tuple[str, ...]
    reason: str


#: Published block -> what of ours is it. The first pattern that fits counts.
BLOCKS: Mapping[str, _Block] = {
    "preprocessing": _Block(
        module="preprocessing",
        patterns=("pair_*", "align_*", "search", "loaded", "magnitudes", "activations", "exponents",
                  "arrived_*", "coming", "complete", "seen", "at", "aligning", "largest",
                  "special"),
        reason="unpacking, exponent sums, signs folded into activations, the search for the "
        "largest exponent, matching, and the registers in which a group waits for it",
    ),
    "wire orchestrator and decoder": _Block(
        module="orchestrator_decoder",
        patterns=("held_activations", "copy", "index_*", "some_*", "chosen_*", "popped*"),
        reason="each lane's selection of an activation by the popped index, the activations it "
        "selects from, the registers of both; the orchestrator itself is wires",
    ),
    "RR-reg and window": _Block(
        module="lanes", patterns=("lane_*", "last", "last$*"),
        reason="each lane's column of weight bits, its pointer and its check window",
    ),
    "adder tree": _Block(
        module="adder_tree", patterns=("tree", "added_*", "running", "accumulator"),
        reason="the compressors, the last adder and the accumulator",
    ),
    "postprocessing": _Block(
        module="postprocessing",
        patterns=("pack", "packing_*", "o__*", "out_*", "largest_*", "largest$*", "special_*",
                  "special$*"),
        reason="the packer, and what travels beside the tree to meet it",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockArea:
    """Area of one block, and of the flip-flops in it, in the unit of the synthesis."""

    area: float
    sequential: float


def by_block(circuit: Circuit) -> Circuit:
    """Return the element with each published block in a module of its own."""
    passes = ["read_rtlil design.il", f"hierarchy -check -top {circuit.name}", "proc", "opt_clean",
              "write_rtlil stage.il", "write_json stage.json"]  # fmt: skip
    doing = f"sorting {circuit.name} into blocks"
    made = run_yosys(passes, doing=doing, inputs={"design.il": circuit.rtlil},
                     outputs=["stage.il", "stage.json"])  # fmt: skip
    module = json.loads(made["stage.json"])["modules"][circuit.name]
    home = _sorted(module)
    marked = _marked(made["stage.il"], circuit.name, home)
    # First values stay with the flip-flops: `submod` leaves copies where none is left.
    bare = all(name in home for name, c in module["cells"].items() if c["type"].startswith("$dff"))
    hierarchy = f"hierarchy -check -top {circuit.name}"
    passes = ["read_rtlil stage.il", hierarchy, "submod", "setattr -unset init i:*"]
    passes += [f"setattr -unset init {circuit.name}/w:*"] if bare else []
    passes += ["opt_clean", hierarchy, "write_rtlil blocks.il"]
    sorted_ = run_yosys(passes, doing=doing, inputs={"stage.il": marked}, outputs=["blocks.il"])
    text = sorted_["blocks.il"]
    modules = dict.fromkeys(re.findall(r"^module \\(\S+)$", text, re.MULTILINE), 1)
    return replace(circuit, rtlil=text, modules=modules)


def block_areas(circuit: Circuit) -> tuple[Synthesis, Mapping[str, BlockArea]]:
    """Synthesise the element block by block; its netlist is compared with the element's own RTL."""
    blocks = by_block(circuit)
    done = synthesise(blocks, flatten=False, reference=simulation(circuit, "cxxrtl").cycles)
    modules = {module.name: module for module in done.modules}
    inside = _inside(blocks.rtlil)

    def flops(name: str) -> float:
        below = sum(flops(kind) for kind in inside[name] if kind in modules)
        return modules[name].sequential + below

    found: dict[str, BlockArea] = {}
    for name, block in BLOCKS.items():
        own = f"{circuit.name}_{block.module}"
        if own in modules:
            found[name] = BlockArea(area=modules[own].total, sequential=flops(own))
    top = modules[circuit.name]
    found[SHARED] = BlockArea(area=top.area, sequential=top.sequential)
    return done, found


def _inside(rtlil: str) -> Mapping[str, list[str]]:
    """Return module -> the module of each instance in it."""
    found: dict[str, list[str]] = {}
    for text in re.split(r"^end$", rtlil, flags=re.MULTILINE):
        name = re.search(r"^module \\(\S+)$", text, re.MULTILINE)
        if name:
            found[name[1]] = re.findall(r"^  cell \\(\S+) ", text, re.MULTILINE)
    return found


def _sorted(module: Mapping[str, Any]) -> Mapping[str, str]:
    """Return cell -> module of its block; cells that several blocks use are left out."""
    names: dict[Any, str] = {}
    for name, net in module["netnames"].items():
        if not net.get("hide_name"):
            for bit in net["bits"]:
                names.setdefault(bit, name)
    cells = module["cells"]
    home: dict[str, str] = {}
    for name, cell in cells.items():
        if cell["type"].startswith("$dff"):
            label = names.get(cell["connections"]["Q"][0], "")
        elif not cell["type"].startswith("$"):
            label = name
        else:
            continue
        found = _block_of(label)
        if found:
            home[name] = found
    users: dict[Any, list[str]] = {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    users.setdefault(bit, []).append(name)
    seen: dict[str, frozenset[str]] = {}
    outside = {bit for port in module["ports"].values() if port["direction"] == "output"
               for bit in port["bits"]}  # fmt: skip

    def blocks_of(name: str) -> frozenset[str]:
        """Return the blocks that use what a cell computes, through other gates of the top."""
        waiting, met, found = [name], {name}, set[str]()
        while waiting:
            for pin, bits in cells[(now := waiting.pop())]["connections"].items():
                if cells[now]["port_directions"][pin] == "output":
                    for bit in bits:
                        found |= {SHARED} if bit in outside else set()
                        for user in users.get(bit, ()):
                            if user in home:
                                found.add(home[user])
                            elif user in seen:
                                found |= seen[user]
                            elif user not in met:
                                met.add(user)
                                waiting.append(user)
        return frozenset(found)

    for name in cells:
        if name not in home:
            seen[name] = blocks_of(name)
    single = {name: next(iter(found)) for name, found in seen.items() if len(found) == 1}
    return home | {name: block for name, block in single.items() if block != SHARED}


def _block_of(label: str) -> str:
    for block in BLOCKS.values():
        if any(fnmatchcase(label, pattern) for pattern in block.patterns):
            return block.module
    return ""


def _marked(rtlil: str, top: str, home: Mapping[str, str]) -> str:
    """Return RTLIL in which the cells of the top say into which module they go."""
    head, found, rest = rtlil.partition(f"\nmodule \\{top}\n")
    body, end, tail = rest.partition("\nend\n")

    def mark(match: re.Match[str]) -> str:
        block = home.get(match[2].lstrip("\\"))
        return match[0] if block is None else f'  attribute \\submod "{block}"\n{match[0]}'

    body = re.sub(r"(?m)^  cell (\S+) (\S+)$", mark, body)
    return head + found + body + end + tail
