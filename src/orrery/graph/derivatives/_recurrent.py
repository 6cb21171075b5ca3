"""Derivatives of recurrent layers: back-propagation through time in one operator each.

Models:  LSTMGrad, GRUGrad and RNNGrad of the training domain: all gradients of a layer, every
         direction, padded sequences, initial states, peepholes, coupled gates.
Ignores: activations other than Sigmoid, Tanh and Relu, and clipping: they are refused.
Judge:   PyTorch's LSTM, GRU and RNN; central differences for what PyTorch lacks.

Unrolling into ONNX operators would make a network's size depend on its sequence. The operator
computes the states again instead of keeping every gate, so it counts three times the layer's
MACs: once for that and once for each factor's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._derive import DerivativeContext, derivative
from .._operator import TRAINING_DOMAIN, Array, Operations, TypeContext, operator
from .._types import TensorType
from ..operators._activation import sigmoid
from ..operators._recurrent import recurrent_count
from ..operators._rules import in_float32, quiet

#: name -> (function, slope in terms of its value)
_ACTIVATIONS: dict[str, tuple[Callable[[Array], Any], Callable[[Array], Any]]] = {
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda x: np.maximum(x, 0), lambda y: y > 0),
}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}

#: The layer's inputs: X, W, R, B, sequence_lens, initial_h and, for LSTM, initial_c, P.
_INPUTS = {"LSTM": 8, "GRU": 6, "RNN": 6}


class _Sequence:
    """One direction of a batch in the order in which it is processed."""

    def __init__(self, x: Array, lengths: Array | None, backwards: bool) -> None:
        self.steps, self.batch = x.shape[:2]
        ends = np.full(self.batch, self.steps) if lengths is None else lengths.astype(np.int64)
        t = np.arange(self.steps)[:, None]
        self.active = (t < ends)[..., None].astype(x.dtype)
        place = ends - 1 - t if backwards else np.broadcast_to(t, (self.steps, self.batch))
        self.place = np.where(t < ends, place, 0)
        self.x = self.take(x)

    def take(self, values: Array) -> Array:
        """Return values (steps, batch, …) in processing order."""
        taken: Array = values[self.place, np.arange(self.batch)] * self.active
        return taken

    def put(self, values: Array) -> Array:
        """The adjoint of `take`."""
        result = np.zeros_like(values)
        np.add.at(result, (self.place, np.arange(self.batch)), values * self.active)
        return result


def _activations(names: Sequence[str] | None, kind: str, directions: int) -> list[list[Any]]:
    every = list(names or _DEFAULTS[kind] * directions)
    width = len(_DEFAULTS[kind])
    return [[_ACTIVATIONS[n.casefold()] for n in every[d * width : (d + 1) * width]]
            for d in range(directions)]  # fmt: skip


#: (sequence, R, B, P, h0, c0, activations, gate inputs without h, gradients of y, h, c)
#: -> gradients of the gates (steps, batch, gates), R, recurrent bias, P, h0, c0
Cell = Callable[..., tuple[Any, ...]]


def _rnn_cell(
    seq: _Sequence, r: Array, b: Array, p: Array, h: Array, c: Array, functions: Any, share: Array,
    dy: Array, dh: Array, dc: Array, linear_before_reset: int, input_forget: int,
) -> tuple[Any, ...]:  # fmt: skip
    ((f, slope),) = functions
    half = b.size // 2
    before, after = [], []
    for t in range(seq.steps):
        new = f(share[t] + h @ r.T + b[half:])
        before.append(h)
        after.append(new)
        h = np.where(seq.active[t] > 0, new, h)
    dz, dr = np.zeros_like(share), np.zeros_like(r)
    for t in reversed(range(seq.steps)):
        a = seq.active[t]
        dz[t] = (dh + dy[t]) * a * slope(after[t])
        dr += dz[t].T @ before[t]
        dh = dz[t] @ r + dh * (1 - a)
    return dz, dr, dz.sum((0, 1)), np.zeros_like(p), dh, dc


def _gru_cell(
    seq: _Sequence, r: Array, b: Array, p: Array, h: Array, c: Array, functions: Any, share: Array,
    dy: Array, dh: Array, dc: Array, linear_before_reset: int, input_forget: int,
) -> tuple[Any, ...]:  # fmt: skip
    (f, f_slope), (g, g_slope) = functions
    size = r.shape[1]
    late = b[b.size // 2 :]
    gates, hidden = r[: 2 * size], r[2 * size :]
    kept = []
    for t in range(seq.steps):
        both = f(share[t][:, : 2 * size] + h @ gates.T + late[: 2 * size])
        z, reset = both[:, :size], both[:, size:]
        if linear_before_reset:
            q = h @ hidden.T + late[2 * size :]
            n = g(share[t][:, 2 * size :] + reset * q)
        else:
            q = reset * h
            n = g(share[t][:, 2 * size :] + q @ hidden.T + late[2 * size :])
        kept.append((h, z, reset, q, n))
        h = np.where(seq.active[t] > 0, (1 - z) * n + z * h, h)
    dz, dr, dlate = np.zeros_like(share), np.zeros_like(r), np.zeros_like(late)
    for t in reversed(range(seq.steps)):
        h, z, reset, q, n = kept[t]
        now = (dh + dy[t]) * seq.active[t]
        dn = now * (1 - z) * g_slope(n)
        dh = now * z + dh * (1 - seq.active[t])
        if linear_before_reset:
            d_reset, dq = dn * q, dn * reset
            dh = dh + dq @ hidden
            dr[2 * size :] += dq.T @ h
            dlate[2 * size :] += dq.sum(0)
        else:
            through = dn @ hidden
            d_reset = through * h
            dh = dh + through * reset
            dr[2 * size :] += dn.T @ q
            dlate[2 * size :] += dn.sum(0)
        both = np.concatenate([now * (h - n) * f_slope(z), d_reset * f_slope(reset)], axis=1)
        dh = dh + both @ gates
        dr[: 2 * size] += both.T @ h
        dlate[: 2 * size] += both.sum(0)
        dz[t] = np.concatenate([both, dn], axis=1)
    return dz, dr, dlate, np.zeros_like(p), dh, dc


def _lstm_cell(
    seq: _Sequence, r: Array, b: Array, p: Array, h: Array, c: Array, functions: Any, share: Array,
    dy: Array, dh: Array, dc: Array, linear_before_reset: int, input_forget: int,
) -> tuple[Any, ...]:  # fmt: skip
    (f, f_slope), (g, g_slope), (out, out_slope) = functions
    of_i, of_o, of_f = np.split(p, 3)
    late = b[b.size // 2 :]
    kept = []
    for t in range(seq.steps):
        i, o, forget, cell = np.split(share[t] + h @ r.T + late, 4, axis=1)
        i = f(i + of_i * c)
        forget = 1 - i if input_forget else f(forget + of_f * c)
        cell = g(cell)
        new = forget * c + i * cell
        o = f(o + of_o * new)
        shown = out(new)
        kept.append((h, c, i, o, forget, cell, new, shown))
        on = seq.active[t] > 0
        h, c = np.where(on, o * shown, h), np.where(on, new, c)
    dz, dr, dp = np.zeros_like(share), np.zeros_like(r), np.zeros_like(p)
    for t in reversed(range(seq.steps)):
        h, c, i, o, forget, cell, new, shown = kept[t]
        a = seq.active[t]
        now = (dh + dy[t]) * a
        do = now * shown * f_slope(o)
        d_new = dc * a + now * o * out_slope(shown) + do * of_o
        d_forget = d_new * c
        di = d_new * cell - (d_forget if input_forget else 0)
        di = di * f_slope(i)
        d_forget = np.zeros_like(c) if input_forget else d_forget * f_slope(forget)
        dz[t] = np.concatenate([di, do, d_forget, d_new * i * g_slope(cell)], axis=1)
        dp += np.concatenate([(di * c).sum(0), (do * new).sum(0), (d_forget * c).sum(0)])
        dr += dz[t].T @ h
        dc = d_new * forget + di * of_i + d_forget * of_f + dc * (1 - a)
        dh = dz[t] @ r + dh * (1 - a)
    return dz, dr, dz.sum((0, 1)), dp, dh, dc


_CELLS: dict[str, Cell] = {"LSTM": _lstm_cell, "GRU": _gru_cell, "RNN": _rnn_cell}


def _gradients(
    kind: str, inputs: Sequence[Array | None], seeds: Sequence[Array | None], direction: str,
    layout: int, activations: Sequence[str] | None, linear_before_reset: int, input_forget: int,
) -> tuple[Array, ...]:  # fmt: skip
    """Return the gradients of X, W, R, B, initial_h, initial_c and P."""
    x, w, r = (np.asarray(v) for v in inputs[:3])
    b, lengths, h0 = inputs[3], inputs[4], inputs[5]
    c0, p = (inputs[6], inputs[7]) if kind == "LSTM" else (None, None)

    def swapped(v: Array | None) -> Array | None:
        return v.swapaxes(0, 1) if v is not None and layout else v

    if layout:
        x = x.swapaxes(0, 1)
    h0, c0, dh, dc = (swapped(v) for v in (h0, c0, seeds[1], seeds[2]))
    dy = seeds[0]
    if dy is not None and layout:
        dy = dy.transpose(1, 2, 0, 3)  # batch, steps, directions -> steps, directions, batch
    count, hidden = r.shape[0], r.shape[2]
    empty = np.zeros((x.shape[1], hidden), x.dtype)
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    parts: list[tuple[Array, ...]] = []
    dx = np.zeros_like(x)
    for d, functions in enumerate(_activations(activations, kind, count)):
        seq = _Sequence(x, lengths, backwards[d])
        bias = np.zeros(2 * w.shape[1], x.dtype) if b is None else b[d]
        above = np.zeros((*x.shape[:2], hidden), x.dtype) if dy is None else seq.take(dy[:, d])
        dz, dr, late, dp, dh0, dc0 = _CELLS[kind](
            seq, r[d], bias, np.zeros(3 * hidden, x.dtype) if p is None else p[d],
            empty if h0 is None else h0[d], empty if c0 is None else c0[d], functions,
            seq.x @ w[d].T + bias[: bias.size // 2], above, empty if dh is None else dh[d],
            empty if dc is None else dc[d], linear_before_reset, input_forget,
        )  # fmt: skip
        dx += seq.put(dz @ w[d])
        dw = np.einsum("tng,tni->gi", dz, seq.x)
        parts.append((dw, dr, np.concatenate([dz.sum((0, 1)), late]), dh0, dc0, dp))
    dw, dr, db, dh0, dc0, dp = (np.stack(part) for part in zip(*parts, strict=True))
    if layout:
        dx, dh0, dc0 = dx.swapaxes(0, 1), dh0.swapaxes(0, 1), dc0.swapaxes(0, 1)
    return dx, dw, dr, db, dh0, dc0, dp


def _gradient_type(context: TypeContext) -> list[TensorType | None]:
    x, w, r = context.input(0), context.input(1), context.input(2)
    batch = x.shape[0] if context.attribute("layout", 0) else x.shape[1]
    first = (batch, r.shape[0]) if context.attribute("layout", 0) else (r.shape[0], batch)
    state = TensorType(dtype=x.dtype, shape=(*first, r.shape[2]))
    bias = context.inputs[3]
    peepholes = context.inputs[7] if context.node.op == "LSTMGrad" else None
    return [x, w, r, bias, state, state, peepholes]


def _gradient_count(context: TypeContext) -> Operations:
    return recurrent_count(context, context.node.op.removesuffix("Grad")) * 3


def _register(kind: str) -> None:
    size = _INPUTS[kind]

    @operator(f"{kind}Grad", infer=_gradient_type, count=_gradient_count, domain=TRAINING_DOMAIN)
    @quiet
    @in_float32
    def evaluate(
        *tensors: Array | None, activation_alpha: Sequence[float] | None = None,
        activation_beta: Sequence[float] | None = None, activations: Sequence[str] | None = None,
        direction: str = "forward", hidden_size: int | None = None, input_forget: int = 0,
        layout: int = 0, linear_before_reset: int = 0,
    ) -> Any:  # fmt: skip
        padded = (*tensors, *[None] * (size + 3 - len(tensors)))
        return _gradients(kind, padded[:size], padded[size:], direction, layout, activations,
                          linear_before_reset, input_forget)  # fmt: skip

    @derivative(kind)
    def rule(c: DerivativeContext) -> list[str | None]:
        if c.attribute("clip") is not None:
            raise c.error("clip", "no clipping", "remove it")
        names = c.attribute("activations") or ()
        odd = [n for n in names if n.casefold() not in _ACTIVATIONS]
        if odd:
            raise c.error(f"activation {odd[0]}", "Sigmoid, Tanh or Relu", "use one of them")
        inputs = [c.inputs[i] if c.has(i) else None for i in range(size)]
        seeds = [*c.gradients, *[None] * (3 - len(c.gradients))]
        # Places of the layer's inputs among the gradients; sequence_lens has none.
        places = {0: 0, 1: 1, 2: 2, 3: 3, 5: 4, 6: 5, 7: 6}
        keep = [False] * 7
        for index, place in places.items():
            keep[place] = c.needs(index)
        made = c.emit_all(f"{kind}Grad", *inputs, *seeds, domain=TRAINING_DOMAIN, outputs=7,
                          keep=keep, **c.node.attributes)  # fmt: skip
        return [made[places[i]] or None if i in places else None for i in range(len(c.inputs))]


for _kind in _CELLS:
    _register(_kind)
