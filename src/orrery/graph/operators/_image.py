"""Images: resizing, sampling at positions that are data, cropping, regions of interest.

Models:  interpolation as weights per axis (Resize) or per position (GridSample and relatives).
Ignores: decoding image files.
Judge:   ONNX node tests; ONNX Runtime on random sizes; a plain loop for MaxRoiPool.

Counts: one MAC per weight that meets an element; making the weights counts nothing, because their
number is that of the positions, once for all channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from orrery.errors import ModelError, UnknownNameError

from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._conv import convolution_shape, convolve_columns
from ._pool import Ints, Window
from ._rules import Shape, axes_of, formula, in_float32, integers, known_integers, nothing

# -- kernels of interpolation ---------------------------------------------------------------------


def _triangle(t: Array) -> Any:
    return np.maximum(1 - np.abs(t), 0)


def _cubic(a: float) -> Callable[[Array], Any]:
    """Return the cubic convolution kernel of Keys (1981), equation 4, with parameter a."""

    def kernel(t: Array) -> Any:
        t = np.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((t - 5) * t + 8) * t * a - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0))

    return kernel


# -- Resize ---------------------------------------------------------------------------------------


def _original(mode: str, resized: int, length: int, scale: float, start: float, end: float) -> Any:
    """Return the coordinate in the input for every output position along an axis."""
    x = np.arange(resized, dtype=np.float64)
    width = scale * length  # may be a fraction where the scale was given
    if mode == "half_pixel":
        return (x + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return length / 2 * (1 - resized / width) + (x + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (x + 0.5) / scale - 0.5 if resized > 1 else np.zeros(resized)
    if mode == "align_corners":
        return x * (length - 1) / (width - 1) if resized > 1 else np.zeros(resized)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_crop_and_resize":
        if resized > 1:
            return start * (length - 1) + x * (end - start) * (length - 1) / (resized - 1)
        return np.full(resized, 0.5 * (start + end) * (length - 1))
    raise UnknownNameError("coordinate transformation", mode, (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_crop_and_resize"))  # fmt: skip


_NEAREST: dict[str, Callable[[Array], Any]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _weights(
    x: Array, length: int, kernel: Callable[[Array], Any], reach: int, scale: float,
    exclude_outside: bool,
) -> Array:  # fmt: skip
    """Return the matrix (output, input) that interpolates along an axis.

    `scale` below 1 stretches the kernel (antialias). Cells outside repeat the edge or, with
    `exclude_outside`, count nothing.
    """
    span = math.ceil(reach / scale)
    cells = np.floor(x)[:, None].astype(np.int64) + np.arange(1 - span, span + 1)
    weights = kernel((cells - x[:, None]) * scale)
    if exclude_outside:
        weights = np.where((cells >= 0) & (cells < length), weights, 0)
    if exclude_outside or scale < 1:
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((x.size, length))
    np.add.at(matrix, (np.arange(x.size)[:, None], np.clip(cells, 0, length - 1)), weights)
    return matrix


def _resized(
    lengths: Ints, scales: Array | None, sizes: Ints | None, policy: str, crop: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Return output sizes and scales along the chosen axes; `crop` is the kept share of each."""
    if sizes is None:
        if scales is None:
            raise ModelError("Resize", found="neither scales nor sizes", wanted="one of them",
                             fix="give input 2 or 3")  # fmt: skip
        factors = [float(np.float32(s)) for s in scales]
        _refuse_scales((*factors, *crop))
        # Rounding happens in float32, as in ONNX's own shape inference: 10 × 0.7 makes 7.
        return [
            math.floor(np.float32(n) * np.float32(c) * np.float32(s))
            for n, c, s in zip(lengths, crop, factors, strict=True)
        ], factors
    ratios = [s / n for s, n in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return [int(s) for s in sizes], ratios
    if policy not in ("not_larger", "not_smaller"):
        raise UnknownNameError("keep_aspect_ratio_policy", policy,
                               ("stretch", "not_larger", "not_smaller"))  # fmt: skip
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(scale * n + 0.5) for n in lengths], [scale] * len(lengths)


def _refuse_scales(scales: Iterable[float]) -> None:
    for scale in scales:
        if not (math.isfinite(scale) and scale >= 0):
            raise ModelError("Resize", found=f"a scale of {scale}",
                             wanted="finite scales, zero or more",
                             fix="correct the model")  # fmt: skip


def _resize_type(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    axes = axes_of(context, context.attribute("axes") or range(x.rank), x.rank)
    shape: list[Dimension] = list(x.shape)
    scales, sizes = context.value(2), known_integers(context, 3)
    if scales is not None:
        _refuse_scales(scales.ravel().tolist())
    mode = context.attribute("coordinate_transformation_mode", "half_pixel")
    stretch = context.attribute("keep_aspect_ratio_policy", "stretch") == "stretch"
    for i, axis in enumerate(axes):
        length = x.shape[axis]
        if sizes is not None and stretch:
            shape[axis] = sizes[i]
        elif sizes is None and scales is not None and scales.size and mode != "tf_crop_and_resize":
            scale = np.float32(scales.ravel()[i])
            if scale != 1:
                shape[axis] = formula(f"floor({{}}*{scale:g})",
                                      lambda n, s=scale: math.floor(np.float32(n) * s),
                                      length)  # fmt: skip
        else:
            shape[axis] = context.fresh(f"axis{axis}")
    lengths = [x.shape[a] for a in axes]
    if all(isinstance(n, int) for n in lengths):
        roi = context.value(1)
        crop = [1.0] * len(axes)
        if mode == "tf_crop_and_resize" and sizes is None:
            if roi is None or not roi.size:
                return [TensorType(dtype=x.dtype, shape=tuple(shape))]
            crop = list(roi[len(axes) :] - roi[: len(axes)])
        if sizes is not None or (scales is not None and scales.size):
            found, _ = _resized(
                [int(n) for n in lengths], None if scales is None else scales.ravel(), sizes,
                context.attribute("keep_aspect_ratio_policy", "stretch"), crop,
            )  # fmt: skip
            for axis, size in zip(axes, found, strict=True):
                shape[axis] = size
    return [TensorType(dtype=x.dtype, shape=tuple(shape))]


def _resize_count(context: TypeContext) -> Operations:
    """MACs: 2 (linear) or 4 (cubic) taps for every axis that changes; nearest moves data."""
    mode = context.attribute("mode", "nearest")
    taps = {"linear": 2, "cubic": 4}.get(mode, 0)
    x, y = context.input(0).sizes, context.output().sizes
    macs, shape = 0, list(x)
    for axis, (before, after) in enumerate(zip(x, y, strict=True)):
        if before != after:
            shape[axis] = after
            macs += taps * math.prod(shape)
    return Operations(macs=macs)


@operator("Resize", infer=_resize_type, count=_resize_count)
@in_float32
def resize(x: Array, roi: Array | None = None, scales: Array | None = None,
           sizes: Array | None = None, *, antialias: int = 0, axes: Ints | None = None,
           coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75,
           exclude_outside: int = 0, extrapolation_value: float = 0.0,
           keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
           nearest_mode: str = "round_prefer_floor") -> Any:  # fmt: skip
    chosen = [int(a) % x.ndim for a in axes] if axes else list(range(x.ndim))
    lengths = [x.shape[a] for a in chosen]
    starts, ends = [0.0] * len(chosen), [1.0] * len(chosen)
    crops = coordinate_transformation_mode == "tf_crop_and_resize"
    if crops and roi is not None and roi.size:
        starts, ends = (list(map(float, part)) for part in np.split(roi.ravel(), 2))
    given = None if scales is None or scales.size == 0 else scales.ravel()
    wanted = None if sizes is None or sizes.size == 0 else integers(sizes)
    lengths_out, factors = _resized(
        lengths, given, wanted, keep_aspect_ratio_policy,
        [e - s for s, e in zip(starts, ends, strict=True)],
    )  # fmt: skip
    if mode not in ("nearest", "linear", "cubic"):
        raise UnknownNameError("Resize mode", mode, ("nearest", "linear", "cubic"))
    kernel, reach = (_cubic(cubic_coeff_a), 2) if mode == "cubic" else (_triangle, 1)
    y = x
    outside = np.zeros([1] * x.ndim, bool)
    for axis, length, resized, scale, start, end in zip(
        chosen, lengths, lengths_out, factors, starts, ends, strict=True
    ):
        if length == resized and scale == 1 and not crops:
            continue
        position = _original(coordinate_transformation_mode, resized, length, scale, start, end)
        if crops:
            beyond = (position < 0) | (position > length - 1)
            outside = outside | beyond.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        if mode == "nearest":
            nearest = _NEAREST[nearest_mode](position).astype(np.int64)
            y = np.take(y, np.clip(nearest, 0, length - 1), axis=axis)
            continue
        stretch = min(scale, 1.0) if antialias else 1.0
        matrix = _weights(position, length, kernel, reach, stretch, bool(exclude_outside))
        work = y if y.dtype.kind == "f" else y.astype(np.float64)
        y = np.moveaxis(np.moveaxis(work, axis, -1) @ matrix.T.astype(work.dtype), -1, axis)
    if outside.any():
        y = np.where(outside, np.asarray(extrapolation_value, y.dtype), y)
    if x.dtype.kind in "iu" and y.dtype.kind == "f":
        limits = np.iinfo(x.dtype)
        y = np.clip(y, limits.min, limits.max)
    return y.astype(x.dtype, copy=y is x)


# -- sampling at positions ------------------------------------------------------------------------


def _reflect(x: Array, low: float, high: float) -> Array:
    """Mirror coordinates at both ends until they lie within."""
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    folded = np.mod(x - low, 2 * span)
    return low + np.minimum(folded, 2 * span - folded)


def _into(x: Array, length: int, padding_mode: str, align_corners: bool) -> Array:
    """Bring coordinates into the image, as far as the padding mode wants it."""
    if padding_mode == "border":
        return np.clip(x, 0, length - 1)
    if padding_mode == "reflection":
        low, high = (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)
        return np.clip(_reflect(x, low, high), 0, length - 1)
    return x


def sample(
    image: Array, positions: Array, *, mode: str = "linear", padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Array:  # fmt: skip
    """Interpolate images (N, C, *sizes) at positions (N, P, axes) -> (N, C, P).

    Positions count in cells from the centre of the first one, outermost axis first.
    """
    sizes = image.shape[2:]
    rank = len(sizes)
    flat = image.reshape(*image.shape[:2], -1)
    x = positions.astype(np.float64)
    # Cubic moves each tap into the image; linear and nearest move the position itself.
    if mode != "cubic":
        x = np.stack([_into(x[..., i], n, padding_mode, align_corners)
                      for i, n in enumerate(sizes)], axis=-1)  # fmt: skip
    taps: tuple[int, ...]
    kernel: Callable[[Array], Any] | None
    if mode == "nearest":
        taps, kernel, base = (0,), None, np.rint(x)
    elif mode == "linear":
        taps, kernel, base = (0, 1), _triangle, np.floor(x)
    elif mode == "cubic":
        taps, kernel, base = (-1, 0, 1, 2), _cubic(-0.75), np.floor(x)
    else:
        raise UnknownNameError("GridSample mode", mode, ("linear", "nearest", "cubic"))
    work = image.dtype if image.dtype.kind == "f" else np.dtype(np.float64)
    y = np.zeros((*image.shape[:2], positions.shape[1]), work)
    for offsets in itertools.product(taps, repeat=rank):
        cell = base + np.asarray(offsets)
        weight = np.ones(cell.shape[:2]) if kernel is None else kernel(cell - x).prod(axis=-1)
        if mode == "cubic":
            cell = np.stack([_into(cell[..., i], n, padding_mode, align_corners)
                             for i, n in enumerate(sizes)], axis=-1)  # fmt: skip
        inside = ((cell >= 0) & (cell < np.asarray(sizes))).all(axis=-1)
        index = np.where(inside[..., None], cell, 0).astype(np.int64)
        linear = np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), sizes)
        values = np.take_along_axis(flat, linear[:, None, :], axis=2)
        y += values * np.where(inside, weight, 0)[:, None, :].astype(work)
    return y


def _grid_type(context: TypeContext) -> list[TensorType | None]:
    x, grid = context.input(0), context.input(1)
    if grid.rank != x.rank or (isinstance(grid.shape[-1], int) and grid.shape[-1] != x.rank - 2):
        raise context.error(f"{x} and grid {grid}", "a grid with one coordinate per spatial axis")
    return [TensorType(dtype=x.dtype, shape=(*x.shape[:2], *grid.shape[1:-1]))]


def _grid_count(context: TypeContext) -> Operations:
    """MACs: 2 (linear), 4 (cubic) or 0 (nearest) to the power of the axes, per output."""
    taps = {"linear": 2, "cubic": 4}.get(context.attribute("mode", "linear"), 0)
    return Operations(macs=context.output().elements * taps ** (context.input(0).rank - 2))


@operator("GridSample", infer=_grid_type, count=_grid_count)
@in_float32
def grid_sample(x: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear",
                padding_mode: str = "zeros") -> Any:  # fmt: skip
    if padding_mode not in ("zeros", "border", "reflection"):
        raise UnknownNameError("padding_mode", padding_mode, ("zeros", "border", "reflection"))
    sizes = np.asarray(x.shape[2:], np.float64)
    normal = grid.reshape(x.shape[0], -1, len(sizes))[..., ::-1].astype(np.float64)
    if align_corners:
        positions = (normal + 1) / 2 * (sizes - 1)
    else:
        positions = ((normal + 1) * sizes - 1) / 2
    y = sample(x, positions, mode=mode, padding_mode=padding_mode,
               align_corners=bool(align_corners))  # fmt: skip
    return y.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype)


def _affine_type(context: TypeContext) -> list[TensorType | None]:
    theta, size = context.input(0), known_integers(context, 1)
    count = context.input(1).shape[0]
    axes: Dimension | None = theta.shape[1] if theta.rank == 3 else None
    if isinstance(axes, str) and isinstance(count, int):
        axes = count - 2
    if not isinstance(axes, int):
        raise context.error(f"theta {theta}", "(N, 2, 3) or (N, 3, 4)")
    spatial: Shape = context.fresh_shape(axes, "axis")
    batch = theta.shape[0] if size is None else size[0]
    if size is not None:
        spatial = size[2:]
    return [TensorType(dtype=theta.dtype, shape=(batch, *spatial, axes))]


def _affine_count(context: TypeContext) -> Operations:
    """MACs: one row of theta per coordinate."""
    return Operations(macs=context.output().elements * context.input(0).sizes[2])


@operator("AffineGrid", infer=_affine_type, count=_affine_count)
@in_float32
def affine_grid(theta: Array, size: Array, *, align_corners: int = 0) -> Any:
    spatial = integers(size)[2:]
    axes = [
        (np.linspace(-1, 1, n) if n > 1 else np.zeros(1)) if align_corners
        else (2 * np.arange(n) + 1) / n - 1
        for n in spatial
    ]  # fmt: skip
    mesh = np.meshgrid(*axes, indexing="ij")[::-1]
    homogeneous = np.stack([*mesh, np.ones(spatial)], axis=-1).reshape(-1, len(spatial) + 1)
    grid = homogeneous.astype(theta.dtype) @ theta.swapaxes(1, 2)
    return grid.reshape(theta.shape[0], *spatial, len(spatial))


# -- deformable convolution -----------------------------------------------------------------------


def _deform_type(context: TypeContext) -> list[TensorType | None]:
    return [TensorType(dtype=context.input(0).dtype, shape=convolution_shape(context))]


def _deform_count(context: TypeContext) -> Operations:
    """The convolution's MACs, and 2 per spatial axis to sample each column element (and a mask)."""
    x, w, y = context.input(0), context.input(1), context.output()
    columns = x.sizes[0] * x.sizes[1] * math.prod(w.sizes[2:]) * math.prod(y.sizes[2:])
    macs = y.elements * math.prod(w.sizes[1:]) + columns * 2 ** (x.rank - 2)
    others = (y.elements if context.has(3) else 0) + (columns if context.has(4) else 0)
    return Operations(macs=macs, others=others)


@operator("DeformConv", infer=_deform_type, count=_deform_count)
@in_float32
def deform_conv(x: Array, w: Array, offset: Array, b: Array | None = None,
                mask: Array | None = None, *, dilations: Ints | None = None, group: int = 1,
                kernel_shape: Ints | None = None, offset_group: int = 1, pads: Ints | None = None,
                strides: Ints | None = None) -> Any:  # fmt: skip
    """Convolve with every kernel position moved by its own offset, sampled linearly."""
    window = Window.of(x.shape[2:], w.shape[2:], strides=strides, dilations=dilations, pads=pads)
    batch, channels = x.shape[:2]
    rank, taps = len(window.sizes), math.prod(window.kernel)
    starts = np.indices(window.outputs).reshape(rank, 1, *window.outputs)
    steps = np.indices(window.kernel).reshape(rank, taps, *[1] * rank)
    spread = (-1, 1, *[1] * rank)
    grid = starts * np.reshape(window.strides, spread) - np.reshape(window.begins, spread)
    grid = grid + steps * np.reshape(window.dilations, spread)
    moved = offset.reshape(batch, offset_group, taps, rank, *window.outputs)
    positions = np.moveaxis(moved, 3, 0) + grid[:, None, None]
    positions = np.moveaxis(positions, 0, -1).reshape(batch * offset_group, -1, rank)
    parts = x.reshape(batch * offset_group, channels // offset_group, *window.sizes)
    columns = sample(parts, positions)
    columns = columns.reshape(batch, offset_group, -1, taps, *window.outputs)
    if mask is not None:
        columns = columns * mask.reshape(batch, offset_group, 1, taps, *window.outputs)
    columns = columns.reshape(batch, channels * taps, -1).astype(x.dtype)
    return convolve_columns(columns, w, b, window, group)


# -- cropping and regions -------------------------------------------------------------------------


def _crop_type(context: TypeContext) -> list[TensorType | None]:
    x, wanted = context.input(0), known_integers(context, 1)
    axes = axes_of(context, context.attribute("axes") or range(x.rank), x.rank)
    shape: list[Dimension] = list(x.shape)
    for i, axis in enumerate(axes):
        shape[axis] = context.fresh(f"axis{axis}") if wanted is None else wanted[i]
    return [TensorType(dtype=x.dtype, shape=tuple(shape))]


@operator("CenterCropPad", infer=_crop_type, count=nothing)
def center_crop_pad(x: Array, shape: Array, *, axes: Ints | None = None) -> Any:
    chosen = [int(a) % x.ndim for a in axes] if axes else list(range(x.ndim))
    sizes, take, put = list(x.shape), [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for axis, wanted in zip(chosen, integers(shape), strict=True):
        have = x.shape[axis]
        sizes[axis] = wanted
        if wanted <= have:
            start = (have - wanted) // 2
            take[axis] = slice(start, start + wanted)
        else:
            start = (wanted - have) // 2
            put[axis] = slice(start, start + have)
    y = np.zeros(sizes, x.dtype)
    y[tuple(put)] = x[tuple(take)]
    return y


def _roi_type(context: TypeContext) -> list[TensorType | None]:
    x, rois = context.input(0), context.input(1)
    pooled = context.attribute("pooled_shape") or (
        context.attribute("output_height", 1), context.attribute("output_width", 1))  # fmt: skip
    shape = (rois.shape[0], x.shape[1], int(pooled[0]), int(pooled[1]))
    return [TensorType(dtype=x.dtype, shape=shape)]


def _roi_count(context: TypeContext) -> Operations:
    """Four MACs per sample; an adaptive number of samples counts as 2×2, its usual value."""
    samples = (context.attribute("sampling_ratio", 0) or 2) ** 2
    return Operations(macs=4 * samples * context.output().elements)


def _bin_samples(start: float, size: float, bins: int, ratio: int, length: int) -> Any:
    """Return cells and weights (bins, samples, 2) along one axis of a region.

    Positions beyond one cell outside of the image have no weight.
    """
    count = ratio if ratio > 0 else max(math.ceil(size / bins), 0)
    step = size / bins
    x = start + step * (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / max(count, 1))
    outside = (x < -1) | (x > length)
    x = np.clip(x, 0, length - 1)
    low = np.minimum(np.floor(x), length - 1)
    high = np.minimum(low + 1, length - 1)
    weights = np.where(outside[..., None], 0, np.stack([1 - (x - low), x - low], axis=-1))
    return np.stack([low, high], axis=-1).astype(np.int64), weights


@operator("RoiAlign", infer=_roi_type, count=_roi_count)
@in_float32
def roi_align(x: Array, rois: Array, batch_indices: Array, *,
              coordinate_transformation_mode: str = "half_pixel", mode: str = "avg",
              output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0,
              spatial_scale: float = 1.0) -> Any:  # fmt: skip
    """Average or take the maximum of samples on a regular grid in each bin of each region."""
    if mode not in ("avg", "max"):
        raise UnknownNameError("RoiAlign mode", mode, ("avg", "max"))
    half = coordinate_transformation_mode == "half_pixel"
    y = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    for i, (roi, image) in enumerate(zip(rois.astype(np.float64), batch_indices, strict=True)):
        left, top, right, bottom = roi * spatial_scale - (0.5 if half else 0.0)
        height, width = bottom - top, right - left
        if not half:
            height, width = max(height, 1.0), max(width, 1.0)
        rows, down = _bin_samples(top, height, output_height, sampling_ratio, x.shape[2])
        columns, across = _bin_samples(left, width, output_width, sampling_ratio, x.shape[3])
        if not rows.shape[1] or not columns.shape[1]:
            continue
        # (C, bin row, sample row, 2, bin column, sample column, 2)
        corners = x[int(image)][:, rows[..., None, None, None], columns]
        corners = corners * (down[..., None, None, None] * across)
        if mode == "avg":
            y[i] = corners.sum(axis=(3, 6)).mean(axis=(2, 4))
        else:
            # ONNX takes the maximum over weighted corners, not over interpolated samples.
            y[i] = corners.max(axis=(2, 3, 5, 6))
    return y


def _max_roi_count(context: TypeContext) -> Operations:
    """One comparison per cell of the image and region, the most that a region can hold."""
    x, rois = context.input(0), context.input(1)
    return Operations(others=rois.sizes[0] * math.prod(x.sizes[1:]))


@operator("MaxRoiPool", infer=_roi_type, count=_max_roi_count)
def max_roi_pool(x: Array, rois: Array, *, pooled_shape: Ints = (1, 1),
                 spatial_scale: float = 1.0) -> Any:  # fmt: skip
    """Take the maximum in each bin of each region [image, x1, y1, x2, y2]; an empty bin is 0."""
    y = np.zeros((len(rois), x.shape[1], int(pooled_shape[0]), int(pooled_shape[1])), x.dtype)
    for i, roi in enumerate(rois.astype(np.float64)):
        edges = np.floor(roi[1:] * spatial_scale + 0.5).astype(int)
        spans = []
        for axis, (first, last) in enumerate(((edges[1], edges[3]), (edges[0], edges[2]))):
            bins, length = int(pooled_shape[axis]), x.shape[2 + axis]
            step = max(last - first + 1, 1) / bins
            spans.append([
                (min(max(math.floor(k * step) + first, 0), length),
                 min(max(math.ceil((k + 1) * step) + first, 0), length))
                for k in range(bins)
            ])  # fmt: skip
        for (r, (top, bottom)), (c, (left, right)) in itertools.product(
            enumerate(spans[0]), enumerate(spans[1])
        ):
            if bottom > top and right > left:
                y[i, :, r, c] = x[int(roi[0]), :, top:bottom, left:right].max(axis=(1, 2))
    return y
