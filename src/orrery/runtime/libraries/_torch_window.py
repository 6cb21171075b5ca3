"""Convolutions, pooling and resizing in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from orrery.graph import Node, TensorType

from ._torch_shape import take
from ._torch_table import operation

Ints = Sequence[int]
_SAME = ("SAME_UPPER", "SAME_LOWER")


def _geometry(
    sizes: Ints, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None,
    auto_pad: str,
) -> tuple[list[int], list[int], list[tuple[int, int]]]:  # fmt: skip
    """Return strides, dilations and the padding before and after, per axis."""
    rank = len(sizes)
    steps = [int(s) for s in strides] if strides else [1] * rank
    spread = [int(d) for d in dilations] if dilations else [1] * rank
    both = [(0, 0)] * rank
    if auto_pad in _SAME:
        for i in range(rank):
            outputs = -(-sizes[i] // steps[i])
            extent = spread[i] * (int(kernel[i]) - 1) + 1
            total = max((outputs - 1) * steps[i] + extent - sizes[i], 0)
            small, large = total // 2, total - total // 2
            both[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    elif pads and auto_pad in ("NOTSET", ""):
        both = [(int(pads[i]), int(pads[rank + i])) for i in range(rank)]
    return steps, spread, both


def _padded(t: Any, x: Any, both: Sequence[tuple[int, int]], fill: float = 0) -> Any:
    flat = [n for pair in reversed(both) for n in pair]
    return t.nn.functional.pad(x, flat, value=fill) if any(flat) else x


def _refuse_rank(node: Node, types: Mapping[str, TensorType]) -> str | None:
    type_ = types.get(node.inputs[0])
    if type_ is None or not 3 <= type_.rank <= 5:
        return "other than one to three spatial axes"
    if "int" in type_.dtype:
        return "whole numbers"
    return None


@operation("Conv", refuse=_refuse_rank)
def conv(
    t: Any, x: Any, w: Any, b: Any = None, *, auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    steps, spread, both = _geometry(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    if all(before == after >= 0 for before, after in both):
        padding = [before for before, _ in both]
    else:
        x, padding = _padded(t, x, both), [0] * len(both)
    function = getattr(t.nn.functional, f"conv{x.dim() - 2}d")
    return function(x, w, b, steps, padding, spread, group)


@operation("ConvTranspose", refuse=_refuse_rank)
def conv_transpose(
    t: Any, x: Any, w: Any, b: Any = None, *, auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None,
    output_padding: Ints | None = None, output_shape: Ints | None = None,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    """Compute all that the kernel reaches, then cut what the padding says away."""
    rank = x.dim() - 2
    steps = [int(s) for s in strides] if strides else [1] * rank
    spread = [int(d) for d in dilations] if dilations else [1] * rank
    function = getattr(t.nn.functional, f"conv_transpose{rank}d")
    y = function(x, w, None, steps, 0, 0, group, spread)
    for i in range(rank):
        full = y.shape[2 + i] + (int(output_padding[i]) if output_padding else 0)
        if output_shape or auto_pad in _SAME:
            wanted = (
                int(output_shape[len(output_shape) - rank + i])
                if output_shape
                else x.shape[2 + i] * steps[i]
            )
            total = max(full - wanted, 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        else:
            plain = pads and auto_pad in ("NOTSET", "")
            begin, end = (int(pads[i]), int(pads[rank + i])) if pads and plain else (0, 0)
            wanted = full - begin - end
        flat = [0, 0] * (rank - 1 - i) + [-begin, begin + wanted - y.shape[2 + i]]
        y = t.nn.functional.pad(y, flat) if any(flat) else y
    return y if b is None else y + b.reshape(1, -1, *[1] * rank)


# -- pooling ------------------------------------------------------------------------------------


def _windows(
    sizes: Ints, kernel: Ints, steps: Ints, spread: Ints, both: Sequence[tuple[int, int]],
    ceil: bool, auto_pad: str,
) -> list[int]:  # fmt: skip
    """Return how many windows fit; with `ceil` a last one may overhang, but not start outside."""
    counts = []
    for size, k, step, far, (begin, end) in zip(sizes, kernel, steps, spread, both, strict=True):
        if auto_pad in _SAME:
            counts.append(-(-size // step))
            continue
        room = size + begin + end - (far * (int(k) - 1) + 1)
        count = (-(-room // step) if ceil else room // step) + 1
        if ceil and count > 1 and (count - 1) * step >= size + begin:
            count -= 1
        counts.append(count)
    return counts


def _canvas(
    t: Any, x: Any, kernel: Ints, fill: float, *, strides: Ints | None, dilations: Ints | None,
    pads: Ints | None, auto_pad: str, ceil: bool,
) -> tuple[Any, list[int], list[int], list[tuple[int, int]], list[tuple[int, int]]]:  # fmt: skip
    """Return the image on a canvas that whole windows cover, and the geometry; the last but one
    is the padding with the overhang of the last window.
    """
    sizes = list(x.shape[2:])
    steps, spread, both = _geometry(sizes, kernel, strides, dilations, pads, auto_pad)
    counts = _windows(sizes, kernel, steps, spread, both, ceil, auto_pad)
    grown = []
    for size, k, step, far, (begin, _), count in zip(
        sizes, kernel, steps, spread, both, counts, strict=True
    ):
        reach = (count - 1) * step + far * (int(k) - 1) + 1
        grown.append((begin, reach - begin - size))
    return _padded(t, x, grown, fill), steps, spread, grown, both


def _refuse_pool(node: Node, types: Mapping[str, TensorType]) -> str | None:
    type_ = types.get(node.inputs[0])
    if type_ is not None and "int" in type_.dtype:
        return None if node.op == "MaxPool" and len(node.outputs) == 1 else "whole numbers"
    why = _refuse_rank(node, types)
    if why is None and len(node.outputs) > 1 and node.outputs[1]:
        return "places of the maxima"
    return why


@operation("MaxPool", refuse=_refuse_pool)
def max_pool(
    t: Any, x: Any, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Ints | None = None, kernel_shape: Ints = (), pads: Ints | None = None,
    storage_order: int = 0, strides: Ints | None = None,
) -> Any:  # fmt: skip
    rank = x.dim() - 2
    if not x.is_floating_point():  # whole numbers below 2**53 are exact there
        y = max_pool(
            t, x.double(), auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations,
            kernel_shape=kernel_shape, pads=pads, strides=strides,
        )  # fmt: skip
        limits = t.iinfo(x.dtype)
        return y.clamp(limits.min, limits.max).to(x.dtype)
    function = getattr(t.nn.functional, f"max_pool{rank}d")
    steps, spread, both = _geometry(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    kernel = [int(k) for k in kernel_shape]
    even = all(b == a and 2 * b <= k for (b, a), k in zip(both, kernel, strict=True))
    if even and not ceil_mode:
        return function(x, kernel, steps, [b for b, _ in both], spread)
    canvas, steps, spread, _, _ = _canvas(
        t, x, kernel, -math.inf, strides=strides, dilations=dilations, pads=pads,
        auto_pad=auto_pad, ceil=bool(ceil_mode),
    )  # fmt: skip
    return function(canvas, kernel, steps, 0, spread)


def _window_sums(t: Any, x: Any, kernel: list[int], steps: list[int], spread: list[int]) -> Any:
    """Return the sum of every window; the canvas holds whole windows only."""
    rank = x.dim() - 2
    if all(d == 1 for d in spread) and rank > 1:
        function = getattr(t.nn.functional, f"avg_pool{rank}d")
        return function(x, kernel, steps, divisor_override=1)
    flat = x.reshape(-1, 1, *x.shape[2:])
    ones = t.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)
    y = getattr(t.nn.functional, f"conv{rank}d")(flat, ones, None, steps, 0, spread)
    return y.reshape(*x.shape[:2], *y.shape[2:])


@operation("AveragePool", refuse=_refuse_pool, wide=True)
def average_pool(
    t: Any, x: Any, *, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
    dilations: Ints | None = None, kernel_shape: Ints = (), pads: Ints | None = None,
    strides: Ints | None = None,
) -> Any:  # fmt: skip
    kernel = [int(k) for k in kernel_shape]
    canvas, steps, spread, grown, both = _canvas(
        t, x, kernel, 0.0, strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad,
        ceil=bool(ceil_mode),
    )  # fmt: skip
    sums = _window_sums(t, canvas, kernel, steps, spread)
    whole = all(b == 0 and a <= 0 for b, a in grown)
    # How many cells a window averages over: an overhang never counts.
    if whole or (count_include_pad and all(g[1] <= b[1] for g, b in zip(grown, both, strict=True))):
        return sums / math.prod(kernel)
    line = np.ones((1, 1))
    for i, k in enumerate(kernel):
        size, (begin, end) = x.shape[2 + i], both[i]
        first, last = (0, begin + size + end) if count_include_pad else (begin, begin + size)
        counts = [
            sum(first <= o * steps[i] + tap * spread[i] < last for tap in range(k))
            for o in range(sums.shape[2 + i])
        ]
        line = line[..., None] * np.array(counts, np.float64)
    return sums / t.from_numpy(line).to(device=x.device, dtype=x.dtype)


@operation("LpPool", refuse=_refuse_pool, wide=True)
def lp_pool(
    t: Any, x: Any, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Ints | None = None, kernel_shape: Ints = (), p: int = 2, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Any:  # fmt: skip
    kernel = [int(k) for k in kernel_shape]
    canvas, steps, spread, _, _ = _canvas(
        t, x.abs() ** p, kernel, 0.0, strides=strides, dilations=dilations, pads=pads,
        auto_pad=auto_pad, ceil=bool(ceil_mode),
    )  # fmt: skip
    return _window_sums(t, canvas, kernel, steps, spread) ** (1 / p)


@operation("GlobalAveragePool", wide=True)
def global_average_pool(t: Any, x: Any) -> Any:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@operation("GlobalMaxPool")
def global_max_pool(t: Any, x: Any) -> Any:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


@operation("GlobalLpPool", wide=True)
def global_lp_pool(t: Any, x: Any, *, p: int = 2) -> Any:
    return (x.abs() ** p).sum(tuple(range(2, x.dim())), keepdim=True) ** (1 / p)


# -- resizing -----------------------------------------------------------------------------------


def _refuse_resize(node: Node, types: Mapping[str, TensorType]) -> str | None:
    given = node.attributes
    mode = given.get("mode", "nearest")
    if mode not in ("nearest", "linear"):
        return f"mode {mode!r}"
    if given.get("antialias", 0):
        return "antialias"
    if given.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return "tf_crop_and_resize"
    if given.get("exclude_outside", 0):
        return "exclude_outside"
    type_ = types.get(node.inputs[0])
    if mode == "linear" and type_ is not None and "float" not in type_.dtype:
        return "whole numbers between which it would interpolate"
    return None


_ROUND: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _positions(mode: str, count: int, length: int, scale: float) -> Any:
    """Return the place in the input, a real number, of every output along an axis."""
    x = np.arange(count, dtype=np.float64)
    if mode == "align_corners":
        return x * (length - 1) / (scale * length - 1) if count > 1 else np.zeros(count)
    if mode == "asymmetric":
        return x / scale
    if mode == "pytorch_half_pixel" and count <= 1:
        return np.zeros(count)
    shift = length / 2 * (1 - count / (scale * length)) if mode == "half_pixel_symmetric" else 0.0
    return shift + (x + 0.5) / scale - 0.5


@operation("Resize", host=(1, 2, 3), refuse=_refuse_resize, wide=True)
def resize(
    t: Any, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None, *, antialias: int = 0,
    axes: Ints | None = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Any:  # fmt: skip
    chosen = [int(a) % x.dim() for a in axes] if axes else list(range(x.dim()))
    lengths = [x.shape[a] for a in chosen]
    if scales is not None and scales.size:
        factors = [float(np.float32(s)) for s in scales.ravel()]
        wanted = [math.floor(np.float32(n) * np.float32(f)) for n, f in zip(lengths, factors)]
    else:
        wanted = [int(n) for n in sizes.ravel()]
        factors = [w / n for w, n in zip(wanted, lengths, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            best = min(factors) if keep_aspect_ratio_policy == "not_larger" else max(factors)
            factors = [best] * len(factors)
            wanted = [math.floor(best * n + 0.5) for n in lengths]
    for axis, length, count, scale in zip(chosen, lengths, wanted, factors, strict=True):
        if length == count and scale == 1:
            continue
        place = _positions(coordinate_transformation_mode, count, length, scale)
        if mode == "nearest":
            near = np.clip(_ROUND[nearest_mode](place), 0, length - 1).astype(np.int64)
            x = take(t, x, axis, t.from_numpy(near).to(x.device))
            continue
        low = np.floor(place)
        share = t.from_numpy(place - low).to(device=x.device, dtype=x.dtype)
        share = share.reshape([-1 if a == axis else 1 for a in range(x.dim())])
        before, after = (
            take(t, x, axis, t.from_numpy(np.clip(c, 0, length - 1).astype(np.int64)).to(x.device))
            for c in (low, low + 1)
        )
        x = before * (1 - share) + after * share
    return x
