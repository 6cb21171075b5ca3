"""A graph as tensors of the same kind that matching makes, so that the two can be compared.

Models:  the operators that recovery writes and those that networks use instead of them; any other
         as it stands, by its attributes.
Ignores: Dropout and Identity, which compute nothing at inference.
Judge:   a graph read here and written again computes the same (tests/decompile/topology).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from orrery.graph import Graph, Node, evaluate_node

from ..tensors import ELEMENTWISE, Tensor, Tensors

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_SAME = frozenset({"Identity", "Dropout"})


def tensors_of(tensors: Tensors, graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of a graph as tensors.

    Parameters
    ----------
    inputs : one for each of the graph's inputs, of the same size
    """
    reader = _Reader(tensors, graph)
    for name, tensor in zip(graph.inputs, inputs, strict=True):
        reader.values[name] = tensors.reshape(tensor, graph.type(name).sizes)
    for node in graph.nodes:
        reader.read(node)
    return [reader.value(name) for name in graph.outputs]


class _Reader:
    def __init__(self, tensors: Tensors, graph: Graph) -> None:
        self.tensors, self.graph = tensors, graph
        self.values: dict[str, Tensor] = {}
        self.numbers: dict[str, Any] = {}  # constants, of any type

    def value(self, name: str) -> Tensor:
        if name not in self.values:
            self.values[name] = self.tensors.constant(self.array(name))
        return self.values[name]

    def array(self, name: str) -> Any:
        if name in self.numbers:
            return self.numbers[name]
        return self.graph.constants[name].array()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.type(name).sizes

    def read(self, node: Node) -> None:
        inputs = [name for name in node.inputs if name]
        if all(name in self.graph.constants or name in self.numbers for name in inputs):
            self.numbers.update(evaluate_node(self.graph, node, self.numbers))
            return
        output = node.outputs[0]
        reader: Callable[[Node], Tensor] | None = getattr(self, f"_{node.op.lower()}", None)
        if node.op in _SAME:
            made = self.value(node.inputs[0])
        elif node.op in _VIEWS:
            made = self.tensors.reshape(self.value(node.inputs[0]), self.shape(output))
        elif reader is not None:
            made = reader(node)
        elif node.op in ELEMENTWISE:
            attributes = {
                k: float(np.float32(v)) if isinstance(v, float) else v
                for k, v in node.attributes.items()
            }
            made = self.tensors.apply(node.op, *map(self.value, inputs), **attributes)
        else:
            made = self.tensors.node(
                node.op, [self.value(n) for n in inputs], self.shape(output),
                **{k: _plain(v) for k, v in node.attributes.items()},
            )  # fmt: skip
        self.values[output] = made

    # -- operators that have several spellings ----------------------------------------------

    def _leakyrelu(self, node: Node) -> Tensor:
        alpha = float(np.float32(node.attributes.get("alpha", 0.01)))
        return self.tensors.apply("LeakyRelu", self.value(node.inputs[0]), alpha=alpha)

    def _gelu(self, node: Node) -> Tensor:
        kind = node.attributes.get("approximate", "none")
        return self.tensors.apply("Gelu", self.value(node.inputs[0]), approximate=kind)

    def _hardsigmoid(self, node: Node) -> Tensor:
        alpha = float(np.float32(node.attributes.get("alpha", 0.2)))
        beta = float(np.float32(node.attributes.get("beta", 0.5)))
        return self.tensors.apply("HardSigmoid", self.value(node.inputs[0]), alpha=alpha, beta=beta)

    def _elu(self, node: Node) -> Tensor:
        alpha = float(np.float32(node.attributes.get("alpha", 1.0)))
        return self.tensors.apply("Elu", self.value(node.inputs[0]), alpha=alpha)

    def _clip(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        bounds = []
        for place, default in ((1, -np.inf), (2, np.inf)):
            given = node.inputs[place] if len(node.inputs) > place else ""
            bounds.append(float(self.array(given)) if given else default)
        if bounds == [0.0, np.inf]:
            return self.tensors.apply("Relu", x)
        return self.tensors.apply("Clip", x, *(self.tensors.scalar(b) for b in bounds))

    def _sum(self, node: Node) -> Tensor:
        total = self.value(node.inputs[0])
        for name in node.inputs[1:]:
            total = self.tensors.apply("Add", total, self.value(name))
        return total

    def _transpose(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        order = node.attributes.get("perm") or tuple(reversed(range(len(x.shape))))
        return self.tensors.rearrange(x, x.shape, order, [x.shape[k] for k in order])

    def _concat(self, node: Node) -> Tensor:
        parts = [self.value(name) for name in node.inputs]
        return self.tensors.concat(parts, node.attributes["axis"] % len(parts[0].shape))

    def _pad(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        pads = [int(p) for p in self.array(node.inputs[1])]
        value = (
            float(self.array(node.inputs[2])) if len(node.inputs) > 2 and node.inputs[2] else 0.0
        )
        if node.attributes.get("mode", "constant") != "constant" or len(node.inputs) > 3:
            return self.tensors.node("Pad", (x,), self.shape(node.outputs[0]), pads=tuple(pads))
        rank = len(x.shape)
        return self.tensors.pad(x, pads[:rank], pads[rank:], value)

    def _reduce(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        axes = [int(a) % len(x.shape) for a in self.array(node.inputs[1])] if (
            len(node.inputs) > 1 and node.inputs[1]
        ) else list(range(len(x.shape)))  # fmt: skip
        made = self.tensors.reduce(node.op, x, axes)
        return self.tensors.reshape(made, self.shape(node.outputs[0]))

    _reducesum = _reducemean = _reducemax = _reducemin = _reduce

    def _global(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        op = "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax"
        return self.tensors.reduce(op, x, range(2, len(x.shape)))

    _globalaveragepool = _globalmaxpool = _global

    def _softmax(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        axis = node.attributes.get("axis", -1) % len(x.shape)
        return self.tensors.node(node.op, (x,), x.shape, axis=axis)

    _logsoftmax = _softmax

    def _layernormalization(self, node: Node) -> Tensor:
        inputs = [self.value(name) for name in node.inputs if name]
        x = inputs[0]
        return self.tensors.node(
            node.op, inputs, x.shape, axis=node.attributes.get("axis", -1) % len(x.shape),
            epsilon=float(np.float32(node.attributes.get("epsilon", 1e-5))),
        )  # fmt: skip

    def _batchnormalization(self, node: Node) -> Tensor:
        inputs = [self.value(name) for name in node.inputs]
        epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5)))
        return self.tensors.node(node.op, inputs, inputs[0].shape, epsilon=epsilon)

    def _lrn(self, node: Node) -> Tensor:
        x, given = self.value(node.inputs[0]), node.attributes
        return self.tensors.node(
            "LRN", (x,), x.shape, size=given["size"],
            alpha=float(np.float32(given.get("alpha", 1e-4))),
            beta=float(np.float32(given.get("beta", 0.75))),
            bias=float(np.float32(given.get("bias", 1.0))),
        )  # fmt: skip

    def _gemm(self, node: Node) -> Tensor:
        given = node.attributes
        a, b = (self.value(name) for name in node.inputs[:2])
        if given.get("transA", 0):
            a = self.tensors.rearrange(a, a.shape, (1, 0), a.shape[::-1])
        if not given.get("transB", 0):
            b = self.tensors.rearrange(b, b.shape, (1, 0), b.shape[::-1])
        inputs = [a, b]
        if len(node.inputs) > 2 and node.inputs[2]:
            inputs.append(self.value(node.inputs[2]))
        if given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
            return self.tensors.node("Gemm", inputs, self.shape(node.outputs[0]), **{
                k: float(given.get(k, 1.0)) for k in ("alpha", "beta")
            })  # fmt: skip
        y = self.tensors.node("Gemm", inputs[:2], (a.shape[0], b.shape[0]), transB=1)
        return self.tensors.apply("Add", y, inputs[2]) if len(inputs) > 2 else y

    def _matmul(self, node: Node) -> Tensor:
        a, b = (self.value(name) for name in node.inputs)
        if b.value is not None and len(b.shape) == 2 and len(a.shape) >= 2:
            rows = self.tensors.reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
            w = self.tensors.rearrange(b, b.shape, (1, 0), b.shape[::-1])
            y = self.tensors.node("Gemm", (rows, w), (rows.shape[0], w.shape[0]), transB=1)
            return self.tensors.reshape(y, self.shape(node.outputs[0]))
        return self.tensors.node("MatMul", (a, b), self.shape(node.outputs[0]))

    # -- windows -----------------------------------------------------------------------------

    def _conv(self, node: Node) -> Tensor:
        inputs = [self.value(name) for name in node.inputs if name]
        x, w = inputs[:2]
        shape = self.shape(node.outputs[0])
        kernel = w.shape[2:]
        steps, spread, pads = _window(node, kernel, x.shape[2:], shape[2:])
        y = self.tensors.node(
            node.op, inputs[:2], shape, group=node.attributes.get("group", 1),
            strides=steps, dilations=spread, pads=pads, kernel_shape=kernel,
            **({"backwards": False} if node.op == "Conv" else {}),
        )  # fmt: skip
        if len(inputs) < 3:
            return y
        ones = (1,) * len(kernel)
        bias = self.tensors.reshape(inputs[2], (inputs[2].size, *ones))
        return self.tensors.apply("Add", y, bias)

    _convtranspose = _conv

    def _pool(self, node: Node) -> Tensor:
        x = self.value(node.inputs[0])
        shape = self.shape(node.outputs[0])
        kernel = tuple(node.attributes["kernel_shape"])
        steps, spread, pads = _window(node, kernel, x.shape[2:], shape[2:])
        rank = len(kernel)
        moving = tuple(
            (kernel[k], steps[k], spread[k], pads[k], pads[rank + k]) for k in range(rank)
        )
        windows = ((1, 1, 1, 0, 0), (1, 1, 1, 0, 0), *moving)
        if node.op == "MaxPool":
            return self.tensors.node("WindowMax", (x,), shape, windows=windows)
        counted = int(node.attributes.get("count_include_pad", 0) or not any(pads))
        return self.tensors.node("AveragePool", (x,), shape, windows=windows, counted=counted)

    _maxpool = _averagepool = _pool


def _window(
    node: Node, kernel: Sequence[int], sizes: Sequence[int], counts: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return strides, dilations and pads; what changes nothing is written in one way.

    A single result has stride 1, a single weight dilation 1, and padding after is what the last
    window reaches.
    """
    rank = len(kernel)
    given: Mapping[str, Any] = node.attributes
    steps = list(given.get("strides") or (1,) * rank)
    spread = list(given.get("dilations") or (1,) * rank)
    if node.op == "ConvTranspose":
        return tuple(steps), tuple(spread), tuple(given.get("pads") or (0,) * (2 * rank))
    before = list((given.get("pads") or (0,) * (2 * rank))[:rank])
    after = [0] * rank
    for k in range(rank):
        if kernel[k] == 1:
            spread[k] = 1
        reach = (kernel[k] - 1) * spread[k] + 1
        whole = (counts[k] - 1) * steps[k] + reach - sizes[k]
        kind = given.get("auto_pad", "NOTSET")
        if kind in ("SAME_UPPER", "SAME_LOWER"):
            low = max(whole, 0) // 2
            before[k] = low if kind == "SAME_UPPER" else max(whole, 0) - low
        if counts[k] == 1:
            steps[k] = 1
        after[k] = max(0, (counts[k] - 1) * steps[k] + reach - sizes[k] - before[k])
    return tuple(steps), tuple(spread), (*before, *after)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if hasattr(value, "tobytes"):
        return value.tobytes()
    return value
