"""Recurrent layers.

Models:  LSTM, GRU and RNN step by step.
Ignores: nothing of the definition.
Judge:   ONNX node tests; ONNX Runtime on random attributes.

Counts: a layer's matrix products for every step of the padded sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orrery.errors import ModelError, UnknownNameError

from .._operator import Array, Operations, TypeContext, operator
from .._types import TensorType
from ._activation import sigmoid, softplus
from ._rules import Shape, agree, in_float32, quiet

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
Function = Callable[[Any], Any]

#: name -> (function of x, alpha, beta; default alpha; default beta); None: takes no such number
_FUNCTIONS: dict[str, tuple[Callable[..., Any], float | None, float | None]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "tanh": (lambda x, a, b: np.tanh(x), None, None),
    "sigmoid": (lambda x, a, b: sigmoid(x), None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: np.where(x >= 0, x, a * x), 0.01, None),
    "thresholdedrelu": (lambda x, a, b: np.where(x >= a, x, 0), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))), 1.0, None),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "softplus": (lambda x, a, b: softplus(x), None, None),
}


def _functions(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None,
    clip: float | None,
) -> list[Function]:  # fmt: skip
    """Return activations with their numbers, taken in the order of those that need one."""
    first, second = iter(alphas or ()), iter(betas or ())

    def make(name: str) -> Function:
        found = _FUNCTIONS.get(name.casefold())
        if found is None:
            raise UnknownNameError("recurrent activation", name, _FUNCTIONS)
        function, alpha, beta = found
        a = None if alpha is None else next(first, alpha)
        b = None if beta is None else next(second, beta)
        if clip is None:
            return lambda x: np.asarray(function(x, a, b), x.dtype)
        return lambda x: np.asarray(function(np.clip(x, -clip, clip), a, b), x.dtype)

    return [make(name) for name in names]


def _recurrent_type(context: TypeContext) -> list[TensorType | None]:
    x, w, r = context.input(0), context.input(1), context.input(2)
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise context.error(f"{x}, {w} and {r}", "three dimensions each")
    agree(context, x.shape[2], w.shape[2], "input size")
    hidden, directions = r.shape[2], w.shape[0]
    if context.attribute("layout", 0):
        batch, steps = x.shape[:2]
        y: Shape = (batch, steps, directions, hidden)
        last: Shape = (batch, directions, hidden)
    else:
        steps, batch = x.shape[:2]
        y, last = (steps, directions, batch, hidden), (directions, batch, hidden)
    final = TensorType(dtype=x.dtype, shape=last)
    return [TensorType(dtype=x.dtype, shape=y), final, final]


def recurrent_count(context: TypeContext, kind: str = "") -> Operations:
    """Per step, direction, sample and hidden unit, with g gates (LSTM 4, GRU 3, RNN 1).

    MACs: g (inputs + hidden), and 3 with peepholes. Others: g to add both products, 2 g with
    biases, the default activations (Sigmoid 4, Tanh 1), and the state's update: LSTM 4, GRU 5.
    `kind` names the layer where the node is another operator with a layer's inputs.
    """
    x, r = context.input(0), context.input(2)
    kind = kind or context.node.op
    gates, peepholes = _GATES[kind], kind == "LSTM" and context.has(7)
    directions, _, hidden = r.sizes
    units = x.sizes[0] * x.sizes[1] * directions * hidden
    others = gates * (3 if context.has(3) else 1)
    others += {"LSTM": 3 * 4 + 2 * 1 + 4, "GRU": 2 * 4 + 1 + 5, "RNN": 1}[kind]
    return Operations(
        macs=units * (gates * (x.sizes[2] + hidden) + (3 if peepholes else 0)),
        others=units * others,
    )


def _directions(direction: str) -> tuple[bool, ...]:
    """Return whether each direction runs backwards."""
    try:
        return {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    except KeyError:
        raise UnknownNameError("direction", direction,
                               ("forward", "reverse", "bidirectional")) from None  # fmt: skip


Step = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]


def _run_direction(
    x: Array, lengths: Array | None, backwards: bool, state: tuple[Array, ...], step: Step
) -> tuple[Array, tuple[Array, ...]]:
    """Run steps over x (steps, batch, features); samples past their length keep their state."""
    steps, batch = x.shape[:2]
    ends = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    everyone = np.arange(batch)
    y = np.zeros((steps, batch, state[0].shape[1]), x.dtype)
    for t in range(steps):
        active = t < ends
        if not active.any():
            break
        where = np.where(active, ends - 1 - t, 0) if backwards else np.full(batch, t)
        new = step(x[where, everyone], state)
        if active.all():
            state = new
        else:
            state = tuple(np.where(active[:, None], n, o) for n, o in zip(new, state, strict=True))
        y[where[active], everyone[active]] = state[0][active]
    return y, state


def _recur(
    x: Array, w: Array, r: Array, b: Array | None, lengths: Array | None,
    initial: Sequence[Array | None], direction: str, layout: int,
    step_of: Callable[[int, Array, Array, Array], tuple[Step, Array]],
) -> tuple[Array, ...]:  # fmt: skip
    """Run all directions; `step_of(direction, w, r, b)` gives the step and the input's share."""
    if layout:
        x = x.swapaxes(0, 1)
        initial = [None if i is None else i.swapaxes(0, 1) for i in initial]
    hidden, batch = r.shape[2], x.shape[1]
    backwards = _directions(direction)
    if w.shape[0] != len(backwards):
        raise ModelError("recurrent layer", found=f"weights for {w.shape[0]} directions",
                         wanted=f"{len(backwards)} for {direction!r}",
                         fix="correct direction")  # fmt: skip
    ys, finals = [], []
    for d, reverse in enumerate(backwards):
        bias = np.zeros(2 * w.shape[1], x.dtype) if b is None else b[d]
        step, share = step_of(d, w[d], r[d], bias)
        state = tuple(np.zeros((batch, hidden), x.dtype) if i is None else i[d] for i in initial)
        y, final = _run_direction(np.matmul(x, w[d].T) + share, lengths, reverse, state, step)
        ys.append(y)
        finals.append(final)
    outputs = [np.stack(ys, axis=1), *(np.stack(part) for part in zip(*finals, strict=True))]
    if layout:
        outputs = [outputs[0].transpose(2, 0, 1, 3), *(o.swapaxes(0, 1) for o in outputs[1:])]
    return tuple(outputs)


@operator("RNN", infer=_recurrent_type, count=recurrent_count)
@quiet
@in_float32
def rnn(x: Array, w: Array, r: Array, b: Array | None = None, sequence_lens: Array | None = None,
        initial_h: Array | None = None, *, activation_alpha: Sequence[float] | None = None,
        activation_beta: Sequence[float] | None = None, activations: Sequence[str] | None = None,
        clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
        layout: int = 0) -> Any:  # fmt: skip
    """Return all hidden states and the last one."""
    names = activations or ("Tanh", "Tanh")
    functions = _functions(names, activation_alpha, activation_beta, clip)

    def step_of(d: int, w: Array, r: Array, b: Array) -> tuple[Step, Array]:
        f, half = functions[d], b.size // 2

        def step(share: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            return (f(share + state[0] @ r.T),)

        return step, b[:half] + b[half:]

    return _recur(x, w, r, b, sequence_lens, (initial_h,), direction, layout, step_of)


@operator("GRU", infer=_recurrent_type, count=recurrent_count)
@quiet
@in_float32
def gru(x: Array, w: Array, r: Array, b: Array | None = None, sequence_lens: Array | None = None,
        initial_h: Array | None = None, *, activation_alpha: Sequence[float] | None = None,
        activation_beta: Sequence[float] | None = None, activations: Sequence[str] | None = None,
        clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
        layout: int = 0, linear_before_reset: int = 0) -> Any:  # fmt: skip
    """Return all hidden states and the last one; gates lie in the order update, reset, hidden."""
    names = activations or ("Sigmoid", "Tanh") * 2
    functions = _functions(names, activation_alpha, activation_beta, clip)

    def step_of(d: int, w: Array, r: Array, b: Array) -> tuple[Step, Array]:
        f, g = functions[2 * d : 2 * d + 2]
        size, half = r.shape[1], b.size // 2
        gates, hidden = r[: 2 * size], r[2 * size :]
        late = b[half + 2 * size :]
        share = b[:half] + np.concatenate([b[half : half + 2 * size], 0 * late])

        def step(share: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            h = state[0]
            both = f(share[:, : 2 * size] + h @ gates.T)
            update, reset = both[:, :size], both[:, size:]
            if linear_before_reset:
                candidate = g(share[:, 2 * size :] + reset * (h @ hidden.T + late))
            else:
                candidate = g(share[:, 2 * size :] + (reset * h) @ hidden.T + late)
            return ((1 - update) * candidate + update * h,)

        return step, share

    return _recur(x, w, r, b, sequence_lens, (initial_h,), direction, layout, step_of)


@operator("LSTM", infer=_recurrent_type, count=recurrent_count)
@quiet
@in_float32
def lstm(x: Array, w: Array, r: Array, b: Array | None = None, sequence_lens: Array | None = None,
         initial_h: Array | None = None, initial_c: Array | None = None, p: Array | None = None,
         *, activation_alpha: Sequence[float] | None = None,
         activation_beta: Sequence[float] | None = None, activations: Sequence[str] | None = None,
         clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
         input_forget: int = 0, layout: int = 0) -> Any:  # fmt: skip
    """Return all hidden states, the last one and the last cell; gates lie in the order i o f c."""
    names = activations or ("Sigmoid", "Tanh", "Tanh") * 2
    functions = _functions(names, activation_alpha, activation_beta, clip)
    # The clip is for the gates; like ONNX Runtime we leave the cell as it is on its way to h.
    unclipped = _functions(names, activation_alpha, activation_beta, None)

    def step_of(d: int, w: Array, r: Array, b: Array) -> tuple[Step, Array]:
        f, g = functions[3 * d : 3 * d + 2]
        h = unclipped[3 * d + 2]
        size, half = r.shape[1], b.size // 2
        peephole = np.zeros(3 * size, x.dtype) if p is None else p[d]
        of_input, of_output, of_forget = np.split(peephole, 3)

        def step(share: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            hidden, cell = state
            i, o, forget, c = np.split(share + hidden @ r.T, 4, axis=1)
            i = f(i + of_input * cell)
            forget = 1 - i if input_forget else f(forget + of_forget * cell)
            cell = forget * cell + i * g(c)
            o = f(o + of_output * cell)
            return o * h(cell), cell

        return step, b[:half] + b[half:]

    return _recur(x, w, r, b, sequence_lens, (initial_h, initial_c), direction, layout, step_of)
