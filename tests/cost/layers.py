"""Layers of one node, on whole numbers where the operator allows it, for the sharding algebra."""

from __future__ import annotations

import numpy as np

from orrery.cost import Layout, Sharding, combining, transitions
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType


def layer(
    op: str, *shapes: tuple[int, ...], weights: tuple[int, ...] = (), outputs: int = 1,
    dtype: str = "int64", seed: int = 0, values: dict[int, object] | None = None,
    inputs: tuple[str, ...] | None = None, domain: str = "", **attributes: object,
) -> Region:  # fmt: skip
    """One node; the inputs at the positions in `weights` (and in `values`) are constants."""
    rng = np.random.default_rng(seed)
    names = inputs or tuple(f"x{i}" for i in range(len(shapes)))
    constants, types = {}, {}
    for i, (name, shape) in enumerate(zip(names, shapes)):
        if not name:
            continue
        if values and i in values:
            constants[name] = ArrayConstant(np.asarray(values[i]))
        elif i in weights:
            constants[name] = ArrayConstant(_numbers(rng, shape, dtype))
        types[name] = (constants[name].type if name in constants
                       else TensorType(dtype=dtype, shape=shape))  # fmt: skip
    made = tuple(f"y{i}" for i in range(outputs))
    node = Node(name=op.lower(), op=op, inputs=names, outputs=made, domain=domain,
                attributes=attributes)  # fmt: skip
    free = tuple(dict.fromkeys(n for n in names if n and n not in constants))
    graph = Graph(name="layer", nodes=(node,), inputs=free, outputs=made, types=types,
                  constants=constants).infer()  # fmt: skip
    return graph.regions()[0]


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype.startswith("float"):
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(-9, 10, shape).astype(dtype)


def random_inputs(region: Region, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    graph = region.graph
    return {n: _numbers(rng, graph.type(n).sizes, graph.type(n).dtype) for n in graph.inputs}


#: name -> region: what the algebra must split rightly
LAYERS: dict[str, Region] = {
    "conv": layer("Conv", (2, 8, 9, 8), (8, 8, 3, 3), (8,), weights=(1, 2), pads=(1, 1, 1, 1)),
    "conv-stride": layer("Conv", (1, 8, 19, 17), (16, 8, 3, 3), weights=(1,), pads=(0, 1, 1, 0),
                         strides=(2, 2)),
    "conv-dilation": layer("Conv", (1, 4, 16, 18), (8, 4, 3, 2), (8,), weights=(1, 2),
                           dilations=(2, 3), pads=(2, 1, 3, 2)),
    "conv-same": layer("Conv", (8, 3, 11, 10), (4, 3, 5, 4), weights=(1,), auto_pad="SAME_LOWER",
                       strides=(1, 2)),
    "conv-groups": layer("Conv", (2, 16, 9, 8), (24, 2, 3, 3), (24,), weights=(1, 2), group=8,
                         pads=(1, 1, 1, 1)),
    "conv-two-inputs": layer("Conv", (2, 8, 8, 8), (8, 8, 1, 1), (8,)),
    "conv-all-padding": layer("Conv", (1, 4, 4, 4), (4, 4, 1, 1), weights=(1,), pads=(6, 0, 6, 0)),
    "conv-1d": layer("Conv", (2, 8, 33), (8, 8, 5), (8,), weights=(1, 2), strides=(3,)),
    "conv-3d": layer("Conv", (1, 4, 8, 5, 6), (4, 4, 2, 3, 1), weights=(1,),
                     pads=(0, 1, 0, 1, 1, 0)),
    "max-pool": layer("MaxPool", (2, 8, 17, 19), kernel_shape=(3, 2), strides=(2, 2),
                      pads=(1, 0, 1, 1), ceil_mode=1),
    "average-pool": layer("AveragePool", (2, 8, 12, 16), dtype="float64", kernel_shape=(3, 3),
                          pads=(1, 1, 1, 1), ceil_mode=1, strides=(2, 2)),
    "average-pool-padded": layer("AveragePool", (2, 8, 12, 16), dtype="float64",
                                 kernel_shape=(3, 3), pads=(1, 1, 1, 1), count_include_pad=1),
    "global-pool": layer("GlobalMaxPool", (4, 8, 5, 5)),
    "matmul": layer("MatMul", (12, 16), (16, 9), weights=(1,)),
    "matmul-batched": layer("MatMul", (2, 1, 9, 8), (4, 8, 10)),
    "matmul-itself": layer("MatMul", (8, 8), (8, 8), inputs=("x", "x")),
    "gemm": layer("Gemm", (16, 10), (12, 16), (12,), weights=(1, 2), transA=1, transB=1),
    "gemm-matrix": layer("Gemm", (9, 16), (16, 8), (9, 1), weights=(1,)),
    "add-broadcast": layer("Add", (2, 8, 1, 9), (8, 9, 1)),
    "square": layer("Mul", (8, 9), (8, 9), inputs=("x", "x")),
    "clip": layer("Clip", (8, 9), (), (), weights=(1,), inputs=("x0", "x1"), values={1: 2}),
    "relu": layer("Relu", (4, 8, 9)),
    "transpose": layer("Transpose", (4, 8, 9), perm=(2, 0, 1)),
    "concat": layer("Concat", (4, 8, 9), (4, 3, 9), axis=1),
    "flatten": layer("Flatten", (2, 6, 4, 5), axis=1),
    "reshape-heads": layer("Reshape", (2, 9, 32), (4,), values={1: [2, 9, 8, 4]}),
    "reshape-joined": layer("Reshape", (2, 9, 8, 4), (2,), values={1: [-1, 32]}),
    "dropout": layer("Dropout", (8, 9), dtype="float32"),
    "squeeze": layer("Squeeze", (1, 8, 1, 9), (2,), values={1: [0, 2]}),
    "unsqueeze": layer("Unsqueeze", (8, 9), (2,), values={1: [0, 2]}),
    "reduce-sum": layer("ReduceSum", (8, 9, 16), (2,), values={1: [1, -1]}, keepdims=0),
    "reduce-max": layer("ReduceMax", (8, 9, 8), (1,), values={1: [1]}),
    "softmax": layer("Softmax", (4, 8, 9), dtype="float64", axis=1),
    "layer-norm": layer("LayerNormalization", (8, 9, 10), (10,), (10,), weights=(1, 2), outputs=3,
                        dtype="float32"),
    "layer-norm-wide": layer("LayerNormalization", (8, 9, 10), (8, 1, 10), dtype="float32"),
    "batch-norm": layer("BatchNormalization", (4, 8, 9), *[(8,)] * 4, weights=(1, 2, 3),
                        values={4: np.arange(1.0, 9.0)}, dtype="float64"),
    "attention": layer("Attention", (2, 8, 9, 4), (2, 8, 12, 4), (2, 8, 12, 6), dtype="float64"),
    "attention-packed": layer("Attention", (2, 8, 64), (2, 12, 32), (2, 12, 16), (1, 16, 8, 12),
                              dtype="float64", q_num_heads=16, kv_num_heads=8),
    "attention-cache": layer("Attention", (2, 16, 3, 4), (2, 8, 3, 4), (2, 8, 3, 4),
                             (), (2, 8, 5, 4), (2, 8, 5, 4), outputs=3, dtype="float64",
                             inputs=("q", "k", "v", "", "pk", "pv"), is_causal=1),
}  # fmt: skip


def formula(
    sharding: Sharding, arrivals: dict[str, Layout] | None = None
) -> dict[tuple[str, int, int], tuple[int, int]]:
    """(kind of phase, source, target) -> messages and bytes that the sharding announces."""
    changes = (*transitions(sharding, arrivals), *combining(sharding))
    phases = [phase for change in changes for phase in change.phases] + list(sharding.rotation)
    table: dict[tuple[str, int, int], tuple[int, int]] = {}
    for phase in phases:
        for m in phase.messages:
            count, size = table.get((phase.kind, m.source, m.target), (0, 0))
            table[phase.kind, m.source, m.target] = (count + 1, size + m.size_bytes)
    return table
