"""The loop nests of operators that look up, cut out, repeat or place elements.

Models:  Gather (by index and by the axes of the table that are not looked up), OneHot, ScatterND
         (by the axes that its indices leave out), Split, Slice, Pad and Expand.
Ignores: splitting the axis that positions count along: positions hold in the whole tensor only.
Judge:   execution of every shard (tests/runtime/test_sharded_training.py).
"""

from __future__ import annotations

from ._layer import Builder, Layer, free, whole
from ._nest import Axis, Loop, Nest, follow


def _loops(sizes: tuple[int, ...], held: int | None = None) -> tuple[list[Loop], list[Axis]]:
    """Return a loop per axis of a result, but for one that is held, and its axes."""
    axes = [Axis(size=size, loop=None if i == held else f"axis{i}")
            for i, size in enumerate(sizes)]  # fmt: skip
    loops = [Loop(name=axis.loop, extent=axis.size) for axis in axes if axis.loop is not None]
    return loops, axes


def _gather(layer: Layer) -> Nest | str:
    data, indices = layer.sizes(0), layer.sizes(1)
    along = int(layer.attribute("axis", 0)) % len(data)
    loops, axes = _loops(layer.out())
    table = [*axes[:along], Axis(size=data[along]), *axes[along + len(indices) :]]
    picked = axes[along : along + len(indices)]
    return layer.nest(
        loops, [layer.operand(0, table), layer.operand(1, picked)], [layer.result(0, axes)]
    )


def _one_hot(layer: Layer) -> Nest | str:
    out = layer.out()
    along = int(layer.attribute("axis", -1)) % len(out)
    loops, axes = _loops(out, held=along)
    places = [axis for i, axis in enumerate(axes) if i != along]
    return layer.nest(
        loops, [layer.operand(0, places), *layer.kept(1)], [layer.result(0, axes)],
        {f"axis{along}": "it numbers the classes"},
    )  # fmt: skip


def _scatter_nd(layer: Layer) -> Nest | str:
    """Indices address the leading axes; what they place is a slice over the others."""
    sizes, indices, updates = layer.sizes(0), layer.sizes(1), layer.sizes(2)
    depth = indices[-1]
    if depth == len(sizes):
        return whole(layer)
    axes = [Axis(size=size, loop=f"axis{i}" if i >= depth else None)
            for i, size in enumerate(sizes)]  # fmt: skip
    placed = [*(Axis(size=size) for size in updates[: len(indices) - 1]), *axes[depth:]]
    loops = [Loop(name=axis.loop, extent=axis.size) for axis in axes if axis.loop is not None]
    return layer.nest(
        loops,
        [layer.operand(0, axes), layer.operand(1, [Axis(size=size) for size in indices]),
         layer.operand(2, placed)],
        [layer.result(0, axes)],
        {f"axis{i}": "indices count along it" for i in range(depth)},
    )  # fmt: skip


def _split(layer: Layer) -> Nest | str:
    along = int(layer.attribute("axis", 0)) % len(layer.sizes(0))
    return free(layer, [along], "it is cut into the results", layer.kept(1))


def _numbers(layer: Layer, index: int) -> list[int] | None:
    """Return the whole numbers of an input; None when only running can tell."""
    constant = layer.graph.constants.get(layer.node.inputs[index])
    return None if constant is None else [int(n) for n in constant.array().ravel()]


def _slice(layer: Layer) -> Nest | str:
    rank = len(layer.sizes(0))
    named = _numbers(layer, 3) if layer.has(3) else list(range(layer.sizes(1)[0]))
    if named is None:
        return whole(layer)
    held = sorted({axis % rank for axis in named})
    return free(layer, held, "positions are cut out of it", layer.kept(1))


def _pad(layer: Layer) -> Nest | str:
    rank, amounts = len(layer.sizes(0)), _numbers(layer, 1)
    named = _numbers(layer, 3) if layer.has(3) else list(range(rank))
    if amounts is None or named is None:
        return whole(layer)
    half = len(named)
    held = {a % rank for a, b, e in zip(named, amounts[:half], amounts[half:]) if b or e}
    return free(layer, sorted(held), "it is padded", layer.kept(1))


def _expand(layer: Layer) -> Nest | str:
    sizes, out = layer.sizes(0), layer.out()
    loops, axes = _loops(out)
    lead = len(out) - len(sizes)
    read = [follow(size, f"axis{lead + i}") for i, size in enumerate(sizes)]
    result = layer.result(0, axes)
    return layer.nest(loops, [layer.operand(0, read)], [result],
                      values=lambda spans: {1: result.box(spans).sizes})  # fmt: skip


INDEXING: dict[str, Builder] = {
    "Expand": _expand, "Gather": _gather, "OneHot": _one_hot, "Pad": _pad,
    "ScatterND": _scatter_nd, "Slice": _slice, "Split": _split,
}  # fmt: skip
