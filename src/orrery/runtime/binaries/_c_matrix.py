"""Matrix products as plain loops in C."""

from __future__ import annotations

from ._c_text import Operand, Step, Writer, emitter, number
from ._style import CStyle


def broadcast(operand: Operand, counters: tuple[str, ...]) -> str:
    """Return an operand's element where its axes of size 1 stretch over the counters."""
    last = counters[len(counters) - len(operand.shape) :] if operand.shape else ()
    indices = ("0" if size == 1 else c for c, size in zip(last, operand.shape, strict=True))
    return operand.at(*indices)


@emitter("Gemm")
def _gemm(w: Writer, step: Step, style: CStyle) -> None:
    a, b, c, y = step.input(0), step.input(1), step.optional(2), step.output
    turned, swapped = bool(step.attribute("transA", 0)), bool(step.attribute("transB", 0))
    alpha, beta = float(step.attribute("alpha", 1.0)), float(step.attribute("beta", 1.0))
    depth = a.shape[0] if turned else a.shape[1]

    def start(counters: tuple[str, ...]) -> str:
        if c is None:
            return "0.0f"
        text = broadcast(c, counters)
        return text if beta == 1.0 else f"{number(beta)} * {text}"

    def product(m: str, n: str, k: str) -> str:
        left = a.at(k, m) if turned else a.at(m, k)
        right = b.at(n, k) if swapped else b.at(k, n)
        return f"{left} * {right}"

    if style.sums == "memory" and alpha == 1.0:
        with w.loops(["m", "n"], y.shape) as at:
            w.line(f"{y.at(*at)} = {start(at)};")
        with w.loops(["m", "n", "k"], (*y.shape, depth)) as (m, n, k):
            w.line(f"{y.at(m, n)} += {product(m, n, k)};")
        return
    with w.loops(["m", "n"], y.shape) as (m, n):
        w.line(f"float sum = {start((m, n)) if alpha == 1.0 else '0.0f'};")
        with w.loops(["k"], [depth]) as (k,):
            w.line(f"sum += {product(m, n, k)};")
        scaled = "sum" if alpha == 1.0 else f"{number(alpha)} * sum + {start((m, n))}"
        w.line(f"{y.at(m, n)} = {scaled};")


@emitter("MatMul")
def _matmul(w: Writer, step: Step, style: CStyle) -> None:
    a, b, y = step.input(0), step.input(1), step.output
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise step.refusal("a vector")
    outer = len(y.shape) - 2
    names = [*(f"b{i}" for i in range(outer)), "m", "n"]
    batch_a = Operand(name=a.name, shape=a.shape)
    with w.loops(names, y.shape) as (*batch, m, n):
        w.line("float sum = 0.0f;")
        with w.loops(["k"], [a.shape[-1]]) as (k,):
            left = _stretched(batch_a, tuple(batch), (m, k))
            right = _stretched(b, tuple(batch), (k, n))
            w.line(f"sum += {left} * {right};")
        w.line(f"{y.at(*batch, m, n)} = sum;")


def _stretched(operand: Operand, batch: tuple[str, ...], matrix: tuple[str, str]) -> str:
    axes = len(operand.shape) - 2
    last = batch[len(batch) - axes :] if axes else ()
    picked = ("0" if size == 1 else c for c, size in zip(last, operand.shape[:-2], strict=True))
    return operand.at(*picked, *matrix)
