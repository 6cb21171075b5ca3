"""Older operator versions in terms of today's: every node gets the semantics of one opset.

Covers every operator of ONNX's default domain whose meaning, attributes or inputs differ between
opset 11 and `CANONICAL_OPSET`; all others carry over unchanged. What cannot be said today (an
output that no longer exists, a coordinate mode that was withdrawn) is refused by name.

Source: the ONNX operator change log, https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError

from .._graph import Node

#: Files of older opsets are refused: their operators differ too much to be worth the rules.
OLDEST_OPSET = 11


class Surroundings(Protocol):
    """What an upgrade may ask of, and add to, the graph it happens in."""

    where: str

    def constant(self, hint: str, value: NDArray[Any]) -> str:
        """Add a constant; returns the tensor's name."""
        ...

    def fresh(self, hint: str) -> str:
        """Return a tensor name nobody uses."""
        ...

    def rank(self, tensor: str) -> int | None:
        """Return a tensor's rank where it is known."""
        ...

    def is_empty(self, tensor: str) -> bool:
        """Return whether a tensor is a constant without elements."""
        ...


Rule = Callable[[Node, Surroundings], list[Node]]

#: operator -> (first opset with today's meaning, what to do with older nodes)
_RULES: dict[str, tuple[int, Rule]] = {}


def upgrade(node: Node, opset: int, around: Surroundings) -> list[Node]:
    """Return nodes that mean today what `node` meant in `opset`.

    Before (opset 11): ``Squeeze(x, axes=[0])``. After: ``Squeeze(x, constant [0])``.

    Raises
    ------
    ModelError : the old meaning cannot be expressed
    """
    since, rule = _RULES.get(node.op, (0, None)) if not node.domain else (0, None)
    return rule(node, around) if rule is not None and opset < since else [node]


def changed_since(op: str) -> int:
    """Return the first opset in which an operator means what it means today (11 at least)."""
    return max(OLDEST_OPSET, _RULES[op][0] if op in _RULES else 0)


def _rule(since: int, *names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            _RULES[name] = (since, rule)
        return rule

    return register


def _with(node: Node, drop: tuple[str, ...] = (), **more: Any) -> Mapping[str, Any]:
    kept = {k: v for k, v in node.attributes.items() if k not in drop}
    return {**kept, **more}


def _attribute_to_input(node: Node, around: Surroundings, attribute: str) -> list[Node]:
    """Move an integer attribute to the second input."""
    value = node.attributes.get(attribute)
    if value is None:
        return [node]
    name = around.constant(f"{node.name}.{attribute}", np.array(value, np.int64))
    return [replace(node, inputs=(node.inputs[0], name), attributes=_with(node, (attribute,)))]


@_rule(13, "Squeeze", "Unsqueeze", "ReduceSum")
@_rule(18, "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2",
       "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
def _axes(node: Node, around: Surroundings) -> list[Node]:
    return _attribute_to_input(node, around, "axes")


@_rule(18, "Split")
def _split(node: Node, around: Surroundings) -> list[Node]:
    if "split" in node.attributes:  # before opset 13
        return _attribute_to_input(node, around, "split")
    if len(node.inputs) > 1 and node.inputs[1]:
        return [node]
    return [replace(node, attributes=_with(node, num_outputs=len(node.outputs)))]


@_rule(13, "Softmax", "LogSoftmax", "Hardmax")
def _coerced(node: Node, around: Surroundings) -> list[Node]:
    """Before opset 13 the input counts as a matrix whose columns are the axes from `axis` on."""
    axis, rank = int(node.attributes.get("axis", 1)), around.rank(node.inputs[0])
    if axis == -1 or (rank is not None and axis == rank - 1):
        return [replace(node, attributes=_with(node, axis=-1))]
    flat, soft, shape = (around.fresh(f"{node.name}.{part}") for part in ("flat", "soft", "shape"))
    return [
        Node(name=f"{node.name}.flatten", op="Flatten", inputs=node.inputs, outputs=(flat,),
             attributes={"axis": axis}),
        replace(node, inputs=(flat,), outputs=(soft,), attributes=_with(node, axis=-1)),
        Node(name=f"{node.name}.shape", op="Shape", inputs=node.inputs, outputs=(shape,)),
        Node(name=f"{node.name}.reshape", op="Reshape", inputs=(soft, shape),
             outputs=node.outputs, attributes={"allowzero": 1}),
    ]  # fmt: skip


@_rule(12, "Dropout")
def _dropout(node: Node, around: Surroundings) -> list[Node]:
    """Before opset 12 the operator says nothing of training: a reader runs the network."""
    if "ratio" not in node.attributes:
        return [node]
    ratio = around.constant(f"{node.name}.ratio", np.array(node.attributes["ratio"], np.float32))
    return [replace(node, inputs=(node.inputs[0], ratio), attributes=_with(node, ("ratio",)))]


@_rule(14, "BatchNormalization")
def _batch_normalization(node: Node, around: Surroundings) -> list[Node]:
    """Before opset 14 naming more than one output meant training."""
    if not any(node.outputs[1:]):
        return [replace(node, outputs=node.outputs[:1])]
    if any(node.outputs[3:]):
        raise ModelError(
            f"{around.where}: node {node.name!r} (BatchNormalization)",
            found="outputs saved_mean and saved_var of opset 13 and before",
            wanted="an inference graph", fix="export the network for inference",
        )  # fmt: skip
    return [replace(node, outputs=node.outputs[:3], attributes=_with(node, training_mode=1))]


@_rule(13, "Resize")
def _resize(node: Node, around: Surroundings) -> list[Node]:
    """Before opset 13 an unused roi or scales is an empty constant, not an absent input."""
    if node.attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        raise ModelError(
            f"{around.where}: node {node.name!r} (Resize)",
            found="coordinate_transformation_mode 'tf_half_pixel_for_nn', withdrawn in opset 13",
            wanted="'half_pixel' or another mode of today",
            fix="export the network with opset 13 or later",
        )  # fmt: skip
    inputs = tuple(
        "" if index in (1, 2) and name and around.is_empty(name) else name
        for index, name in enumerate(node.inputs)
    )
    while len(inputs) > 1 and not inputs[-1]:
        inputs = inputs[:-1]
    return [replace(node, inputs=inputs)]


@_rule(16, "RoiAlign")
def _roi_align(node: Node, around: Surroundings) -> list[Node]:
    mode = "output_half_pixel"  # what opsets before 16 did; today's default is half_pixel
    return [replace(node, attributes=_with(node, coordinate_transformation_mode=mode))]


@_rule(20, "GridSample")
def _grid_sample(node: Node, around: Surroundings) -> list[Node]:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = str(node.attributes.get("mode", "bilinear"))
    return [replace(node, attributes=_with(node, mode=names.get(mode, mode)))]


@_rule(20, "DFT")
def _dft(node: Node, around: Surroundings) -> list[Node]:
    axis = int(node.attributes.get("axis", 1))
    name = around.constant(f"{node.name}.axis", np.array(axis, np.int64))
    length = node.inputs[1] if len(node.inputs) > 1 else ""
    return [replace(node, inputs=(node.inputs[0], length, name), attributes=_with(node, ("axis",)))]


@_rule(21, "GroupNormalization")
def _group_normalization(node: Node, around: Surroundings) -> list[Node]:
    """Before opset 21 scale and bias have one value per group, not per channel."""
    groups = int(node.attributes["num_groups"])
    made: list[Node] = []

    def step(label: str, op: str, *inputs: str, **attributes: Any) -> str:
        output = around.fresh(f"{node.name}.{label}")
        made.append(Node(name=f"{node.name}.{label}", op=op, inputs=inputs, outputs=(output,),
                         attributes=attributes))  # fmt: skip
        return output

    count = around.constant(f"{node.name}.groups", np.array([groups], np.int64))
    column = around.constant(f"{node.name}.column", np.array([-1, 1], np.int64))
    row = around.constant(f"{node.name}.row", np.array([-1], np.int64))
    channels = step("channels", "Shape", node.inputs[0], start=1, end=2)
    repeats = step("repeats", "Div", channels, count)
    shape = step("shape", "Concat", count, repeats, axis=0)

    def per_channel(label: str, tensor: str) -> str:
        tall = step(f"{label}.tall", "Reshape", tensor, column)
        wide = step(f"{label}.wide", "Expand", tall, shape)
        return step(label, "Reshape", wide, row)

    scale, bias = per_channel("scale", node.inputs[1]), per_channel("bias", node.inputs[2])
    return [*made, replace(node, inputs=(node.inputs[0], scale, bias))]
