"""Two prices of one layer, and where they part.

Models:  energy memory by memory, paired by name, or by role and distance from the multipliers;
         cycles against what the outermost port needs to move every operand once.
Ignores: how the other tool came to its figure where its parts do not show it.
Judge:   pairs made by hand (tests).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil

from orrery.hardware import Architecture

from ..nest import NestCost
from ._opinion import LayerOpinion

#: shares below which two figures count as the same
SAME = 0.01


def port_cycles(cost: NestCost, architecture: Architecture) -> int:
    """Return the cycles in which the outermost port can move every operand once, one after other.

    Nothing that keeps its operands off chip runs faster, whatever its nest.
    """
    outer = architecture.levels[0]
    moved = {"in": 0, "out": 0}
    for flow in cost.counts.flows:
        if flow.parent == 0:
            role = flow.tensor.role
            bits = cost.counts.tiles[0][flow.tensor.name] * architecture.bits[role]
            moved["out" if role == "output" else "in"] += bits
    if outer.one_port:
        moved = {"in": moved["in"] + moved["out"], "out": 0}
    found = [Fraction(bits) / Fraction(width) for bits, width in (
        (moved["in"], outer.read_bits_per_cycle), (moved["out"], outer.write_bits_per_cycle),
    ) if width is not None]  # fmt: skip
    return ceil(max(found, default=Fraction(0))) * cost.times


def differences(
    cost: NestCost, theirs: LayerOpinion, architecture: Architecture
) -> tuple[str, ...]:
    """Return what sets two prices apart, as far as their parts tell; empty: nothing that counts."""
    said = []
    if theirs.operations is not None and theirs.operations * cost.times != cost.operations.nominal:
        said.append(f"another layer: {theirs.operations:,} operations there, "
                    f"{cost.operations.nominal:,} here")  # fmt: skip
    cycles = theirs.cycles
    if cycles is None and theirs.latency_s is not None:
        cycles = theirs.latency_s * architecture.clock_hz
    if cycles is not None:
        least = port_cycles(cost, architecture)
        if cycles * cost.times < least * (1 - SAME):
            outer = architecture.levels[0].name
            said.append(f"{cycles * cost.times:,.0f} cycles there are fewer than the {least:,} "
                        f"that {outer} needs to move every operand once")  # fmt: skip
        elif _apart(cycles * cost.times, cost.cycles):
            said.append(_cycles(cost, theirs))
    there, here = theirs.energy_j, cost.energy_j
    if there is not None and here is not None and _apart(there * cost.times, here):
        said += _energy(cost, theirs, architecture)
    return tuple(one for one in said if one)


def _apart(a: float, b: float) -> bool:
    return abs(a - b) > SAME * max(a, b)


def _cycles(cost: NestCost, theirs: LayerOpinion) -> str:
    time = cost.time
    ours = (("way in", float(time.ramp_up)), ("computation", float(time.compute)),
            ("stalls", float(sum(time.stalls))), ("way out", float(time.drain)))  # fmt: skip
    if not theirs.cycles_by:
        return ""
    return f"cycles there: {_listed(theirs.cycles_by)}; here: {_listed(ours)}"


def _listed(parts: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:,.0f}" for name, value in parts)


def _energy(cost: NestCost, theirs: LayerOpinion, architecture: Architecture) -> list[str]:
    """Return the part whose joules differ most, and what only one of the two counts."""
    ours = _ours(cost)
    names = {level.name for level in architecture.levels} | {"array"}
    pairs: dict[str, tuple[float, float]] = {}
    by_role: dict[str, list[tuple[str, float]]] = {}
    for part in theirs.parts:
        if part.role:
            by_role.setdefault(part.role, []).append((part.memory, part.energy_j))
        elif part.memory in names:
            here = sum(j for (memory, _), j in ours.items() if memory == part.memory)
            pairs[part.memory] = (part.energy_j, here)
    for role, parts in by_role.items():
        chain = [architecture.levels[place].name for place in reversed(architecture.chain(role))]
        if len(chain) != len(parts):
            here = sum(j for (_, r), j in ours.items() if r == role)
            pairs[f"{role} in all memories"] = (sum(j for _, j in parts), here)
            continue
        for name, (_, joules) in zip(chain, parts, strict=True):
            pairs[f"{role} in {name}"] = (joules, ours.get((name, role), 0.0))
    if not pairs:
        return []
    name, (there, here) = max(pairs.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    return [f"most of the difference is {name}: {there * 1e6:.4g} uJ there, {here * 1e6:.4g} here"]


def _ours(cost: NestCost) -> dict[tuple[str, str], float]:
    """Return joules of one run per memory and role; the array's under no role."""
    found: dict[tuple[str, str], float] = {}
    for charge in cost.charges:
        verb, _, role = charge.action.partition(" ")
        key = (charge.resource, role if verb in ("read", "write") else "")
        found[key] = found.get(key, 0.0) + charge.energy_j / cost.times
    return found
