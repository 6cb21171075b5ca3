"""How a network is trained on the array: what the caller decides, checked beforehand."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orrery.errors import SpecError, check_choice
from orrery.graph import Graph
from orrery.progress import SILENT, Progress

from ..._record import Tensors
from .._cycles import BitletArray
from .._format import FixedFormat
from ._records import TrainingStep
from ._session import GOOD_STEPS, LEAST_SCALE, MOST_SCALE, Session

Rounding = Literal["nearest", "stochastic"]
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic")
Distilled = Literal["fewer", "activations", "errors"]
DISTILLED: tuple[Distilled, ...] = ("fewer", "activations", "errors")


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
        for what, given, kind in (
            ("graph", self.graph, Graph), ("array", self.array, BitletArray),
            ("optimizer", self.optimizer, str), ("loss", self.loss, str),
            ("rounding", self.rounding, str), ("distil", self.distil, str),
            ("settings", self.settings, Mapping), ("frozen", self.frozen, Sequence),
        ):  # fmt: skip
            if not isinstance(given, kind):
                raise SpecError(f"bitlet training: {what}", found=type(given).__name__,
                                wanted=f"a {kind.__name__}", fix="correct its type")  # fmt: skip
        for name, value, known in (
            ("rounding", self.rounding, ROUNDINGS), ("distil", self.distil, DISTILLED),
        ):  # fmt: skip
            check_choice(f"bitlet training: {name}", value, known)
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
        if not _is_scale(scale):
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
        SpecError : both `states` and `start`, or a start that no run leaves; a batch that does not
            fit or labels out of range; a loss, tensor or gradient that is not finite, with its name
            and step
        CancelledError : the user asked to stop
        """
        beside = states is not None
        if start is not None and (beside or not isinstance(start, TrainingStep)):
            raise SpecError(f"{self.graph.name}: start",
                            found="states beside it" if beside else type(start).__name__,
                            wanted="one of `states` and `start`, a TrainingStep",
                            fix="give start=step, or states=step.states for a new run")  # fmt: skip
        if start is not None:
            _check_start(start, f"{self.graph.name}: start")
        if not isinstance(batches, Iterable):
            raise SpecError(f"{self.graph.name}: batches", found=type(batches).__name__,
                            wanted="batches, one after another",
                            fix="give what draw_batches makes, or a list")  # fmt: skip
        return Session(self, start).run(batches, states, progress)


def _check_start(start: TrainingStep, where: str) -> None:
    """Refuse a step that no run leaves: what is made by hand is taken at its word otherwise."""
    for name, good, wanted in (
        ("number", _is_number(start.number, numbers.Integral) and start.number >= 0,
         "a step from 0 on"),
        ("next_scale", start.next_scale is None or _is_scale(start.next_scale),
         "None or a power of two from 2^-24 to 2^32"),
        ("good_steps", _is_number(start.good_steps, numbers.Integral)
         and 0 <= start.good_steps < GOOD_STEPS, f"a whole number from 0 to {GOOD_STEPS - 1}"),
        ("choices", isinstance(start.choices, Mapping), "a mapping from products to choices"),
    ):  # fmt: skip
        if not good:
            raise SpecError(f"{where}: {name}", found=getattr(start, name), wanted=wanted,
                            fix="give a step of a run as it was left")  # fmt: skip


def _is_scale(value: float) -> bool:
    number = _is_number(value) and LEAST_SCALE <= value <= MOST_SCALE
    return number and math.frexp(value)[0] == 0.5


def _is_number(value: object, kind: type = numbers.Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
