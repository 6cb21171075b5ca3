"""Convolution, pooling, interpolation and sampling grids.

Judge: PyTorch on each operator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._translation import Operand, Refusal, Translation, Value, translates


def _many(value: Any, count: int) -> list[int]:
    """Return one number per spatial axis."""
    if isinstance(value, int):
        return [value] * count
    found = [int(v) for v in value]
    return found * count if len(found) == 1 else found


@translates("convolution")
def convolution(
    t: Translation, x: Value, weight: Value, bias: Value | None, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: int,
) -> Value:  # fmt: skip
    spatial = weight.rank - 2
    if x.rank != weight.rank:  # one picture without a batch
        batched = t.unsqueeze(x, 0)
        y = convolution(t, batched, weight, bias, stride, padding, dilation, transposed,
                        output_padding, groups)  # fmt: skip
        return t.squeeze(y, 0)
    pads = _many(padding, spatial)
    common = {
        "kernel_shape": [t.static(weight, 2 + a) for a in range(spatial)],
        "strides": _many(stride, spatial),
        "dilations": _many(dilation, spatial),
        "group": groups,
    }
    if transposed:
        more = _many(output_padding, spatial)
        return t.op("ConvTranspose", x, weight, bias, pads=pads * 2,
                    output_padding=more if any(more) else None, **common)  # fmt: skip
    return t.op("Conv", x, weight, bias, pads=pads * 2, **common)


# -- pooling --------------------------------------------------------------------------------------


def _batched(t: Translation, x: Value, spatial: int) -> tuple[Value, bool]:
    return (x, False) if x.rank == spatial + 2 else (t.unsqueeze(x, 0), True)


def _max_pool(spatial: int, name: str, *, places: bool) -> None:
    def translate(
        t: Translation, x: Value, kernel: Any, stride: Any = None, padding: Any = 0,
        dilation: Any = 1, ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        y, alone = _batched(t, x, spatial)
        wants_places = places and 1 in t.wanted
        window = _many(kernel, spatial)
        found: list[Value] = t.ops(
            "MaxPool", 2 if wants_places else 1, y,
            kernel_shape=window, strides=_many(stride or kernel, spatial),
            pads=_many(padding, spatial) * 2, dilations=_many(dilation, spatial),
            ceil_mode=int(ceil_mode) or None,
        )  # fmt: skip
        if wants_places:  # ONNX counts through the whole tensor, PyTorch through one picture
            area = math.prod(t.static(y, 2 + a) for a in range(spatial))
            found[1] = t.op("Mod", found[1], t.constant(area, "int64", "area"))
        if alone:
            found = [t.squeeze(value, 0) for value in found]
        if not places:
            return found[0]
        return [found[0], found[1] if wants_places else None]

    translates(name)(translate)


for _n in (1, 2, 3):
    _max_pool(_n, f"max_pool{_n}d", places=False)
    _max_pool(_n, f"max_pool{_n}d_with_indices", places=True)


def _average_pool(spatial: int) -> None:
    def translate(
        t: Translation, x: Value, kernel: Any, stride: Any = None, padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:  # fmt: skip
        y, alone = _batched(t, x, spatial)
        window = _many(kernel, spatial)
        include = count_include_pad or divisor_override is not None
        if ceil_mode and divisor_override is not None:
            raise Refusal("a divisor of its own together with ceil_mode")
        y = t.op(
            "AveragePool", y, kernel_shape=window, strides=_many(stride or kernel, spatial),
            pads=_many(padding, spatial) * 2, ceil_mode=int(ceil_mode) or None,
            count_include_pad=1 if include else None,
        )  # fmt: skip
        if divisor_override is not None:
            factor = math.prod(window) / divisor_override
            y = t.op("Mul", y, t.constant(factor, x.dtype))
        return t.squeeze(y, 0) if alone else y

    translates(f"avg_pool{spatial}d")(translate)


def _adaptive_average(spatial: int, *names: str) -> None:
    def translate(t: Translation, x: Value, size: Any) -> Value:
        y, alone = _batched(t, x, spatial)
        wanted = _wanted(t, y, size, spatial)
        if all(n == 1 for n in wanted):
            y = t.op("GlobalAveragePool", y)
            return t.squeeze(y, 0) if alone else y
        given = [t.static(y, 2 + a) for a in range(spatial)]
        if all(g % w == 0 for g, w in zip(given, wanted, strict=True)):
            window = [g // w for g, w in zip(given, wanted, strict=True)]
            y = t.op("AveragePool", y, kernel_shape=window, strides=window)
        else:  # windows of unequal sizes: one small product per axis says it exactly
            for axis, (g, w) in enumerate(zip(given, wanted, strict=True), 2):
                y = _mix(t, y, axis, _windows_matrix(g, w))
        return t.squeeze(y, 0) if alone else y

    translates(*names)(translate)


def _wanted(t: Translation, x: Value, size: Any, spatial: int) -> list[int]:
    sizes = size if isinstance(size, list) else [size] * spatial
    sizes = sizes * spatial if len(sizes) == 1 else sizes
    return [
        t.static(x, 2 + a) if n is None else t.number(n, "a pooled size")
        for a, n in enumerate(sizes)
    ]


def _windows(given: int, wanted: int) -> list[range]:
    return [range(i * given // wanted, -(-(i + 1) * given // wanted)) for i in range(wanted)]


def _windows_matrix(given: int, wanted: int) -> np.ndarray:
    matrix = np.zeros((given, wanted))
    for column, window in enumerate(_windows(given, wanted)):
        matrix[window.start : window.stop, column] = 1 / len(window)
    return matrix


def _mix(t: Translation, x: Value, axis: int, matrix: np.ndarray) -> Value:
    order = list(range(x.rank))
    order[axis], order[-1] = order[-1], order[axis]
    factor = t.constant(matrix, x.dtype, "windows")
    return t.transpose(t.op("MatMul", t.transpose(x, order), factor), order)


def _adaptive_max(spatial: int) -> None:
    def translate(t: Translation, x: Value, size: Any) -> list[Value | None]:
        y, alone = _batched(t, x, spatial)
        wanted = _wanted(t, y, size, spatial)
        given = [t.static(y, 2 + a) for a in range(spatial)]
        place: Value | None = None
        if all(g % w == 0 for g, w in zip(given, wanted, strict=True)):
            window = [g // w for g, w in zip(given, wanted, strict=True)]
            outputs = 2 if 1 in t.wanted else 1
            y, *more = t.ops("MaxPool", outputs, y, kernel_shape=window, strides=window)
            if more:
                place = t.op("Mod", more[0], t.constant(math.prod(given), "int64", "area"))
        elif 1 in t.wanted:
            raise Refusal("places of the maxima of windows of unequal sizes")
        else:
            for axis, (g, w) in enumerate(zip(given, wanted, strict=True), 2):
                windows = _windows(g, w)
                longest = max(len(window) for window in windows)
                places = [[*window, *[window[-1]] * (longest - len(window))] for window in windows]
                y = t.op("ReduceMax", t.gather(y, axis, places), t.ints([axis + 1], "axes"),
                         keepdims=0)  # fmt: skip
        if alone:
            y = t.squeeze(y, 0)
            place = None if place is None else t.squeeze(place, 0)
        return [y, place]

    translates(f"adaptive_max_pool{spatial}d")(translate)


for _n in (1, 2, 3):
    _average_pool(_n)
    _adaptive_max(_n)
    _adaptive_average(
        _n, f"adaptive_avg_pool{_n}d", *([f"_adaptive_avg_pool{_n}d"] if _n > 1 else [])
    )


# -- interpolation --------------------------------------------------------------------------------


def _resize(
    t: Translation, x: Value, sizes: list[Operand] | None, scales: list[Any], *, mode: str,
    coordinates: str, nearest: str | None = None, cubic: float | None = None,
    antialias: int | None = None,
) -> Value:  # fmt: skip
    """Resize the spatial axes; PyTorch prefers given scales over those of the sizes."""
    spatial = x.rank - 2
    attributes: dict[str, Any] = {
        "mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest,
        "cubic_coeff_a": cubic, "antialias": antialias, "axes": list(range(2, x.rank)),
    }  # fmt: skip
    if len(scales) == spatial and all(s is not None for s in scales):
        factors = t.constant([float(s) for s in scales], "float32", "scales")
        return t.op("Resize", x, None, factors, **attributes)
    wanted = sizes if sizes else list(t.result.shape[2:])
    return t.op("Resize", x, None, None, t.ints(wanted, "sizes"), **attributes)


def _nearest(name: str, coordinates: str, nearest: str) -> None:
    def translate(t: Translation, x: Value, sizes: Any, *scales: Any) -> Value:
        if len(scales) == 1 and isinstance(scales[0], list):
            scales = tuple(scales[0])
        return _resize(t, x, sizes, list(scales), mode="nearest", coordinates=coordinates,
                       nearest=nearest)  # fmt: skip

    translates(f"{name}.vec", name)(translate)


def _smooth(name: str, mode: str, *, antialias: bool = False) -> None:
    def translate(
        t: Translation, x: Value, sizes: Any, align_corners: bool, *scales: Any
    ) -> Value:  # fmt: skip
        if len(scales) == 1 and isinstance(scales[0], list):
            scales = tuple(scales[0])
        return _resize(
            t, x, sizes, list(scales), mode=mode,
            coordinates="align_corners" if align_corners else "pytorch_half_pixel",
            cubic=-0.75 if mode == "cubic" else None, antialias=1 if antialias else None,
        )  # fmt: skip

    translates(f"{name}.vec", name)(translate)


for _n in (1, 2, 3):
    _nearest(f"upsample_nearest{_n}d", "asymmetric", "floor")
    _nearest(f"_upsample_nearest_exact{_n}d", "half_pixel", "round_prefer_ceil")
_smooth("upsample_linear1d", "linear")
_smooth("upsample_bilinear2d", "linear")
_smooth("upsample_trilinear3d", "linear")
_smooth("upsample_bicubic2d", "cubic")
_smooth("_upsample_bilinear2d_aa", "linear", antialias=True)

_GRID_MODES = ("linear", "nearest", "cubic")
_GRID_PADDING = ("zeros", "border", "reflection")


@translates("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(
    t: Translation, x: Value, grid: Value, mode: int, padding: int, align_corners: bool
) -> Value:  # fmt: skip
    return t.op("GridSample", x, grid, mode=_GRID_MODES[mode],
                padding_mode=_GRID_PADDING[padding], align_corners=int(align_corners))  # fmt: skip


@translates("affine_grid_generator")
def affine_grid(t: Translation, theta: Value, size: list[Operand], align: bool = False) -> Value:
    return t.op("AffineGrid", theta, t.ints(size), align_corners=int(align))


@translates("col2im")
def col2im(
    t: Translation, x: Value, size: list[Operand], kernel: list[int], dilation: list[int],
    padding: list[int], stride: list[int],
) -> Value:  # fmt: skip
    y, alone = (t.unsqueeze(x, 0), True) if x.rank == 2 else (x, False)
    y = t.op("Col2Im", y, t.ints(size), t.ints(kernel), dilations=dilation, pads=padding * 2,
             strides=stride)  # fmt: skip
    return t.squeeze(y, 0) if alone else y
