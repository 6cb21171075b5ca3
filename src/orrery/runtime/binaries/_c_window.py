"""Convolutions and pooling as plain loops in C, on one to three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from ._c_text import Operand, Step, Writer, emitter, flat, number
from ._style import CStyle

_SAME = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """How a window moves, per spatial axis."""

    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.sizes)

    def reach(self, axis: int) -> int:
        """Return the last position that a window touches, counted from the image's begin."""
        return (
            (self.outputs[axis] - 1) * self.strides[axis]
            + (self.kernel[axis] - 1) * self.dilations[axis]
            - self.begins[axis]
        )

    def leaves(self, axis: int) -> bool:
        """Whether some window reaches beyond the image on an axis."""
        return self.begins[axis] > 0 or self.reach(axis) >= self.sizes[axis]

    @property
    def padded(self) -> bool:
        return any(self.leaves(axis) for axis in range(self.rank))


def _window(step: Step, kernel: Sequence[int]) -> _Window:
    sizes, rank = step.input(0).shape[2:], len(kernel)
    strides = tuple(step.attribute("strides", (1,) * rank))
    dilations = tuple(step.attribute("dilations", (1,) * rank))
    pads = tuple(step.attribute("pads", (0,) * 2 * rank))
    auto = step.attribute("auto_pad", "NOTSET")
    outputs = step.output.shape[2:]
    if any(p < 0 for p in pads):
        raise step.refusal("negative padding")
    if auto == "VALID":
        pads = (0,) * 2 * rank
    begins, ends = pads[:rank], pads[rank:]
    if auto in _SAME:
        totals = [
            max((o - 1) * s + d * (k - 1) + 1 - size, 0)
            for o, s, d, k, size in zip(outputs, strides, dilations, kernel, sizes, strict=True)
        ]
        small = tuple(t // 2 for t in totals)
        large = tuple(t - t // 2 for t in totals)
        begins, ends = (small, large) if auto == "SAME_UPPER" else (large, small)
    return _Window(
        sizes=tuple(sizes), outputs=tuple(outputs), kernel=tuple(kernel), strides=strides,
        dilations=dilations, begins=begins, ends=ends,
    )  # fmt: skip


def _canvas(w: Writer, x: Operand, window: _Window, fill: str) -> tuple[Operand, _Window]:
    """Copy the image onto a canvas that holds all windows; returns it and the window on it."""
    rank = window.rank
    sizes = tuple(max(window.sizes[a], window.reach(a) + 1) + window.begins[a] for a in range(rank))
    canvas = Operand(name="canvas", shape=(*x.shape[:2], *sizes))
    w.line(f"static float canvas[{canvas.elements}];")
    w.line(f"for (int i = 0; i < {canvas.elements}; i++) canvas[i] = {fill};")
    names = ["n", "c", *(f"p{a}" for a in range(rank))]
    with w.loops(names, x.shape) as counters:
        moved = [
            f"{counter} + {begin}" if begin and counter != "0" else counter if not begin else
            str(begin)
            for counter, begin in zip(counters[2:], window.begins, strict=True)
        ]  # fmt: skip
        w.line(f"{canvas.at(*counters[:2], *moved)} = {x.at(*counters)};")
    zeros = (0,) * rank
    return canvas, replace(window, sizes=sizes, begins=zeros, ends=zeros)


def _position(counter: str, stride: int, tap: str, dilation: int, begin: int) -> str:
    parts = []
    for name, factor in ((counter, stride), (tap, dilation)):
        if name != "0":
            parts.append(name if factor == 1 else f"{name} * {factor}")
    text = " + ".join(parts) or "0"
    return f"{text} - {begin}" if begin else text


@contextmanager
def _taps(
    w: Writer, window: _Window, outer: Sequence[str]
) -> Iterator[tuple[list[str], list[str]]]:
    """Write the loops over a window; yields taps and positions, guarded where they may leave."""
    rank = window.rank
    with w.loops([f"k{a}" for a in range(rank)], window.kernel) as taps:
        positions, guards = [], []
        for a in range(rank):
            text = _position(
                outer[a], window.strides[a], taps[a], window.dilations[a], window.begins[a]
            )
            if window.leaves(a):
                w.line(f"int i{a} = {text};")
                guards += [f"i{a} >= 0", f"i{a} < {window.sizes[a]}"]
                text = f"i{a}"
            positions.append(text)
        with _guarded(w, guards):
            yield list(taps), positions


def _guarded(w: Writer, guards: list[str]) -> AbstractContextManager[None]:
    """Return the block that is done where all guards hold; without any it is no block."""
    return w.block(f"if ({' && '.join(guards)})") if guards else nullcontext()


def _join(group: str, per_group: int, inner: str) -> str:
    """Return the channel of a group's inner one."""
    if group == "0":
        return inner
    head = group if per_group == 1 else f"{group} * {per_group}"
    return head if inner == "0" else f"{head} + {inner}"


@emitter("Conv")
def _conv(w: Writer, step: Step, style: CStyle) -> None:
    x, weight, bias, y = step.input(0), step.input(1), step.optional(2), step.output
    groups = int(step.attribute("group", 1))
    window = _window(step, weight.shape[2:])
    if style.padding == "copy" and window.padded:
        x, window = _canvas(w, x, window, "0.0f")
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    names = ["n", "g", "o", *(f"y{a}" for a in range(window.rank))]
    extents = (x.shape[0], groups, outputs, *window.outputs)

    def start(out: str) -> str:
        return f"{bias.name}[{out}]" if bias is not None else "0.0f"

    if style.sums == "memory":
        with w.loops(names, extents) as (n, g, o, *at):
            out = _join(g, outputs, o)
            w.line(f"{y.at(n, out, *at)} = {start(out)};")
    with w.loops(names, extents) as (n, g, o, *at):
        out = _join(g, outputs, o)
        total = y.at(n, out, *at)
        if style.sums == "register":
            w.line(f"float sum = {start(out)};")
        with w.loops(["c"], [inputs]) as (c,), _taps(w, window, at) as (taps, positions):
            read = x.at(n, _join(g, inputs, c), *positions)
            target = "sum" if style.sums == "register" else total
            w.line(f"{target} += {read} * {weight.at(out, c, *taps)};")
        if style.sums == "register":
            w.line(f"{total} = sum;")


@emitter("ConvTranspose")
def _conv_transpose(w: Writer, step: Step, style: CStyle) -> None:
    x, weight, bias, y = step.input(0), step.input(1), step.optional(2), step.output
    groups = int(step.attribute("group", 1))
    if step.attribute("auto_pad", "NOTSET") in _SAME or step.attribute("output_shape", None):
        raise step.refusal("padding that follows from the output's shape")
    rank = len(x.shape) - 2
    kernel, sizes = weight.shape[2:], y.shape[2:]
    strides = tuple(step.attribute("strides", (1,) * rank))
    dilations = tuple(step.attribute("dilations", (1,) * rank))
    begins = tuple(step.attribute("pads", (0,) * 2 * rank))[:rank]
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    with w.loops(["n", "o", *(f"y{a}" for a in range(rank))], y.shape) as (n, o, *at):
        start = f"{bias.name}[{o}]" if bias is not None else "0.0f"
        w.line(f"{y.at(n, o, *at)} = {start};")
    names = ["n", "g", "c", *(f"y{a}" for a in range(rank)), "o"]
    names += [f"k{a}" for a in range(rank)]
    extents = (x.shape[0], groups, inputs, *x.shape[2:], outputs, *kernel)
    with w.loops(names, extents) as counters:
        (n, g, c), here = counters[:3], counters[3 : 3 + rank]
        o, taps = counters[3 + rank], counters[4 + rank :]
        positions, guards = [], []
        for a in range(rank):
            text = _position(here[a], strides[a], taps[a], dilations[a], begins[a])
            last = (x.shape[2 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] - begins[a]
            if begins[a] or last >= sizes[a]:
                w.line(f"int i{a} = {text};")
                guards += [f"i{a} >= 0", f"i{a} < {sizes[a]}"]
                text = f"i{a}"
            positions.append(text)
        out, read = _join(g, outputs, o), _join(g, inputs, c)
        with _guarded(w, guards):
            w.line(f"{y.at(n, out, *positions)} += "
                   f"{x.at(n, read, *here)} * {weight.at(read, o, *taps)};")  # fmt: skip


@emitter("MaxPool", "GlobalMaxPool")
def _max_pool(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    window = _pool_window(step)
    if style.padding == "copy" and window.padded:
        x, window = _canvas(w, x, window, "-INFINITY")
    with w.loops(["n", "c", *(f"y{a}" for a in range(window.rank))], y.shape) as (n, c, *at):
        w.line("float best = -INFINITY;")
        with _taps(w, window, at) as (_, positions):
            w.line(f"float v = {x.at(n, c, *positions)};")
            w.line("if (v > best) best = v;")
        w.line(f"{y.at(n, c, *at)} = best;")


@emitter("AveragePool", "GlobalAveragePool")
def _average_pool(w: Writer, step: Step, style: CStyle) -> None:
    x, y = step.input(0), step.output
    window = _pool_window(step)
    whole = bool(step.attribute("count_include_pad", 0)) or not window.padded
    if whole and any(
        window.reach(a) >= window.sizes[a] + window.ends[a] for a in range(window.rank)
    ):
        raise step.refusal("windows that overhang the padding and count it")
    if style.padding == "copy" and window.padded and whole:
        x, window = _canvas(w, x, window, "0.0f")
    area = math.prod(window.kernel)
    with w.loops(["n", "c", *(f"y{a}" for a in range(window.rank))], y.shape) as (n, c, *at):
        w.line("float sum = 0.0f;")
        if not whole:
            w.line("int count = 0;")
        with _taps(w, window, at) as (_, positions):
            w.line(f"sum += {x.at(n, c, *positions)};")
            if not whole:
                w.line("count++;")
        w.line(f"{y.at(n, c, *at)} = sum / {number(area) if whole else '(float)count'};")


def _pool_window(step: Step) -> _Window:
    if step.node.op.startswith("Global"):
        return _window(step, step.input(0).shape[2:])
    if len([name for name in step.node.outputs if name]) > 1:
        raise step.refusal("a second output")
    return _window(step, tuple(step.attribute("kernel_shape", ())))


@emitter("LRN")
def _lrn(w: Writer, step: Step, style: CStyle) -> None:
    """x / (bias + alpha / size · Σ x²) ^ beta over a window of channels."""
    x, y = step.input(0), step.output
    size = int(step.attribute("size", 1))
    below, above = (size - 1) // 2, size - 1 - (size - 1) // 2
    alpha, beta = step.attribute("alpha", 1e-4), step.attribute("beta", 0.75)
    names = ["n", "c", *(f"y{a}" for a in range(len(x.shape) - 2))]
    with w.loops(names, x.shape) as (n, c, *at):
        w.line("float sum = 0.0f;")
        around = w.block(f"for (int k = {c} - {below}; k <= {c} + {above}; k++)")
        with around, w.block(f"if (k >= 0 && k < {x.shape[1]})"):
            w.line(f"float v = x0[{flat((n, 'k', *at), x.shape)}];")
            w.line("sum += v * v;")
        base = f"{number(step.attribute('bias', 1.0))} + {number(alpha / size)} * sum"
        w.line(f"{y.at(n, c, *at)} = {x.at(n, c, *at)} / powf({base}, {number(beta)});")
