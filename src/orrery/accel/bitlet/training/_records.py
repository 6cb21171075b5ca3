"""What a step on the array did and took: cycles by phase, choices, the states that it left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._record import Tensors
from .._cycles import BitletArray, LayerCycles, schedule
from ._products import Part, Phase


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
