"""A single-node model through ONNX Runtime, for comparison with our reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator_kit import apply


def by_onnxruntime(
    op: str, arrays: list[Any], outputs: int = 1, opset: int = 22, **attributes: Any
) -> list[np.ndarray]:
    """Run one node; an absent input is None."""
    import onnxruntime
    from onnx import helper

    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays, strict=True)
            if a is not None
        ],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {n: a for n, a in zip(names, arrays, strict=True) if a is not None})


def agree(
    op: str, arrays: list[Any], *, outputs: int = 1, opset: int = 22, rtol: float = 1e-4,
    atol: float = 1e-4, **attributes: Any,
) -> None:  # fmt: skip
    """Our reference (and its shape rule) and ONNX Runtime give the same."""
    arrays = [None if a is None else np.asarray(a) for a in arrays]
    theirs = by_onnxruntime(op, arrays, outputs, opset, **attributes)
    ours = apply(op, *arrays, outputs=outputs, **attributes)
    for found, want in zip([ours] if outputs == 1 else ours, theirs, strict=True):
        assert found.dtype == want.dtype
        np.testing.assert_allclose(found, want, rtol=rtol, atol=atol)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)
