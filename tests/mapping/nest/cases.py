"""Random small layers and arrays, and all nests of a layer priced one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from math import inf, prod
from random import Random

from orrery.cost.nest import (
    Index,
    NestCost,
    NestMapping,
    NestProblem,
    NestTensor,
    Zeros,
    check_mapping,
    keep_on_chip,
    keeping_levels,
    nest_cost,
)
from orrery.hardware import ROLES, Architecture, ArrayAxis, Level
from orrery.provenance import Basis, Source

DENSE = Zeros()
HAND = Source(basis=Basis.ASSUMED, where="test")


def axis(size: int, *terms: tuple[str, int], offset: int = 0) -> Index:
    return Index(size=size, terms=terms, offset=offset)


def layer(names: dict[str, int], **tensors: tuple[str, tuple[Index, ...]]) -> NestProblem:
    return NestProblem(loops=tuple(names.items()), tensors=tuple(
        NestTensor(name=name, role=role, axes=axes) for name, (role, axes) in tensors.items()
    ))  # fmt: skip


def conv(
    k: int, c: int, p: int, q: int, r: int, s: int, *, stride: int = 1, padding: int = 0
) -> NestProblem:
    """Return a convolution, batch 1."""
    sizes = [max(1, (o - 1) * stride + f - 2 * padding) for o, f in ((p, r), (q, s))]
    return layer(
        {"K": k, "C": c, "P": p, "Q": q, "R": r, "S": s},
        x=("input", (axis(c, ("C", 1)), axis(sizes[0], ("P", stride), ("R", 1), offset=-padding),
                     axis(sizes[1], ("Q", stride), ("S", 1), offset=-padding))),
        w=("weight", (axis(k, ("K", 1)), axis(c, ("C", 1)), axis(r, ("R", 1)), axis(s, ("S", 1)))),
        y=("output", (axis(k, ("K", 1)), axis(p, ("P", 1)), axis(q, ("Q", 1)))),
    )  # fmt: skip


def random_layer(draw: Random) -> NestProblem:
    """Draw a convolution, product, depthwise, transposed or element-wise layer."""
    kind = draw.randrange(5)
    n = {name: draw.choice((1, 2, 2, 3, 4, 5)) for name in "GMNK"}
    r, stride = draw.choice((1, 2, 3)), draw.choice((1, 2))
    if kind == 0:
        return conv(n["K"], draw.choice((1, 2, 3)), n["M"], draw.choice((1, 2)), r, 1,
                    stride=stride, padding=draw.choice((0, 0, 1)))  # fmt: skip
    if kind == 1:
        return layer({k: n[k] for k in "MNK"}, a=("input", (axis(n["M"], ("M", 1)),
                     axis(n["K"], ("K", 1)))), b=("weight", (axis(n["K"], ("K", 1)),
                     axis(n["N"], ("N", 1)))), y=("output", (axis(n["M"], ("M", 1)),
                     axis(n["N"], ("N", 1)))))  # fmt: skip
    window = axis((n["M"] - 1) * stride + r, ("M", stride), ("R", 1))
    if kind == 2:
        return layer({"G": n["G"], "M": n["M"], "R": r},
                     x=("input", (axis(n["G"], ("G", 1)), window)),
                     w=("weight", (axis(n["G"], ("G", 1)), axis(r, ("R", 1)))),
                     y=("output", (axis(n["G"], ("G", 1)), axis(n["M"], ("M", 1)))))  # fmt: skip
    if kind == 3:  # transposed: results overlap
        return layer({"K": n["K"], "M": n["M"], "R": r}, x=("input", (axis(n["M"], ("M", 1)),)),
                     w=("weight", (axis(n["K"], ("K", 1)), axis(r, ("R", 1)))),
                     y=("output", (axis(n["K"], ("K", 1)), window)))  # fmt: skip
    both = (axis(n["M"], ("M", 1)), axis(n["N"], ("N", 1)))
    return layer({"M": n["M"], "N": n["N"]}, a=("input", both), b=("input", both[1:]),
                 y=("output", both))  # fmt: skip


def random_array(draw: Random) -> Architecture:
    """Draw memories and array axes: capacities, shares, ports, networks, bypasses, fixed axes."""
    depth, names = draw.choice((2, 2, 3, 4)), "xy"[: draw.choice((0, 1, 1, 2))]
    place = {name: draw.randrange(depth) for name in names}
    some = lambda of: tuple(x for x in of if draw.random() < 0.5)  # noqa: E731
    axes = []
    for name in names:
        size = draw.choice((2, 3, 4))
        kind = draw.random()
        axes.append(ArrayAxis(
            name=name,
                size=size,
                sources={"size": HAND, "fixed": HAND},
            loops=("K", "M") if 0.5 < kind < 0.7 else None,
            fixed={draw.choice("KM"): size} if kind > 0.85 else None,
        ))  # fmt: skip
    levels = []
    for n in range(depth):
        numbers: dict[str, object] = {
            "word_bits": draw.choice((8, 16, 24)), "static_power_w": draw.choice((0.0, 1e-3)),
            "read_energy_j": draw.choice((0.0, 1e-12, 3e-12)) * 8 ** (depth - n),
            "write_energy_j": draw.choice((1e-12, 2e-12)) * 8 ** (depth - n),
        }  # fmt: skip
        if n and draw.random() < 0.7:
            numbers["capacity_bits"] = draw.choice((64, 160, 400))
        for way in ("read_bits_per_cycle", "write_bits_per_cycle"):
            if draw.random() < 0.6:
                numbers[way] = draw.choice((8, 16, 24.5))
        shares = {role: draw.choice((32, 80)) for role in ROLES if n and draw.random() < 0.1}
        if "capacity_bits" in numbers:
            numbers["capacity_bits"] += sum(shares.values())
        double = some(ROLES)
        streams = tuple(r for r in some(ROLES) if r not in double)
        if draw.random() < 0.3:
            numbers["network_bits_per_cycle"] = {r: draw.choice((4, 8.5)) for r in some(ROLES)}
        levels.append(Level(
            name=f"m{n}", holds=tuple(r for r in ROLES if n == 0 or draw.random() < 0.7),
            per=tuple(a for a in names if place[a] < n), one_port=draw.random() < 0.3,
            multicast=some(names), reduces=some(names), double_buffered=double,
            loops=tuple(k for k in "KMNR" if draw.random() < 0.6)
            if n and draw.random() < 0.25 else None,
            streams=streams, slides=some(("input",)), shares_bits=shares,
            sources=dict.fromkeys(numbers, HAND) | {"shares_bits": HAND}, **numbers,  # type: ignore[arg-type]  # sorted out above
        ))  # fmt: skip
    axes = [
        replace(a, systolic=draw.random() < 0.7 and all(
            x.hides(role) for x in levels if a.name in x.per for role in x.holds))
        for a in axes
    ]  # fmt: skip
    numbers = {
        "clock_hz": 7e8, "macs_per_cycle": draw.choice((1, 1, 2)),
        "partial_sum_bits": draw.choice((8, 16, 20)), "mac_energy_j": 1e-12,
        "idle_mac_energy_j": draw.choice((0.0, 3e-13)), "static_power_w": draw.choice((0.0, 1e-2)),
        "hop_energy_j_per_bit": draw.choice((0.0, 1e-13)),
    }  # fmt: skip
    return Architecture(
        name="drawn", axes=tuple(axes), levels=tuple(levels),
        bits={"input": 8, "weight": draw.choice((4, 8)), "output": 8},
        sources=dict.fromkeys((*numbers, "bits"), HAND), **numbers,  # type: ignore[arg-type]
    )  # fmt: skip


def keeping_array(draw: Random) -> Architecture:
    """Draw an array as a layer sees it whose operands live in one of its levels.

    Some take time beside the cycles of a run.
    """
    while not (levels := keeping_levels(found := random_array(draw))):
        pass
    roles = draw.choice((("input",), ("output",), ("output",), ("input", "output")))
    if draw.random() < 0.3:
        found = replace(found, overhead_s=2e-8, sources={**found.sources, "overhead_s": HAND})
    return keep_on_chip(found, draw.choice(levels), roles)


def all_nests(problem: NestProblem, architecture: Architecture) -> Iterator[NestMapping]:
    """Yield every nest: all covering factors that cannot shrink, all orders, all places."""
    below = architecture.fans_out_below()
    slots = [(n, "") for n in range(len(architecture.levels))]
    slots += [(below[a.name], a.name) for a in architecture.axes]
    axes = {a.name: a for a in architecture.axes}
    per_loop = []
    for loop, extent in problem.loops:
        ranges = []
        for n, name in slots:
            if name and axes[name].fixed is not None:
                one = min((axes[name].fixed or {}).get(loop, 1), extent)
                ranges.append([one])
            elif name:
                loops = axes[name].loops
                ranges.append(list(range(1, axes[name].size + 1)) if loops is None or loop in loops
                              else [1])  # fmt: skip
            else:
                steps = architecture.levels[n].loops
                ranges.append(list(range(1, extent + 1)) if steps is None or loop in steps
                              else [1])  # fmt: skip
        free = [not name or axes[name].fixed is None for _, name in slots]
        per_loop.append([
            row for row in product(*ranges) if prod(row) >= extent and all(
                f == 1 or not loose or prod(row) // f * (f - 1) < extent
                for f, loose in zip(row, free, strict=True)
            )
        ])  # fmt: skip
    names = [loop for loop, _ in problem.loops]
    for rows in product(*per_loop):
        orders, spatial = [], {}
        for slot, (_, name) in enumerate(slots):
            parts = [(loop, row[slot]) for loop, row in zip(names, rows, strict=True)
                     if row[slot] > 1]  # fmt: skip
            if name:
                spatial[name] = tuple(parts)
            else:
                orders.append(list(permutations(parts)))
        for temporal in product(*orders):
            yield NestMapping(temporal=temporal, spatial=spatial)


def random_zeros(draw: Random) -> Zeros:
    """Draw densities, and for each operand what the array makes of its zeros."""
    ways = {role: draw.choice(("gate", "skip", "")) for role in ("input", "weight")}
    return Zeros(
        density={role: draw.choice((0.25, 0.4, 0.75)) for role in ways},
        gates=tuple(role for role, way in ways.items() if way == "gate"),
        skips=tuple(role for role, way in ways.items() if way == "skip"),
        compressed={role: draw.choice((1, 4)) for role in ways if draw.random() < 0.4},
    )


def all_costs(
    problem: NestProblem, architecture: Architecture, zeros: Zeros = DENSE
) -> tuple[list[NestCost], int]:
    """Return the price of every nest that fits, and how many nests there are."""
    found, number = [], 0
    for mapping in all_nests(problem, architecture):
        number += 1
        if check_mapping(problem, mapping, architecture) is None:
            found.append(nest_cost(problem, mapping, architecture, zeros=zeros))
    return found, number


def exhaustive(
    problem: NestProblem, architecture: Architecture, zeros: Zeros = DENSE
) -> tuple[dict[str, float], int]:
    """Return the least cycles, joules and joules times seconds, and how many nests there are."""
    best = {"latency": inf, "energy": inf, "edp": inf}
    costs, number = all_costs(problem, architecture, zeros)
    for cost in costs:
        energy = cost.energy_j
        assert energy is not None
        for name, value in (("latency", float(cost.cycles)), ("energy", energy),
                            ("edp", energy * cost.latency_s)):  # fmt: skip
            best[name] = min(best[name], value)
    return best, number
