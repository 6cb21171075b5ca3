"""Whether two graphs are the same network after constant folding, and where they differ.

Both are written as tensors in one place where equal ones are one object, and by the same rules:
Conv with its bias apart or inside, Reshape or Flatten, a mean over all positions or a pool. What
is left to compare is whether the outputs are the same object.

Models:  graphs as functions of their inputs; the order of a sum's two sides says nothing.
Ignores: names; rounding of scale and shift of a normalisation that one graph folded.
Judge:   graphs altered in one place must be told apart, and the place named
         (tests/decompile/topology); what two equal graphs compute is compared besides.
"""

from __future__ import annotations

from math import prod

import numpy as np

from orrery.graph import Graph

from ..tensors import (
    ACTIVATIONS,
    FOLDING,
    NORMALISING,
    PLAIN,
    Tensor,
    Tensors,
    known_function,
    rewritten,
)
from ._reading import tensors_of

_MOST_NAMED = 20
_COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min"})


def differences(found: Graph, wanted: Graph) -> tuple[str, ...]:
    """Return in what a graph differs from another; empty where they are the same network.

    Inputs and outputs are taken in order.
    """
    if len(found.inputs) != len(wanted.inputs):
        return (f"{len(found.inputs)} inputs, wanted {len(wanted.inputs)}",)
    if len(found.outputs) != len(wanted.outputs):
        return (f"{len(found.outputs)} outputs, wanted {len(wanted.outputs)}",)
    tensors = Tensors()
    inputs = []
    for place, (one, two) in enumerate(zip(found.inputs, wanted.inputs, strict=True)):
        have, want = found.type(one), wanted.type(two)
        if have.elements != want.elements:
            return (f"input {place}: {have}, wanted {want}",)
        inputs.append(tensors.input(f"input {place}", want.sizes))
    sides = []
    for graph in (found, wanted):
        outputs = tensors_of(tensors, graph, inputs)
        named = {str(k): tensors.reshape(t, (t.size,)) for k, t in enumerate(outputs)}
        rules = (*ACTIVATIONS, *NORMALISING, known_function)
        named = rewritten(tensors, named, rules)
        named = rewritten(tensors, named, PLAIN)
        named = rewritten(tensors, named, (*FOLDING, *NORMALISING, *_CANONICAL))
        sides.append(named)
    compared = _Comparison()
    for place in range(len(found.outputs)):
        compared.compare(sides[0][str(place)], sides[1][str(place)], f"output {place}")
    return tuple(compared.found)


class _Comparison:
    """Walks two graphs from their outputs together and names where they part."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._done: dict[tuple[int, int], bool] = {}

    def compare(self, one: Tensor, two: Tensor, where: str) -> bool:
        if one is two:
            return True
        key = (one.number, two.number)
        if key in self._done:
            return self._done[key]
        self._done[key] = True  # a graph has no cycles: this is only asked again below itself
        self._done[key] = self._compare(one, two, where)
        return self._done[key]

    def _compare(self, one: Tensor, two: Tensor, where: str) -> bool:
        place = f"{where} ← {two.op}"
        if one.op != two.op or len(one.inputs) != len(two.inputs):
            return self._name(f"{where}: {_text(one)}, wanted {_text(two)}")
        if one.value is not None and two.value is not None:
            return self._constants(one, two, where)
        if one.shape != two.shape:
            return self._name(f"{place}: shape {one.shape}, wanted {two.shape}")
        have, want = dict(one.attributes), dict(two.attributes)
        for name in sorted({*have, *want}):
            a, b = have.get(name), want.get(name)
            if a != b and not (isinstance(a, float) and isinstance(b, float) and _near(a, b)):
                return self._name(f"{place}: {name} {a}, wanted {b}")
        if one.op in _COMMUTATIVE:
            quiet = _Comparison()
            pairs = zip(one.inputs, reversed(two.inputs), strict=True)
            if all(quiet.compare(a, b, "") for a, b in pairs):
                return True
        results = [
            self.compare(a, b, place if len(one.inputs) == 1 else f"{place}[{k}]")
            for k, (a, b) in enumerate(zip(one.inputs, two.inputs, strict=True))
        ]
        return all(results)

    def _constants(self, one: Tensor, two: Tensor, where: str) -> bool:
        a, b = one.value, two.value
        assert a is not None
        assert b is not None
        if a.size != b.size:
            return self._name(f"{where}: a constant of {a.shape}, wanted {b.shape}")
        differ = int((a.reshape(-1) != b.reshape(-1)).sum())
        if not differ:
            return True
        most = float(np.abs(a.reshape(-1) - b.reshape(-1)).max())
        return self._name(f"{where}: {differ} of {a.size} numbers differ, by up to {most:.3g}")

    def _name(self, text: str) -> bool:
        if len(self.found) < _MOST_NAMED:
            self.found.append(text)
        return False


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def _text(t: Tensor) -> str:
    return f"{t.op} of {t.shape}"


# -- one way of writing what can be written in several ----------------------------------------


def _is_product(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a convolution with one position as a matrix product."""
    if t.op != "Conv" or dict(t.attributes)["group"] != 1:
        return None
    x, w = t.inputs[:2]
    pads = t.attribute("pads")
    if any(pads) or x.shape[2:] != w.shape[2:]:
        return None
    rows = tensors.reshape(x, (x.shape[0], prod(x.shape[1:])))
    columns = tensors.reshape(w, (w.shape[0], prod(w.shape[1:])))
    y = tensors.node("Gemm", (rows, columns, *t.inputs[2:]), (x.shape[0], w.shape[0]), transB=1)
    return tensors.reshape(y, t.shape)


def _pointwise(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a convolution of single positions over one axis of positions."""
    if t.op != "Conv" or len(t.shape) <= 3:
        return None
    x, w = t.inputs[:2]
    if any(s != 1 for s in (*w.shape[2:], *t.attribute("strides"))) or any(t.attribute("pads")):
        return None
    flat = tensors.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    thin = tensors.reshape(w, (*w.shape[:2], 1))
    y = tensors.node(
        "Conv", (flat, thin, *t.inputs[2:]), (*t.shape[:2], prod(t.shape[2:])),
        group=t.attribute("group"), strides=(1,), dilations=(1,), pads=(0, 0), kernel_shape=(1,),
        backwards=False,
    )  # fmt: skip
    return tensors.reshape(y, t.shape)


def _whole_window(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a pool over all positions as a mean or a maximum."""
    if t.op not in ("AveragePool", "WindowMax"):
        return None
    x = t.inputs[0]
    windows = t.attribute("windows")
    axes = [k for k, w in enumerate(windows) if w[0] > 1]
    if any(w[3] or w[4] for w in windows) or any(
        windows[k][0] != x.shape[k] or windows[k][2] != 1 for k in axes
    ):  # fmt: skip
        return None
    return tensors.reduce("ReduceMean" if t.op == "AveragePool" else "ReduceMax", x, axes)


def _one_position(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a window that is used once with stride 1."""
    if t.op not in ("WindowMax", "AveragePool", "Conv"):
        return None
    attributes = dict(t.attributes)
    if t.op == "Conv":
        rank = len(t.shape) - 2
        x, w = t.inputs[:2]
        steps, spread = list(attributes["strides"]), list(attributes["dilations"])
        pads = list(attributes["pads"])
        for k in range(rank):
            if t.shape[2 + k] == 1:
                steps[k] = 1
            if w.shape[2 + k] == 1:
                spread[k] = 1
            reach = (w.shape[2 + k] - 1) * spread[k] + 1
            pads[rank + k] = max(
                0, (t.shape[2 + k] - 1) * steps[k] + reach - x.shape[2 + k] - pads[k]
            )
        attributes.update(strides=tuple(steps), dilations=tuple(spread), pads=tuple(pads))
    else:
        changed = []
        for k, (size, step, spread_k, before, _) in enumerate(attributes["windows"]):
            step = 1 if t.shape[k] == 1 else step
            spread_k = 1 if size == 1 else spread_k
            reach = (size - 1) * spread_k + 1
            after = max(0, (t.shape[k] - 1) * step + reach - t.inputs[0].shape[k] - before)
            changed.append((size, step, spread_k, before, after))
        attributes["windows"] = tuple(changed)
        if t.op == "AveragePool" and not any(w[3] or w[4] for w in changed):
            attributes["counted"] = 1
    made = tensors.node(t.op, t.inputs, t.shape, **attributes)
    return made if made is not t else None


def _flat_norm(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a batch normalisation over one axis of positions."""
    if t.op not in ("BatchNormalization", "LRN") or len(t.shape) == 3:
        return None
    shape = (*t.shape[:2], prod(t.shape[2:]))
    flat = tensors.reshape(t.inputs[0], shape)
    made = tensors.node(t.op, (flat, *t.inputs[1:]), shape, **dict(t.attributes))
    return tensors.reshape(made, t.shape)


def _folded_root(tensors: Tensors, t: Tensor) -> Tensor | None:
    """Write a batch normalisation with the deviation that a compiler computes beforehand."""
    if t.op != "BatchNormalization" or t.inputs[4].value is None or not t.attribute("epsilon"):
        return None
    epsilon = np.float32(t.attribute("epsilon"))
    root = np.sqrt(t.inputs[4].value.astype(np.float32) + epsilon)
    # The square of a root, rounded, has the same root: both graphs come to the same numbers.
    inputs = (*t.inputs[:4], tensors.constant(root * root))
    return tensors.node(t.op, inputs, t.shape, **{**dict(t.attributes), "epsilon": 0.0})


_CANONICAL = (_folded_root, _flat_norm, _one_position, _is_product, _pointwise, _whole_window)
