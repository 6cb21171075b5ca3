"""Training on the array: forward and both backward products on the engine, counted step by step.

Models:  the training step that `orrery.graph` derives, node by node; its products on the engine in
         its format, bit for bit; all else (activations, loss, sums of biases, the optimiser) in
         float32. Learned tensors stay float32 between steps (master weights) and are rounded to
         the format whenever a product reads them.
         Cycles by phase as `count_layer` counts them; products follow one another.
         Which operand of a weight gradient is distilled: the one with fewer cycles in the first
         step, and that one from then on or until it is chosen anew (`choose_every`), so that a run
         does not depend on how often it is counted.
Ignores: the time of what lies between products, and of the optimiser; traffic of saved activations
         beyond each product's own operands.
Published: only the forward pass runs on bit interleaving, the backward pass is not accelerated, and
         nothing is said about formats of gradients. What is done backward here is an extension.
Judge:   NumPy's float32 with the same batches; a float64 gradient within the engine's bound
         (tests/accel/bitlet/test_training.py).
Source:  Bitlet, MICRO 2021, §5.3, §6 (forward only); Gupta et al., ICML 2015 (stochastic rounding);
         Micikevicius et al., ICLR 2018 (master weights, loss scale).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from orrery.errors import SpecError, did_you_mean
from orrery.graph import ArrayConstant, Graph, check_inputs, evaluate_node, initial_states
from orrery.progress import SILENT, Progress

from .._record import Tensors
from ._cycles import BitletArray, LayerCycles, count_matrices, schedule, stored_weights
from ._engine import Array
from ._format import FixedFormat
from ._function import BitletFunction
from ._training_products import (
    PHASES,
    Operands,
    Part,
    Phase,
    TrainingProduct,
    operands,
    training_products,
)

__all__ = [
    "BitletTrainer",
    "PhaseCycles",
    "ProductChoice",
    "TrainingStep",
    "draw_batches",
    "trained_network",
]

Rounding = Literal["nearest", "stochastic"]
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic")
Distilled = Literal["fewer", "activations", "errors"]
DISTILLED: tuple[Distilled, ...] = ("fewer", "activations", "errors")

#: The dynamic loss scale begins here, doubles after so many good steps, and halves on overflow.
FIRST_SCALE, GOOD_STEPS = 2.0**16, 200
#: A scale below this means that no scale helps; above the other, binary32 itself would overflow.
LEAST_SCALE, MOST_SCALE = 2.0**-24, 2.0**32


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCycles:
    """What the products of one phase of one step take on the array.

    Attributes
    ----------
    products : counted
    macs : terms that the array works through, padding included
    array_cycles : memory aside, and `half_width` of their 95 % interval (0: exact)
    latency_s : with memory traffic, product after product
    offchip_bytes : through both channels
    """

    products: int = 0
    macs: int = 0
    array_cycles: float = 0.0
    half_width: float = 0.0
    latency_s: float = 0.0
    offchip_bytes: int = 0

    def with_layer(self, found: LayerCycles, array: BitletArray) -> PhaseCycles:
        """Return the sum with one more product."""
        *_, last = schedule(found, array)
        return PhaseCycles(
            products=self.products + 1, macs=self.macs + found.macs,
            array_cycles=self.array_cycles + found.array_cycles,
            half_width=math.hypot(self.half_width, found.half_width),
            latency_s=self.latency_s + last.end,
            offchip_bytes=self.offchip_bytes + found.offchip_bytes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductChoice:
    """Which operand of a product is distilled.

    Attributes
    ----------
    tensor, part : the operand, and what it is: weights, activations or errors
    cycles : of the array in the step in which it was chosen, by part; empty without a choice
    """

    phase: Phase
    tensor: str
    part: Part
    cycles: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One step that was taken, or skipped; all that `BitletTrainer.steps` needs to go on from it.

    Attributes
    ----------
    number : from 0 on
    loss : before the update
    phases : phase -> what it takes; empty where the step was not counted
    loss_scale : in force during the step
    skipped : gradients overflowed at that scale: nothing was updated
    lost : share of errors other than zero that the format rounds to zero, as products read them
    choices : product -> which operand is distilled
    elsewhere : products that the engine does not run -> why; they run in float32
    states : learned tensors, moments and statistics after the step, float32
    next_scale : dynamic loss scale of the next step; None: the scale is not dynamic
    good_steps : steps since the dynamic scale last changed
    """

    number: int
    loss: float
    phases: Mapping[Phase, PhaseCycles]
    loss_scale: float
    skipped: bool
    lost: float
    choices: Mapping[str, ProductChoice] = field(repr=False)
    elsewhere: Mapping[str, str]
    states: Tensors = field(repr=False)
    next_scale: float | None = None
    good_steps: int = 0

    @property
    def summary(self) -> str:
        """One line: loss, and each phase's share of the cycles where they were counted."""
        text = f"step {self.number}: loss {self.loss:.6g}"
        if self.skipped:
            text += f", skipped: overflow at a loss scale of {self.loss_scale:g}"
        total = math.fsum(p.array_cycles for p in self.phases.values())
        if not total:
            return text
        shares = ", ".join(f"{k} {p.array_cycles / total:.1%}" for k, p in self.phases.items())
        seconds = math.fsum(p.latency_s for p in self.phases.values())
        return f"{text}; {total:.6g} cycles ({shares}), {1e3 * seconds:.4g} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class BitletTrainer:
    """Trains a network with every product on an array of bit-interleaving engines.

    Attributes
    ----------
    graph : the network, all dimensions bound, its batch among them
    array : elements, precision, memory
    optimizer, loss, frozen, settings : as for `Graph.training`; all of it is computed in float32
    rounding : of errors in fixed point, ``nearest`` or ``stochastic``
    loss_scale : None: ``dynamic`` in fp16 and 1 elsewhere; a power of two; or ``dynamic``: 2^16 at
        first, halved by a step that overflows (and is skipped), doubled after 200 that do not
    distil : operand of weight gradients that is distilled: ``activations``, ``errors``, or
        ``fewer`` cycles, counted in the first step
    count_every : count the cycles of every so many steps; 0: of none (a choice by fewer cycles
        still counts the weight gradients of the first step)
    choose_every : choose anew every so many steps what is distilled; 0: once
    exact_macs, error : as for `count_layer`
    seed : of stochastic rounding, sampling and dropout; 0 or more

    Raises
    ------
    SpecError : an unknown name, a count that is no whole number, a scale that is no power of two,
        stochastic rounding of floating point or a loss scale of fixed point, which have no meaning
    """

    graph: Graph
    array: BitletArray
    optimizer: str = "sgd"
    loss: str = "auto"
    frozen: Sequence[str] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    rounding: Rounding = "nearest"
    loss_scale: float | Literal["dynamic"] | None = None
    distil: Distilled = "fewer"
    count_every: int = 1
    choose_every: int = 0
    exact_macs: int = 1 << 22
    error: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("rounding", self.rounding, ROUNDINGS), ("distil", self.distil, DISTILLED),
        ):  # fmt: skip
            if value not in known:
                raise SpecError(f"bitlet training: {name}", found=value,
                                wanted=f"one of {', '.join(known)}",
                                fix=f"correct the name{did_you_mean(value, known)}")  # fmt: skip
        form = self.array.engine.format
        fixed = isinstance(form, FixedFormat)
        if self.rounding == "stochastic" and not fixed:
            raise SpecError("bitlet training: rounding", found=f"stochastic with {form.name}",
                            wanted="fixed point",
                            fix="floating point rounds to nearest")  # fmt: skip
        if isinstance(self.frozen, str):
            raise SpecError("bitlet training: frozen", found=self.frozen,
                            wanted="a sequence of names",
                            fix=f"write frozen=({self.frozen!r},)")  # fmt: skip
        for name, whole, unit in (
            ("count_every", self.count_every, "steps"), ("exact_macs", self.exact_macs, "MACs"),
            ("choose_every", self.choose_every, "steps"), ("seed", self.seed, "as a whole number"),
        ):  # fmt: skip
            if not _is_number(whole, numbers.Integral) or whole < 0:
                raise SpecError(f"bitlet training: {name}", found=whole, wanted=f"0 or more {unit}",
                                fix="correct the number")  # fmt: skip
        if not _is_number(self.error) or not 0 < self.error < 1:
            raise SpecError("bitlet training: error", found=self.error,
                            wanted="a share between 0 and 1", fix="take 0.02")  # fmt: skip
        scale = self.loss_scale
        if scale is None:
            return
        if fixed:
            raise SpecError("bitlet training: loss_scale", found=f"{scale} with {form.name}",
                            wanted="None",
                            fix="grids of fixed point follow the errors")  # fmt: skip
        if scale == "dynamic":
            return
        number = _is_number(scale) and LEAST_SCALE <= scale <= MOST_SCALE
        if not number or math.frexp(scale)[0] != 0.5:
            raise SpecError("bitlet training: loss_scale", found=scale,
                            wanted="'dynamic' or a power of two from 2^-24 to 2^32",
                            fix="such factors change no bit but the exponent's")  # fmt: skip

    def steps(
        self,
        batches: Iterable[Tensors],
        states: Tensors | None = None,
        *,
        start: TrainingStep | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[TrainingStep]:
        """Take one step a batch.

        Parameters
        ----------
        batches : inputs of the network with ``labels`` or ``target`` (see `Graph.training`), as
            `draw_batches` makes them; none at all yields no step
        states : tensors to begin with, as another run's last step left them; None: the network's
            own weights. The run is a new one: step 0, first loss scale, all choices open
        start : the step to go on from, bit for bit as if the run had not ended: its states, number,
            loss scale with the steps that it has held, and choices. Where this trainer's own
            `loss_scale` or `distil` says otherwise, that holds

        Raises
        ------
        SpecError : both `states` and `start`; a batch that does not fit or labels out of range; a
            loss, tensor or gradient that is not finite, with its name and step
        CancelledError : the user asked to stop
        """
        beside = states is not None
        if start is not None and (beside or not isinstance(start, TrainingStep)):
            raise SpecError(f"{self.graph.name}: start",
                            found="states beside it" if beside else type(start).__name__,
                            wanted="one of `states` and `start`, a TrainingStep",
                            fix="give start=step, or states=step.states for a new run")  # fmt: skip
        return _Session(self, start).run(batches, states, progress)


def _is_number(value: object, kind: type = numbers.Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


class _Session:
    """What a run keeps from step to step."""

    def __init__(self, trainer: BitletTrainer, start: TrainingStep | None) -> None:
        self.trainer = trainer
        self.form = trainer.array.engine.format
        self.step = trainer.graph.training(
            trainer.optimizer, loss=trainer.loss, outputs=(), frozen=tuple(trainer.frozen),
            seed=trainer.seed, **trainer.settings,
        )  # fmt: skip
        self.products, self.elsewhere = training_products(self.step)
        self.function = BitletFunction(engine=trainer.array.engine)
        self.chosen: dict[str, int | None] = {}
        self.choices: dict[str, ProductChoice] = {}
        dynamic = trainer.loss_scale == "dynamic" or (
            trainer.loss_scale is None and self.form.name == "fp16"
        )
        self.dynamic = dynamic
        fixed_scale = 1.0 if trainer.loss_scale in (None, "dynamic") else trainer.loss_scale
        self.scale = FIRST_SCALE if dynamic else float(fixed_scale or 1.0)
        self.good = 0
        self.start, self.first, self.updated = start, 0, False
        if start is not None:
            self._go_on(start)
        self.last = {name: i for i, node in enumerate(self.step.nodes) for name in node.inputs}

    def _go_on(self, start: TrainingStep) -> None:
        """Take over what a step left, as far as the trainer leaves it open."""
        self.first, self.updated = start.number + 1, True
        if self.dynamic and start.next_scale is not None:
            self.scale, self.good = start.next_scale, start.good_steps
        for name, product in self.products.items():
            choice = start.choices.get(name)
            if choice is None:
                continue
            for operand in self._allowed(product):
                if operand is None or product.parts[operand] == choice.part:
                    self.chosen[name], self.choices[name] = operand, choice

    def run(
        self, batches: Iterable[Tensors], states: Tensors | None, progress: Progress
    ) -> Iterator[TrainingStep]:
        given = states if self.start is None else self.start.states
        held = initial_states(self.step, self.trainer.graph) if given is None else dict(given)
        for name, value in held.items():
            have = np.asarray(value)
            if have.dtype.kind == "f" and not np.isfinite(have).all():
                whose = "network's weights" if given is None else "states that were given"
                raise SpecError(f"{self.trainer.graph.name}: step {self.first}: tensor {name!r}",
                                found="a value that is not finite", wanted="finite numbers",
                                fix=f"correct the {whose}")  # fmt: skip
        for number, batch in enumerate(batches, self.first):
            progress.step("training on the array", number, None)
            self._check(batch, number)
            inputs = {**batch, **held}
            check_inputs(self.step, inputs)
            done = self._take(inputs, held, number)
            held = dict(done.states)
            yield done

    def _check(self, batch: Tensors, number: int) -> None:
        where = f"{self.trainer.graph.name}: step {number}"
        for name in self.step.inputs:
            if name in self.step.states or name not in batch:
                continue
            have, want = np.asarray(batch[name]), self.step.type(name)
            if have.ndim == want.rank and want.rank and have.shape[:1] != want.sizes[:1]:
                raise SpecError(f"{where}: {name!r}", found=f"a batch of {len(have)}",
                                wanted=f"{want.sizes[0]}, the network's",
                                fix="drop the rest, as `draw_batches` does")  # fmt: skip
            most = self.step.metadata.get(f"below.{name}")
            if most is not None and have.dtype.kind in "iu":
                outside = (have < 0) | (have >= int(most))
                if outside.any():
                    raise SpecError(f"{where}: {name!r}", found=have[outside].flat[0],
                                    wanted=f"labels from 0 to {int(most) - 1}",
                                    fix="correct the data")  # fmt: skip
            if have.dtype.kind == "f" and not np.isfinite(have).all():
                raise SpecError(f"{where}: {name!r}", found="a value that is not finite",
                                wanted="finite numbers", fix="clean the data")  # fmt: skip

    def _take(self, inputs: Tensors, held: Tensors, number: int) -> TrainingStep:
        """Run every node once; an overflow at a dynamic scale ends the step without an update."""
        every = self.trainer.count_every
        counted = bool(every) and number % every == 0
        phases = dict.fromkeys(PHASES, PhaseCycles()) if counted else {}
        values = dict(inputs)
        scale, lost, errors, skipped = self.scale, 0, 0, False
        keep = {*self.step.outputs}
        loss_name = self.step.outputs[0]
        for place, node in enumerate(self.step.nodes):
            product = self.products.get(node.name)
            if product is None:
                values.update(evaluate_node(self.step, node, values))
            else:
                self._require_finite(product, values, number)
                ready, found = self._ready(product, values, number, place, counted)
                if counted and found is not None:
                    phases[product.phase] = phases[product.phase].with_layer(
                        found, self.trainer.array
                    )
                lost, errors = lost + ready.lost, errors + ready.errors
                result = self._multiply(ready)
                if not np.isfinite(result).all():
                    if product.error is None or not self.dynamic:
                        raise self._lost_range(node.outputs[0], product, number)
                    skipped = True
                    break
                values[node.outputs[0]] = result.astype(values[node.inputs[0]].dtype, copy=False)
            if loss_name in node.outputs and not np.isfinite(values[loss_name]).all():
                raise SpecError(f"{self.trainer.graph.name}: step {number}: loss",
                                found=float(values[loss_name]), wanted="a finite number",
                                fix=self._advice())  # fmt: skip
            for name in node.inputs:
                if self.last.get(name) == place and name not in keep:
                    values.pop(name, None)
        after = dict(held)
        if not skipped:
            after = {name: values[new] for name, new in self.step.states.items()}
            for name, value in after.items():
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    raise SpecError(f"{self.trainer.graph.name}: step {number}: {name!r}",
                                    found="a value that is not finite after the update",
                                    wanted="finite numbers",
                                    fix="lower the learning rate")  # fmt: skip
            self.updated = True
        self._rescale(skipped, number)
        return TrainingStep(
            number=number, loss=float(values[loss_name]), phases=phases, loss_scale=scale,
            skipped=skipped, lost=lost / errors if errors else 0.0, choices=dict(self.choices),
            elsewhere=self.elsewhere, states=after,
            next_scale=self.scale if self.dynamic else None, good_steps=self.good,
        )  # fmt: skip

    def _multiply(self, ready: Operands) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            result = self.function.multiply(ready.layer, ready.given)
            if ready.scale != 1.0:
                result = (result / result.dtype.type(ready.scale)).astype(result.dtype, copy=False)
        return result

    def _ready(
        self, product: TrainingProduct, values: Tensors, number: int, place: int, counted: bool
    ) -> tuple[Operands, LayerCycles | None]:
        """Return the operands and, where asked for, the cycles; chooses a part the first time."""
        name = product.node.name
        every = self.trainer.choose_every
        if name not in self.chosen or (every and number % every == 0):
            return self._choose(product, values, number, place, counted)
        ready = self._operands(product, values, self.chosen[name], number, place)
        return ready, self._count(product, ready, number, place) if counted else None

    def _allowed(self, product: TrainingProduct) -> tuple[int | None, ...]:
        wanted = product.choices
        if len(wanted) == 1 or self.trainer.distil == "fewer":
            return wanted
        one = tuple(c for c in wanted if c is not None
                    and product.parts[c] == self.trainer.distil)  # fmt: skip
        return one or wanted

    def _choose(
        self, product: TrainingProduct, values: Tensors, number: int, place: int, counted: bool
    ) -> tuple[Operands, LayerCycles | None]:
        wanted = self._allowed(product)
        both = [self._operands(product, values, c, number, place) for c in wanted]
        need = counted or len(wanted) > 1
        cycles = [self._count(product, ready, number, place) if need else None for ready in both]
        best = min(
            range(len(both)),
            key=lambda i: found.array_cycles if (found := cycles[i]) is not None else 0.0,
        )
        layer, node = both[best].layer, product.node
        self.chosen[node.name] = wanted[best]
        self.choices[node.name] = ProductChoice(
            phase=product.phase, tensor=node.inputs[layer.weights],
            part=product.parts[layer.weights],
            cycles={product.parts[ready.layer.weights]: found.array_cycles
                    for ready, found in zip(both, cycles) if found is not None and len(both) > 1},
        )  # fmt: skip
        return both[best], cycles[best]

    def _operands(
        self, product: TrainingProduct, values: Tensors, weights: int | None, number: int,
        place: int,
    ) -> Operands:  # fmt: skip
        draw = None
        if self.trainer.rounding == "stochastic" and product.error is not None:
            # One generator a product and step: what one draws does not depend on the others.
            draw = np.random.default_rng((self.trainer.seed, number, place))
        with np.errstate(over="ignore"):  # an overflow of the scale is looked for in the result
            return operands(product, values, self.form, weights, scale=self.scale, draw=draw)

    def _count(
        self, product: TrainingProduct, ready: Operands, number: int, place: int
    ) -> LayerCycles:
        return count_matrices(
            ready.layer, ready.given, self.trainer.array, exact_macs=self.trainer.exact_macs,
            error=self.trainer.error, seed=self.trainer.seed + 7919 * number + place,
            stored=stored_weights(product.region, ready.layer, self.trainer.array),
        )  # fmt: skip

    def _require_finite(self, product: TrainingProduct, values: Tensors, number: int) -> None:
        for index, name in enumerate(product.node.inputs[:2]):
            held = values[name] if name in values else self.step.constants[name].array()
            if not np.isfinite(held).all():
                what = "gradient" if index == product.error else "tensor"
                raise SpecError(
                    f"{self.trainer.graph.name}: step {number}: {what} {name!r}",
                    found="a value that is not finite", wanted="finite numbers",
                    fix="correct the network's weights" if name in self.step.constants
                    else self._advice(),
                )  # fmt: skip

    def _advice(self, *, narrow: bool = False) -> str:
        """Say what may help against values that grow; `narrow`: what may be the format's fault."""
        text = "lower the learning rate" if self.updated else (
            "make data or weights smaller, as nothing was updated in this run yet")  # fmt: skip
        exponent = getattr(self.form, "exponent_bits", 8)
        return f"{text}, or take bf16 or fp32" if narrow and exponent < 8 else text

    def _lost_range(self, name: str, product: TrainingProduct, number: int) -> SpecError:
        what, fix = "tensor", self._advice(narrow=True)
        found = f"a value beyond the range of {self.form.name}"
        if isinstance(self.form, FixedFormat):
            found = f"a value beyond float32, which holds what products of {self.form.name} yield"
        if product.error is not None:
            what = "gradient"
            if not isinstance(self.form, FixedFormat):
                found += f", loss scale {self.scale:g}"
            if self.scale > 1:
                fix = "take loss_scale='dynamic' or a smaller one"
        return SpecError(
            f"{self.trainer.graph.name}: step {number}: {what} {name!r}",
            found=found,
            wanted="finite numbers",
            fix=fix,
        )

    def _rescale(self, skipped: bool, number: int) -> None:
        if not self.dynamic:
            return
        if not skipped:
            self.good += 1
            if self.good == GOOD_STEPS:
                self.scale, self.good = min(2 * self.scale, MOST_SCALE), 0
            return
        self.scale, self.good = self.scale / 2, 0
        if self.scale < LEAST_SCALE:
            raise SpecError(
                f"{self.trainer.graph.name}: step {number}: loss scale", found="overflow at any",
                wanted="gradients that some scale holds",
                fix=self._advice(narrow=True),
            )  # fmt: skip


def draw_batches(
    data: Mapping[str, Array], batch: int, *, epochs: int = 1, seed: int = 0
) -> Iterator[dict[str, Array]]:
    """Shuffle data anew every epoch and cut it into batches; a rest is left out of the epoch.

    Parameters
    ----------
    data : input -> samples along axis 0, as many of each
    batch : samples of a batch
    epochs : one or more

    Raises
    ------
    SpecError : no data or inputs of different lengths, a batch larger than the data, no epochs
    """
    lengths = {name: len(values) for name, values in data.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values(), default=0):
        raise SpecError("batches: data", found=lengths or "nothing",
                        wanted="as many samples of every input, one at least",
                        fix="cut them to one length")  # fmt: skip
    size = next(iter(lengths.values()))
    if not 1 <= batch <= size:
        raise SpecError("batches: batch", found=batch, wanted=f"1 to {size} samples",
                        fix="take a smaller batch")  # fmt: skip
    if epochs < 1:
        raise SpecError("batches: epochs", found=epochs, wanted="1 or more",
                        fix="an untrained network needs no trainer")  # fmt: skip
    return _cut(data, batch, epochs, size, np.random.default_rng(seed))


def _cut(
    data: Mapping[str, Array], batch: int, epochs: int, size: int, draw: np.random.Generator
) -> Iterator[dict[str, Array]]:
    for _ in range(epochs):
        order = draw.permutation(size)
        for first in range(0, size - batch + 1, batch):
            rows = order[first : first + batch]
            yield {name: values[rows] for name, values in data.items()}


def trained_network(graph: Graph, states: Tensors) -> Graph:
    """Return a network with what a step learned in place of its constants.

    Before: constants w. After: the same names with the values of `states`. Moments and other states
    that are no constants of the network are left out, so it may have another batch size.
    """
    constants = dict(graph.constants)
    for name, value in states.items():
        if name not in constants:
            continue
        if constants[name].type.sizes != value.shape:
            raise SpecError(f"{graph.name}: {name!r}", found=f"shape {value.shape}",
                            wanted=str(constants[name].type),
                            fix="take the network that was trained")  # fmt: skip
        constants[name] = ArrayConstant(np.array(value))
    return replace(graph, constants=constants)
