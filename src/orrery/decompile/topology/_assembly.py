"""Tensors as a graph of ONNX operators, with where each node comes from.

Models:  one node for an operator; Reshape and Transpose only where memory is really read in
         another order or shape than it was made.
Judge:   `Graph.infer` and `Graph.evaluate`; ONNX Runtime in the study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from orrery.graph import ArrayConstant, Constant, Graph, Node, TensorType

from .._evidence import RecoveredNode, RecoveredWeight
from ..tensors import Tensor, Tensors, ancestors

#: Operators that another one could stand for on the same shapes.
_AMBIGUOUS = 0.9
#: After the name of an input, where an output is stored in its place.
AFTER = ".after"
_BY_VALUES = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A graph and what each part of it rests on."""

    graph: Graph
    nodes: tuple[RecoveredNode, ...]
    weights: tuple[RecoveredWeight, ...]


@dataclass(slots=True)
class _Writer:
    tensors: Tensors
    nodes: list[Node] = field(default_factory=list)
    records: list[RecoveredNode] = field(default_factory=list)
    weights: list[RecoveredWeight] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    # -- names and leaves --------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        number = self.counts.get(stem, 0)
        self.counts[stem] = number + 1
        return f"{stem}_{number}"

    def constant(self, value: Any, name: str, sources: Sequence[str] = ()) -> str:
        array = np.asarray(value, order="C")
        self.constants[name] = ArrayConstant(array)
        self.types[name] = self.constants[name].type
        if array.dtype == np.float32:
            self.weights.append(
                RecoveredWeight(
                    tensor=name, origin="; ".join(sources), size_bytes=int(array.nbytes)
                )
            )
        return name

    def name_of(self, t: Tensor, reader: str, label: str) -> str:
        """Return the name of a tensor that a node reads; constants are written per reader."""
        if t.value is not None:
            return self.constant(t.value, f"{reader}.{label}", t.sources)
        return self.names[t.number]

    def node(
        self, op: str, inputs: Sequence[str], t: Tensor, *, output: str = "", name: str = "",
        **attributes: Any,
    ) -> str:  # fmt: skip
        name = name or self.fresh(op.lower())
        output = output or name
        self.nodes.append(
            Node(name=name, op=op, inputs=tuple(inputs), outputs=(output,), attributes=attributes)
        )
        addresses = tuple(int(s, 16) for s in t.sources if re.fullmatch(r"0x[0-9a-f]+", s))
        self.records.append(RecoveredNode(
            name=name, operator=op, address=addresses[0] if addresses else 0, addresses=addresses,
            evidence=tuple(t.evidence), confidence=_confidence(op, t),
        ))  # fmt: skip
        return output

    # -- operators ---------------------------------------------------------------------------

    def write(self, t: Tensor) -> None:
        if t.value is not None:
            return
        if t.op == "Input":
            return
        if t.op == "Absent":
            name = str(t.attribute("name"))
            if name not in self.types:
                self.inputs.append(name)
                self.types[name] = TensorType(dtype="float32", shape=t.shape)
                self.weights.append(RecoveredWeight(
                    tensor=name, origin="", size_bytes=t.size * 4, present=False
                ))  # fmt: skip
            self.names[t.number] = name
            return
        writer = getattr(self, f"_{t.op.lower()}", None)
        if writer is not None:
            self.names[t.number] = writer(t)
        else:
            self.names[t.number] = self._plain(t)

    def _plain(self, t: Tensor) -> str:
        name = self.fresh(t.op.lower())
        labels = {1: "weight", 2: "bias"} if t.op in _WEIGHTED else {}
        if t.op == "BatchNormalization":
            labels = {1: "scale", 2: "bias", 3: "mean", 4: "var"}
        inputs = [
            self.name_of(x, name, labels.get(k, f"constant{k}")) for k, x in enumerate(t.inputs)
        ]
        attributes: dict[str, Any] = {k: v for k, v in t.attributes if k not in _INTERNAL}
        return self.node(t.op, inputs, t, name=name, **attributes)

    def _clip(self, t: Tensor) -> str:
        name = self.fresh("clip")
        x, low, high = t.inputs
        inputs = [self.name_of(x, name, "x")]
        for label, bound in (("min", low), ("max", high)):
            number = bound.scalar()
            value = np.float32(number if number is not None else np.nan)
            inputs.append(self.constant(value, f"{name}.{label}", bound.sources))
        return self.node("Clip", inputs, t, name=name)

    def _expand(self, t: Tensor) -> str:
        name = self.fresh("expand")
        shape = self.constant(np.asarray(t.shape, np.int64), f"{name}.shape")
        return self.node("Expand", [self.name_of(t.inputs[0], name, "x"), shape], t, name=name)

    def _pad(self, t: Tensor) -> str:
        name = self.fresh("pad")
        pads = (*t.attribute("before"), *t.attribute("after"))
        inputs = [
            self.name_of(t.inputs[0], name, "x"),
            self.constant(np.asarray(pads, np.int64), f"{name}.pads"),
            self.constant(np.float32(t.attribute("fill")), f"{name}.value"),
        ]
        return self.node("Pad", inputs, t, name=name)

    def _slice(self, t: Tensor) -> str:
        name = self.fresh("slice")
        x = t.inputs[0]
        bounds = zip(t.attribute("starts"), t.attribute("stops"), strict=True)
        cut = [(k, a, b) for k, (a, b) in enumerate(bounds) if (a, b) != (0, x.shape[k])]
        inputs = [self.name_of(x, name, "x")]
        for label, place in (("starts", 1), ("ends", 2), ("axes", 0)):
            values = np.asarray([c[place] for c in cut], np.int64)
            inputs.append(self.constant(values, f"{name}.{label}"))
        return self.node("Slice", inputs, t, name=name)

    def _concat(self, t: Tensor) -> str:
        name = self.fresh("concat")
        inputs = [self.name_of(x, name, f"part{k}") for k, x in enumerate(t.inputs)]
        return self.node("Concat", inputs, t, name=name, axis=t.attribute("axis"))

    def _conv(self, t: Tensor) -> str:
        return self._plain(t)

    def _reduction(self, t: Tensor) -> str:
        x, axes = t.inputs[0], t.attribute("axes")
        spatial = tuple(range(2, len(x.shape)))
        whole = len(x.shape) > 2 and tuple(k for k in spatial if x.shape[k] != 1) == axes
        pooled = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}.get(t.op)
        if whole and pooled:
            name = self.fresh(pooled.lower())
            return self.node(pooled, [self.name_of(x, name, "x")], t, name=name)
        name = self.fresh(t.op.lower())
        inputs = [self.name_of(x, name, "x"),
                  self.constant(np.asarray(axes, np.int64), f"{name}.axes")]  # fmt: skip
        return self.node(t.op, inputs, t, name=name, keepdims=1)

    _reducesum = _reducemean = _reducemax = _reducemin = _reduction

    def _windowmax(self, t: Tensor) -> str:
        return self._pool(t, "MaxPool")

    def _averagepool(self, t: Tensor) -> str:
        return self._pool(t, "AveragePool", count_include_pad=t.attribute("counted"))

    def _windowsum(self, t: Tensor) -> str:
        """Write a sum of windows: a mean times how many they are."""
        mean = self._pool(t, "AveragePool", count_include_pad=1)
        count = prod(w[0] for w in t.attribute("windows"))
        name = self.fresh("mul")
        number = self.constant(np.float32(count), f"{name}.count")
        return self.node("Mul", [mean, number], t, name=name)

    def _windowmin(self, t: Tensor) -> str:
        """Write a minimum of windows: the maximum of the negative, turned."""
        turned = self.fresh("neg")
        self.node("Neg", [self.name_of(t.inputs[0], turned, "x")], t, name=turned)
        largest = self._pool(t, "MaxPool", source=turned)
        back = self.fresh("neg")
        return self.node("Neg", [largest], t, name=back)

    def _pool(self, t: Tensor, op: str, source: str = "", **more: Any) -> str:
        """Write windows as a pool: their axes last, two before them."""
        x, windows = t.inputs[0], t.attribute("windows")
        name = self.fresh(op.lower())
        rank = len(x.shape)
        walked = [k for k in range(rank) if windows[k] != (1, 1, 1, 0, 0)]
        spatial = list(range(2, rank)) if min(walked) >= 2 else walked
        rest = [k for k in range(rank) if k not in spatial]
        order = [*rest, *spatial]
        inner = source or self.name_of(x, name, "x")
        shape = tuple(x.shape[k] for k in rest)
        lead = shape if len(shape) == 2 else (1, prod(shape))
        plain = order == list(range(rank)) and len(rest) == 2
        if not plain:
            inner = self._moved(inner, t, x.shape, order, (*lead, *(x.shape[k] for k in spatial)))
        chosen = [windows[k] for k in spatial]
        extra: dict[str, Any] = dict(more)
        if any(w[2] > 1 for w in chosen):
            extra["dilations"] = tuple(w[2] for w in chosen)
        output = self.node(
            op, [inner], t, name=name, kernel_shape=tuple(w[0] for w in chosen),
            strides=tuple(w[1] for w in chosen),
            pads=(*(w[3] for w in chosen), *(w[4] for w in chosen)),
            **extra,
        )  # fmt: skip
        if not plain:
            back = [order.index(k) for k in range(rank)]
            made = tuple(t.shape[k] for k in order)
            output = self._moved(output, t, made, back, t.shape)
        return output

    def _moved(
        self, x: str, t: Tensor, sizes: Sequence[int], order: Sequence[int],
        shape: Sequence[int], have: Sequence[int] = (),
    ) -> str:  # fmt: skip
        """Write a rearrangement: read as sizes, transposed, read as a shape."""
        if list(order) != sorted(order):
            if tuple(sizes) != tuple(have):
                stem = self.fresh("reshape")
                given = self.constant(np.asarray(sizes, np.int64), f"{stem}.shape")
                x = self.node("Reshape", [x, given], t, name=stem)
            x = self.node("Transpose", [x], t, perm=tuple(order))
            if tuple(sizes[k] for k in order) == tuple(shape):
                return x
        stem = self.fresh("reshape")
        given = self.constant(np.asarray(shape, np.int64), f"{stem}.shape")
        return self.node("Reshape", [x, given], t, name=stem)

    def _rearrange(self, t: Tensor) -> str:
        x = t.inputs[0]
        name = self.names[x.number]
        digits = t.digits
        if digits.is_identity:
            if len(t.shape) == 2 and len(x.shape) > 2 and t.shape[0] == x.shape[0]:
                return self.node("Flatten", [name], t, axis=1)
            return self._moved(name, t, x.shape, range(len(x.shape)), t.shape)
        axes = [k for k, s in enumerate(x.shape) if s != 1]
        if tuple(x.shape[k] for k in axes) == digits.sizes:
            order = [axes[k] for k in digits.order]
            ones = [k for k in range(len(x.shape)) if k not in axes]
            # Axes of one element go where the result has one, as far as the ranks agree.
            full: list[int] = []
            for size in t.shape:
                full.append(ones.pop(0) if size == 1 and ones else -1)
            left = iter(order)
            full = [next(left) if k == -1 else k for k in full] if (
                len(full) == len(x.shape) and full.count(-1) == len(order)
            ) else []  # fmt: skip
            if full and tuple(x.shape[k] for k in full) == t.shape:
                return self.node("Transpose", [name], t, perm=tuple(full))
        return self._moved(name, t, digits.sizes, digits.order, t.shape, x.shape)


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LayerNormalization"})
_INTERNAL = frozenset({"backwards", "windows", "counted"})


def _confidence(op: str, t: Tensor) -> float:
    if any("points" in text for text in t.evidence):
        return _BY_VALUES
    if op == "Gemm" or (op == "Conv" and set(t.attribute("kernel_shape")) == {1}):
        return _AMBIGUOUS
    return 1.0


def assemble(
    tensors: Tensors, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], *, name: str
) -> Assembled:
    """Return tensors as a graph.

    Parameters
    ----------
    inputs, outputs : by the names they shall have; an output in the place of an input is named as
        what stands there afterwards
    """
    outputs = {f"{label}{AFTER}" if label in inputs else label: _plainest(tensors, t)
               for label, t in outputs.items()}  # fmt: skip
    shaped, outputs = _shaped_inputs(tensors, inputs, outputs)
    writer = _Writer(tensors)
    for label, t in shaped.items():
        writer.names[t.number] = label
        writer.inputs.append(label)
        writer.types[label] = TensorType(dtype="float32", shape=t.shape)
    order = ancestors(list(outputs.values()))
    for t in order:
        writer.write(t)
    renamed: dict[str, str] = {}
    for label, t in outputs.items():
        made = writer.names.get(t.number)
        if made is None or made in renamed or made in writer.inputs:
            source = writer.name_of(t, label, "value") if made is None else made
            writer.node("Identity", [source], t, output=label)
        else:
            renamed[made] = label

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(renamed.get(n, n) for n in names)

    nodes = tuple(
        Node(name=n.name, op=n.op, inputs=named(n.inputs), outputs=named(n.outputs),
             attributes=n.attributes)
        for n in writer.nodes
    )  # fmt: skip
    graph = Graph(
        name=name, nodes=nodes, inputs=tuple(writer.inputs), outputs=tuple(outputs),
        types=writer.types, constants=writer.constants,
        metadata=_metadata(writer.records),
    ).infer()  # fmt: skip
    return Assembled(graph=graph, nodes=tuple(writer.records), weights=tuple(writer.weights))


def _metadata(records: Sequence[RecoveredNode]) -> dict[str, str]:
    return {
        f"recovered.{r.name}": "; ".join(
            (*(f"{a:#x}" for a in r.addresses), *r.evidence, f"confidence {r.confidence:.2f}")
        )
        for r in records
    }


def _plainest(tensors: Tensors, t: Tensor) -> Tensor:
    """Return an output in the shape that it was computed in, where memory is the same."""
    if t.op == "Rearrange":
        if t.digits.is_identity:
            return t.inputs[0]
        return tensors.reshape(t, tensors.axes_in_memory(t))
    return t


def _shaped_inputs(
    tensors: Tensors, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give an input of which only its size is known the shape in which it is read."""
    order = ancestors(list(outputs.values()))
    shapes: dict[int, tuple[int, ...]] = {}
    for t in order:
        if t.op == "Rearrange" and t.inputs[0].op == "Input" and len(t.inputs[0].shape) == 1:
            number = t.inputs[0].number
            wanted = t.shape if t.digits.is_identity else t.digits.sizes
            if len(wanted) > len(shapes.get(number, ())):
                shapes[number] = wanted
    replaced: dict[int, Tensor] = {}
    shaped = {}
    for label, t in inputs.items():
        shape = shapes.get(t.number)
        if shape is None:
            shaped[label] = t
        else:
            shaped[label] = tensors.input(f"{label} shaped", shape)
            replaced[t.number] = tensors.reshape(shaped[label], t.shape)
    if not replaced:
        return shaped, dict(outputs)
    done: dict[int, Tensor] = {}
    for t in order:
        made = replaced.get(t.number)
        if made is None:
            made = tensors.again(t, [done[x.number] for x in t.inputs])
            if made is not t:
                made.sources.extend(s for s in t.sources if s not in made.sources)
                made.evidence.extend(e for e in t.evidence if e not in made.evidence)
        done[t.number] = made
    return shaped, {label: _plainest(tensors, done[t.number]) for label, t in outputs.items()}
