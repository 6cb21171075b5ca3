"""A spatial accelerator out of the flat parts of a Timeloop architecture.

Models:  a storage is a level with one instance per position of the fan-outs above it; its word is
         one access (`width`), its energy that of the reference table per access, its capacity
         depth times width, its ports words of `datawidth` per cycle. What several data spaces have
         a choice to pass by is held. What goes to many positions at once is read once; of
         inputs that slide, the innermost memory keeps what the next tile shares (Timeloop: any
         memory, along its innermost loop).
Ignores: what is named in the notes: networks, orders and factors in time that constraints ask for,
         sparsity, overbooking, groups that gate power.
Judge:   the counts, cycles and energy that Timeloop itself prints for its shipped example (tests).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orrery.errors import SpecError
from orrery.provenance import Basis, Source

from .._document import Item
from ._records import ROLES, Architecture, ArrayAxis, Level
from ._timeloop_rules import DATASPACE, listed, loops_along, roles
from ._timeloop_tree import Fan, Part, Rule, whole

Energies = Mapping[str, Mapping[str, float]]

_TAKEN = {
    "depth", "memory_depth", "entries", "sizekb", "width", "memory_width", "block_size",
    "word_bits", "datawidth", "data_width", "read_bandwidth", "write_bandwidth",
    "shared_bandwidth", "multiple_buffering", "meshx", "meshy", "technology",
    "global_cycle_seconds", "multiplier_width", "adder_width", "type", "n_words", "version",
    "power_gated_at",
}  # fmt: skip
#: values that say nothing: what Timeloop's front end fills in
_IDLE = {"has_power_gating": "false", "cluster_size": "1", "reduction_supported": "true",
         "min_utilization": "0", "allow_overbooking": "false", "instances": "1"}  # fmt: skip


class Build:
    """One pass over the parts; `notes` then say what was assumed and what was left out."""

    def __init__(
        self, flat: Sequence[Part | Fan], rules: Sequence[Rule], file: str, version: str,
        energies: Energies | None, dimensions: Mapping[str, str], spaces: Mapping[str, str],
        cycle_s: float | None,
    ) -> None:  # fmt: skip
        self.flat, self.rules, self.file, self.energies = flat, rules, file, energies
        self.dimensions, self.spaces = dimensions, spaces
        self.notes: list[str] = []
        self.parts = [one for one in flat if isinstance(one, Part)]
        self.fans = [one for one in flat if isinstance(one, Fan)]
        listed(rules, self.parts, self.fans)
        self.said = Source(basis=Basis.ASSUMED, where=f"{Path(file).name} (Timeloop v{version})",
                           note="as its author wrote it")  # fmt: skip
        self.ert = Source(basis=Basis.ESTIMATED, where=f"ERT beside {Path(file).name}",
                          note="Accelergy's energy per access")  # fmt: skip
        self.none = Source(basis=Basis.ASSUMED, where=f"ERT beside {Path(file).name}",
                           note="no row for this: none is counted, as by Timeloop")  # fmt: skip
        self.cycle_s = self._cycle(cycle_s)
        self.left_out: dict[str, list[str]] = {}
        self.axes_of: dict[str, tuple[str, ...]] = {}

    def architecture(self, name: str) -> Architecture:
        """Return the accelerator.

        Raises
        ------
        SpecError : no storage outermost, no arithmetic, numbers that are none
        """
        compute = [part for part in self.parts if part.kind == "compute"]
        storage = [part for part in self.parts if part.kind == "storage"]
        if not compute or not storage:
            raise SpecError(self.file, found=f"{len(storage)} memories, {len(compute)} multipliers",
                            wanted="at least one of each", fix="name a `class:` such as SRAM or "
                            "intmac")  # fmt: skip
        mac = compute[-1]
        for part in (*compute[:-1], *(part for part in self.parts if part.kind == "other")):
            self.notes.append(f"{part.name} (class {part.sort}) is not taken over")
        axes: list[ArrayAxis] = []
        levels: list[Level] = []
        per: tuple[str, ...] = ()
        holds = self._holds(storage)
        for one in self.flat:
            if isinstance(one, Fan):
                new = self._axes(one)
                axes += new
                per = (*per, *(axis.name for axis in new))
            elif one.kind == "storage" and holds[one.name]:
                levels.append(self._level(one, holds[one.name], per))
            elif one.kind == "storage":
                self.notes.append(f"{one.name} holds nothing and is no level here")
        below = tuple(axis.name for axis in axes)
        levels = [self._spread(level, below) for level in levels]
        last = max(i for i, level in enumerate(levels) if "input" in level.holds)
        levels[last] = replace(levels[last], slides=("input",) if last else ())
        bits, partial = self._bits(storage, holds)
        values = self._prices(mac, math.prod(axis.size for axis in axes))
        for attribute, names in self.left_out.items():
            self.notes.append(f"{attribute} of {', '.join(names)}: not taken over")
        process = self._process(mac)
        sources = dict.fromkeys(
            ("clock_hz", "macs_per_cycle", "bits", "partial_sum_bits", "process_nm"), self.said
        )
        sources |= {name: self.ert if value else self.none for name, value in values.items()}
        return Architecture(
            name=name, axes=tuple(axes), levels=tuple(levels), bits=bits,
            clock_hz=float(f"{1 / self.cycle_s:.12g}"),
            partial_sum_bits=partial, process_nm=process, sources=sources,
            description=f"{name}, translated from Timeloop's description",
            notes=tuple(dict.fromkeys(self.notes)), **values,
        )  # fmt: skip

    def _holds(self, storage: Sequence[Part]) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for part in storage:
            keep: tuple[str, ...] = ()
            past: tuple[str, ...] = ()
            for rule in self.rules:
                along = rule.type == "spatial" and any(rule in fan.rules for fan in self.fans)
                if rule.target != part.name or along:
                    continue
                if rule.type not in DATASPACE:
                    kept = [k for k in rule.table if k not in ("target", "type", "name")]
                    if kept:
                        self.notes.append(f"{part.name}: {rule.type} constraint "
                                          f"({', '.join(kept)}) is not kept: a search is free "
                                          "there")  # fmt: skip
                    continue
                for key, entry in rule.table.items():
                    if key in ("keep", "keep_only"):
                        keep = roles(entry, self.spaces)
                        if key == "keep_only":
                            past = tuple(r for r in ROLES if r not in keep)
                    elif key == "bypass":
                        past = roles(entry, self.spaces)
                    elif key not in ("target", "type", "name"):
                        self.notes.append(f"{part.name}: {key} is not kept")
            both = [role for role in keep if role in past]
            if both:
                raise part.item.error(
                    found=f"{both[0]} is to be kept and to pass {part.name} by",
                    wanted="one of the two",
                    fix="correct the constraints",
                )
            free = tuple(r for r in ROLES if r not in keep and r not in past)
            if part.alone and keep:
                free = ()
            if free and part is not storage[0] and (keep or past):
                self.notes.append(f"{part.name}: {', '.join(free)} may pass by in Timeloop and is "
                                  "held here")  # fmt: skip
            found[part.name] = tuple(r for r in ROLES if r in keep or r in free)
        return found

    def _axes(self, fan: Fan) -> list[ArrayAxis]:
        allowed = loops_along(fan, self.dimensions, self.notes)
        found = []
        for way, size in (("x", fan.x), ("y", fan.y)):
            if size > 1:
                loops, fixed = allowed[way]
                found.append(ArrayAxis(name=f"{fan.name}.{way}", size=size, loops=loops,
                                       fixed=fixed, sources=dict.fromkeys(
                                           ("size", "fixed"), self.said)))  # fmt: skip
        for target in fan.targets:
            self.axes_of[target] = tuple(axis.name for axis in found)
        return found

    def _level(self, part: Part, holds: tuple[str, ...], per: tuple[str, ...]) -> Level:
        get = _Attributes(part)
        element = self._element(part)
        block = get.number("block_size", "n_words") or 1
        width = get.number("width", "memory_width") or element * block
        depth = get.number("depth", "memory_depth")
        capacity = None if depth is None else depth * width
        if capacity is None and (entries := get.number("entries")) is not None:
            capacity = entries * element
        if capacity is None and (kilobytes := get.number("sizekb")) is not None:
            capacity = kilobytes * 8192
        ports: dict[str, Any] = {}
        shared = get.rate("shared_bandwidth")
        for key in ("read", "write"):
            rate = shared if shared and key == "read" else get.rate(f"{key}_bandwidth")
            if rate:
                ports[f"{key}_bits_per_cycle"] = rate * element
        if shared:
            ports.pop("write_bits_per_cycle", None)
        buffers = get.rate("multiple_buffering") or 1
        if buffers not in (1, 2):
            self.notes.append(f"{part.name}: multiple_buffering {buffers:g} is taken as 2")
        if capacity is None and part is not next(p for p in self.parts if p.kind == "storage"):
            self.notes.append(f"{part.name}: no depth, so that everything fits")
        for name, value in part.attributes.items():
            flat = name.lower().replace("-", "_")
            idle = flat in _IDLE and value.data == _IDLE[flat]
            if flat not in _TAKEN and not idle and name not in part.inherited:
                self.left_out.setdefault(name, []).append(part.name)
        price = self._energy(part)
        read, write = (
            self._first(part, price, ("read",)),
            self._first(part, price, ("write", "update")),
        )
        update = price.get("update")
        if write is not None and update is not None and "output" in holds and update != write:
            self.notes.append(f"{part.name}: an update ({update:g} pJ) is priced as a write "
                              f"({write:g} pJ)")  # fmt: skip
        leak = price.get("leak")
        if self.energies is not None and leak is None:
            self.notes.append("the ERT prices no leakage: none is counted")
            leak = 0.0
        sources = dict.fromkeys(("word_bits", "capacity_bits", *ports), self.said)
        sources |= dict.fromkeys(("read_energy_j", "write_energy_j"), self.ert)
        sources["static_power_w"] = self.ert if "leak" in price else self.none
        return Level(
            name=part.name, holds=holds, per=per, capacity_bits=capacity, word_bits=width,
            read_energy_j=_joules(read), write_energy_j=_joules(write), one_port=bool(shared),
            double_buffered=holds if buffers > 1 else (), sources=sources,
            static_power_w=None if leak is None else leak * 1e-12 / self.cycle_s, **ports,
        )  # fmt: skip

    def _spread(self, level: Level, axes: tuple[str, ...]) -> Level:
        """Let one read serve, and sums join, along all axes that fan out further in."""
        further = tuple(axis for axis in axes if axis not in level.per)
        return replace(level, multicast=further,
                       reduces=further if "output" in level.holds else ())  # fmt: skip

    def _bits(
        self, storage: Sequence[Part], holds: Mapping[str, tuple[str, ...]]
    ) -> tuple[dict[str, int], int]:
        """Return the widths off chip, and the widest of sums; others are noted."""
        first = self._element(storage[0])
        sums = max(self._element(part) for part in storage if "output" in holds[part.name])
        for part in storage[1:]:
            width = self._element(part)
            if holds[part.name] and width not in {first} | (
                {sums} if "output" in holds[part.name] else set()
            ):
                self.notes.append(f"{part.name}: elements of {width} bits are taken as {first}, as "
                                  "off chip")  # fmt: skip
        return dict.fromkeys(ROLES, first), max(sums, first)

    def _element(self, part: Part) -> int:
        get = _Attributes(part)
        found = get.number("word_bits", "datawidth", "data_width")
        if found is None:
            found = 8
            self.notes.append(f"{part.name}: no datawidth; 8 bits, as Timeloop takes them")
        return found

    def _cycle(self, given: float | None) -> float:
        for part in self.parts:
            item = part.attributes.get("global_cycle_seconds")
            if item is not None:
                return _Attributes(part).rate("global_cycle_seconds") or 1e-9
        if given is None:
            self.notes.append("no global_cycle_seconds: a clock of 1 GHz is assumed")
        return given or 1e-9

    def _process(self, mac: Part) -> float | None:
        for part in (mac, *self.parts):
            item = part.attributes.get("technology")
            found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(nm)?", item.text() if item else "")
            if found:
                return float(found[1])
        return None

    def _prices(self, mac: Part, macs: int) -> dict[str, Any]:
        if self.energies is None:
            self.notes.append("no energy reference table (ERT) is given: energy is not known")
            return {}
        price = self._energy(mac)
        one = self._first(mac, price, ("compute", "mac_random", "mac", "multiply"))
        idle = price.get("mac_gated", 0.0)
        self.notes.append("wires between the memories cost nothing, as in the ERT")
        leak = price.get("leak", 0.0) * 1e-12 / self.cycle_s * macs
        found = {"idle_mac_energy_j": idle * 1e-12, "hop_energy_j_per_bit": 0.0,
                 "static_power_w": leak}  # fmt: skip
        return found if one is None else {**found, "mac_energy_j": one * 1e-12}

    def _energy(self, part: Part) -> Mapping[str, float]:
        if self.energies is None:
            return {}
        if part.name not in self.energies:
            self.notes.append(f"{part.name} is not in the ERT: its energy is not known")
        return self.energies.get(part.name, {})

    def _first(
        self, part: Part, price: Mapping[str, float], actions: tuple[str, ...]
    ) -> float | None:
        found = next((price[action] for action in actions if action in price), None)
        if found is None and price:
            self.notes.append(f"{part.name}: the ERT prices no {actions[0]}")
        return found


class _Attributes:
    """Numbers of a part, whatever the spelling: ``word-bits``, ``word_bits``."""

    def __init__(self, part: Part) -> None:
        self.items: dict[str, Item] = {}
        self.around: dict[str, Item] = {}
        for key, item in part.attributes.items():
            where = self.around if key in part.inherited else self.items
            where[key.lower().replace("-", "_")] = item

    def _of(self, *names: str) -> Item | None:
        """Return the first attribute of these names: the part's own, else one from around it."""
        both = (self.items, self.around)
        return next((some[name] for some in both for name in names if name in some), None)

    def number(self, *names: str) -> int | None:
        item = self._of(*names)
        return None if item is None else whole(item)

    def rate(self, name: str) -> float | None:
        item = self._of(name)
        if item is None:
            return None
        try:
            value = float(item.text("a number"))
        except ValueError:
            value = math.nan
        if not 0 < value < 1e30:
            raise item.error(wanted="a number above 0", fix="write the number, not an expression")
        return value


def _joules(picojoules: float | None) -> float | None:
    return None if picojoules is None else picojoules * 1e-12
