"""Resizing, sampling and regions of images, and spectra: ONNX Runtime, PyTorch, identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orrery.errors import UnknownNameError
from orrery.graph import TensorType

from .layer_kit import agree, normal
from .operator_kit import apply, count, infer, make_node, operator_of, type_of

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 10_000)
MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.needs("onnxruntime")
@settings(max_examples=60, deadline=None)
@given(seed=seeds, mode=st.sampled_from(["nearest", "linear", "cubic"]), at=st.sampled_from(MODES),
       before=st.tuples(st.integers(1, 7), st.integers(1, 7)),
       after=st.tuples(st.integers(1, 9), st.integers(1, 9)), outside=st.integers(0, 1),
       nearest=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor",
                                "ceil"]))  # fmt: skip
def test_resize_to_sizes_agrees_with_onnxruntime(
    seed: int, mode: str, at: str, before: tuple[int, int], after: tuple[int, int], outside: int,
    nearest: str,
) -> None:  # fmt: skip
    # ONNX Runtime takes coordinates in float32: where the exact one lies on the edge between two
    # cells, rounding decides. Powers of two are exact in both.
    if mode == "nearest":
        before, after = ((1 << b % 3, 1 << a % 4) for b, a in zip(before, after, strict=True))
        assume(at != "align_corners")
    x = normal(np.random.default_rng(seed), 1, 2, *before)
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": at}
    if mode == "nearest":
        attributes["nearest_mode"] = nearest
    if mode == "cubic":
        attributes["exclude_outside"] = outside
    agree("Resize", [x, None, None, np.array([1, 2, *after])], opset=19, **attributes)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, up=st.integers(1, 4), mode=st.sampled_from(["nearest", "linear", "cubic"]))
def test_resize_by_scales_agrees_with_onnxruntime(seed: int, up: int, mode: str) -> None:
    x = normal(np.random.default_rng(seed), 1, 2, 4, 4)
    scales = np.array([1, 1, up, up / 2], np.float32)
    agree("Resize", [x, None, scales], opset=19, mode=mode)


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize(("mode", "theirs"), [("linear", "bilinear"), ("cubic", "bicubic")])
@pytest.mark.parametrize("align", [True, False])
def test_resize_agrees_with_pytorch(mode: str, theirs: str, align: bool) -> None:
    import torch

    x = normal(np.random.default_rng(0), 2, 3, 6, 7)
    want = torch.nn.functional.interpolate(torch.tensor(x), size=(9, 4), mode=theirs,
                                           align_corners=align).numpy()  # fmt: skip
    at = "align_corners" if align else "pytorch_half_pixel"
    found = apply("Resize", x, None, None, np.array([2, 3, 9, 4]), mode=mode,
                  coordinate_transformation_mode=at)  # fmt: skip
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_resize_names_and_counts() -> None:
    x = TensorType(dtype="float32", shape=("n", 3, "h", 8))
    (y,) = infer("Resize", x, None, None, values=(None, None, np.float32([1, 1, 2, 2])))
    (z,) = infer("Resize", x, None, x, values=(None, None, np.float32([1, 1, 2, 2])))
    assert y.shape[:2] == z.shape[:2] == ("n", 3) and y.shape[3] == 16
    assert isinstance(y.shape[2], str) and y.shape[2] != "h"
    image, sizes = np.zeros((1, 2, 4, 4), np.float32), np.array([1, 2, 8, 4])
    assert count("Resize", image, None, None, sizes, mode="linear").macs == 2 * 2 * 8 * 4
    assert count("Resize", image, None, None, sizes).total == 0


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample_agrees_with_pytorch(mode: str, padding: str, align: int) -> None:
    import torch

    rng = np.random.default_rng(0)
    x = normal(rng, 2, 3, 5, 6)
    grid = rng.uniform(-1.6, 1.6, (2, 4, 7, 2)).astype(np.float32)
    theirs = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    want = torch.nn.functional.grid_sample(
        torch.tensor(x), torch.tensor(grid), mode=theirs, padding_mode=padding,
        align_corners=bool(align),
    ).numpy()  # fmt: skip
    found = apply("GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=align)
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)


@quick
@given(seed=seeds, align=st.integers(0, 1))
def test_the_identity_grid_samples_the_image_itself(seed: int, align: int) -> None:
    x = normal(np.random.default_rng(seed), 2, 3, 4, 5)
    theta = np.tile(np.eye(3, dtype=np.float32)[None, :2], (2, 1, 1))
    node = make_node("AffineGrid", 2, align_corners=align)
    (grid,) = operator_of(node).run(node, [theta, np.array(x.shape)])
    (type_,) = infer("AffineGrid", type_of(theta), TensorType(dtype="int64", shape=(4,)),
                     values=(None, np.array(x.shape)))  # fmt: skip
    assert type_ == type_of(grid)
    found = apply("GridSample", x, grid, align_corners=align, padding_mode="border")
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, ratio=st.integers(0, 3), mode=st.sampled_from(["avg", "max"]),
       at=st.sampled_from(["half_pixel", "output_half_pixel"]))  # fmt: skip
def test_roi_align_agrees_with_onnxruntime(seed: int, ratio: int, mode: str, at: str) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, 2, 3, 8, 9)
    corner = rng.uniform(0, 10, (4, 2))
    rois = np.concatenate([corner, corner + rng.uniform(0.5, 8, (4, 2))], axis=1)
    arrays = [x, rois.astype(np.float32), rng.integers(0, 2, 4)]
    agree("RoiAlign", arrays, opset=16, output_height=2, output_width=3, mode=mode,
          sampling_ratio=ratio, spatial_scale=0.8,
          coordinate_transformation_mode=at)  # fmt: skip


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, most=st.integers(0, 5), centre=st.integers(0, 1))
def test_suppression_agrees_with_onnxruntime(seed: int, most: int, centre: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 1, (2, 12, 4)).astype(np.float32)
    scores = rng.uniform(0, 1, (2, 3, 12)).astype(np.float32)
    agree("NonMaxSuppression", [boxes, scores, np.array([most]), np.float32([0.3]),
                                np.float32([0.4])], opset=11, center_point_box=centre)  # fmt: skip


@quick
@given(seed=seeds, have=st.integers(1, 9), want=st.integers(1, 9))
def test_cropping_undoes_padding(seed: int, have: int, want: int) -> None:
    assume(want >= have)
    x = normal(np.random.default_rng(seed), 2, have)
    wide = apply("CenterCropPad", x, np.array([want]), axes=(1,))
    assert wide.shape == (2, want)
    if (want - have) % 2 == 0:
        np.testing.assert_array_equal(apply("CenterCropPad", wide, np.array([have]), axes=(-1,)), x)
    np.testing.assert_allclose(wide.sum(), x.sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, axis=st.integers(0, 1), length=st.sampled_from([None, 4, 9]),
       inverse=st.booleans())  # fmt: skip
def test_fourier_transform_agrees_with_onnxruntime(
    seed: int, axis: int, length: int | None, inverse: bool
) -> None:
    x = normal(np.random.default_rng(seed), 3, 8, 2 if inverse else 1)
    number = None if length is None else np.array(length)
    agree("DFT", [x, number, np.array(axis)], opset=20, inverse=int(inverse))


@quick
@given(seed=seeds, length=st.integers(2, 12))
def test_one_sided_transforms_return(seed: int, length: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, length, 1))
    half = apply("DFT", x, None, np.array(1), onesided=1)
    assert half.shape == (2, length // 2 + 1, 2)
    back = apply("DFT", half, np.array(length), np.array(1), onesided=1, inverse=1)
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_short_time_transform_is_the_transform_of_each_frame() -> None:
    x, window = normal(np.random.default_rng(0), 1, 20, 1), np.hanning(8).astype(np.float32)
    found = apply("STFT", x, np.array(4), window)
    for frame in range(4):
        piece = (x[0, 4 * frame : 4 * frame + 8, 0] * window)[None, :, None]
        want = apply("DFT", piece, None, np.array(1), onesided=1)
        np.testing.assert_allclose(found[:, frame], want, rtol=1e-5, atol=1e-5)
    assert count("STFT", x, np.array(4), window).others == 4 * (5 * 8 * 3 // 2 + 8)


def test_unknown_modes_are_named() -> None:
    x = np.zeros((1, 1, 2, 2), np.float32)
    sizes = np.array([1, 1, 4, 4])
    with pytest.raises(UnknownNameError, match="did you mean 'linear'"):
        apply("Resize", x, None, None, sizes, mode="linea")
    with pytest.raises(UnknownNameError, match="align_corners"):
        apply("Resize", x, None, None, sizes, coordinate_transformation_mode="align_corner")
