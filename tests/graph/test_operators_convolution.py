"""Convolutions and pooling: ONNX Runtime, PyTorch's gradients, closed forms, identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError
from orrery.graph import Node, TensorType, TypeContext, find_operator

from .layer_kit import agree, by_onnxruntime, normal
from .operator_kit import apply, count, infer

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


@st.composite
def windows(draw: st.DrawFn, *, pooling: bool = False) -> dict[str, Any]:
    """Attributes of a window over 1 to 3 axes, and an image that it fits."""
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = [e + draw(st.integers(0, 4)) for e in extents]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations}
    padding = draw(st.sampled_from(["explicit", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "explicit":
        # Padding as large as the kernel would make windows of padding only.
        most = [k - 1 for k in kernel]
        begins, ends = ([draw(st.integers(0, m)) for m in most] for _ in range(2))
        attributes["pads"] = begins + ends
    else:
        # A window narrower than its stride would need negative padding: TensorFlow, where the
        # attribute comes from, and we take none; ONNX Runtime shifts the windows.
        assume(padding == "VALID" or all(k >= s for k, s in zip(kernel, strides, strict=True)))
        attributes["auto_pad"] = padding
        attributes.pop("dilations")  # ONNX Runtime refuses the combination
    if pooling:
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    return {"kernel": kernel, "sizes": sizes, "attributes": attributes}


def grouped(rng: np.random.Generator, window: dict[str, Any], group: int) -> tuple[Any, Any, Any]:
    x = normal(rng, 2, 2 * group, *window["sizes"])
    w = normal(rng, 3 * group, 2, *window["kernel"])
    return x, w, normal(rng, 3 * group)


@pytest.mark.needs("onnxruntime")
@quick
@given(window=windows(), group=st.integers(1, 3), bias=st.booleans(), seed=seeds)
def test_conv_agrees_with_onnxruntime(
    window: dict[str, Any], group: int, bias: bool, seed: int
) -> None:
    x, w, b = grouped(np.random.default_rng(seed), window, group)
    agree("Conv", [x, w, b] if bias else [x, w], group=group, **window["attributes"])


@pytest.mark.needs("onnxruntime")
@quick
@given(window=windows(), group=st.integers(1, 2), seed=seeds, data=st.data())
def test_conv_transpose_agrees_with_onnxruntime(
    window: dict[str, Any], group: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    attributes = dict(window["attributes"])
    extra = [data.draw(st.integers(0, s - 1)) for s in attributes["strides"]]
    if "pads" in attributes and any(extra):
        attributes["output_padding"] = extra
    x = normal(rng, 2, 2 * group, *window["sizes"])
    w = normal(rng, 2 * group, 3, *window["kernel"])
    agree("ConvTranspose", [x, w, normal(rng, 3 * group)], group=group, **attributes)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, per_channel=st.booleans())
def test_integer_convolutions_agree_with_onnxruntime(seed: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 255, (1, 3, 6, 5)).astype(np.uint8)
    w = rng.integers(0, 255, (4, 3, 3, 2)).astype(np.uint8)
    zero = np.uint8(rng.integers(100, 150))
    agree("ConvInteger", [x, w, zero, np.uint8(120)], pads=[1, 0, 1, 1])
    scale = rng.uniform(0.01, 0.02, 4 if per_channel else ()).astype(np.float32)
    zeros = np.full(4, 128, np.uint8) if per_channel else np.uint8(128)
    arrays = [x, np.float32(0.02), zero, w, scale, zeros, np.float32(0.3), np.uint8(127),
              rng.integers(-500, 500, 4).astype(np.int32)]  # fmt: skip
    arrays = [np.asarray(a) for a in arrays]
    # ONNX Runtime scales in float32 before rounding; a tie may fall to either side.
    agree("QLinearConv", arrays, strides=[2, 1], rtol=0, atol=1)


@pytest.mark.needs("onnxruntime")
@quick
@given(window=windows(pooling=True), seed=seeds, order=st.integers(0, 1))
def test_max_pool_agrees_with_onnxruntime(window: dict[str, Any], seed: int, order: int) -> None:
    x = normal(np.random.default_rng(seed), 2, 2, *window["sizes"])
    order = order if len(window["sizes"]) < 3 else 0
    agree("MaxPool", [x], outputs=2, kernel_shape=window["kernel"], storage_order=order,
          **window["attributes"])  # fmt: skip


@pytest.mark.needs("onnxruntime")
@quick
@given(window=windows(pooling=True), seed=seeds, count_pad=st.integers(0, 1))
def test_average_pool_agrees_with_onnxruntime(
    window: dict[str, Any], seed: int, count_pad: int
) -> None:
    x = normal(np.random.default_rng(seed), 2, 2, *window["sizes"])
    agree("AveragePool", [x], kernel_shape=window["kernel"], count_include_pad=count_pad,
          **window["attributes"])  # fmt: skip


@pytest.mark.needs("onnxruntime")
@quick
@given(window=windows(pooling=True), seed=seeds, p=st.integers(1, 3))
def test_lp_pool_agrees_with_onnxruntime(window: dict[str, Any], seed: int, p: int) -> None:
    x = normal(np.random.default_rng(seed), 2, 2, *window["sizes"])
    agree("LpPool", [x], kernel_shape=window["kernel"], p=p, **window["attributes"])


@pytest.mark.needs("onnxruntime")
def test_global_pools_and_unpooling_agree_with_onnxruntime() -> None:
    x = normal(np.random.default_rng(0), 2, 3, 5, 4)
    for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        agree(op, [x], opset=20)
    y, where = apply("MaxPool", x[:, :, :4], outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    agree("MaxUnpool", [y, where], kernel_shape=[2, 2], strides=[2, 2])


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, scale=st.sampled_from([1.0, 0.5, 0.25]))
def test_max_roi_pool_agrees_with_onnxruntime(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, 2, 2, 8, 9)
    corner = rng.integers(0, 12, (4, 2))
    rois = np.concatenate([rng.integers(0, 2, (4, 1)), corner, corner + rng.integers(0, 9, (4, 2))],
                          axis=1).astype(np.float32)  # fmt: skip
    agree("MaxRoiPool", [x, rois], opset=11, pooled_shape=[2, 3], spatial_scale=scale)


# -- identities -----------------------------------------------------------------------------------


@quick
@given(window=windows(), group=st.integers(1, 2), seed=seeds)
def test_gradients_are_the_adjoints_of_the_convolution(
    window: dict[str, Any], group: int, seed: int
) -> None:
    """<conv(x, w), dy> = <x, grad_x(dy, w)> = <w, grad_w(x, dy)>, for it is bilinear."""
    x, w, _ = (a.astype(np.float64) for a in grouped(np.random.default_rng(seed), window, group))
    attributes = {**window["attributes"], "group": group}
    y = apply("Conv", x, w, **attributes)
    dy = np.random.default_rng(seed + 1).standard_normal(y.shape)
    whole = float((y * dy).sum())
    dx = train("ConvGradInput", dy, w, np.array(x.shape), **attributes)
    dw = train("ConvGradWeight", x, dy, kernel_shape=window["kernel"], **attributes)
    assert dx.shape == x.shape and dw.shape == w.shape
    np.testing.assert_allclose([(x * dx).sum(), (w * dw).sum()], whole, rtol=1e-9, atol=1e-9)


def train(op: str, *arrays: np.ndarray, **attributes: Any) -> np.ndarray:
    """Run an operator of the training domain and hold its shape rule against the result."""
    names = tuple(f"x{i}" for i in range(len(arrays)))
    node = Node(name="node", op=op, inputs=names, outputs=("y",), attributes=attributes,
                domain="orrery.training")  # fmt: skip
    operator = find_operator(node)
    assert operator is not None
    (result,) = operator.run(node, arrays)
    types = tuple(TensorType(dtype=str(a.dtype), shape=a.shape) for a in arrays)
    (type_,) = operator.infer(TypeContext(node=node, inputs=types, values=arrays))
    assert type_ is not None and (type_.dtype, type_.shape) == (str(result.dtype), result.shape)
    return result


@quick
@given(window=windows(), seed=seeds)
def test_col2im_undoes_unfolding_up_to_how_often_a_cell_is_covered(
    window: dict[str, Any], seed: int
) -> None:
    attributes = {k: v for k, v in window["attributes"].items() if k != "auto_pad"}
    sizes, kernel = window["sizes"], window["kernel"]
    taps = math.prod(kernel)
    unfolding = np.eye(taps, dtype=np.float32).reshape(taps, 1, *kernel)
    x = normal(np.random.default_rng(seed), 1, 1, *sizes)
    columns = apply("Conv", np.stack([x[0], np.ones_like(x[0])]), unfolding, **attributes)
    folded = apply("Col2Im", columns.reshape(2, taps, -1), np.array(sizes), np.array(kernel),
                   **attributes)  # fmt: skip
    np.testing.assert_allclose(folded[0], x[0] * folded[1], rtol=1e-5, atol=1e-5)


@quick
@given(seed=seeds, k=st.integers(1, 4), cut=st.integers(1, 6), activation=st.booleans())
def test_causal_convolution_in_two_parts_is_that_of_the_whole(
    seed: int, k: int, cut: int, activation: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, w, b = normal(rng, 2, 3, 7), normal(rng, 3, 1, k), normal(rng, 3)
    kind = "silu" if activation else "none"
    y, state = apply("CausalConvWithState", x, w, b, None, outputs=2, activation=kind)
    first, between = apply(
        "CausalConvWithState", x[:, :, :cut], w, b, None, outputs=2, activation=kind
    )
    second, last = apply(
        "CausalConvWithState", x[:, :, cut:], w, b, between, outputs=2, activation=kind
    )
    np.testing.assert_allclose(np.concatenate([first, second], axis=2), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last, state)


def test_a_deformable_convolution_without_offsets_is_a_convolution() -> None:
    rng = np.random.default_rng(0)
    x, w, b = normal(rng, 2, 4, 6, 7), normal(rng, 6, 2, 3, 2), normal(rng, 6)
    attributes: dict[str, Any] = {"pads": [1, 0, 0, 1], "strides": [2, 1], "group": 2}
    y = apply("Conv", x, w, b, **attributes)
    offset = np.zeros((2, 2 * 6 * 2, *y.shape[2:]), np.float32)
    same = apply("DeformConv", x, w, offset, b, offset_group=2, **attributes)
    np.testing.assert_allclose(same, y, rtol=1e-5, atol=1e-5)


def test_large_images_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from orrery.graph.operators import _conv

    rng = np.random.default_rng(0)
    x, w = normal(rng, 1, 3, 17, 9), normal(rng, 4, 3, 3, 3)
    whole = apply("Conv", x, w, pads=[1, 1, 1, 1])
    monkeypatch.setattr(_conv, "_COLUMN_ELEMENTS", 500)
    np.testing.assert_allclose(apply("Conv", x, w, pads=[1, 1, 1, 1]), whole, rtol=1e-5, atol=1e-5)


def test_float16_accumulates_in_float32() -> None:
    x = np.full((1, 4096, 1, 1), 1, np.float16)
    w = np.full((1, 4096, 1, 1), 1, np.float16)
    assert apply("Conv", x, w).ravel()[0] == 4096  # float16 alone stops at 2048


# -- gradients by PyTorch -------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling_gradients_agree_with_pytorch(op: str) -> None:
    import torch

    x = torch.tensor(np.random.default_rng(1).standard_normal((2, 3, 9, 8)), requires_grad=True)
    if op == "MaxPool":
        y = torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)
    else:
        y = torch.nn.functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
    dy = torch.tensor(np.random.default_rng(2).standard_normal(tuple(y.shape)))
    y.backward(dy)
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    source = x.detach().numpy() if op == "MaxPool" else np.array(x.shape)
    assert x.grad is not None
    np.testing.assert_allclose(
        train(f"{op}Grad", dy.numpy(), source, **attributes), x.grad.numpy(), rtol=1e-12
    )


# -- counts, names, refusals ----------------------------------------------------------------------


def test_counts_are_the_closed_forms() -> None:
    rng = np.random.default_rng(0)
    # AlexNet's first layer: 96 filters 11×11×3 on 55×55 outputs, 105,415,200 MACs.
    x, w = np.zeros((1, 3, 227, 227), np.float32), np.zeros((96, 3, 11, 11), np.float32)
    assert count("Conv", x, w, strides=[4, 4]).macs == 105_415_200
    depthwise = count("Conv", normal(rng, 2, 8, 6, 6), normal(rng, 8, 1, 3, 3), normal(rng, 8),
                      group=8, pads=[1] * 4)  # fmt: skip
    assert (depthwise.macs, depthwise.others) == (2 * 8 * 36 * 9, 2 * 8 * 36)
    back = count("ConvTranspose", normal(rng, 1, 4, 5, 5), normal(rng, 4, 6, 3, 3), strides=[2, 2])
    assert back.macs == 4 * 25 * 6 * 9
    pool = count("MaxPool", normal(rng, 1, 2, 6, 6), kernel_shape=[2, 3], strides=[2, 3])
    assert (pool.macs, pool.others) == (0, 2 * 3 * 2 * 6)


def test_gradients_count_as_many_macs_as_the_convolution() -> None:
    shapes = {"dy": (2, 6, 4, 4), "w": (6, 3, 3, 3), "x": (2, 6, 6, 6)}
    type_ = {k: TensorType(dtype="float32", shape=s) for k, s in shapes.items()}
    forward = 2 * 6 * 16 * 3 * 9
    for op, given_, result in (("ConvGradInput", ("dy", "w"), "x"),
                               ("ConvGradWeight", ("x", "dy"), "w")):  # fmt: skip
        node = Node(name="n", op=op, inputs=given_, outputs=("y",), domain="orrery.training",
                    attributes={"group": 2, "kernel_shape": (3, 3)})  # fmt: skip
        operator = find_operator(node)
        assert operator is not None
        context = TypeContext(node=node, inputs=tuple(type_[g] for g in given_),
                              values=(None, None), outputs=(type_[result],))  # fmt: skip
        assert operator.count(context).macs == forward


def test_named_sizes_survive_where_the_window_keeps_them() -> None:
    x = TensorType(dtype="float32", shape=("batch", 3, "h", "w"))
    w = TensorType(dtype="float32", shape=(8, 3, 3, 3))
    (same,) = infer("Conv", x, w, pads=(1, 1, 1, 1))
    assert same.shape == ("batch", 8, "h", "w")
    (half,) = infer("Conv", x, w, pads=(1, 1, 1, 1), strides=(2, 2))
    pooled, _ = infer("MaxPool", x, kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    assert half.shape[2] == pooled.shape[2] and half.shape[2] != half.shape[3]
    (larger,) = infer("ConvTranspose", x, TensorType(dtype="float32", shape=(3, 8, 2, 2)),
                      strides=(2, 2))  # fmt: skip
    assert larger.shape == ("batch", 8, "2*h", "2*w")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"pads": (1, 1)}, "attribute pads"),
        ({"strides": (0, 1)}, "attribute strides"),
        ({"kernel_shape": (2, 2)}, "kernel_shape"),
        ({"dilations": (9, 9)}, "a window that fits"),
        ({"group": 2}, "input channels"),
    ],
)
def test_what_does_not_fit_is_refused(attributes: dict[str, Any], text: str) -> None:
    x = TensorType(dtype="float32", shape=(1, 3, 8, 8))
    w = TensorType(dtype="float32", shape=(4, 3, 3, 3))
    with pytest.raises(ModelError, match=text):
        infer("Conv", x, w, **attributes)


@pytest.mark.needs("onnxruntime")
def test_max_pool_of_bytes_agrees_with_onnxruntime() -> None:
    x = np.random.default_rng(0).integers(-128, 127, (1, 2, 7, 7)).astype(np.int8)
    want = by_onnxruntime("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4)[0]
    np.testing.assert_array_equal(apply("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), want)
