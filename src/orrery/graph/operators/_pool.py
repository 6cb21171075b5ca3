"""Windows over images, and pooling with them.

Models:  window geometry (padding, strides, dilations, overhang), unfold and its transpose fold, all
         pooling operators, and the gradients of the two common ones.
Ignores: the negative padding that SAME would need for a window narrower than its stride: it is
         zero, as in TensorFlow; ONNX Runtime shifts such windows.
Judge:   ONNX node tests; ONNX Runtime on random attributes; PyTorch's gradients.

Counts are nominal: every position of the window, padding included, is one operation per output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._operator import TRAINING_DOMAIN, Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._rules import in_float32, integers, known_integers, per_input, plus, times

Ints = Sequence[int]


# -- geometry -----------------------------------------------------------------------------------


def axis_value(values: Ints | None, axis: int) -> int:
    """Return a stride or dilation, 1 when the attribute is absent."""
    return int(values[axis]) if values else 1


def axis_outputs(
    size: int, extent: int, stride: int, padding: int, *, auto_pad: str, ceil: bool
) -> int:
    """Return how many windows of `extent` cells fit along an axis.

    With `ceil`, a last window may overhang the end unless it would start in the end padding.
    """
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return -(-size // stride)
    room = size + padding - extent
    if room < 0:
        return 1 if ceil and room > -stride else 0
    return -(-room // stride) + 1 if ceil else room // stride + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a kernel stands over an image: sizes per spatial axis.

    Attributes
    ----------
    kernel, strides, dilations : per axis
    begins, ends : padding before and after
    outputs : number of windows per axis
    sizes : of the image, without padding
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    outputs: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(
        cls, sizes: Ints, kernel: Ints, *, strides: Ints | None = None,
        dilations: Ints | None = None, pads: Ints | None = None, auto_pad: str = "NOTSET",
        ceil: bool = False,
    ) -> Window:  # fmt: skip
        """Resolve ONNX's attributes for an image of these sizes."""
        rank = len(sizes)
        check_window(rank, kernel, strides, dilations, pads)
        begins, ends, outputs = [], [], []
        for i in range(rank):
            stride = axis_value(strides, i)
            extent = axis_value(dilations, i) * (int(kernel[i]) - 1) + 1
            begin, end = (int(pads[i]), int(pads[rank + i])) if pads else (0, 0)
            if auto_pad not in ("NOTSET", ""):
                begin = end = 0
            count = axis_outputs(
                int(sizes[i]), extent, stride, begin + end, auto_pad=auto_pad, ceil=ceil
            )
            if ceil and count > 1 and (count - 1) * stride >= int(sizes[i]) + begin:
                count -= 1
            if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
                total = max((count - 1) * stride + extent - int(sizes[i]), 0)
                begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
                end = total - begin
            begins.append(begin)
            ends.append(end)
            outputs.append(count)
        return cls(
            kernel=tuple(map(int, kernel)), sizes=tuple(map(int, sizes)), begins=tuple(begins),
            ends=tuple(ends), outputs=tuple(outputs),
            strides=tuple(axis_value(strides, i) for i in range(rank)),
            dilations=tuple(axis_value(dilations, i) for i in range(rank)),
        )  # fmt: skip

    @property
    def canvas(self) -> tuple[int, ...]:
        """Sizes of the padded image, an overhanging last window included."""
        return tuple(
            max(s + b + e, (o - 1) * st + d * (k - 1) + 1)
            for s, b, e, o, st, d, k in zip(
                self.sizes, self.begins, self.ends, self.outputs, self.strides, self.dilations,
                self.kernel, strict=True,
            )
        )  # fmt: skip

    def taps(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Yield each kernel position and the slices of the canvas it meets, output by output."""
        for position in np.ndindex(*self.kernel):
            yield (
                position,
                tuple(
                    slice(p * d, p * d + (o - 1) * s + 1, s) if o > 0 else slice(0, 0)
                    for p, d, o, s in zip(
                        position, self.dilations, self.outputs, self.strides, strict=True
                    )
                ),
            )

    def pad(self, x: Array, fill: Any = 0) -> Array:
        """Return the canvas with the image on it; `x` itself when there is no padding."""
        if self.canvas == self.sizes:
            return x
        canvas = np.full((*x.shape[: x.ndim - len(self.sizes)], *self.canvas), fill, x.dtype)
        canvas[self.inside] = x
        return canvas

    @property
    def inside(self) -> tuple[Any, ...]:
        """Index of the image on the canvas."""
        spans = zip(self.begins, self.sizes, strict=True)
        return (Ellipsis, *(slice(b, b + s) for b, s in spans))


def check_window(
    rank: int, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None
) -> None:
    """Refuse attributes that do not fit `rank` spatial axes."""
    wanted = (("kernel_shape", kernel, rank, 1), ("strides", strides, rank, 1),
              ("dilations", dilations, rank, 1), ("pads", pads, 2 * rank, None))  # fmt: skip
    for name, values, length, least in wanted:
        if not values and name != "kernel_shape":
            continue
        values = tuple(values or ())
        if len(values) != length or (least is not None and min(values, default=1) < least):
            raise ModelError(
                f"attribute {name}", found=values,
                wanted=f"{length} numbers" + (f", each {least} or more" if least else ""),
                fix="correct the model",
            )  # fmt: skip


def unfold(x: Array, window: Window, fill: Any = 0) -> Array:
    """Return every window of `x` as a view: (N, C, *sizes) -> (N, C, *kernel, *outputs)."""
    rank = len(window.sizes)
    canvas = window.pad(x, fill)
    extents = tuple(d * (k - 1) + 1 for d, k in zip(window.dilations, window.kernel, strict=True))
    lead = canvas.ndim - rank
    view = np.lib.stride_tricks.sliding_window_view(
        canvas, extents, tuple(range(lead, lead + rank))
    )
    steps = [slice(0, o * s, s) for o, s in zip(window.outputs, window.strides, strict=True)]
    index: tuple[Any, ...] = (Ellipsis, *steps, *(slice(None, None, d) for d in window.dilations))
    view = view[index]
    return np.moveaxis(view, range(-rank, 0), range(lead, lead + rank))


def fold(columns: Array, window: Window) -> Array:
    """Add windows up into an image, the transpose of `unfold`.

    (N, C, *kernel, *outputs) -> (N, C, *sizes).
    """
    rank = len(window.sizes)
    lead = columns.shape[: columns.ndim - 2 * rank]
    canvas = np.zeros((*lead, *window.canvas), columns.dtype)
    before = (slice(None),) * len(lead)
    for position, slices in window.taps():
        here: tuple[Any, ...] = (*before, *position)
        canvas[(*before, *slices)] += columns[here]
    return np.ascontiguousarray(canvas[window.inside])


def _named_outputs(
    size: str, extent: int, stride: int, padding: int, auto_pad: str, ceil: bool
) -> Dimension:
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return size if stride == 1 else f"ceil({size}/{stride})"
    room = (padding if auto_pad in ("NOTSET", "") else 0) - extent
    if stride == 1:
        return plus(size, room + 1)
    rounding = "ceil" if ceil else "floor"
    return plus(f"{rounding}(({plus(size, room)})/{stride})", 1)


def pooled_shape(
    context: TypeContext, sizes: Sequence[Dimension], kernel: Sequence[Dimension]
) -> tuple[Dimension, ...]:
    """Return the number of windows per spatial axis, from the node's attributes.

    A name stays itself where a window of stride 1 keeps the size, else it becomes a formula; a
    kernel of unknown size gives a fresh name.
    """
    attribute = context.attribute
    strides, dilations = attribute("strides"), attribute("dilations")
    pads, auto = attribute("pads"), attribute("auto_pad", "NOTSET")
    ceil = bool(attribute("ceil_mode", 0))
    known = [k if isinstance(k, int) else 1 for k in kernel]
    check_window(len(sizes), known, strides, dilations, pads)
    result: list[Dimension] = []
    for i, size in enumerate(sizes):
        stride, dilation = axis_value(strides, i), axis_value(dilations, i)
        both = (int(pads[i]), int(pads[len(sizes) + i])) if pads else (0, 0)
        extent = dilation * (known[i] - 1) + 1
        if isinstance(kernel[i], str):
            result.append(context.fresh(f"axis{i}"))
        elif isinstance(size, int):
            window = Window.of(
                (size,), (known[i],), strides=(stride,), pads=both, auto_pad=auto, ceil=ceil,
                dilations=(dilation,),
            )  # fmt: skip
            if window.outputs[0] < 1:
                raise context.error(
                    f"spatial size {size} below a window of {extent}", "a window that fits",
                    "enlarge the input or the padding",
                )  # fmt: skip
            result.append(window.outputs[0])
        else:
            result.append(_named_outputs(size, extent, stride, sum(both), auto, ceil))
    return tuple(result)


# -- pooling --------------------------------------------------------------------------------------


def _pool_type(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    kernel = context.attribute("kernel_shape")
    if not kernel or x.rank < 3:
        raise context.error(f"kernel_shape {kernel} on {x}", "a kernel size per spatial axis")
    shape = (*x.shape[:2], *pooled_shape(context, x.shape[2:], kernel))
    y = TensorType(dtype=x.dtype, shape=shape)
    return [y, TensorType(dtype="int64", shape=shape)]


def _pool_count(context: TypeContext) -> Operations:
    """One comparison or addition per window position and output."""
    return Operations(
        others=context.output().elements * math.prod(context.attribute("kernel_shape"))
    )


def _lp_count(context: TypeContext) -> Operations:
    """Magnitude, power and addition per window position, and a root per output."""
    window = math.prod(context.attribute("kernel_shape"))
    return Operations(others=context.output().elements * (3 * window + 1))


def _least(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _positions(window: Window, storage_order: int) -> Any:
    """Return the linear index of every cell of one image on its canvas, -1 in the padding."""
    cells: Array = np.arange(math.prod(window.sizes))
    if storage_order:
        cells = cells.reshape(window.sizes[::-1]).T
    canvas = np.full(window.canvas, -1)
    canvas[window.inside] = cells.reshape(window.sizes)
    return canvas


def _max_pool(x: Array, window: Window, positions: Array | None) -> tuple[Array, Array | None]:
    """Return maxima, and where each first occurs (-1 where a window meets padding only)."""
    canvas = window.pad(x, _least(x.dtype))
    best = np.full((*x.shape[:2], *window.outputs), _least(x.dtype), x.dtype)
    if positions is None:
        for _, slices in window.taps():
            np.maximum(best, canvas[(slice(None), slice(None), *slices)], out=best)
        return best, None
    where = np.full(best.shape, -1)
    for _, slices in window.taps():
        candidate = canvas[(slice(None), slice(None), *slices)]
        position = np.broadcast_to(positions[slices], candidate.shape)
        better = (candidate > best) | ((where < 0) & (position >= 0))
        np.copyto(best, candidate, where=better)
        np.copyto(where, position, where=better)
    return best, where


@operator("MaxPool", infer=_pool_type, count=_pool_count)
@in_float32
def max_pool(x: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
             dilations: Ints | None = None, kernel_shape: Ints = (), pads: Ints | None = None,
             storage_order: int = 0, strides: Ints | None = None,
             output_count: int = 1) -> tuple[Array, Array | None]:  # fmt: skip
    """Return maxima and, if asked, their linear indices in the whole input without padding."""
    window = Window.of(x.shape[2:], kernel_shape, strides=strides, dilations=dilations, pads=pads,
                       auto_pad=auto_pad, ceil=bool(ceil_mode))  # fmt: skip
    positions = _positions(window, storage_order) if output_count > 1 else None
    y, where = _max_pool(x, window, positions)
    if where is not None:
        images = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        where = (where + images * math.prod(window.sizes)).astype(np.int64)
    return y, where


def _window_sizes(window: Window, count_include_pad: int) -> Any:
    """Return how many cells each window averages over; an overhang never counts."""
    canvas = np.zeros(window.canvas)
    if count_include_pad:
        sizes = zip(window.begins, window.sizes, window.ends, strict=True)
        canvas[tuple(slice(0, b + s + e) for b, s, e in sizes)] = 1
    else:
        canvas[window.inside] = 1
    return sum(canvas[slices] for _, slices in window.taps())


@operator("AveragePool", infer=_pool_type, count=_pool_count)
@in_float32
def average_pool(x: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
                 count_include_pad: int = 0, dilations: Ints | None = None,
                 kernel_shape: Ints = (), pads: Ints | None = None,
                 strides: Ints | None = None) -> Any:  # fmt: skip
    window = Window.of(x.shape[2:], kernel_shape, strides=strides, dilations=dilations, pads=pads,
                       auto_pad=auto_pad, ceil=bool(ceil_mode))  # fmt: skip
    canvas = window.pad(x)
    total = np.zeros((*x.shape[:2], *window.outputs), x.dtype)
    for _, slices in window.taps():
        total += canvas[(slice(None), slice(None), *slices)]
    total /= np.maximum(_window_sizes(window, count_include_pad), 1).astype(x.dtype)
    return total


@operator("LpPool", infer=_pool_type, count=_lp_count)
@in_float32
def lp_pool(x: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
            dilations: Ints | None = None, kernel_shape: Ints = (), p: int = 2,
            pads: Ints | None = None, strides: Ints | None = None) -> Any:  # fmt: skip
    window = Window.of(x.shape[2:], kernel_shape, strides=strides, dilations=dilations, pads=pads,
                       auto_pad=auto_pad, ceil=bool(ceil_mode))  # fmt: skip
    powers = window.pad(np.abs(x) ** p)
    total = np.zeros((*x.shape[:2], *window.outputs), x.dtype)
    for _, slices in window.taps():
        total += powers[(slice(None), slice(None), *slices)]
    return (total ** (1.0 / p)).astype(x.dtype)


def _global_type(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    if x.rank < 2:
        raise context.error(f"input {x}", "a batch and channels")
    return [TensorType(dtype=x.dtype, shape=(*x.shape[:2], *[1] * (x.rank - 2)))]


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool", infer=_global_type, count=per_input(1))
@in_float32
def global_average_pool(x: Array) -> Any:
    return x.mean(axis=_spatial(x), keepdims=True).astype(x.dtype)


@operator("GlobalMaxPool", infer=_global_type, count=per_input(1))
def global_max_pool(x: Array) -> Any:
    return x.max(axis=_spatial(x), keepdims=True)


@operator("GlobalLpPool", infer=_global_type, count=per_input(3))
@in_float32
def global_lp_pool(x: Array, *, p: int = 2) -> Any:
    total = (np.abs(x) ** p).sum(axis=_spatial(x), keepdims=True)
    return (total ** (1.0 / p)).astype(x.dtype)


# -- unpooling and gradients ----------------------------------------------------------------------


def _unpooled(sizes: Sequence[Dimension], kernel: Ints, strides: Ints | None,
              pads: Ints | None) -> tuple[Dimension, ...]:  # fmt: skip
    rank = len(sizes)
    check_window(rank, kernel, strides, None, pads)
    result = []
    for i, size in enumerate(sizes):
        padding = int(pads[i]) + int(pads[rank + i]) if pads else 0
        stride = axis_value(strides, i)
        result.append(plus(times(size, stride), int(kernel[i]) - stride - padding))
    return tuple(result)


def _unpool_type(context: TypeContext) -> list[TensorType | None]:
    x = context.input(0)
    inferred = _unpooled(x.shape[2:], context.attribute("kernel_shape", ()),
                         context.attribute("strides"), context.attribute("pads"))  # fmt: skip
    shape: tuple[Dimension, ...] = (*x.shape[:2], *inferred)
    if context.has(2):
        known = known_integers(context, 2)
        unknown = tuple(context.fresh(f"axis{i}") for i in range(x.rank))
        shape = unknown if known is None else known
    return [TensorType(dtype=x.dtype, shape=shape)]


def _scatter_count(context: TypeContext) -> Operations:
    """Placing values computes nothing."""
    return Operations()


@operator("MaxUnpool", infer=_unpool_type, count=_scatter_count)
def max_unpool(x: Array, indices: Array, output_shape: Array | None = None, *,
               kernel_shape: Ints = (), pads: Ints | None = None,
               strides: Ints | None = None) -> Array:  # fmt: skip
    # The indices address the tensor whose shape follows from the attributes, also when a larger
    # output_shape is given: ONNX's own node test puts that tensor in the low corner.
    spatial = tuple(int(d) for d in _unpooled(x.shape[2:], kernel_shape, strides, pads))
    y = np.zeros((*x.shape[:2], *spatial), x.dtype)
    y.reshape(-1)[indices.ravel()] = x.ravel()
    if output_shape is None:
        return y
    wanted = integers(output_shape)
    larger = np.zeros(wanted, x.dtype)
    corner = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, wanted, strict=True))
    larger[corner] = y[corner]
    return larger


def _max_grad_type(context: TypeContext) -> list[TensorType | None]:
    return [context.input(1)]


def _max_grad_count(context: TypeContext) -> Operations:
    """Finding each maximum again (one comparison per position) and one addition per output."""
    window = math.prod(context.attribute("kernel_shape"))
    return Operations(others=context.input(0).elements * (window + 1))


@operator("MaxPoolGrad", infer=_max_grad_type, count=_max_grad_count, domain=TRAINING_DOMAIN)
@in_float32
def max_pool_grad(dy: Array, x: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
                  dilations: Ints | None = None, kernel_shape: Ints = (),
                  pads: Ints | None = None, storage_order: int = 0,
                  strides: Ints | None = None) -> Any:  # fmt: skip
    """Return d loss / d x of ``y = MaxPool(x)``; among equals the first one gets it all."""
    window = Window.of(x.shape[2:], kernel_shape, strides=strides, dilations=dilations, pads=pads,
                       auto_pad=auto_pad, ceil=bool(ceil_mode))  # fmt: skip
    _, where = _max_pool(x, window, _positions(window, 0))
    if where is None:
        raise ValueError("maxima without positions")
    dx = np.zeros((x.shape[0] * x.shape[1], math.prod(window.sizes) + 1), x.dtype)
    rows = np.arange(dx.shape[0])[:, None]
    # Index -1, a window over padding only, lands in the spare last column.
    np.add.at(dx, (rows, where.reshape(dx.shape[0], -1)), dy.reshape(dx.shape[0], -1))
    return dx[:, :-1].reshape(x.shape)


def _average_grad_type(context: TypeContext) -> list[TensorType | None]:
    dy, known = context.input(0), known_integers(context, 1)
    spatial = tuple(context.fresh(f"axis{i}") for i in range(dy.rank - 2))
    return [TensorType(dtype=dy.dtype, shape=known or (*dy.shape[:2], *spatial))]


def _average_grad_count(context: TypeContext) -> Operations:
    """One addition per window position and output gradient, which was divided once."""
    window = math.prod(context.attribute("kernel_shape"))
    return Operations(others=context.input(0).elements * (window + 1))


@operator("AveragePoolGrad", infer=_average_grad_type, count=_average_grad_count,
          domain=TRAINING_DOMAIN)  # fmt: skip
@in_float32
def average_pool_grad(dy: Array, x_shape: Array, *, auto_pad: str = "NOTSET", ceil_mode: int = 0,
                      count_include_pad: int = 0, dilations: Ints | None = None,
                      kernel_shape: Ints = (), pads: Ints | None = None,
                      strides: Ints | None = None) -> Any:  # fmt: skip
    """Return d loss / d x of ``y = AveragePool(x)``; the attributes are the pooling's."""
    window = Window.of(integers(x_shape)[2:], kernel_shape, strides=strides, dilations=dilations,
                       pads=pads, auto_pad=auto_pad, ceil=bool(ceil_mode))  # fmt: skip
    counts = np.maximum(_window_sizes(window, count_include_pad), 1).astype(dy.dtype)
    share = dy / counts
    ones = (1,) * len(window.kernel)
    columns = share.reshape(*dy.shape[:2], *ones, *window.outputs)
    columns = np.broadcast_to(columns, (*dy.shape[:2], *window.kernel, *window.outputs))
    return fold(columns, window)
