"""Activations, softmax, losses and normalisations: ONNX Runtime, PyTorch, identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import ModelError

from .layer_kit import agree, normal
from .operator_kit import apply, count, infer, type_of

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 10_000)

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Relu": ("relu", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.2}),
    "Elu": ("elu", {"alpha": 0.7}),
    "Celu": ("celu", {"alpha": 0.7}),
    "Selu": ("selu", {}),
    "Gelu": ("gelu", {}),
    "HardSwish": ("hardswish", {}),
    "Mish": ("mish", {}),
    "Sigmoid": ("sigmoid", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Swish": ("silu", {}),
}


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("op", list(ACTIVATIONS))
def test_activations_agree_with_pytorch(op: str) -> None:
    import torch

    name, attributes = ACTIVATIONS[op]
    edges = np.array([0.0, -0.0, 1e-8, 100.0, -100.0, 3.0, -3.0, np.inf], np.float32)
    x = np.concatenate([edges, normal(np.random.default_rng(0), 100)])
    torch_attributes = {"negative_slope" if op == "LeakyRelu" else k: v
                        for k, v in attributes.items()}  # fmt: skip
    want = getattr(torch.nn.functional, name)(torch.tensor(x), **torch_attributes).numpy()
    np.testing.assert_allclose(apply(op, x, **attributes), want, rtol=1e-5, atol=1e-6)


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_agrees_with_pytorch_in_float64(approximate: str) -> None:
    import torch

    x = np.linspace(-8, 8, 4001)
    want = torch.nn.functional.gelu(torch.tensor(x), approximate=approximate).numpy()
    np.testing.assert_allclose(apply("Gelu", x, approximate=approximate), want, atol=1e-14)


@pytest.mark.parametrize("op", [*ACTIVATIONS, "HardSigmoid", "ThresholdedRelu", "Softmax"])
def test_half_precision_is_float32_rounded_once(op: str) -> None:
    x = np.linspace(-6, 6, 401).astype(np.float16)
    want = apply(op, x.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(apply(op, x), want)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, axis=st.integers(-3, 2), op=st.sampled_from(["Softmax", "LogSoftmax",
                                                               "Hardmax"]))  # fmt: skip
def test_softmax_agrees_with_onnxruntime(seed: int, axis: int, op: str) -> None:
    x = normal(np.random.default_rng(seed), 2, 3, 4) * 30
    agree(op, [x], axis=axis)


def test_softmax_of_large_numbers_stays_finite() -> None:
    x = np.array([[1e30, 0, -1e30], [-3e38, -3e38, -3e38]], np.float32)
    np.testing.assert_allclose(apply("Softmax", x), [[1, 0, 0], [1 / 3] * 3])
    assert np.isfinite(apply("LogSoftmax", x)).all()


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, groups=st.sampled_from([1, 2, 4]), op=st.sampled_from(
    ["BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN",
     "LpNormalization"]))  # fmt: skip
def test_channel_normalisations_agree_with_onnxruntime(seed: int, groups: int, op: str) -> None:
    rng = np.random.default_rng(seed)
    x, scale, bias = normal(rng, 2, 4, 3, 5), normal(rng, 4), normal(rng, 4)
    if op == "BatchNormalization":
        agree(op, [x, scale, bias, normal(rng, 4), np.abs(normal(rng, 4))], epsilon=1e-3, opset=15)
    elif op == "InstanceNormalization":
        agree(op, [x, scale, bias], opset=21)
    elif op == "GroupNormalization":
        agree(op, [x, scale, bias], opset=21, num_groups=groups)
    elif op == "LRN":
        agree(op, [x], size=2 * groups - 1, alpha=0.3, beta=0.5, bias=2.0, opset=13)
    else:
        agree(op, [x], axis=groups % 4, p=1 + groups % 2, opset=21)


@pytest.mark.needs("onnxruntime")
@quick
@given(seed=seeds, axis=st.integers(-3, -1), bias=st.booleans())
def test_layer_normalisation_agrees_with_onnxruntime(seed: int, axis: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, 2, 3, 4)
    scale, shift = normal(rng, *x.shape[axis:]), normal(rng, *x.shape[axis:])
    agree("LayerNormalization", [x, scale, shift] if bias else [x, scale], outputs=3, axis=axis,
          opset=17)  # fmt: skip


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_training_batch_normalisation_agrees_with_pytorch() -> None:
    import torch

    rng = np.random.default_rng(0)
    x, scale, bias = normal(rng, 3, 4, 5, 2), normal(rng, 4), normal(rng, 4)
    mean, variance = normal(rng, 4), np.abs(normal(rng, 4))
    y, new_mean, new_variance = apply(
        "BatchNormalization", x, scale, bias, mean, variance, outputs=3, training_mode=1,
        momentum=0.8,
    )  # fmt: skip
    running = torch.tensor(mean)
    want = torch.nn.functional.batch_norm(
        torch.tensor(x), running, torch.tensor(variance), torch.tensor(scale), torch.tensor(bias),
        training=True, momentum=0.2,
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new_mean, running.numpy(), rtol=1e-5, atol=1e-6)
    # PyTorch keeps the sample variance, ONNX the population's.
    population = x.transpose(1, 0, 2, 3).reshape(4, -1).var(axis=1)
    np.testing.assert_allclose(new_variance, 0.8 * variance + 0.2 * population, rtol=1e-5)


@quick
@given(seed=seeds, factor=st.floats(0.5, 20))
def test_rms_normalisation_ignores_the_scale_of_its_input(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    x, scale = rng.standard_normal((3, 8)), rng.standard_normal(8)
    y = apply("RMSNormalization", x, scale, epsilon=0.0)
    np.testing.assert_allclose(apply("RMSNormalization", factor * x, scale, epsilon=0.0), y)
    np.testing.assert_allclose(((y / scale) ** 2).mean(axis=-1), 1)


@pytest.mark.torch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_agrees_with_pytorch(reduction: str, weighted: bool) -> None:
    import torch

    rng = np.random.default_rng(0)
    scores, labels = normal(rng, 3, 5, 4), rng.integers(0, 5, (3, 4))
    labels[0, 0] = -1
    weights = np.abs(normal(rng, 5)) if weighted else None
    want = torch.nn.functional.cross_entropy(
        torch.tensor(scores), torch.tensor(labels), reduction=reduction, ignore_index=-1,
        weight=None if weights is None else torch.tensor(weights),
    ).numpy()  # fmt: skip
    loss, log_prob = apply("SoftmaxCrossEntropyLoss", scores, labels, weights, outputs=2,
                           reduction=reduction, ignore_index=-1)  # fmt: skip
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    again = apply("NegativeLogLikelihoodLoss", log_prob, labels, weights, reduction=reduction,
                  ignore_index=-1)  # fmt: skip
    np.testing.assert_allclose(again, want, rtol=1e-5)


def test_a_label_outside_of_the_classes_is_refused() -> None:
    scores = np.zeros((1, 3), np.float32)
    with pytest.raises(ModelError, match="0 to 2"):
        apply("SoftmaxCrossEntropyLoss", scores, np.array([7]))


@quick
@given(seed=st.integers(0, 100), ratio=st.floats(0.1, 0.9))
def test_dropout_keeps_the_mean_and_repeats_with_its_seed(seed: int, ratio: float) -> None:
    x = np.ones((100, 100), np.float32)
    arrays = (x, np.float32(ratio), np.array(True))
    y, mask = apply("Dropout", *arrays, outputs=2, seed=seed)
    np.testing.assert_array_equal(y, apply("Dropout", *arrays, seed=seed))
    np.testing.assert_array_equal(y != 0, mask)
    assert abs(y.mean() - 1) < 6 * np.sqrt(ratio / (1 - ratio) / x.size)
    np.testing.assert_array_equal(apply("Dropout", x, np.float32(ratio)), x)


def test_counts_follow_their_convention() -> None:
    rng = np.random.default_rng(0)
    x = normal(rng, 2, 3, 4)
    assert count("Relu", x).total == 24
    assert count("Softmax", x).others == 5 * 24
    assert count("Dropout", x).total == 0
    assert count("Dropout", x, np.float32(0.5), np.array(True)).others == 3 * 24
    assert count("LayerNormalization", x, normal(rng, 4)).others == 7 * 24
    four = [normal(rng, 3) for _ in range(3)] + [np.ones(3, np.float32)]
    assert count("BatchNormalization", x, *four).others == 2 * 24
    assert count("BatchNormalization", x, *four, training_mode=1).others == 6 * 24


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    x = type_of(normal(rng, 2, 4, 3))
    three = type_of(normal(rng, 3))
    with pytest.raises(ModelError, match="groups of equal size"):
        infer("GroupNormalization", x, type_of(normal(rng, 4)), type_of(normal(rng, 4)),
              num_groups=3)  # fmt: skip
    with pytest.raises(ModelError, match="channels"):
        infer("BatchNormalization", x, three, three, three, three)
    with pytest.raises(ModelError, match="axis 3"):
        infer("Softmax", x, axis=3)
    with pytest.raises(ModelError, match="labels"):
        infer("NegativeLogLikelihoodLoss", x, x)
