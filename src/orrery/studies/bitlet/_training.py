"""Training on the array: scikit-learn's digits in every format, and where the cycles go.

The papers run the forward pass alone on bit interleaving, accelerate no backward pass and say
nothing about formats of gradients, so there is no published figure to stand beside ours: all of it
is an extension, judged by the same training in NumPy's float32.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orrery.accel.bitlet import (
    BitletArray,
    BitletTrainer,
    Engine,
    TrainingStep,
    bit_statistics,
    number_format,
    run_network,
    trained_network,
)
from orrery.graph import initial_states
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis
from orrery.report import Column, Section, Table, Text

from .._frame import Record, compared
from ._digits import BATCH, LEARNT, Digits, read_digits, small_network

RATE = 0.05
_SOURCE = (
    "scikit-learn's digits, 1437 images to learn from and 360 to be tested; no published value"
)
_WEIGHT_GRADIENTS = ("c1.grad.ConvGradWeight", "c2.grad.ConvGradWeight", "fc.grad.Gemm_1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A format, and how errors are brought into it."""

    precision: str
    errors: str = "nearest"
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As rows and records are called."""
        return f"{self.precision}, errors {self.errors}"


_ALL = (
    Variant(precision="fp32", settings={}),
    Variant(precision="fp16", errors="with a dynamic loss scale", settings={}),
    Variant(precision="fp16", errors="without a loss scale", settings={"loss_scale": 1.0}),
    Variant(precision="bf16", settings={}),
    Variant(precision="fixed16", settings={}),
    *(Variant(precision=p, errors=r, settings={"rounding": r})
      for p in ("fixed8", "fixed4") for r in ("nearest", "stochastic")),
)  # fmt: skip
_FEW = (_ALL[0], _ALL[5])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training.

    Attributes
    ----------
    right : share of the test images recognised
    loss : mean over the last epoch
    cycles : phase -> cycles of the array for a step, over the counted ones
    lost : mean share of errors that rounding makes zero
    """

    right: float
    loss: float
    states: Mapping[str, Any]
    seconds: float
    cycles: Mapping[str, float] | None = None
    step_s: float = 0.0
    lost: float = 0.0
    skipped: int = 0


def _array(precision: str) -> BitletArray:
    return BitletArray(engine=Engine(format=number_format(precision)))


def _right(data: Digits, states: Mapping[str, Any], seed: int, array: BitletArray | None) -> float:
    graph = trained_network(small_network(len(data.test_images), seed), states)
    inputs = {"x": data.test_images}
    if array is None:
        found = graph.evaluate(inputs)["y"]
    else:
        found = run_network(graph, inputs, array, count=False).outputs["y"]
    return float((found.argmax(1) == data.test_labels).mean())


def float_run(data: Digits, epochs: int, seed: int) -> Run:
    """Train in NumPy's float32: the judge."""
    graph, start = small_network(BATCH, seed), time.process_time()
    step = graph.training("momentum", learning_rate=RATE)
    states, losses = initial_states(step, graph), []
    for batch in data.batches(epochs, seed):
        found = step.evaluate({**batch, **states})
        losses.append(float(found["loss"]))
        states = {name: found[new] for name, new in step.states.items()}
    return Run(right=_right(data, states, seed, None), states=states,
               loss=float(np.mean(losses[-(LEARNT // BATCH) :])),
               seconds=time.process_time() - start)  # fmt: skip


def array_run(
    data: Digits, variant: Variant, epochs: int, seed: int, progress: Progress = SILENT
) -> Run:
    """Train on the array, and test what came of it on the array too; ten steps are counted."""
    start, array = time.process_time(), _array(variant.precision)
    total = epochs * (LEARNT // BATCH)
    trainer = BitletTrainer(
        graph=small_network(BATCH, seed), array=array, optimizer="momentum", seed=seed,
        settings={"learning_rate": RATE}, count_every=-(-total // 10), **variant.settings,
    )  # fmt: skip
    steps: list[TrainingStep] = []
    for step in trainer.steps(data.batches(epochs, seed), progress=progress):
        steps.append(step if step.number == total - 1 else replace(step, states={}))
    counted = [s.phases for s in steps if s.phases and not s.skipped]
    cycles: dict[str, float] = {
        name: float(np.mean([p[name].array_cycles for p in counted])) for name in counted[0]
    }
    took = float(np.mean([sum(p.latency_s for p in each.values()) for each in counted]))
    return Run(
        right=_right(data, steps[-1].states, seed, array), states=steps[-1].states,
        loss=float(np.mean([s.loss for s in steps[-(LEARNT // BATCH) :]])), cycles=cycles,
        step_s=took, lost=float(np.mean([s.lost for s in steps])),
        skipped=sum(s.skipped for s in steps), seconds=time.process_time() - start,
    )  # fmt: skip


def training_part(scale: float, progress: Progress) -> tuple[list[Record], list[Section]]:
    """Return records and sections; below scale 1 one epoch in two formats, else ten in all.

    Parameters
    ----------
    scale : from 1 on, three seeds times the scale
    """
    data = read_digits()
    if data is None:
        said = "scikit-learn is not installed (pip install 'orrery[learn]'): nothing was trained."
        return [], [Text(title="Training on the array", tone="note", paragraphs=(said,))]
    whole = scale >= 1
    epochs, seeds = (10, round(3 * scale)) if whole else (1, 1)
    variants = _ALL if whole else _FEW
    judges = [float_run(data, epochs, seed) for seed in range(seeds)]
    want = float(np.mean([j.right for j in judges]))
    records, rows = [], []
    for done, variant in enumerate(variants):
        progress.step("training on digits", done, len(variants))
        runs = [array_run(data, variant, epochs, seed, progress) for seed in range(seeds)]
        ours = float(np.mean([r.right for r in runs]))
        records.append(compared(
            f"digits trained with {variant.name}: right", "%", ours=100 * ours,
            basis=Basis.SIMULATED, source=_SOURCE, judge="NumPy's float32, same batches",
            judge_value=100 * want, tolerance=0.01, seconds=sum(r.seconds for r in runs),
            note=f"{seeds} seeds of {epochs} epochs, {seeds * len(data.test_images)} answers: one "
            f"is {100 / (seeds * len(data.test_images)):.2g} %; the paper trains with its forward "
            "pass alone on the array and names no format of gradients",
        ))  # fmt: skip
        rows.append(_row(variant.name, runs))
    first = Table(
        title="Training on the array", rows=(_judge_row(judges), *rows),
        columns=(
            Column(name="computed"), Column.number("right", "%"), Column.number("worst seed", "%"),
            Column.number("loss of the last epoch"), Column.number("errors lost", "%"),
            Column.number("steps skipped"), Column.number("forward"),
            Column.number("input gradient"), Column.number("weight gradient"),
            Column.number("backward over forward"), Column.number("step", "s"),
        ),
        caption=f"A network of two convolutions and a linear layer, batches of {BATCH}, momentum, "
        f"{epochs} epochs, mean of {seeds} seeds; tested on the array too. Every product of all "
        "three phases runs on the engine bit for bit; weights are updated in float32. Phases: "
        "cycles of a step on 32 elements in lockstep, of which the first layer's 8 filters keep "
        "8 busy; the first layer has no input gradient. Lost are errors that rounding makes zero. "
        "Published: only the forward pass runs on bit interleaving; backward is our extension.",
    )  # fmt: skip
    return records, [first, _distilled(data, judges[0].states)]


def _row(name: str, runs: list[Run]) -> tuple[Any, ...]:
    cycles = {k: float(np.mean([r.cycles[k] for r in runs if r.cycles]))
              for k in ("forward", "input gradient", "weight gradient")}  # fmt: skip
    back = cycles["input gradient"] + cycles["weight gradient"]
    return (
        name, 100 * float(np.mean([r.right for r in runs])), 100 * min(r.right for r in runs),
        float(np.mean([r.loss for r in runs])), 100 * float(np.mean([r.lost for r in runs])),
        sum(r.skipped for r in runs), *cycles.values(), back / cycles["forward"],
        float(np.mean([r.step_s for r in runs])),
    )  # fmt: skip


def _judge_row(judges: list[Run]) -> tuple[Any, ...]:
    right = [j.right for j in judges]
    loss = float(np.mean([j.loss for j in judges]))
    empty = (None,) * 7
    return ("NumPy's float32", 100 * float(np.mean(right)), 100 * min(right), loss, *empty)


def _distilled(data: Digits, learned: Mapping[str, Any]) -> Table:
    """Return what either operand of the weight gradients has in zeros, and takes."""
    graph = small_network(BATCH, 0)
    batch = next(data.batches(1, 0))
    step = graph.training("momentum", learning_rate=RATE)
    nodes = {node.name: node for node in step.nodes}
    rows = []
    for when, states in (("first", initial_states(step, graph)), ("last", learned)):
        wanted = [name for n in _WEIGHT_GRADIENTS for name in nodes[n].inputs[:2]]
        shown = replace(step, outputs=tuple(dict.fromkeys((*step.outputs, *wanted))))
        values = {**batch, **shown.evaluate({**batch, **states})}
        cycles = {}
        for precision in ("fp32", "fixed8"):
            trainer = BitletTrainer(graph=graph, array=_array(precision), optimizer="momentum",
                                    settings={"learning_rate": RATE})  # fmt: skip
            cycles[precision] = next(trainer.steps([batch], states)).choices
        for name in _WEIGHT_GRADIENTS:
            made = nodes[name].inputs[:2]
            # The operand that the forward pass saved is a tensor of the network or its input.
            parts = {"activations" if n in graph.types else "errors": values[n] for n in made}
            for part in ("activations", "errors"):
                held = parts[part]
                float_bits = bit_statistics(held, "fp32")
                fixed = bit_statistics(held, "fixed8")
                rows.append((
                    when, name.partition(".")[0], part,
                    100 * float_bits.zero_values / held.size, 100 * float_bits.lane_sparsity,
                    100 * fixed.lane_sparsity,
                    " ".join(f"{100 * share:.0f}" for share in fixed.shares),
                    *(cycles[p][name].cycles[part] for p in ("fp32", "fixed8")),
                    "yes" if cycles["fp32"][name].part == part else "no",
                ))  # fmt: skip
    return Table(
        title="Weight gradients: which operand is distilled", rows=tuple(rows),
        columns=(
            Column(name="step"), Column(name="layer"), Column(name="operand"),
            Column.number("zeros", "%"), Column.number("zero bits, fp32", "%"),
            Column.number("zero bits, fixed8", "%"), Column(name="by place, highest first, %"),
            Column.number("cycles, fp32"), Column.number("cycles, fixed8"),
            Column(name="fewer in fp32"),
        ),
        caption="A weight gradient multiplies activations by errors, with no weights between them. "
        "Either may be held and distilled, with different tiles of filters; the trainer counts "
        "both in its first step and keeps the one with fewer cycles, or asks anew every so many.",
    )  # fmt: skip
