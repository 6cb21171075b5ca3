"""Bit-interleaving: weights and MACs a second through cycle counting, the function and training.

All in one thread, seconds of processor time, so that a busy machine disturbs little. Fixed point
counts weights, because its cycles depend on nothing else; floating point counts MACs, because every
group of activations aligns the weights anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from orrery.accel._products import read_layer
from orrery.accel.bitlet import (
    BitletArray,
    BitletFunction,
    BitletTrainer,
    Engine,
    bit_statistics,
    count_layer,
    number_format,
    weight_cycles,
)
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, build_model
from orrery.studies.bitlet._training import small_network

from ._record import Figure, repeated

TARGET = 50e6


def product(rows: int, terms: int, filters: int) -> tuple[Region, dict[str, Any]]:
    """Return a matrix product of normal numbers, and its input."""
    draw = np.random.default_rng(0)
    weights = draw.standard_normal((terms, filters)).astype(np.float32)
    node = Node(name="product", op="MatMul", inputs=("a", "b"), outputs=("y",))
    graph = Graph(
        name="bench", nodes=(node,), inputs=("a",), outputs=("y",),
        types={"a": TensorType(dtype="float32", shape=(rows, terms))},
        constants={"b": ArrayConstant(weights)},
    ).infer()  # fmt: skip
    return graph.regions()[0], {"a": draw.standard_normal((rows, terms)).astype(np.float32)}


def rate(amount: float, work: Callable[[], object]) -> Callable[[], float]:
    """Return a measurement of amount per second of processor time."""

    def measure() -> float:
        start = time.process_time()
        work()
        return amount / (time.process_time() - start)

    return measure


def whole_network(name: str, precision: str) -> tuple[int, Callable[[], float]]:
    """Return a network's weights, and the seconds to count all its layers in fixed point."""
    graph = build_model(name)
    array = BitletArray(engine=Engine(format=number_format(precision)))
    layers = [(r, read_layer(r)) for r in graph.regions()]
    known = [(r, layer) for r, layer in layers if not isinstance(layer, str)]
    inputs = []
    for region, _ in known:
        held = {n: graph.constants[n].array() for n in region.weights}  # drawn before the clock
        shapes = {n: np.zeros(graph.type(n).sizes, np.float32) for n in region.inputs}
        inputs.append({**held, **shapes})

    def seconds() -> float:
        start = time.process_time()
        for (region, _), given in zip(known, inputs):
            count_layer(region, given, array)
        return time.process_time() - start

    return sum(layer.weight_elements for _, layer in known), seconds


def training_steps(precision: str) -> tuple[int, Callable[[], object]]:
    """Return the terms of eight training steps of a small convolutional network, and the steps."""
    draw = np.random.default_rng(0)
    batches = [
        {"x": draw.random((32, 1, 8, 8), np.float32), "labels": draw.integers(0, 10, 32)}
        for _ in range(8)
    ]
    trainer = BitletTrainer(
        graph=small_network(32, 0), optimizer="momentum", count_every=0, distil="activations",
        array=BitletArray(engine=Engine(format=number_format(precision))),
    )  # fmt: skip
    counted = next(replace(trainer, count_every=1).steps(batches[:1]))
    macs = len(batches) * sum(phase.macs for phase in counted.phases.values())
    return macs, lambda: list(trainer.steps(batches))


def figures() -> list[Figure]:
    """Measure counting and computing on matrix products, and one whole network."""
    found = []
    draw = np.random.default_rng(1)
    for precision in ("fixed8", "fixed16", "fixed24"):
        form = number_format(precision)
        rows = draw.integers(0, 1 << form.lanes, (2000, 4608), dtype=np.int32)
        array = BitletArray(engine=Engine(format=form))
        found.append(
            repeated(f"bitlet cycles, {precision}, random bits", "weights/s",
                     rate(rows.size, lambda r=rows, a=array: weight_cycles(r, a)),
                     target=TARGET, better="higher")
        )  # fmt: skip
    region, inputs = product(256, 1152, 128)
    macs = region.operations.macs
    for precision in ("fp32", "fp16"):
        array = BitletArray(engine=Engine(format=number_format(precision)))
        found.append(
            repeated(f"bitlet cycles, {precision}, all positions", "MACs/s",
                     rate(macs, lambda a=array: count_layer(region, inputs, a)),
                     target=TARGET, better="higher")
        )  # fmt: skip
    for precision in ("fp32", "fixed8"):
        function = BitletFunction(engine=Engine(format=number_format(precision)))
        found.append(
            repeated(f"bitlet function, {precision}", "MACs/s",
                     rate(macs, lambda f=function: f(region, inputs)), better="higher")
        )  # fmt: skip
    for precision in ("fp32", "fixed8"):
        macs, steps = training_steps(precision)
        found.append(
            repeated(f"bitlet training, {precision}, forward and backward", "MACs/s",
                     rate(macs, steps), better="higher",
                     note="digits network, batches of 32, update and loss included")
        )  # fmt: skip
    values = draw.standard_normal(1 << 22).astype(np.float32)
    found.append(
        repeated("bitlet zero bits, fp32", "weights/s",
                 rate(values.size, lambda: bit_statistics(values, "fp32")), better="higher")
    )  # fmt: skip
    weights, seconds = whole_network("resnet50", "fixed8")
    found.append(
        repeated("bitlet cycles of ResNet-50, fixed8", "s", seconds, runs=3, target=5.0,
                 note=f"{weights / 1e6:.1f} M weights, quantised and counted")
    )  # fmt: skip
    return found
