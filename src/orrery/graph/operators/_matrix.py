"""Matrix products: dense, general, summation convention, integer and quantised; determinants.

Models:  products accumulated in float32 (narrow floats), in their own type (float64), modulo
         their width (integers), or exactly (8-bit integers, in int32).
Ignores: the order of accumulation; that is BLAS's.
Judge:   ONNX's node tests; NumPy's einsum; closed forms of the counts.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from orrery.errors import ModelError

from .._constant import dtype_name
from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._cast import quantize
from ._rules import Shape, agree, broadcast_shapes, in_float32, quiet

# -- MatMul -----------------------------------------------------------------------------------


def product_shape(context: TypeContext, first: Shape, second: Shape) -> tuple[Shape, Dimension]:
    """Return the shape of a matrix product as `numpy.matmul` defines it, and the summed size.

    Raises
    ------
    ModelError : scalars, inner sizes that differ, or batches that do not broadcast
    """
    if not first or not second:
        raise context.error("a scalar factor", "tensors of rank 1 or more", "use Mul")
    a: Shape = (1, *first) if len(first) == 1 else first
    b: Shape = (*second, 1) if len(second) == 1 else second
    inner = agree(context, a[-1], b[-2], "the summed axis")
    batch = broadcast_shapes(context, [a[:-2], b[:-2]])
    rows = () if len(first) == 1 else (a[-2],)
    columns = () if len(second) == 1 else (b[-1],)
    return (*batch, *rows, *columns), inner


def _infer_matmul(context: TypeContext) -> list[TensorType | None]:
    a, b = context.input(0), context.input(1)
    if a.dtype != b.dtype:
        raise context.error(f"{a.dtype} and {b.dtype}", "one element type", "cast one of them")
    return [TensorType(dtype=a.dtype, shape=product_shape(context, a.shape, b.shape)[0])]


def _macs(context: TypeContext) -> int:
    inner = context.input(0).sizes[-1]
    return context.output().elements * inner


def _count_matmul(context: TypeContext) -> Operations:
    return Operations(macs=_macs(context))


@operator("MatMul", infer=_infer_matmul, count=_count_matmul)
@quiet
@in_float32
def matmul(a: Array, b: Array) -> Array:
    return np.asarray(np.matmul(a, b))


# -- Gemm -------------------------------------------------------------------------------------


def _gemm_sizes(context: TypeContext) -> tuple[Dimension, Dimension, Dimension]:
    a, b = context.input(0), context.input(1)
    if a.rank != 2 or b.rank != 2:
        raise context.error(f"{a} and {b}", "two matrices")
    m, k = a.shape[::-1] if context.attribute("transA", 0) else a.shape
    k2, n = b.shape[::-1] if context.attribute("transB", 0) else b.shape
    return m, agree(context, k, k2, "the summed axis"), n


def _infer_gemm(context: TypeContext) -> list[TensorType | None]:
    m, _, n = _gemm_sizes(context)
    if context.has(2):
        wide = broadcast_shapes(context, [(m, n), context.input(2).shape])
        if len(wide) != 2 or (m == 1 and wide[0] != m) or (n == 1 and wide[1] != n):
            raise context.error(f"C {context.input(2)}", f"a shape that broadcasts to {m}×{n}")
    return [TensorType(dtype=context.input(0).dtype, shape=(m, n))]


def _count_gemm(context: TypeContext) -> Operations:
    """The product's MACs; adding C and scaling by alpha or beta other than 1 count apart."""
    m, n = context.output().sizes
    k = _gemm_sizes(context)[1]
    if not isinstance(k, int):
        raise context.error(f"unbound dimension {k!r}", "a number",
                            f"bind it where an input has it: --shape {k}=8")  # fmt: skip
    others = m * n if context.attribute("alpha", 1.0) != 1.0 else 0
    if context.has(2):
        others += m * n
        if context.attribute("beta", 1.0) != 1.0:
            others += context.input(2).elements
    return Operations(macs=m * k * n, others=others)


@operator("Gemm", infer=_infer_gemm, count=_count_gemm)
@quiet
@in_float32
def gemm(
    a: Array, b: Array, c: Array | None = None, *,
    alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Array:  # fmt: skip
    y = np.matmul(a.T if transA else a, b.T if transB else b)
    if alpha != 1.0:
        y = (alpha * y).astype(a.dtype)
    if c is not None and beta != 0.0:
        y = y + (c if beta == 1.0 else (beta * c).astype(a.dtype))
    return np.asarray(y)


# -- Einsum -----------------------------------------------------------------------------------


def equation_terms(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    """Return the labels of each operand and of the output; broadcast axes are ``...0`` etc.

    ``equation_terms("...ij,jk", [3, 2])`` gives
    ``[["...0", "i", "j"], ["j", "k"]], ["...0", "i", "k"]``.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise ModelError("Einsum", found=equation, wanted=f"{len(ranks)} comma-separated terms",
                         fix="give one term an input")  # fmt: skip
    widths = [r - len(t.replace("...", "")) for t, r in zip(texts, ranks)]
    depth = max((w for t, w in zip(texts, widths) if "..." in t), default=0)
    operands = []
    for text, rank, width in zip(texts, ranks, widths):
        if width < 0 or (width and "..." not in text):
            raise ModelError(
                "Einsum", found=f"{equation}: term {text!r}",
                wanted=f"one letter for each of {rank} axes", fix="correct the equation",
            )  # fmt: skip
        operands.append(_labels(text, [f"...{i}" for i in range(depth - width, depth)]))
    if arrow:
        return operands, _labels(right, [f"...{i}" for i in range(depth)])
    seen = Counter(label for term in operands for label in term if not label.startswith("."))
    once = sorted(label for label, times in seen.items() if times == 1)
    return operands, [*(f"...{i}" for i in range(depth)), *once]


def _labels(text: str, broadcast: list[str]) -> list[str]:
    before, dots, after = text.partition("...")
    return [*before, *(broadcast if dots else []), *after]


def _einsum_sizes(context: TypeContext) -> tuple[dict[str, Dimension], list[str]]:
    types = [context.input(i) for i in range(len(context.inputs))]
    operands, result = equation_terms(context.attribute("equation", ""), [t.rank for t in types])
    sizes: dict[str, Dimension] = {}
    for term, type_ in zip(operands, types):
        for label, size in zip(term, type_.shape):
            old = sizes.get(label, 1)
            sizes[label] = broadcast_shapes(context, [(old,), (size,)])[0]
    missing = [label for label in result if label not in sizes]
    if missing:
        raise context.error(f"output label {missing[0]!r}", "labels of the inputs")
    return sizes, result


def _infer_einsum(context: TypeContext) -> list[TensorType | None]:
    sizes, result = _einsum_sizes(context)
    return [TensorType(dtype=context.input(0).dtype, shape=tuple(sizes[x] for x in result))]


def _count_einsum(context: TypeContext) -> Operations:
    """Count the definition: every combination of labels, one product per further operand.

    With a summed label the last product is a MAC; without one there are only multiplications.
    """
    sizes, result = _einsum_sizes(context)
    total = math.prod(TensorType(dtype="float32", shape=tuple(sizes.values())).sizes)
    operands = len(context.inputs)
    summed = len(result) < len(sizes)
    if operands == 1:
        return Operations(others=total if summed else 0)
    if summed:
        return Operations(macs=total, others=total * (operands - 2))
    return Operations(others=total * (operands - 1))


@operator("Einsum", infer=_infer_einsum, count=_count_einsum)
@quiet
@in_float32
def einsum(*tensors: Array, equation: str = "") -> Array:
    result = np.einsum(equation, *tensors, optimize=len(tensors) > 1)
    return np.asarray(result).astype(tensors[0].dtype, copy=False)


# -- Det --------------------------------------------------------------------------------------


def _infer_det(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    if x.rank < 2:
        raise context.error(f"{x}", "square matrices")
    agree(context, x.shape[-1], x.shape[-2], "rows and columns")
    return [TensorType(dtype=x.dtype, shape=x.shape[:-2])]


def _count_det(context: TypeContext) -> Operations:
    """LU decomposition: n(n-1)(2n-1)/6 MACs, n(n-1)/2 divisions; n-1 products of pivots."""
    n = context.input(0).sizes[-1]
    matrices = context.output().elements
    others = n * (n - 1) // 2 + max(n - 1, 0)
    return Operations(macs=n * (n - 1) * (2 * n - 1) // 6, others=others) * matrices


@operator("Det", infer=_infer_det, count=_count_det)
@quiet
@in_float32
def det(x: Array) -> Array:
    return np.asarray(np.linalg.det(x)).astype(x.dtype)


# -- integer and quantised products -----------------------------------------------------------


def _by_row(parameter: Array) -> Array:
    """A vector holds one element for each row: make it a column."""
    return parameter[:, None] if parameter.ndim == 1 and parameter.size > 1 else parameter


def _shifted(x: Array, zero_point: Array | None, by_row: bool) -> Array:
    """Subtract the zero point; float64 holds all differences and their sums of products."""
    wide = x.astype(np.float64)
    if zero_point is None:
        return wide
    zero = _by_row(zero_point) if by_row else zero_point
    if zero.size == 1:
        zero = zero.reshape(())
    return np.asarray(wide - zero.astype(np.float64))


def _infer_matmul_integer(context: TypeContext) -> list[TensorType | None]:
    shape = product_shape(context, context.input(0).shape, context.input(1).shape)[0]
    return [TensorType(dtype="int32", shape=shape)]


def _count_matmul_integer(context: TypeContext) -> Operations:
    """The product's MACs, and a subtraction an element of a factor with a zero point."""
    others = sum(context.input(i).elements for i in (0, 1) if context.has(i + 2))
    return Operations(macs=_macs(context), others=others)


@operator("MatMulInteger", infer=_infer_matmul_integer, count=_count_matmul_integer)
def matmul_integer(
    a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None
) -> Array:
    left, right = _shifted(a, a_zero_point, True), _shifted(b, b_zero_point, False)
    return np.asarray(np.matmul(left, right)).astype(np.int64).astype(np.int32)


def _infer_qlinear_matmul(context: TypeContext) -> list[TensorType | None]:
    shape = product_shape(context, context.input(0).shape, context.input(3).shape)[0]
    return [TensorType(dtype=context.input(7).dtype, shape=shape)]


def _count_qlinear_matmul(context: TypeContext) -> Operations:
    """MACs, zero points of both factors, and rescale, round, add, saturate for each output."""
    others = context.input(0).elements + context.input(3).elements
    return Operations(macs=_macs(context), others=others + 4 * context.output().elements)


@operator("QLinearMatMul", infer=_infer_qlinear_matmul, count=_count_qlinear_matmul)
@quiet
def qlinear_matmul(
    a: Array, a_scale: Array, a_zero_point: Array,
    b: Array, b_scale: Array, b_zero_point: Array,
    y_scale: Array, y_zero_point: Array,
) -> Array:  # fmt: skip
    product = np.matmul(_shifted(a, a_zero_point, True), _shifted(b, b_zero_point, False))
    rescale = _by_row(a_scale).astype(np.float32) * b_scale.astype(np.float32)
    factor: Array = np.asarray(rescale / _by_row(y_scale).astype(np.float32))
    if factor.size == 1:
        factor = factor.reshape(())
    zero = _by_row(y_zero_point)
    zero = zero.reshape(()) if zero.size == 1 else zero
    result: Array = quantize(np.asarray(product * factor), zero, dtype_name(y_zero_point.dtype))
    return result
