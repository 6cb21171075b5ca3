"""The node tests that the `onnx` package generates: which of them concern us, and how to judge one.

Judge: ONNX's own expected outputs, within each case's own tolerances.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from orrery.graph import Graph, TensorType, graph_from_bytes, numpy_dtype

#: Operators whose outputs are random: nobody can expect them.
RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
          "Multinomial"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One generated case; `excluded` says why it does not concern us, or is empty."""

    name: str
    model: Any
    data_sets: Any
    rtol: float
    atol: float
    excluded: str


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Return every generated case, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    cases = [
        Case(
            name=case.name,
            model=case.model,
            data_sets=case.data_sets,
            rtol=case.rtol,
            atol=case.atol,
            excluded=_excluded(case.model),
        )
        for case in found
    ]
    return tuple(sorted(cases, key=lambda case: case.name))


def included_cases() -> tuple[Case, ...]:
    """Return the cases of the standard domain that concern us."""
    return tuple(case for case in all_cases() if not case.excluded)


def _excluded(model: Any) -> str:
    graph = model.graph
    nodes = [*_nodes(graph)]
    for function in model.functions:
        nodes += function.node
    for node in nodes:
        if node.domain not in ("", "ai.onnx") and not model.functions:
            return f"domain {node.domain}"
    values = [*graph.input, *graph.output, *graph.value_info]
    kinds = {value.type.WhichOneof("value") for value in values}
    if kinds & {"sequence_type", "optional_type", "map_type", "sparse_tensor_type"}:
        return "sequences and optional values"
    if any(n.op_type.startswith(("Sequence", "Optional", "SplitToSeq")) for n in nodes):
        return "sequences and optional values"
    if any(v.type.tensor_type.elem_type == onnx.TensorProto.STRING for v in values):
        return "strings"
    if any(node.op_type in RANDOM for node in nodes):
        return "random values"
    return ""


def _nodes(graph: Any) -> Any:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def run(case: Case, *, rtol: float = 0.0) -> None:
    """Read, infer, evaluate and compare one case; `rtol` widens the case's own tolerance.

    Raises
    ------
    Exception : whatever goes wrong; AssertionError for a wrong value or type
    """
    graph = graph_from_bytes(_restamped(case.model).SerializeToString(), case.name)
    for given, expected in case.data_sets:
        arrays = [_array(value) for value in given]
        names = [info.name for info in case.model.graph.input]
        # Inputs that are initializers, too, are constants to us.
        inputs = {n: a for n, a in zip(names, arrays, strict=False) if n in graph.inputs}
        results = graph.evaluate(inputs)
        for info, want in zip(case.model.graph.output, expected, strict=True):
            compare(results[info.name], _array(want), rtol=max(rtol, case.rtol), atol=case.atol)
            check_type(graph, info.name, results[info.name])


def _restamped(model: Any) -> Any:
    """Return the model at opset 11 when it says less: its operators are still those of 11."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version < 11:
            schema = onnx.defs.get_schema
            names = {node.op_type for node in model.graph.node}
            if all(
                schema(name, entry.version).since_version == schema(name, 11).since_version
                for name in names
            ):
                model = onnx.ModelProto.FromString(model.SerializeToString())
                for again in model.opset_import:
                    if again.domain in ("", "ai.onnx"):
                        again.version = 11
    return model


def _array(value: Any) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value)


def compare(found: np.ndarray, want: np.ndarray, *, rtol: float, atol: float) -> None:
    """Compare two tensors: types and shapes exactly, real numbers within the tolerances."""
    assert found.dtype == want.dtype, f"{found.dtype} where {want.dtype} is wanted"
    assert found.shape == want.shape, f"shape {found.shape} where {want.shape} is wanted"
    if want.dtype.kind in "biuSUO":
        np.testing.assert_array_equal(found, want)
    elif want.dtype.kind == "c":
        np.testing.assert_allclose(found, want, rtol=rtol, atol=atol)
    else:
        if want.dtype.name == "bfloat16":  # ONNX's own runner allows two units in the last place
            rtol = max(rtol, 2**-6)
        np.testing.assert_allclose(
            found.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol
        )


def check_type(graph: Graph, name: str, value: np.ndarray) -> None:
    """Refuse an inferred type that the value contradicts."""
    type_: TensorType = graph.type(name)
    assert value.dtype == numpy_dtype(type_.dtype), f"{type_} inferred, {value.dtype} found"
    assert value.ndim == type_.rank, f"{type_} inferred, shape {value.shape} found"
    for said, is_ in zip(type_.shape, value.shape, strict=True):
        assert isinstance(said, str) or said == is_, f"{type_} inferred, shape {value.shape} found"
