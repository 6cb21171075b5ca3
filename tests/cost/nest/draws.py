"""Random small layers, arrays and nests."""

from __future__ import annotations

import math
from random import Random

from orrery.cost.nest import Index, NestMapping, NestProblem, NestTensor
from orrery.hardware import ROLES, Architecture, ArrayAxis, Level
from orrery.provenance import Basis, Source

HAND = Source(basis=Basis.ASSUMED, where="test")


def axis(size: int, *terms: tuple[str, int], offset: int = 0) -> Index:
    return Index(size=size, terms=terms, offset=offset)


def window(draw: Random, out: str, kernel: str, outs: int, kernels: int) -> Index:
    """An axis that a window slides over, with stride, dilation and padding."""
    stride, dilation = draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2, 3))
    span = stride * (outs - 1) + dilation * (kernels - 1) + 1
    before, after = draw.choice((0, 0, 1, 2)), draw.choice((0, 0, 1, 2, -1))
    return Index(size=max(1, span - before - after), terms=((out, stride), (kernel, dilation)),
                 offset=-before)  # fmt: skip


def tensors(input: tuple[Index, ...], output: tuple[Index, ...], weight: tuple[Index, ...] = (),
            ) -> tuple[NestTensor, ...]:  # fmt: skip
    found = [NestTensor(name="x", role="input", axes=input)]
    if weight:
        found.append(NestTensor(name="w", role="weight", axes=weight))
    return (*found, NestTensor(name="y", role="output", axes=output))


def problem(draw: Random, most: int = 70) -> NestProblem:
    """Draw a layer of at most so many operations."""
    while True:
        found = draw.choice((_conv2d, _conv1d, _matmul, _depthwise, _elementwise, _scatter))(draw)
        if found.operations <= most:
            return found


def _sizes(draw: Random, **most: int) -> dict[str, int]:
    return {name: draw.randint(1, limit) for name, limit in most.items()}


def _conv2d(draw: Random) -> NestProblem:
    n = _sizes(draw, Cout=3, Cin=3, H=4, W=4, Kh=3, Kw=3)
    return NestProblem(loops=tuple(n.items()), tensors=tensors(
        (axis(n["Cin"], ("Cin", 1)), window(draw, "H", "Kh", n["H"], n["Kh"]),
         window(draw, "W", "Kw", n["W"], n["Kw"])),
        (axis(n["Cout"], ("Cout", 1)), axis(n["H"], ("H", 1)), axis(n["W"], ("W", 1))),
        tuple(axis(n[k], (k, 1)) for k in ("Cout", "Cin", "Kh", "Kw")),
    ))  # fmt: skip


def _conv1d(draw: Random) -> NestProblem:
    n = _sizes(draw, N=2, Cout=3, Cin=2, W=9, Kw=5)
    return NestProblem(loops=tuple(n.items()), tensors=tensors(
        (axis(n["N"], ("N", 1)), axis(n["Cin"], ("Cin", 1)),
         window(draw, "W", "Kw", n["W"], n["Kw"])),
        (axis(n["N"], ("N", 1)), axis(n["Cout"], ("Cout", 1)), axis(n["W"], ("W", 1))),
        tuple(axis(n[k], (k, 1)) for k in ("Cout", "Cin", "Kw")),
    ))  # fmt: skip


def _matmul(draw: Random) -> NestProblem:
    n = _sizes(draw, G=2, N=6, Cout=6, Cin=6)
    return NestProblem(loops=tuple(n.items()), tensors=tensors(
        (axis(n["G"], ("G", 1)), axis(n["N"], ("N", 1)), axis(n["Cin"], ("Cin", 1))),
        (axis(n["G"], ("G", 1)), axis(n["N"], ("N", 1)), axis(n["Cout"], ("Cout", 1))),
        (axis(n["G"], ("G", 1)), axis(n["Cin"], ("Cin", 1)), axis(n["Cout"], ("Cout", 1))),
    ))  # fmt: skip


def _depthwise(draw: Random) -> NestProblem:
    n = _sizes(draw, G=5, H=5, Kh=3)
    return NestProblem(loops=tuple(n.items()), tensors=tensors(
        (axis(n["G"], ("G", 1)), window(draw, "H", "Kh", n["H"], n["Kh"])),
        (axis(n["G"], ("G", 1)), axis(n["H"], ("H", 1))),
        (axis(n["G"], ("G", 1)), axis(n["Kh"], ("Kh", 1))),
    ))  # fmt: skip


def _elementwise(draw: Random) -> NestProblem:
    n = _sizes(draw, N=4, G=4, W=7)
    both = tuple(axis(n[k], (k, 1)) for k in n)
    return NestProblem(loops=tuple(n.items()), tensors=(
        *tensors(both, both), NestTensor(name="z", role="input", axes=both[1:]),
    ))  # fmt: skip


def _scatter(draw: Random) -> NestProblem:
    """A transposed convolution: results overlap."""
    n = _sizes(draw, Cout=3, Cin=2, W=6, Kw=4)
    return NestProblem(loops=tuple(n.items()), tensors=tensors(
        (axis(n["Cin"], ("Cin", 1)), axis(n["W"], ("W", 1))),
        (axis(n["Cout"], ("Cout", 1)), window(draw, "W", "Kw", n["W"], n["Kw"])),
        tuple(axis(n[k], (k, 1)) for k in ("Cout", "Cin", "Kw")),
    ))  # fmt: skip


def nest(
    draw: Random, layer: NestProblem, *, most_positions: int = 16
) -> tuple[NestMapping, Architecture]:
    """Draw memories, array axes and a nest that covers the layer."""
    while True:
        depth, names = draw.randint(1, 4), ["rows", "cols"][: draw.randint(0, 2)]
        places = {name: draw.randrange(depth) for name in names}
        slots = [(level, "") for level in range(depth)] + [(places[a], a) for a in names]
        temporal: list[list[tuple[str, int]]] = [[] for _ in range(depth)]
        spatial: dict[str, list[tuple[str, int]]] = {name: [] for name in names}
        for loop, extent in layer.loops:
            covered = 1
            used = sorted(draw.sample(slots, draw.randint(1, len(slots))),
                          key=lambda slot: (slot[0], bool(slot[1]), names.index(slot[1])
                                            if slot[1] else 0), reverse=True)  # fmt: skip
            for at, (level, name) in enumerate(used):
                need = -(-extent // covered)
                factor = need if at == len(used) - 1 else draw.randint(1, need)
                covered *= factor
                if factor > 1 or draw.random() < 0.2:
                    (spatial[name] if name else temporal[level]).append((loop, factor))
        for loops in (*temporal, *spatial.values()):
            draw.shuffle(loops)
        sizes = {name: math.prod(f for _, f in spatial[name]) for name in names}
        if math.prod(sizes.values()) <= most_positions:
            break
    levels = []
    for i in range(depth):
        some = lambda of: tuple(x for x in of if draw.random() < 0.5)  # noqa: E731
        double = some(ROLES)
        streams = tuple(role for role in some(ROLES) if role not in double)
        levels.append(Level(
            name=f"m{i}", holds=some(ROLES) if i else ROLES, word_bits=draw.choice((8, 16, 24)),
            per=tuple(n for n in names if places[n] < i), multicast=some(names),
            reduces=some(names), slides=some(("input", "weight")), double_buffered=double,
            streams=streams, network_bits_per_cycle=dict.fromkeys(some(ROLES), 12.0),
            read_bits_per_cycle=draw.choice((8, 16, 64)), one_port=draw.random() < 0.5,
            write_bits_per_cycle=draw.choice((8, 32)), read_energy_j=draw.choice((1e-12, 3e-12)),
            write_energy_j=2e-12, static_power_w=1e-3,
            sources=dict.fromkeys(("word_bits", "read_bits_per_cycle", "write_bits_per_cycle",
                                   "read_energy_j", "write_energy_j", "static_power_w",
                                   "network_bits_per_cycle"), HAND),
        ))  # fmt: skip
    architecture = Architecture(
        name="drawn", axes=tuple(ArrayAxis(name=n, size=sizes[n], sources={"size": HAND})
                                 for n in names),
        levels=tuple(levels), clock_hz=1e9, bits={"input": 8, "weight": 4, "output": 8},
        partial_sum_bits=20, mac_energy_j=1e-12, idle_mac_energy_j=1e-13,
        hop_energy_j_per_bit=1e-14, static_power_w=1e-2,
        sources=dict.fromkeys(("clock_hz", "macs_per_cycle", "bits", "partial_sum_bits",
                               "mac_energy_j", "idle_mac_energy_j", "hop_energy_j_per_bit",
                               "static_power_w"), HAND),
    )  # fmt: skip
    along = {name: tuple(loops) for name, loops in spatial.items()}
    return NestMapping(temporal=tuple(map(tuple, temporal)), spatial=along), architecture
