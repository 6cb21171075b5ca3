"""The products of a training step: which there are, what is distilled, how gradients are rounded.

Models:  every product of a step by its phase. Forward and input gradient distil the learned
         operand. The weight gradient has no weights: its operands are activations and errors, and
         either may be distilled.
         Floating point: errors times the loss scale, a power of two, are rounded to the format, and
         the product is divided by it afterwards. Backward passes are linear in the error and
         everything between products is binary32, so this is what scaling the loss does, bit for
         bit, as long as binary32 itself neither over- nor underflows.
         Fixed point: errors on grids of their own, as all operands of a layer (`_function`): one
         step a tensor in the part of activations, one a row in that of weights; rounded to nearest
         or stochastically, up with the share of a step that lies above the grid, so that the mean
         is kept.
Ignores: who draws random bits in hardware; who finds a tensor's largest magnitude.
Judge:   the scaled loss itself; the mean of many draws (tests/accel/bitlet/test_training.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from orrery.graph import Graph, Node, Region, phase_nodes

from ..._products import Layer, Matrices, matrices, read_layer, require_layer
from ..._record import Tensors
from .._engine import Array
from .._format import FixedFormat, NumberFormat, from_bits, to_bits
from .._function import grid_step

Phase = Literal["forward", "input gradient", "weight gradient"]
PHASES: tuple[Phase, ...] = ("forward", "input gradient", "weight gradient")
Part = Literal["weights", "activations", "errors"]

#: Operators that move values and change none.
_MOVING = frozenset(
    ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)

_PRODUCTS = frozenset(("Conv", "ConvGradInput", "ConvGradWeight", "Einsum", "Gemm", "MatMul"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProduct:
    """One product of a training step.

    Attributes
    ----------
    region : of the step's graph
    parts : what its two operands are
    """

    region: Region
    phase: Phase
    parts: tuple[Part, Part]

    @property
    def node(self) -> Node:
        """The operator."""
        return self.region.members[0]

    @property
    def error(self) -> int | None:
        """The operand that holds errors; None in the forward pass."""
        return self.parts.index("errors") if "errors" in self.parts else None

    @property
    def choices(self) -> tuple[int | None, ...]:
        """The operands that may be distilled; None stands for the usual one."""
        if "weights" in self.parts:
            return (self.parts.index("weights"),)
        return (None,) if self.phase == "forward" else (0, 1)


def training_products(step: Graph) -> tuple[dict[str, TrainingProduct], dict[str, str]]:
    """Return the products of a step that the engine runs, and why it does not run the others.

    Raises
    ------
    ModelError : the graph is no training step
    """
    makers = {name: node for node in step.nodes for name in node.outputs if name}
    forward = {node.name for node in phase_nodes(step, "forward")}
    backward = phase_nodes(step, "backward")
    ends = _weight_gradients(backward)
    found: dict[str, TrainingProduct] = {}
    elsewhere: dict[str, str] = {}
    update = {node.name for node in phase_nodes(step, "update")}
    for region in step.regions():
        node = region.members[0]
        if node.name in update:
            continue
        reason = read_layer(region)
        if isinstance(reason, str):
            if region.operations.macs:
                elsewhere[node.name] = reason
            continue
        parts = [_part(step, name, makers, forward) for name in node.inputs[:2]]
        phase: Phase = "forward"
        if node.name not in forward:
            if "errors" not in parts:  # a factor that the derivative computes from saved values
                elsewhere[node.name] = "no operand of this backward product is an error"
                continue
            if parts == ["errors", "errors"]:
                parts[0] = "activations"
            ended = node.name in ends and "weights" not in parts
            phase = "weight gradient" if ended else "input gradient"
        elif parts == ["weights", "weights"]:
            parts[0] = "activations"
        found[node.name] = TrainingProduct(region=region, phase=phase, parts=(parts[0], parts[1]))
    return found, elsewhere


def _weight_gradients(backward: tuple[Node, ...]) -> set[str]:
    """Return the nodes whose results reach no other product before the update."""
    reaching: set[str] = set()
    ends = set()
    for node in reversed(backward):
        if not reaching.intersection(o for o in node.outputs if o):
            ends.add(node.name)
        if node.op in _PRODUCTS or node.name not in ends:
            reaching.update(node.inputs)
    return ends


def _part(step: Graph, name: str, makers: Mapping[str, Node], forward: set[str]) -> Part:
    """Say what an operand is, by the tensor that it holds in another shape."""
    while name in makers and makers[name].op in _MOVING and not makers[name].domain:
        name = makers[name].inputs[0]
    if name in step.states or name in step.constants:
        return "weights"
    made = makers.get(name)
    return "activations" if made is None or made.name in forward else "errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """A product ready for the engine.

    Attributes
    ----------
    scale : what the errors were multiplied by
    errors, lost : how many errors are not zero, and of how many of these rounding makes zero
    """

    layer: Layer
    given: Matrices
    scale: float = 1.0
    errors: int = 0
    lost: int = 0


def operands(
    product: TrainingProduct,
    values: Tensors,
    form: NumberFormat,
    weights: int | None,
    *,
    scale: float = 1.0,
    draw: np.random.Generator | None = None,
) -> Operands:
    """Return the values of a product, its errors scaled and, with `draw`, rounded stochastically.

    Parameters
    ----------
    weights : the operand that is distilled
    scale : of the loss; fixed point has grids that follow the errors, and takes 1
    """
    layer = require_layer(product.region, weights)
    error = product.error
    if error is None:
        given = matrices(product.region, values, layer)
        return Operands(layer=layer, given=given)
    name, inputs = product.node.inputs[error], values
    held = np.asarray(values[name])
    fixed = isinstance(form, FixedFormat)
    if scale != 1.0:
        held = (held * held.dtype.type(scale)).astype(held.dtype, copy=False)
        inputs = {**values, name: held}
    if fixed and draw is not None and layer.activations == error:
        inputs = {**values, name: _drawn(held, form, None, draw)}
    given = matrices(product.region, inputs, layer)
    seen = held if layer.activations == error else given.weights
    axes = None if layer.activations == error else (2,)
    if fixed and draw is not None:
        if layer.weights == error:
            given = replace(given, weights=_drawn(given.weights, form, axes, draw))
            after = given.weights
        else:
            after = inputs[name]
    elif isinstance(form, FixedFormat):
        step = grid_step(seen, form, axes, what=f"errors {name!r}")
        after = np.rint(seen.astype(np.float64) / step)
    else:
        after = from_bits(to_bits(seen, form), form)
    there = int(np.count_nonzero(seen))
    lost = there - int(np.count_nonzero(after))
    return Operands(layer=layer, given=given, scale=scale, errors=there, lost=lost)


def _drawn(values: Any, form: Any, axes: tuple[int, ...] | None, draw: Any) -> Array:
    """Round to a multiple of the step above or below, by chance; float64, which holds it."""
    step = grid_step(values, form, axes, what="errors")
    # A tensor's largest value is on the grid up to the last bit of a division: keep it there.
    share = values.astype(np.float64) / step
    near = np.rint(share)
    chosen = np.floor(share + draw.random(share.shape))
    found: Array = np.where(np.abs(share - near) < 1e-9, near, chosen) * step
    return found
