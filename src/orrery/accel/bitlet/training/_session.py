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

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from orrery.errors import SpecError
from orrery.graph import check_inputs, evaluate_node, initial_states
from orrery.progress import Progress

from ..._record import Tensors
from .._cycles import LayerCycles, count_matrices, stored_weights
from .._engine import Array
from .._format import FixedFormat
from .._function import BitletFunction
from ._checks import check_batch, check_states
from ._products import PHASES, Operands, TrainingProduct, operands, training_products
from ._records import PhaseCycles, ProductChoice, TrainingStep

if TYPE_CHECKING:
    from ._trainer import BitletTrainer

#: The dynamic loss scale begins here, doubles after so many good steps, and halves on overflow.
FIRST_SCALE, GOOD_STEPS = 2.0**16, 200
#: A scale below this means that no scale helps; above the other, binary32 itself would overflow.
LEAST_SCALE, MOST_SCALE = 2.0**-24, 2.0**32


class Session:
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
        graph, where = self.trainer.graph, f"{self.trainer.graph.name}: step {self.first}"
        held = initial_states(self.step, graph) if given is None else given
        whose = "network's weights" if given is None else "states that were given"
        held = check_states(self.step, held, where=where, whose=whose)
        for number, batch in enumerate(batches, self.first):
            progress.step("training on the array", number, None)
            check_batch(self.step, batch, where=f"{graph.name}: step {number}")
            inputs = {**batch, **held}
            check_inputs(self.step, inputs)
            done = self._take(inputs, held, number)
            held = dict(done.states)
            yield done

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
