"""Recurrent layers: one ONNX node per layer, both directions in it.

PyTorch orders an LSTM's gates input, forget, cell, output and a GRU's reset, update, new; ONNX
wants input, output, forget, cell and update, reset, hidden. A GRU of PyTorch applies the reset
gate after the recurrent product (``linear_before_reset``).

Judge: PyTorch on each layer.
"""

from __future__ import annotations

import numpy as np

from ._translation import Refusal, Translation, Value, translates

_ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


@translates("lstm.input")
def lstm(
    t: Translation, x: Value, states: list[Value], weights: list[Value], biases: bool,
    layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> list[Value]:  # fmt: skip
    y, ends = _layers(
        t, "LSTM", x, states, weights, biases, layers, train and dropout, bidirectional,
        batch_first,
    )  # fmt: skip
    return [y, *ends]


@translates("gru.input")
def gru(
    t: Translation, x: Value, state: Value, weights: list[Value], biases: bool, layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> list[Value]:  # fmt: skip
    y, ends = _layers(
        t, "GRU", x, [state], weights, biases, layers, train and dropout, bidirectional,
        batch_first, linear_before_reset=1,
    )  # fmt: skip
    return [y, *ends]


def _simple(function: str, name: str) -> None:
    def translate(
        t: Translation, x: Value, state: Value, weights: list[Value], biases: bool, layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool,
    ) -> list[Value]:  # fmt: skip
        y, ends = _layers(
            t, "RNN", x, [state], weights, biases, layers, train and dropout, bidirectional,
            batch_first, activations=(function,) * (1 + bidirectional),
        )  # fmt: skip
        return [y, *ends]

    translates(name)(translate)


_simple("Tanh", "rnn_tanh.input")
_simple("Relu", "rnn_relu.input")


def _layers(
    t: Translation, op: str, x: Value, states: list[Value], weights: list[Value], biases: bool,
    layers: int, dropout: float, bidirectional: bool, batch_first: bool, **attributes: object,
) -> tuple[Value, list[Value]]:  # fmt: skip
    if dropout:
        raise Refusal("dropout that stays active outside training")
    directions = 2 if bidirectional else 1
    each = 4 if biases else 2
    if len(weights) != each * layers * directions:
        raise Refusal("a projection of the hidden state (proj_size)")
    y = t.transpose(x, [1, 0, 2]) if batch_first else x
    hidden = t.static(states[0], -1)
    ends: list[list[Value]] = [[] for _ in states]
    for layer in range(layers):
        first = layer * directions
        parts = [weights[each * (first + d) : each * (first + d + 1)] for d in range(directions)]
        w, r = (
            t.op("Concat", *(t.unsqueeze(_ordered(t, op, p[i]), 0) for p in parts), axis=0)
            for i in (0, 1)
        )  # fmt: skip
        b = None
        if biases:
            rows = [
                t.op("Concat", _ordered(t, op, p[2]), _ordered(t, op, p[3]), axis=0) for p in parts
            ]
            b = t.op("Concat", *(t.unsqueeze(row, 0) for row in rows), axis=0)
        starts = [_start(t, s, first, directions, layers) for s in states]
        y, *last = t.ops(
            op, 1 + len(states), y, w, r, b, None, *starts, hidden_size=hidden,
            direction="bidirectional" if bidirectional else "forward", **attributes,
        )  # fmt: skip
        for kept, value in zip(ends, last, strict=True):
            kept.append(value)
        if bidirectional:  # (time, direction, batch, hidden) -> (time, batch, 2 x hidden)
            y = t.op("Reshape", t.transpose(y, [0, 2, 1, 3]), t.ints([0, 0, -1], "shape"))
        else:
            y = t.squeeze(y, 1)
    if batch_first:
        y = t.transpose(y, [1, 0, 2])
    return y, [v[0] if len(v) == 1 else t.op("Concat", *v, axis=0) for v in ends]


def _ordered(t: Translation, op: str, stacked: Value) -> Value:
    """Return the gates of a weight or bias in ONNX's order."""
    order = _ORDERS[op]
    if len(order) == 1:
        return stacked
    rows = t.static(stacked, 0) // len(order)
    places = np.concatenate([np.arange(g * rows, (g + 1) * rows) for g in order])
    return t.gather(stacked, 0, places)


def _start(
    t: Translation, state: Value, first: int, directions: int, layers: int
) -> Value | None:  # fmt: skip
    """Return a layer's initial state; None when it is zero, which is ONNX's default."""
    known = t.known(state)
    if t.uniform.get(state.name) == 0 or (known is not None and not np.any(known)):
        return None
    if layers == 1:
        return state
    return t.slice(state, 0, first, first + directions)
