"""Recurrent layers in PyTorch: the library's own where it computes the same, else step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orrery.graph import Node, TensorType

from ._torch_table import operation

_USUAL = {
    "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",),
}  # fmt: skip

_FUNCTIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}


def _refuse(node: Node, types: Mapping[str, TensorType]) -> str | None:
    names = {str(name).casefold() for name in node.attributes.get("activations") or ()}
    odd = sorted(names - set(_FUNCTIONS))
    if odd:
        return f"activation {odd[0]!r}"
    if node.attributes.get("clip") is not None:
        return "clip"
    return None


def _functions(t: Any, op: str, names: Sequence[str] | None, direction: int) -> list[Any]:
    usual = _USUAL[op]
    chosen = [n.casefold() for n in names] if names else list(usual) * 2
    mine = chosen[direction * len(usual) : (direction + 1) * len(usual)]
    return [getattr(t, _FUNCTIONS[name]) for name in mine]


Step = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]


def _run_direction(
    t: Any, share: Any, ends: Any, backwards: bool, state: tuple[Any, ...], step: Step
) -> tuple[Any, tuple[Any, ...]]:
    """Run steps over (steps, batch, …); samples past their length keep their state."""
    steps, batch = share.shape[:2]
    everyone = t.arange(batch, device=share.device)
    found: list[Any] = [None] * steps
    if ends is None:
        for i in reversed(range(steps)) if backwards else range(steps):
            state = step(share[i], state)
            found[i] = state[0]
        return t.stack(found), state
    y = t.zeros((steps, *state[0].shape), dtype=share.dtype, device=share.device)
    for i in range(steps):
        active = (ends > i)[:, None]
        where = (ends - 1 - i).clamp(min=0) if backwards else t.full_like(ends, i)
        new = step(share[where, everyone], state)
        state = tuple(t.where(active, n, o) for n, o in zip(new, state, strict=True))
        held = y[where, everyone]
        y = y.index_put((where, everyone), t.where(active, state[0], held))
    return y, state


def _recur(
    t: Any, x: Any, w: Any, r: Any, b: Any, lengths: Any, initial: Sequence[Any], direction: str,
    layout: int, step_of: Callable[[int, Any, Any, Any], tuple[Step, Any]],
) -> tuple[Any, ...]:  # fmt: skip
    if layout:
        x = x.transpose(0, 1)
        initial = [None if i is None else i.transpose(0, 1) for i in initial]
    hidden, batch = r.shape[2], x.shape[1]
    ends = None if lengths is None else lengths.to(t.int64)
    ys, finals = [], []
    for d, backwards in enumerate(
        {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    ):
        bias = t.zeros(2 * w.shape[1], dtype=x.dtype, device=x.device) if b is None else b[d]
        step, added = step_of(d, w[d], r[d], bias)
        state = tuple(
            t.zeros((batch, hidden), dtype=x.dtype, device=x.device) if i is None else i[d]
            for i in initial
        )
        y, final = _run_direction(t, t.matmul(x, w[d].T) + added, ends, backwards, state, step)
        ys.append(y)
        finals.append(final)
    outputs = [t.stack(ys, 1), *(t.stack(part) for part in zip(*finals, strict=True))]
    if layout:
        outputs = [outputs[0].permute(2, 0, 1, 3), *(o.transpose(0, 1) for o in outputs[1:])]
    return tuple(outputs)


def _is_usual(op: str, names: Sequence[str] | None) -> bool:
    return not names or all(
        name.casefold() == _USUAL[op][i % len(_USUAL[op])] for i, name in enumerate(names)
    )


#: Where the library keeps each of ONNX's gates: ONNX's i o f c lies as i f c o, and so on.
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


def _weights(t: Any, op: str, w: Any, r: Any, b: Any) -> list[Any]:
    """Return weights as the library takes them: per direction, gates in its own order."""
    order = _ORDER[op]

    def moved(rows: Any) -> Any:
        parts = rows.reshape(len(order), rows.shape[0] // len(order), *rows.shape[1:])
        return t.cat([parts[gate] for gate in order]).contiguous()

    found = []
    for d in range(w.shape[0]):
        found += [moved(w[d]), moved(r[d])]
        if b is not None:
            found += [moved(half) for half in b[d].reshape(2, -1)]
    return found


def _ready(t: Any, node: Node, inputs: list[Any]) -> list[Any] | None:
    """Lay constant weights out once."""
    w, r, b = (*inputs[1:4], None)[:3]
    absent = len(node.inputs) < 4 or not node.inputs[3]
    if w is None or r is None or (b is None and not absent):
        return None
    if w.dtype not in (t.float32, t.float64):
        return None  # they are widened while running
    return _weights(t, node.op, w, r, b)


def _native(
    t: Any, op: str, x: Any, w: Any, r: Any, b: Any, initial: Sequence[Any], direction: str,
    layout: int, ready: list[Any] | None,
) -> tuple[Any, ...]:  # fmt: skip
    """Run the library's own layer, whose gates lie in another order than ONNX's."""
    if layout:
        x = x.transpose(0, 1)
        initial = [None if i is None else i.transpose(0, 1) for i in initial]
    hidden, batch, directions = r.shape[2], x.shape[1], w.shape[0]
    if direction == "reverse":
        x = t.flip(x, (0,))
    weights = _weights(t, op, w, r, b) if ready is None else ready
    none = t.zeros((directions, batch, hidden), dtype=x.dtype, device=x.device)
    states = [none if i is None else i.contiguous() for i in initial]
    function = {"LSTM": t.lstm, "GRU": t.gru, "RNN": t.rnn_tanh}[op]
    state: Any = states if op == "LSTM" else states[0]
    found = function(x, state, weights, b is not None, 1, 0.0, False, directions == 2, False)
    y = found[0]
    if direction == "reverse":
        y = t.flip(y, (0,))
    y = y.reshape(*y.shape[:2], directions, hidden).transpose(1, 2)
    outputs = [y, *found[1:]]
    if layout:
        outputs = [y.permute(2, 0, 1, 3), *(o.transpose(0, 1) for o in outputs[1:])]
    return tuple(outputs)


@operation("RNN", refuse=_refuse, ready=_ready, wide=True)
def rnn(
    t: Any, x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None,
    initial_h: Any = None, *, activation_alpha: Any = None, activation_beta: Any = None,
    activations: Sequence[str] | None = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
    ready: Any = None,
) -> Any:  # fmt: skip
    if sequence_lens is None and _is_usual("RNN", activations):
        return _native(t, "RNN", x, w, r, b, (initial_h,), direction, layout, ready)

    def step_of(d: int, w: Any, r: Any, b: Any) -> tuple[Step, Any]:
        (f,), half = _functions(t, "RNN", activations, d), b.shape[0] // 2

        def step(share: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            return (f(share + t.matmul(state[0], r.T)),)

        return step, b[:half] + b[half:]

    return _recur(t, x, w, r, b, sequence_lens, (initial_h,), direction, layout, step_of)


@operation("GRU", refuse=_refuse, ready=_ready, wide=True)
def gru(
    t: Any, x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None,
    initial_h: Any = None, *, activation_alpha: Any = None, activation_beta: Any = None,
    activations: Sequence[str] | None = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
    linear_before_reset: int = 0, ready: Any = None,
) -> Any:  # fmt: skip
    if sequence_lens is None and linear_before_reset and _is_usual("GRU", activations):
        return _native(t, "GRU", x, w, r, b, (initial_h,), direction, layout, ready)

    def step_of(d: int, w: Any, r: Any, b: Any) -> tuple[Step, Any]:
        f, g = _functions(t, "GRU", activations, d)
        size, half = r.shape[1], b.shape[0] // 2
        gates, hidden, late = r[: 2 * size], r[2 * size :], b[half + 2 * size :]
        added = b[:half] + t.cat([b[half : half + 2 * size], t.zeros_like(late)])

        def step(share: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            h = state[0]
            both = f(share[:, : 2 * size] + t.matmul(h, gates.T))
            update, reset = both[:, :size], both[:, size:]
            if linear_before_reset:
                recurrent = reset * (t.matmul(h, hidden.T) + late)
            else:
                recurrent = t.matmul(reset * h, hidden.T) + late
            return ((1 - update) * g(share[:, 2 * size :] + recurrent) + update * h,)

        return step, added

    return _recur(t, x, w, r, b, sequence_lens, (initial_h,), direction, layout, step_of)


@operation("LSTM", refuse=_refuse, ready=_ready, wide=True)
def lstm(
    t: Any, x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None,
    initial_h: Any = None, initial_c: Any = None, p: Any = None, *, activation_alpha: Any = None,
    activation_beta: Any = None, activations: Sequence[str] | None = None,
    clip: float | None = None, direction: str = "forward", hidden_size: int | None = None,
    input_forget: int = 0, layout: int = 0, ready: Any = None,
) -> Any:  # fmt: skip
    plain = sequence_lens is None and p is None and not input_forget
    if plain and _is_usual("LSTM", activations):
        initial = (initial_h, initial_c)
        return _native(t, "LSTM", x, w, r, b, initial, direction, layout, ready)

    def step_of(d: int, w: Any, r: Any, b: Any) -> tuple[Step, Any]:
        f, g, h = _functions(t, "LSTM", activations, d)
        size, half = r.shape[1], b.shape[0] // 2
        peephole = t.zeros(3 * size, dtype=x.dtype, device=x.device) if p is None else p[d]
        of_input, of_output, of_forget = t.split(peephole, size)

        def step(share: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden, cell = state
            i, o, forget, c = t.split(share + t.matmul(hidden, r.T), size, 1)
            i = f(i + of_input * cell)
            forget = 1 - i if input_forget else f(forget + of_forget * cell)
            cell = forget * cell + i * g(c)
            o = f(o + of_output * cell)
            return o * h(cell), cell

        return step, b[:half] + b[half:]

    initial = (initial_h, initial_c)
    return _recur(t, x, w, r, b, sequence_lens, initial, direction, layout, step_of)
