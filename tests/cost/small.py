"""Small graphs and devices whose cost can be worked out by hand."""

from __future__ import annotations

import numpy as np

from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.provenance import Basis, Source

HAND = Source(basis=Basis.ASSUMED, where="test", note="round numbers")


def device(name: str = "d0", **changes: object) -> Device:
    """1 TMAC/s float32, 0.5 Top/s, 100 GB/s, 1 GB; 1 pJ a MAC, 2 pJ an operation, 10 pJ a byte."""
    settings: dict[str, object] = {
        "macs_per_s": {"float32": 1e12}, "others_per_s": 5e11, "mac_energy_j": {"float32": 1e-12},
        "other_energy_j": 2e-12, "bandwidth": 1e11, "energy_j_per_byte": 1e-11,
        "size_bytes": 10**9, "operators": None, "designs": (), "idle_power_w": None, **changes,
    }  # fmt: skip
    compute = {k: settings[k] for k in ("macs_per_s", "others_per_s", "mac_energy_j",
                                        "other_energy_j")}  # fmt: skip
    memory = {"size_bytes": settings["size_bytes"], "bandwidth_bytes_per_s": settings["bandwidth"],
              "energy_j_per_byte": settings["energy_j_per_byte"]}  # fmt: skip
    return Device(
        name=name, kind="asic", operators=settings["operators"], designs=settings["designs"],
        idle_power_w=settings["idle_power_w"], sources={"idle_power_w": HAND},
        compute=Compute(**compute, sources=dict.fromkeys(compute, HAND)),
        memories=(Memory(name="dram", offchip=True, **memory,
                         sources=dict.fromkeys(memory, HAND)),),
    )  # fmt: skip


def link(a: str, b: str, *more: str, bandwidth: float = 1e9, latency_s: float = 0.0,
         duplex: bool = True, energy_j_per_byte: float | None = 1e-10) -> Link:  # fmt: skip
    return Link(
        name="--".join((a, b, *more)), ends=(a, b, *more), bandwidth_bytes_per_s=bandwidth,
        latency_s=latency_s, duplex=duplex, energy_j_per_byte=energy_j_per_byte,
        sources=dict.fromkeys(("bandwidth_bytes_per_s", "latency_s", "energy_j_per_byte"), HAND),
    )  # fmt: skip


def ring(count: int, **settings: object) -> System:
    names = [f"d{i}" for i in range(count)]
    ends = zip(names, names[1:] + names[:1])
    return System(name=f"ring{count}", devices=tuple(device(n) for n in names),
                  links=tuple(link(a, b, **settings) for a, b in ends))  # fmt: skip


def full(count: int, **settings: object) -> System:
    names = [f"d{i}" for i in range(count)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return System(name=f"full{count}", devices=tuple(device(n) for n in names),
                  links=tuple(link(a, b, **settings) for a, b in pairs))  # fmt: skip


def chain(layers: int = 3, size: int = 64, dtype: str = "float32") -> Graph:
    """MatMul → Relu, `layers` times, on a `size` × `size` input."""
    nodes, constants = [], {}
    here = "x"
    for i in range(layers):
        constants[f"w{i}"] = ArrayConstant(np.ones((size, size), dtype))
        nodes.append(Node(name=f"matmul{i}", op="MatMul", inputs=(here, f"w{i}"),
                          outputs=(f"m{i}",)))  # fmt: skip
        nodes.append(Node(name=f"relu{i}", op="Relu", inputs=(f"m{i}",), outputs=(f"r{i}",)))
        here = f"r{i}"
    types = {"x": TensorType(dtype=dtype, shape=(size, size))}
    types |= {name: constant.type for name, constant in constants.items()}
    return Graph(name="chain", nodes=tuple(nodes), inputs=("x",), outputs=(here,), types=types,
                 constants=constants).infer()  # fmt: skip
