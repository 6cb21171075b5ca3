"""Writing networks down briefly: layers with torch-like names, seeded weights, types as they grow.

Weights are `SeededConstant`s: nothing is drawn before somebody reads a value. Their scales follow
He et al. 2015 (variance ``gain / fan in``), so that activations neither vanish nor explode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError

from .._constant import ArrayConstant, Constant, SeededConstant
from .._graph import Graph, Node
from .._operator import TypeContext, find_operator
from .._types import Dimension, TensorType, numpy_dtype

Size = int | tuple[int, ...]

#: Metadata key before an input's name: its whole numbers are below this.
BELOW = "below."

#: Constants up to this many elements are shown to shape rules as values.
_VALUE_LIMIT = 4096


def scaled(count: int, factor: float, *, multiple: int = 1) -> int:
    """Return a width or depth times a factor, at least one multiple, rounded to a multiple.

    >>> scaled(64, 0.25), scaled(3, 0.1), scaled(64, 1 / 3, multiple=8)
    (16, 1, 24)
    """
    return max(multiple, round(count * factor / multiple) * multiple)


class Builder:
    """A graph under construction; tensors are their names.

    Parameters
    ----------
    name : of the network; also seeds the weights
    dtype : element type of activations and weights
    batch : leading dimension of inputs; text leaves it symbolic under that name
    """

    def __init__(self, name: str, *, dtype: str = "float32", batch: Dimension = 1) -> None:
        self.name, self.dtype, self.batch = name, dtype, batch
        self._nodes: list[Node] = []
        self._inputs: list[str] = []
        self._types: dict[str, TensorType] = {}
        self._constants: dict[str, Constant] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self._metadata: dict[str, str] = {}
        self._scope: tuple[str, ...] = ()
        self._taken: dict[str, int] = {}

    # -- names -----------------------------------------------------------------------------

    @contextmanager
    def scope(self, *parts: object) -> Iterator[None]:
        """Put the names made inside under a prefix, e.g. ``layer1.0``."""
        before = self._scope
        self._scope = (*before, *(str(part) for part in parts))
        try:
            yield
        finally:
            self._scope = before

    def path(self, name: str) -> str:
        """Return a name with the prefix of the current scope."""
        return ".".join((*self._scope, name))

    def _fresh(self, name: str) -> str:
        full = self.path(name)
        used = self._taken.get(full, 0)
        self._taken[full] = used + 1
        return f"{full}_{used}" if used else full

    # -- tensors ---------------------------------------------------------------------------

    def input(self, name: str, *shape: Dimension, dtype: str = "") -> str:
        """Declare an input of the network, numbers of the model's type unless `dtype` is given."""
        self._taken[name] = 1
        self._inputs.append(name)
        self._types[name] = TensorType(dtype=dtype or self.dtype, shape=shape)
        return name

    def indices(self, name: str, *shape: Dimension, below: int) -> str:
        """Declare an input of whole numbers from zero to `below` - 1, noted in the metadata."""
        self._metadata[f"{BELOW}{name}"] = str(below)
        return self.input(name, *shape, dtype="int64")

    def state(self, name: str, *shape: Dimension) -> str:
        """Declare a resident input; `finish` says which output holds its next value."""
        return self.input(name, *shape)

    def shape(self, tensor: str) -> tuple[Dimension, ...]:
        """Return the shape of a tensor, symbols as text."""
        return self._types[tensor].shape

    def size(self, tensor: str, axis: int) -> int:
        """Return one bound dimension of a tensor."""
        found = self.shape(tensor)[axis]
        if isinstance(found, str):
            raise ModelError(
                f"{self.name}: tensor {tensor!r}", found=f"unbound dimension {found!r}",
                wanted=f"a number on axis {axis}", fix="give the option as a number",
            )  # fmt: skip
        return found

    def weight(
        self, name: str, *shape: int, mean: float = 0.0, scale: float = 1.0, positive: bool = False
    ) -> str:
        """Add a seeded parameter; a name used before gives the same tensor (tied weights)."""
        full = self.path(name)
        type_ = TensorType(dtype=self.dtype, shape=shape)
        if full in self._constants and self._types[full] == type_:
            return full
        return self._constant(full, SeededConstant(
            key=f"{self.name}/{full}", type=type_, mean=mean, scale=scale, positive=positive
        ))  # fmt: skip

    def constant(self, value: Any, name: str = "constant", dtype: str = "") -> str:
        """Add a fixed value: a shape, an index, a mask; floating point takes the model's type."""
        array = np.asarray(value)
        if dtype or array.dtype.kind == "f":
            array = array.astype(numpy_dtype(dtype or self.dtype))
        full = self._fresh(name)
        if array.size <= _VALUE_LIMIT:
            self._values[full] = array
        return self._constant(full, ArrayConstant(array))

    def _constant(self, name: str, constant: Constant) -> str:
        if name in self._types:
            raise ModelError(f"{self.name}: constant {name!r}", found="a second one of this name",
                             wanted="unique names", fix="use a scope")  # fmt: skip
        self._constants[name] = constant
        self._types[name] = constant.type
        return name

    # -- nodes -----------------------------------------------------------------------------

    def ops(
        self, op: str, *inputs: str, outputs: Sequence[str], name: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Apply an ONNX operator with several outputs, named by suffix (empty: not wanted)."""
        full = self._fresh(name or op.lower())
        names = tuple(f"{full}.{suffix}" if suffix else "" for suffix in outputs)
        self._add(Node(name=full, op=op, inputs=inputs, outputs=names, attributes=attributes))
        return names

    def op(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Apply an ONNX operator with one output; returns it (it bears the node's name)."""
        full = self._fresh(name or op.lower())
        self._add(Node(name=full, op=op, inputs=inputs, outputs=(full,), attributes=attributes))
        return full

    def _add(self, node: Node) -> None:
        operator = find_operator(node)
        if operator is None:
            raise ModelError(f"{self.name}: node {node.name!r}", found=f"operator {node.operator}",
                             wanted="a known operator", fix="register it")  # fmt: skip
        context = TypeContext(
            node=node, graph_name=self.name,
            inputs=tuple(self._types[name] if name else None for name in node.inputs),
            values=tuple(self._values.get(name) for name in node.inputs),
        )  # fmt: skip
        for tensor, type_ in zip(node.outputs, operator.infer(context), strict=False):
            if tensor and type_ is not None:
                self._types[tensor] = type_
        self._nodes.append(node)

    # -- layers ----------------------------------------------------------------------------

    def conv(
        self, x: str, channels: int, *, kernel: Size, stride: Size = 1, padding: Size | None = None,
        groups: int = 1, bias: bool = False, gain: float = 2.0, name: str = "conv",
    ) -> str:  # fmt: skip
        """Convolve; padding None keeps the size at stride 1 (odd kernels)."""
        rank = len(self.shape(x)) - 2
        kernels = _spread(kernel, rank)
        pads = tuple(k // 2 for k in kernels) if padding is None else _spread(padding, rank)
        wide = self.size(x, 1)
        full = self._reserve(name)
        shape = (channels, wide // groups, *kernels)
        inputs = [x, self.weight(
            f"{name}.weight", *shape, scale=sqrt(gain / (wide // groups * prod(kernels)))
        )]  # fmt: skip
        if bias:
            inputs.append(self.weight(f"{name}.bias", channels, scale=0.01))
        self._add(Node(name=full, op="Conv", inputs=tuple(inputs), outputs=(full,), attributes={
            "kernel_shape": kernels, "strides": _spread(stride, rank), "pads": pads + pads,
            "group": groups, "dilations": (1,) * rank,
        }))  # fmt: skip
        return full

    def linear(
        self, x: str, features: int, *, bias: bool = True, gain: float = 1.0, name: str = "linear",
        weight: str = "",
    ) -> str:  # fmt: skip
        """Multiply by a matrix and add a bias.

        A matrix goes through ``Gemm`` with a weight of [out, in]; a tensor of higher rank through
        ``MatMul`` (weight [in, out]) and ``Add``. `weight` names an existing [out, in] tensor.
        """
        wide, rank = self.size(x, -1), len(self.shape(x))
        scale = sqrt(gain / wide)
        full = self._reserve(name)
        if rank == 2:
            inputs = [x, weight or self.weight(f"{name}.weight", features, wide, scale=scale)]
            if bias:
                inputs.append(self.weight(f"{name}.bias", features, scale=0.01))
            self._add(Node(name=full, op="Gemm", inputs=tuple(inputs), outputs=(full,),
                           attributes={"transB": 1}))  # fmt: skip
            return full
        matrix = self.weight(f"{name}.weight", wide, features, scale=scale)
        self._add(Node(name=full, op="MatMul", inputs=(x, matrix), outputs=(full,)))
        if not bias:
            return full
        return self.op("Add", full, self.weight(f"{name}.bias", features, scale=0.01),
                       name=f"{name}.add")  # fmt: skip

    def _reserve(self, name: str) -> str:
        """Take a node name that weights hang on: it must be free, a suffix would part them."""
        full = self._fresh(name)
        if full != self.path(name):
            raise ModelError(f"{self.name}: layer {self.path(name)!r}", found="a second one",
                             wanted="unique layer names", fix="use a scope")  # fmt: skip
        return full

    def batch_norm(
        self, x: str, *, gamma: float = 1.0, epsilon: float = 1e-5, name: str = "bn"
    ) -> str:
        """Normalise channels with stored statistics; `gamma` is the mean of the scales.

        A residual branch ends with a small `gamma`: with statistics that nobody has fitted, the
        sum of many branches would otherwise grow as a power of depth.
        """
        channels = self.size(x, 1)
        return self.op(
            "BatchNormalization", x,
            self.weight(f"{name}.weight", channels, mean=gamma, scale=0.1 * gamma),
            self.weight(f"{name}.bias", channels, scale=0.1 * gamma),
            self.weight(f"{name}.running_mean", channels, scale=0.1),
            self.weight(f"{name}.running_var", channels, mean=1.0, scale=0.1, positive=True),
            name=name, epsilon=epsilon,
        )  # fmt: skip

    def layer_norm(self, x: str, *, epsilon: float = 1e-5, name: str = "norm") -> str:
        """Normalise the last axis with learned scale and bias."""
        wide = self.size(x, -1)
        return self.op(
            "LayerNormalization", x, self.weight(f"{name}.weight", wide, mean=1.0, scale=0.1),
            self.weight(f"{name}.bias", wide, scale=0.1), name=name, axis=-1, epsilon=epsilon,
        )  # fmt: skip

    def rms_norm(self, x: str, *, epsilon: float = 1e-6, name: str = "norm") -> str:
        """Divide by the root mean square of the last axis, with a learned scale."""
        scale = self.weight(f"{name}.weight", self.size(x, -1), mean=1.0, scale=0.1)
        return self.op("RMSNormalization", x, scale, name=name, axis=-1, epsilon=epsilon)

    def embedding(
        self, ids: str, rows: int, wide: int, *, scale: float = 1.0, name: str = "embedding"
    ) -> str:
        """Look rows of a table up by whole numbers."""
        table = self.weight(f"{name}.weight", rows, wide, scale=scale)
        return self.op("Gather", table, ids, name=name, axis=0)

    def relu(self, x: str, name: str = "relu") -> str:
        return self.op("Relu", x, name=name)

    def add(self, a: str, b: str, name: str = "add") -> str:
        return self.op("Add", a, b, name=name)

    def concat(self, *tensors: str, axis: int = 1, name: str = "concat") -> str:
        return self.op("Concat", *tensors, name=name, axis=axis)

    def max_pool(
        self, x: str, kernel: Size, *, stride: Size | None = None, padding: Size = 0,
        ceil: bool = False, name: str = "pool",
    ) -> str:  # fmt: skip
        """Take the maximum of windows; the stride defaults to the kernel."""
        rank = len(self.shape(x)) - 2
        pads = _spread(padding, rank)
        return self.op(
            "MaxPool", x, name=name, kernel_shape=_spread(kernel, rank),
            strides=_spread(kernel if stride is None else stride, rank), pads=pads + pads,
            ceil_mode=int(ceil),
        )  # fmt: skip

    def average_pool(
        self, x: str, kernel: Size, *, stride: Size | None = None, padding: Size = 0,
        name: str = "pool",
    ) -> str:  # fmt: skip
        """Average windows, padding counted as zeros; the stride defaults to the kernel."""
        rank = len(self.shape(x)) - 2
        pads = _spread(padding, rank)
        return self.op(
            "AveragePool", x, name=name, kernel_shape=_spread(kernel, rank),
            strides=_spread(kernel if stride is None else stride, rank), pads=pads + pads,
            count_include_pad=1,
        )  # fmt: skip

    def global_pool(self, x: str, name: str = "avgpool") -> str:
        """Average over all positions and drop them: [batch, channels, …] -> [batch, channels]."""
        return self.flatten(self.op("GlobalAveragePool", x, name=name))

    def flatten(self, x: str, name: str = "flatten") -> str:
        return self.op("Flatten", x, name=name, axis=1)

    def reshape(self, x: str, *sizes: int, name: str = "reshape") -> str:
        """Reshape; 0 keeps a dimension and -1 takes what is left, as in ONNX."""
        shape = self.constant(np.array(sizes, np.int64), f"{name}.shape")
        return self.op("Reshape", x, shape, name=name)

    def transpose(self, x: str, *axes: int, name: str = "transpose") -> str:
        return self.op("Transpose", x, name=name, perm=axes)

    def slice(self, x: str, axis: int, start: int, stop: int, name: str = "slice") -> str:
        """Take positions start … stop - 1 of one axis."""
        bounds = [
            self.constant(np.array([value], np.int64), f"{name}.{label}")
            for label, value in (("start", start), ("stop", stop), ("axis", axis))
        ]
        return self.op("Slice", x, *bounds, name=name)

    def select(self, x: str, axis: int, index: int, name: str = "select") -> str:
        """Take one position of an axis and drop the axis."""
        position = self.constant(np.array(index, np.int64), f"{name}.index")
        return self.op("Gather", x, position, name=name, axis=axis)

    # -- the end ---------------------------------------------------------------------------

    def finish(
        self, outputs: Mapping[str, str], *, states: Mapping[str, str] | None = None,
    ) -> Graph:  # fmt: skip
        """Return the graph, all types inferred.

        Parameters
        ----------
        outputs : name to show -> tensor
        states : resident input -> name of the output with its next value
        """
        renamed = {tensor: name for name, tensor in outputs.items()}

        def names(tensors: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(renamed.get(tensor, tensor) for tensor in tensors)

        return Graph(
            name=self.name,
            nodes=tuple(
                replace(node, inputs=names(node.inputs), outputs=names(node.outputs))
                for node in self._nodes
            ),
            inputs=tuple(self._inputs),
            outputs=tuple(outputs),
            types={renamed.get(tensor, tensor): type_ for tensor, type_ in self._types.items()},
            constants=self._constants,
            states=dict(states or {}),
            metadata=self._metadata,
        ).infer()


def _spread(size: Size, rank: int) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,) * rank
