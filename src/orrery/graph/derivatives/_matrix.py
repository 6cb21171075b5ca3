"""Derivatives of matrix products: products again, of the same number of MACs each.

Judge: PyTorch's gradients.
"""

from __future__ import annotations

from typing import Any

from .._derive import DerivativeContext, derivative
from ..operators._matrix import equation_terms


def _swapped(c: DerivativeContext, x: str) -> str:
    rank = len(c.shape(x))
    return c.emit("Transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))


@derivative("MatMul")
def matmul(c: DerivativeContext) -> list[str | None]:
    """dA = G Bᵀ, dB = Aᵀ G, added up over axes that were broadcast; vectors become matrices."""
    a, b = c.inputs
    first, second = c.shape(a), c.shape(b)
    g = c.gradient
    shape = list(c.shape(g))
    if len(first) == 1:
        a = c.reshape(a, (1, *first))
        shape.insert(len(shape) if len(second) == 1 else len(shape) - 1, 1)
    if len(second) == 1:
        b = c.reshape(b, (*second, 1))
        shape.append(1)
    g = c.reshape(g, shape)
    da = db = None
    if c.needs(0):
        da = c.summed_to(c.emit("MatMul", g, _swapped(c, b)), c.shape(a))
        da = c.reshape(da, first)
    if c.needs(1):
        wide = len(second) <= 2 and len(c.shape(a)) > 2
        if wide:
            # One product over all rows, where the factor is shared by a batch of matrices.
            rows = c.reshape(a, (_rows(c.shape(a)), c.shape(a)[-1]))
            flat = c.reshape(g, (_rows(c.shape(g)), c.shape(g)[-1]))
            db = c.emit("MatMul", _swapped(c, rows), flat)
        else:
            db = c.summed_to(c.emit("MatMul", _swapped(c, a), g), c.shape(b))
        db = c.reshape(db, second)
    return [da, db]


def _rows(shape: tuple[int, ...]) -> int:
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows


@derivative("Gemm")
def gemm(c: DerivativeContext) -> list[str | None]:
    """dA = alpha G Bᵀ, dB = alpha Aᵀ G, with the operands in the order that transposing asks."""
    a, b = c.inputs[0], c.inputs[1]
    g, alpha, beta = c.gradient, float(c.attribute("alpha")), float(c.attribute("beta"))
    across, down = int(c.attribute("transA", 0)), int(c.attribute("transB", 0))
    scale: dict[str, Any] = {} if alpha == 1 else {"alpha": alpha}
    da = db = dc = None
    if c.needs(0):
        if across:
            da = c.emit("Gemm", b, g, transA=down, transB=1, **scale)
        else:
            da = c.emit("Gemm", g, b, transB=1 - down, **scale)
    if c.needs(1):
        if down:
            db = c.emit("Gemm", g, a, transA=1, transB=across, **scale)
        else:
            db = c.emit("Gemm", a, g, transA=1 - across, **scale)
    if c.needs(2):
        dc = c.summed(g if beta == 1 else c.emit("Mul", g, beta), 2)
    return [da, db, dc]


@derivative("Einsum")
def einsum(c: DerivativeContext) -> list[str | None]:
    """The gradient of one operand is a summation of the output's gradient with all the others.

    A label that only this operand has was summed over there: its gradient is spread along it.
    """
    shapes = [c.shape(x) for x in c.inputs]
    terms, result = equation_terms(str(c.attribute("equation")), [len(s) for s in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes):
        for label, size in zip(term, shape):
            sizes[label] = max(size, sizes.get(label, 1))
    letters = {label: chr(ord("a") + i) if i < 26 else chr(ord("A") + i - 26)
               for i, label in enumerate(sizes)}  # fmt: skip
    gradients: list[str | None] = []
    for index, (term, shape) in enumerate(zip(terms, shapes)):
        if not c.needs(index):
            gradients.append(None)
            continue
        if len(set(term)) < len(term):
            raise c.error(f"a repeated label in term {index}", "different labels in a term",
                          "take the diagonal before")  # fmt: skip
        others = [i for i in range(len(terms)) if i != index]
        present = {label for i in others for label in terms[i]} | set(result)
        # Sizes of 1 that were broadcast are added up: they are left out of the output.
        kept = [t for t, n in zip(term, shape) if t in present and (n == sizes[t] or n != 1)]
        left = [result, *(terms[i] for i in others)]
        equation = ",".join("".join(letters[t] for t in part) for part in left)
        equation += "->" + "".join(letters[t] for t in kept)
        operands = [c.gradient, *(c.inputs[i] for i in others)]
        g = c.emit("Einsum", *operands, equation=equation)
        g = c.reshape(g, [n if t in kept else 1 for t, n in zip(term, shape)])
        gradients.append(c.expand(g, shape))
    return gradients
